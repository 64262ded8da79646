//! Whether old versions are still in use (invariant I7): the last decrypt of an envelope older than
//! an hour, by client, key and key version. A younger one was made by a Vault that tries its seal,
//! and says nothing of what it has stored.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use selkie_access::MountPath;
use selkie_crypto::KeyVersion;
use selkie_kms::ClientTag;

/// From this age on, in seconds, an envelope counts.
const AGED_SECONDS: u64 = 3_600;

/// What is remembered at most; beyond it the oldest evidence goes. Clients and keys are the
/// operator's, so that nobody else fills this.
const MOST: usize = 4_096;

/// What was decrypted, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Decrypted {
    pub(crate) client: ClientTag,
    pub(crate) mount: MountPath,
    pub(crate) key: String,
    pub(crate) version: KeyVersion,
}

/// The last time of each.
#[derive(Debug, Default)]
pub(super) struct AgedDecrypts(Mutex<HashMap<Decrypted, u64>>);

impl AgedDecrypts {
    /// Notes a decrypt at `now` of what was `created` long before; both in Unix seconds.
    pub(super) fn note(&self, created: u64, now: u64, decrypted: impl FnOnce() -> Decrypted) {
        if now.saturating_sub(created) < AGED_SECONDS {
            return;
        }
        let decrypted = decrypted();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST && !last.contains_key(&decrypted) {
            let oldest = last.iter().min_by_key(|(_, time)| **time).map(|(one, _)| one.clone());
            oldest.and_then(|oldest| last.remove(&oldest));
        }
        last.insert(decrypted, now);
    }

    /// All of it, in no order.
    pub(super) fn all(&self) -> Vec<(Decrypted, u64)> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().map(|(decrypted, time)| (decrypted.clone(), *time)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decrypted(number: u64) -> Decrypted {
        Decrypted {
            client: ClientTag::new(number),
            mount: "transit".parse().unwrap(),
            key: "unseal".to_owned(),
            version: KeyVersion::FIRST,
        }
    }

    #[test]
    fn only_what_is_an_hour_old_is_evidence_and_the_last_time_counts() {
        let aged = AgedDecrypts::default();
        aged.note(10_000, 13_599, || decrypted(1));
        aged.note(20_000, 10_000, || decrypted(1));
        assert!(aged.all().is_empty());
        aged.note(10_000, 13_600, || decrypted(1));
        aged.note(10_000, 13_700, || decrypted(1));
        assert_eq!(aged.all(), [(decrypted(1), 13_700)]);
    }

    #[test]
    fn beyond_the_limit_the_oldest_evidence_goes() {
        let aged = AgedDecrypts::default();
        let most = u64::try_from(MOST).unwrap();
        for number in 0..=most {
            aged.note(0, 10_000 + number, || decrypted(number));
        }
        let all = aged.all();
        assert_eq!(all.len(), MOST);
        assert!(!all.iter().any(|(one, _)| *one == decrypted(0)));
        assert!(all.iter().any(|(one, _)| *one == decrypted(most)));
    }
}
