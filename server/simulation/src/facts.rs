//! What clients and operators know for certain.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) keys: BTreeMap<String, Key>,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) tokens: Vec<Token>,
    /// Of which keys the policy is there for certain, and since when.
    pub(crate) policies: BTreeMap<String, Instant>,
}

/// What is known of a transit key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// When it was certainly there.
    pub(crate) made: Instant,
    /// The highest version that any client has seen, and when it was first seen.
    pub(crate) seen: u32,
    pub(crate) seen_at: Instant,
    /// The same for each replica.
    pub(crate) seen_of: BTreeMap<usize, u32>,
    /// The least version that may still have to decrypt.
    pub(crate) min_decryption: u32,
    /// The least version that decrypts for certain, unless one of [`Self::min_unsure`] came after it.
    pub(crate) min_certain: Option<Minimum>,
    /// The lowest minimum of which nobody can tell whether, or when, it was set.
    pub(crate) min_unsure: u32,
}

/// A `min_decryption_version` that was set for certain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minimum {
    pub(crate) version: u32,
    pub(crate) at: Instant,
    /// Through which replica.
    pub(crate) by: usize,
}

/// What a client keeps.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) key: String,
    pub(crate) ciphertext: String,
    /// In base64.
    pub(crate) plaintext: String,
    pub(crate) version: u32,
    /// The master keys and the ids of their versions.
    pub(crate) kids: Vec<(usize, String)>,
    pub(crate) made: Instant,
}

/// A token made through the API.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// The one key that it is for.
    pub(crate) key: String,
    pub(crate) made: Instant,
    pub(crate) is_periodic: bool,
    pub(crate) standing: Standing,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    /// Revoked by this replica in this life of it, for certain.
    Revoked {
        at: Instant,
        by: usize,
    },
    /// Nobody can tell.
    Unknown,
}

impl Key {
    pub(crate) fn new(now: Instant) -> Self {
        let seen_of = BTreeMap::new();
        let (min_decryption, min_certain, min_unsure) = (1, None, u32::MAX);
        Self { made: now, seen: 1, seen_at: now, seen_of, min_decryption, min_certain, min_unsure }
    }

    /// Takes note of a change of the minimum and of what came of it.
    pub(crate) fn is_configured(&mut self, minimum: Minimum, is_certain: bool) {
        // Even if nobody can tell whether it was set.
        self.min_decryption = self.min_decryption.max(minimum.version);
        if !is_certain {
            self.min_unsure = self.min_unsure.min(minimum.version);
        } else if self.min_certain.is_none_or(|before| before.version <= minimum.version) {
            self.min_certain = Some(minimum);
        }
    }

    pub(crate) fn saw(&mut self, replica: usize, version: u32, now: Instant) {
        if version > self.seen {
            (self.seen, self.seen_at) = (version, now);
        }
        let of = self.seen_of.entry(replica).or_default();
        *of = version.max(*of);
    }
}
