//! What one client has opened with one key.

use selkie_crypto::KeyVersion;
use serde::{Deserialize, Serialize};

use crate::audit::KeyUse;

/// From this age on, in seconds, an envelope was stored for sure: a Vault that tries its seal opens
/// what it has just made.
pub(crate) const STORED_SECONDS: u64 = 60;

/// Something was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// In seconds since 1970.
    pub time: u64,
    /// The `N` of its ciphertext.
    pub version: u32,
}

/// What one client has opened with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// How many ciphertexts of the old server.
    pub foreign: u64,
    /// How many of our own.
    pub own: u64,
    /// The last of the old server.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_foreign: Option<Opened>,
    /// The last of our own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_own: Option<Opened>,
    /// The last of our own that an origin key proves to have been made [`STORED_SECONDS`] before, or
    /// earlier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_stored: Option<Opened>,
}

impl Usage {
    /// What one request comes to; `None` if it opened nothing, and wanted nothing of the old server.
    pub(crate) fn of(used: &KeyUse, now: u64) -> Option<Self> {
        if used.decrypted == 0 && used.newest_foreign.is_none() {
            return None;
        }
        let opened = |version: KeyVersion| Opened { time: now, version: version.get() };
        let own = used.decrypted.saturating_sub(used.foreign);
        let is_stored =
            used.is_age_proven && used.oldest_age.is_some_and(|age| age >= STORED_SECONDS);
        let last_own = used.newest_own.map(opened);
        Some(Self {
            foreign: used.foreign,
            own,
            last_foreign: used.newest_foreign.map(opened),
            last_own,
            last_stored: last_own.filter(|_| is_stored),
        })
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            foreign: self.foreign.saturating_add(other.foreign),
            own: self.own.saturating_add(other.own),
            last_foreign: self.last_foreign.max(other.last_foreign),
            last_own: self.last_own.max(other.last_own),
            last_stored: self.last_stored.max(other.last_stored),
        }
    }

    /// Whether something that it had stored was our own, and nothing of the old server's came after.
    #[must_use]
    pub fn speaks_for_us(&self) -> bool {
        // In the same second nothing tells which was first.
        let foreign = self.last_foreign.map(|opened| opened.time);
        self.last_stored.map(|opened| opened.time) > foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(foreign: u64, own: u64, age: u64) -> KeyUse {
        let version = |number| KeyVersion::new(number);
        KeyUse {
            decrypted: foreign + own,
            foreign,
            newest_foreign: (foreign > 0).then(|| version(3)).flatten(),
            newest_own: (own > 0).then(|| version(10_001)).flatten(),
            oldest_age: Some(age),
            is_age_proven: true,
            ..KeyUse::default()
        }
    }

    #[test]
    fn what_was_made_a_moment_ago_says_nothing_of_what_is_stored() {
        let heartbeat = Usage::of(&used(0, 1, STORED_SECONDS - 1), 100).unwrap();
        assert!(!heartbeat.speaks_for_us());
        let unseal = Usage::of(&used(0, 1, STORED_SECONDS), 100).unwrap();
        assert!(unseal.speaks_for_us());
        let unproven = KeyUse { is_age_proven: false, ..used(0, 1, 1_000_000) };
        assert!(!Usage::of(&unproven, 100).unwrap().speaks_for_us());
        assert_eq!(Usage::of(&KeyUse::default(), 100), None);
    }

    #[test]
    fn a_foreign_one_of_the_same_second_outweighs_it() {
        let own = Usage::of(&used(0, 1, 600), 100).unwrap();
        let foreign = Usage::of(&used(1, 0, 0), 100).unwrap();
        assert!(own.last_stored > foreign.last_foreign, "its version is higher");
        assert!(!own.with(foreign).speaks_for_us());
    }

    #[test]
    fn a_foreign_one_that_the_old_server_could_not_open_outweighs_it() {
        let own = Usage::of(&used(0, 1, 600), 100).unwrap();
        let wanted = KeyUse { newest_foreign: KeyVersion::new(3), ..KeyUse::default() };
        let wanted = Usage::of(&wanted, 101).unwrap();
        assert_eq!((wanted.foreign, wanted.own), (0, 0));
        assert!(!own.with(wanted).speaks_for_us());
    }

    #[test]
    fn a_foreign_one_afterwards_outweighs_it() {
        let own = Usage::of(&used(0, 1, 600), 100).unwrap();
        let foreign = Usage::of(&used(2, 0, 0), 101).unwrap();
        let both = own.with(foreign);
        assert_eq!((both.foreign, both.own), (2, 1));
        assert_eq!(both.last_foreign, Some(Opened { time: 101, version: 3 }));
        assert!(own.speaks_for_us() && !both.speaks_for_us());
        assert_eq!(foreign.with(own), both, "whichever is heard of first");
    }
}
