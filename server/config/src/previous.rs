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
    /// The seals of a key changed, its generation did not rise (design §6).
    #[error(
        "key \"{key}\" in mount \"{mount}\": its list of seals changed, so set \"generation\" to \
         {needed} or more, or Vaults that use it never move to the new seals"
    )]
    GenerationNotRaised {
        /// The key.
        key: KeyName,
        /// Its mount.
        mount: MountPath,
        /// The lowest generation that will do.
        needed: u32,
    },
    /// The version number of a key would not rise with its seals, or would go back (I7).
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
    #[error("seal \"{seal}\" is no longer declared: what only it wrapped does not open")]
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
}

impl Config {
    /// What this configuration would break for ciphertexts and versions made under `previous`,
    /// which may have been read with [`Placeholders`](crate::Placeholders).
    #[must_use]
    pub fn check_against_previous(&self, previous: &Self) -> Vec<Regression> {
        let mut regressions = Vec::new();
        self.check_realms(previous, &mut regressions);
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
        if self.origin_key.is_some() && previous.origin_key.is_none() {
            regressions.push(Regression::OriginKeyAdded);
        }
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
        let seals_changed = old.seals.iter().collect::<BTreeSet<_>>() != new.seals.iter().collect();
        if let (
            VersionRule::Counted { generation: was },
            VersionRule::Counted { generation: is },
            true,
        ) = (old.version, new.version, seals_changed)
        {
            let needed = was.saturating_add(1);
            let is_raised = is >= needed;
            return (!is_raised).then_some(Regression::GenerationNotRaised { key, mount, needed });
        }
        let was = previous.version_of(old);
        let needed = was.saturating_add(u32::from(seals_changed));
        let is_raised = self.version_of(new) >= needed;
        (!is_raised).then_some(Regression::VersionNotRaised { key, mount, was, needed })
    }

    /// The version number of a declared key. All that a static seal ever listed is declared.
    fn version_of(&self, key: &DeclaredKey) -> u32 {
        match key.version {
            VersionRule::Stated(version) => version.get(),
            VersionRule::Counted { generation } => {
                let seals = key.seals.iter().filter_map(|name| self.seal_named(name));
                let versions: usize = seals.map(|seal| key_ids(seal).count()).sum();
                let first = generation.saturating_mul(VersionRule::GENERATION_SIZE);
                first.saturating_add(u32::try_from(versions).unwrap_or(u32::MAX))
            }
        }
    }
}

fn key_ids(seal: &Seal) -> impl Iterator<Item = &KekId> {
    let SealKind::Static(seal) = &seal.kind;
    seal.keys().map(|key| &key.id)
}
