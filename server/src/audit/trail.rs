//! What the engine did for a request, beside what it answers.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use selkie_crypto::{KeyVersion, SealName};

/// Noted by the engine while it works, told in the response line and to those who watch.
#[derive(Debug, Default)]
pub struct Trail(Mutex<KeyUse>);

/// How a request has used a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// `mount/key`; empty as long as no key was used.
    pub key: String,
    /// Of what was encrypted or decrypted.
    pub versions: BTreeSet<KeyVersion>,
    /// The seals that opened envelopes.
    pub seals: BTreeSet<SealName>,
    /// How many items were encrypted.
    pub encrypted: u64,
    /// How many were decrypted.
    pub decrypted: u64,
    /// How many were neither.
    pub failed: u64,
    /// Of the oldest envelope that was decrypted, in seconds.
    pub oldest_age: Option<u64>,
    /// Whether an origin key vouches for that age; without one, anybody can have made an envelope.
    pub is_age_proven: bool,
    /// How many of the decrypted were ciphertexts of a server whose place we take.
    pub foreign: u64,
    /// The highest version among those, and among those that it was in no state to decrypt.
    pub newest_foreign: Option<KeyVersion>,
    /// The highest version among our own that were decrypted.
    pub newest_own: Option<KeyVersion>,
}

/// An envelope was decrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecryptedEnvelope {
    pub(crate) version: KeyVersion,
    pub(crate) age: u64,
    pub(crate) is_age_proven: bool,
}

impl Trail {
    pub(crate) fn encrypted(&self, mount: &str, key: &str, version: KeyVersion) {
        self.note(mount, key, |used| {
            used.versions.insert(version);
            used.encrypted = used.encrypted.saturating_add(1);
        });
    }

    pub(crate) fn decrypted(&self, mount: &str, key: &str, envelope: DecryptedEnvelope) {
        self.note(mount, key, |used| {
            used.versions.insert(envelope.version);
            used.decrypted = used.decrypted.saturating_add(1);
            used.oldest_age = used.oldest_age.max(Some(envelope.age));
            used.is_age_proven = envelope.is_age_proven;
            used.newest_own = used.newest_own.max(Some(envelope.version));
        });
    }

    /// The old server, which `seal` names, has decrypted one of its ciphertexts. Nothing tells when
    /// that was made.
    pub(crate) fn decrypted_foreign(
        &self,
        mount: &str,
        key: &str,
        seal: &SealName,
        version: KeyVersion,
    ) {
        self.opened_by(seal);
        self.note(mount, key, |used| {
            used.versions.insert(version);
            used.decrypted = used.decrypted.saturating_add(1);
            used.foreign = used.foreign.saturating_add(1);
            used.newest_foreign = used.newest_foreign.max(Some(version));
        });
    }

    /// A ciphertext of the old server was to be decrypted, and that server was in trouble: it is needed.
    pub(crate) fn wanted_foreign(&self, mount: &str, key: &str, version: KeyVersion) {
        self.note(mount, key, |used| {
            used.newest_foreign = used.newest_foreign.max(Some(version));
        });
    }

    pub(crate) fn failed(&self, mount: &str, key: &str) {
        self.note(mount, key, |used| used.failed = used.failed.saturating_add(1));
    }

    pub(crate) fn opened_by(&self, seal: &SealName) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.seals.contains(seal) {
            used.seals.insert(seal.clone());
        }
    }

    /// `None` if no key was used.
    #[must_use]
    pub fn key_use(&self) -> Option<KeyUse> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!used.key.is_empty()).then_some(used)
    }

    fn note(&self, mount: &str, key: &str, change: impl FnOnce(&mut KeyUse)) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.key.is_empty() {
            used.key = format!("{mount}/{key}");
        }
        change(&mut used);
    }
}
