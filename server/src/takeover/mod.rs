//! Live takeover of another transit unsealer: Selkie stands in place of the old server, has it
//! open what it once encrypted, answers encrypts with envelopes of its own at a higher version, and
//! keeps the evidence of who still needs the old server. It never says that nobody does.

mod connect;
mod evidence;
mod examination;
mod file;
mod foreign;
mod old_key;
mod old_server;
mod record;
#[cfg(test)]
pub(crate) mod tests;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use selkie_access::{KeyName, MountPath};

pub use evidence::Evidence;
pub(crate) use foreign::{foreign_version, is_foreign, is_like_ours};
pub(crate) use old_key::{CiphertextFault, ForeignCiphertext, ciphertext_fault};
pub use old_key::{NewestVersion, OldKey, OldKeyHealth, VersionSource};
pub use old_server::OldServer;
pub use record::{Pair, UsageRecord};
pub use usage::{Opened, Usage};

/// The keys of other servers that are taken over, by our own keys that do it.
#[derive(Clone, Debug, Default)]
pub struct Takeovers(Arc<BTreeMap<(MountPath, KeyName), Arc<OldKey>>>);

impl Takeovers {
    /// These.
    #[must_use]
    pub fn new(keys: Vec<Arc<OldKey>>) -> Self {
        let named = keys.into_iter().map(|key| ((key.mount.clone(), key.name.clone()), key));
        Self(Arc::new(named.collect()))
    }

    /// What our key `name` takes over.
    #[must_use]
    pub fn find(&self, mount: &MountPath, name: &KeyName) -> Option<&Arc<OldKey>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(mount.clone(), name.clone()))
    }

    /// All of them, in order of mount and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<OldKey>> {
        self.0.values()
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn has(&self, key: &Arc<OldKey>) -> bool {
        self.find(&key.mount, &key.name).is_some_and(|found| Arc::ptr_eq(found, key))
    }

    /// Whether the key that `mount/name` tells is one of them.
    #[must_use]
    pub fn names(&self, path: &str) -> bool {
        self.0.keys().any(|(mount, name)| {
            let name = path.strip_prefix(mount.as_str()).map(|rest| (rest, name));
            name.is_some_and(|(rest, name)| rest.strip_prefix('/') == Some(name.as_str()))
        })
    }
}
