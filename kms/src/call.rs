//! On whose behalf a KMS is asked, and until when.

use tokio::time::Instant;

/// What a KMS may know of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// On whose behalf.
    pub client: ClientTag,
    /// When the caller stops to wait. A provider that sees no use in another try before then
    /// answers with what it saw last.
    pub deadline: Instant,
}

/// Tells clients apart, so that one of them cannot make the others wait; it names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTag(u64);

impl ClientTag {
    /// Selkie itself: probes, and comparisons of keys.
    pub const SELKIE: Self = Self(0);

    /// The client of this number. Two may share one; they then share its turn.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The client that `digest` stands for: a hash of what tells it from others.
    #[must_use]
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(Self::SELKIE.0 + 1))
    }

    /// The number of the client.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}
