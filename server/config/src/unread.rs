//! What of a configuration is missing where the files of its secrets are not at hand: for the day on
//! which the hosts that had them are gone.

use selkie_crypto::{Kek, SealName};

use crate::config::Config;
use crate::seal::{Seal, SealKind, StaticKey};

impl Config {
    /// Takes out what a [placeholder](crate::Placeholders) stands in for, and names the static seals
    /// whose current key that is; they are taken out whole. `self` was read
    /// [as far as it is at hand](crate::AtHand), and `by_reference` with placeholders alone.
    ///
    /// Other secrets (an HSM's PIN, a client's secret) stay as they were read: whoever takes keys
    /// out of what is left asks no KMS.
    #[must_use]
    pub fn take_out_unread(&mut self, by_reference: &Self) -> Vec<SealName> {
        let same_origin = |one: &_, other: &_| selkie_crypto::OriginKey::is_same_key(one, other);
        if self
            .origin_key
            .as_ref()
            .zip(by_reference.origin_key.as_ref())
            .is_some_and(|(read, reference)| same_origin(read, reference))
        {
            self.origin_key = None;
        }
        if self
            .audit
            .key
            .as_ref()
            .zip(by_reference.audit.key.as_ref())
            .is_some_and(|(read, reference)| read.id() == reference.id())
        {
            self.audit.key = None;
        }
        let mut unread = Vec::new();
        self.seals.retain_mut(|seal| {
            let Seal { name, kind: SealKind::Static(keys), .. } = seal else { return true };
            let is_unread = |key: &StaticKey| by_reference.has_static_key(name, key);
            keys.previous.retain(|key| !is_unread(key));
            let is_kept = !is_unread(&keys.current);
            if !is_kept {
                unread.push(name.clone());
            }
            is_kept
        });
        unread
    }

    fn has_static_key(&self, name: &SealName, key: &StaticKey) -> bool {
        let seal = self.seals.iter().find(|seal| seal.is_known_as(name));
        let found = seal.and_then(|seal| seal.static_keys().find(|one| one.id == key.id));
        found.is_some_and(|found| Kek::is_same_key(&found.key, &key.key))
    }
}
