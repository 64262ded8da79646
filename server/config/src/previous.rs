//! What a new configuration would break for ciphertexts made under the previous one.

use std::collections::BTreeSet;

use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KekId, SealName};

use crate::config::Config;
use crate::key::{DeclaredKey, VersionRule};
use crate::seal::{Seal, SealKind};

/// Something that the previous configuration promised and this one does not keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Regression {
    /// What a key's envelopes are made for changed, and its counted version did not rise (I7).
    #[error(
        "key \"{key}\" in mount \"{mount}\": its current master keys changed but its version does \
         not rise above {was}; set \"generation\" to {needed} or more, or Vaults that use it never \
         move to the new ones"
    )]
    GenerationNotRaised {
        /// The key.
        key: KeyName,
        /// Its mount.
        mount: MountPath,
        /// Its version under the previous configuration.
        was: u32,
        /// The lowest generation that will do.
        needed: u32,
    },
    /// The version number of a key would go back, or a stated one would not rise with its current
    /// master keys (I7).
    #[error(
        "key \"{key}\" in mount \"{mount}\": its version was {was} and must now be {needed} or more"
    )]
    VersionNotRaised {
        /// The key.
        key: KeyName,
        /// Its mount.
        mount: MountPath,
        /// Its version under the previous configuration.
        was: u32,
        /// The lowest version that will do.
        needed: u32,
    },
    /// A key is gone.
    #[error(
        "key \"{key}\" in mount \"{mount}\" is no longer declared: its ciphertexts do not open"
    )]
    KeyRemoved {
        /// The key.
        key: KeyName,
        /// The mount it was in.
        mount: MountPath,
    },
    /// A seal is gone.
    #[error(
        "seal \"{seal}\" is no longer declared: envelopes made for it alone do not open, those made \
         for other declared seals as well still do"
    )]
    SealRemoved {
        /// The seal.
        seal: SealName,
    },
    /// A version of a static seal is gone.
    #[error(
        "seal \"{seal}\": key id \"{id}\" is no longer declared: what it wrapped does not open"
    )]
    KeyIdRemoved {
        /// The seal.
        seal: SealName,
        /// The version's id.
        id: KekId,
    },
    /// A mount is neither mounted nor an alias.
    #[error("mount \"{mount}\" is neither declared nor an alias: its ciphertexts do not open")]
    MountRemoved {
        /// The mount.
        mount: MountPath,
    },
    /// A realm is neither the realm nor an alias.
    #[error("realm {realm:?} is neither the realm nor an alias: its ciphertexts do not open")]
    RealmRemoved {
        /// The realm.
        realm: String,
    },
    /// There was no origin key and now one is required.
    #[error("\"origin_key\" is new: ciphertexts made before it do not open")]
    OriginKeyAdded,
    /// The origin key is another one.
    #[error("\"origin_key\" changed: ciphertexts made with the previous one do not open")]
    OriginKeyChanged,
}

impl Config {
    /// What this configuration would break for ciphertexts and versions made under `previous`.
    ///
    /// Both were read from the same sources: real ones compare keys, and
    /// [`Placeholders`](crate::Placeholders) the references to them.
    #[must_use]
    pub fn check_against_previous(&self, previous: &Self) -> Vec<Regression> {
        let mut regressions = Vec::new();
        self.check_realms(previous, &mut regressions);
        regressions.extend(self.check_origin_key(previous));
        self.check_mounts(previous, &mut regressions);
        self.check_seals(previous, &mut regressions);
        for key in &previous.keys {
            regressions.extend(self.check_key(previous, key));
        }
        regressions
    }

    fn check_realms(&self, previous: &Self, regressions: &mut Vec<Regression>) {
        let is_known = |realm: &String| *realm == self.realm || self.realm_aliases.contains(realm);
        let realms = std::iter::once(&previous.realm).chain(&previous.realm_aliases);
        let removed = realms.filter(|realm| !is_known(realm)).cloned();
        regressions.extend(removed.map(|realm| Regression::RealmRemoved { realm }));
    }

