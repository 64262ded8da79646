//! What is promised no more, as its operator has said so.

use std::slice;

use base16ct::lower::encode_string;
use selkie_crypto::SealName;

use super::{PromisedSeal, Promises};
use crate::regression::Regression;

impl Promises {
    /// Takes out what `now` does not keep of it; the rest stays promised. `now` itself is not: it may
    /// never be used.
    pub fn let_go(&mut self, now: &Self) {
        for loss in now.losses_since(slice::from_ref(self)) {
            self.take_out(&loss, now);
        }
    }

    fn take_out(&mut self, loss: &Regression, now: &Self) {
        match loss {
            Regression::KeyRemoved { key, mount, .. } => {
                self.keys
                    .retain(|old| old.name != *key || now.mount_now(&old.mount) != Some(mount));
            }
            Regression::OnlyOpenersGone { key, mount, .. }
            | Regression::QuorumGone { key, mount, .. } => {
                let mut keys = self.keys.iter_mut();
                let is_it = |old: &&mut crate::DeclaredKey| old.name == *key && old.mount == *mount;
                if let Some(old) = keys.find(is_it) {
                    old.seals.retain(|seal| now.opens(seal));
                    old.quorum = u8::try_from(old.seals.len()).unwrap_or(old.quorum);
                }
            }
            Regression::MountRemoved { mount } => {
                self.mounts.retain(|old| old.path != *mount);
                for old in &mut self.mounts {
                    old.aliases.retain(|alias| alias != mount);
                }
                self.keys.retain(|old| old.mount != *mount);
            }
            Regression::RealmRemoved { realm, .. } => self.realms.retain(|old| old != realm),
            Regression::OriginKeyAdded | Regression::OriginKeyChanged => {
                self.is_origin_let_go = true;
            }
            Regression::StorageRemoved => self.has_storage = false,
            Regression::SealRemoved { seal, .. } => {
                self.seals.retain(|old| old.name != *seal);
                for old in &mut self.seals {
                    old.aliases.retain(|alias| alias != seal);
                }
            }
            of_a_seal => self.take_out_of_seal(of_a_seal),
        }
    }

    fn take_out_of_seal(&mut self, loss: &Regression) {
        match loss {
            Regression::KeyIdRemoved { seal, id } | Regression::OtherKeyUnderId { seal, id } => {
                self.change(seal, |old| old.static_keys.retain(|(known, _)| known != id));
            }
            Regression::MasterKeyRemoved { seal, was, .. } => self.change(seal, |old| {
                old.distant_key.take_if(|key| key == was);
                old.former_keys.retain(|key| key != was);
            }),
            Regression::HsmKeyRemoved { seal, id } => self.change(seal, |old| {
                if let Some(hsm) = &mut old.in_hsm {
                    hsm.ids.retain(|known| encode_string(known) != *id);
                }
            }),
            Regression::HsmLabelChanged { seal, .. } => self.change(seal, |old| {
                if let Some(hsm) = &mut old.in_hsm {
                    hsm.label = None;
                }
            }),
            _ => {}
        }
    }

    fn change(&mut self, name: &SealName, change: impl FnOnce(&mut PromisedSeal)) {
        if let Some(seal) = self.seals.iter_mut().find(|seal| seal.name == *name) {
            change(seal);
        }
    }
}