    fn check_origin_key(&self, previous: &Self) -> Option<Regression> {
        let now = self.origin_key.as_ref()?;
        let Some(was) = &previous.origin_key else {
            return Some(Regression::OriginKeyAdded);
        };
        (!now.is_same_key(was)).then_some(Regression::OriginKeyChanged)
    }

    fn check_mounts(&self, previous: &Self, regressions: &mut Vec<Regression>) {
        let mounts = previous.mounts.iter();
        let paths = mounts.flat_map(|mount| std::iter::once(&mount.path).chain(&mount.aliases));
        let removed = paths.filter(|path| self.mount_now(path).is_none()).cloned();
        regressions.extend(removed.map(|mount| Regression::MountRemoved { mount }));
    }

    /// The mount that today opens what was encrypted under `path`.
    fn mount_now(&self, path: &MountPath) -> Option<&MountPath> {
        let mut mounts = self.mounts.iter();
        let found = mounts.find(|mount| mount.path == *path || mount.aliases.contains(path))?;
        Some(&found.path)
    }

    fn check_seals(&self, previous: &Self, regressions: &mut Vec<Regression>) {
        for seal in &previous.seals {
            let Some(now) = self.seal_named(&seal.name) else {
                regressions.push(Regression::SealRemoved { seal: seal.name.clone() });
                continue;
            };
            let ids: BTreeSet<&KekId> = key_ids(now).collect();
            for id in key_ids(seal).filter(|id| !ids.contains(id)) {
                let (seal, id) = (seal.name.clone(), id.clone());
                regressions.push(Regression::KeyIdRemoved { seal, id });
            }
        }
    }

    fn seal_named(&self, name: &SealName) -> Option<&Seal> {
        self.seals.iter().find(|seal| seal.name == *name)
    }

    fn check_key(&self, previous: &Self, old: &DeclaredKey) -> Option<Regression> {
        let mount = self.mount_now(&old.mount)?;
        let (key, mount) = (old.name.clone(), mount.clone());
        let Some(new) = self.keys.iter().find(|new| new.name == key && new.mount == mount) else {
            return Some(Regression::KeyRemoved { key, mount });
        };
        let was = previous.version_of(old);
        let is_rewrapped = previous.current_keys(old) != self.current_keys(new);
        let needed = was.saturating_add(u32::from(is_rewrapped));
        if self.version_of(new) >= needed {
            return None;
        }
        if is_rewrapped && let VersionRule::Counted { .. } = new.version {
            let missing = needed.saturating_sub(self.listed_versions(new));
            let needed = missing.div_ceil(VersionRule::GENERATION_SIZE);
            return Some(Regression::GenerationNotRaised { key, mount, was, needed });
        }
        Some(Regression::VersionNotRaised { key, mount, was, needed })
    }

    fn seals_of(&self, key: &DeclaredKey) -> impl Iterator<Item = &Seal> {
        key.seals.iter().filter_map(|name| self.seal_named(name))
    }

    /// What the envelopes of a declared key are made for. Vaults encrypt anew when the version
    /// number changes, so it must rise with this set, also where no key id is added.
    fn current_keys(&self, key: &DeclaredKey) -> BTreeSet<(&SealName, &KekId)> {
        self.seals_of(key).map(|seal| (&seal.name, current_id(seal))).collect()
    }

    /// The version number of a declared key. All that a static seal ever listed is declared.
    fn version_of(&self, key: &DeclaredKey) -> u32 {
        match key.version {
            VersionRule::Stated(version) => version.get(),
            VersionRule::Counted { generation } => {
                let first = generation.saturating_mul(VersionRule::GENERATION_SIZE);
                first.saturating_add(self.listed_versions(key))
            }
        }
    }

    fn listed_versions(&self, key: &DeclaredKey) -> u32 {
        let versions: usize = self.seals_of(key).map(|seal| key_ids(seal).count()).sum();
        u32::try_from(versions).unwrap_or(u32::MAX)
    }
}

fn current_id(seal: &Seal) -> &KekId {
    let SealKind::Static(seal) = &seal.kind;
    &seal.current.id
}

fn key_ids(seal: &Seal) -> impl Iterator<Item = &KekId> {
    let SealKind::Static(seal) = &seal.kind;
    seal.keys().map(|key| &key.id)
}
