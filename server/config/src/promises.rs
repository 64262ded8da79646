//! What a configuration promises to the ciphertexts made under it: the part of it that a later one
//! is compared with, without any secret.

mod let_go;
mod written;

use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KekId, KeyFingerprint, OriginKey, SealName};
use selkie_hcl::Problems;

use crate::config::{Config, Read};
use crate::key::DeclaredKey;
use crate::mount::Mount;
use crate::seal::{DistantKey, Pkcs11Seal, RevokedSeal, Seal, TokenChoice, UnreadSeal};
use crate::secret::{Purpose, Reading};
use crate::sources::Sources;
use crate::sources::stand_ins::{Placeholders, WhereReadable};
use crate::storage::Storage;

/// What a configuration promises to the ciphertexts made under it; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// The realm, and then its aliases.
    pub(crate) realms: Vec<String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) seals: Vec<PromisedSeal>,
    pub(crate) revoked: Vec<SealName>,
    pub(crate) keys: Vec<DeclaredKey>,
    /// What tells its `origin_key` from another.
    pub(crate) origin_key: Option<KeyFingerprint>,
    /// Whether what was made with that, or without one, has been let go.
    pub(crate) is_origin_let_go: bool,
    /// Whether there is a storage that outlives the process.
    pub(crate) has_storage: bool,
}

/// Which master keys a seal has.
#[derive(Clone, Debug)]
pub(crate) struct PromisedSeal {
    pub(crate) name: SealName,
    /// Names it had before, under which it still opens.
    pub(crate) aliases: Vec<SealName>,
    pub(crate) is_offline: bool,
    /// The one version of an offline key.
    pub(crate) offline_id: Option<KekId>,
    /// The versions in our own memory, the current one first, and what tells each from another key.
    pub(crate) static_keys: Vec<(KekId, KeyFingerprint)>,
    /// The key that somebody else holds.
    pub(crate) distant_key: Option<DistantKey>,
    /// The same where it was before.
    pub(crate) former_keys: Vec<DistantKey>,
    pub(crate) in_hsm: Option<PromisedHsm>,
}

/// The id of a key whose file was not read: one for all, as nobody can tell them apart.
const UNREAD: &str = "unread";

/// How the versions of a seal in an HSM are found.
#[derive(Clone, Debug)]
pub(crate) struct PromisedHsm {
    pub(crate) label: Option<String>,
    /// The `CKA_ID` of each version, the current one first.
    pub(crate) ids: Vec<Vec<u8>>,
    pub(crate) token: TokenChoice,
    pub(crate) token_in_words: String,
}

impl Config {
    /// What this configuration promises.
    #[must_use]
    pub fn promises(&self) -> Promises {
        let realms = std::iter::once(&self.realm).chain(&self.realm_aliases);
        Promises {
            realms: realms.cloned().collect(),
            mounts: self.mounts.clone(),
            seals: self.seals.iter().map(PromisedSeal::of).collect(),
            revoked: self.revoked_seals.iter().flat_map(RevokedSeal::names).cloned().collect(),
            keys: self.keys.clone(),
            origin_key: self.origin_key.as_ref().map(OriginKey::fingerprint),
            is_origin_let_go: false,
            has_storage: self.storage.as_ref().is_some_and(Storage::outlives_the_process),
        }
    }
}

impl Promises {
    /// What the configuration in `text` promises, its keys told apart by the references to them alone:
    /// what these lead to may be gone. `file` is the name its problems are reported under.
    ///
    /// Compare it with promises that were read in the same way.
    ///
    /// # Errors
    ///
    /// As of [`Config::parse`].
    pub fn parse_by_reference(file: &str, text: &str) -> Result<Self, Problems> {
        Self::read(file, text, &Placeholders)
    }

    /// The same, but that keys which can be read are told apart by what they are.
    ///
    /// # Errors
    ///
    /// As of [`Config::parse`].
    pub fn parse_where_readable(file: &str, text: &str) -> Result<Self, Problems> {
        Self::read(file, text, &WhereReadable)
    }

    fn read(file: &str, text: &str, sources: &dyn Sources) -> Result<Self, Problems> {
        let Read { config, unread_seals } =
            Config::read(file, text, Reading::new(sources, Purpose::Compare))?;
        let mut promises = config.promises();
        promises.seals.extend(unread_seals.iter().map(PromisedSeal::unread));
        Ok(promises)
    }

    /// The seal that opens what was wrapped under `name`.
    pub(crate) fn seal_named(&self, name: &SealName) -> Option<&PromisedSeal> {
        self.seals.iter().find(|seal| seal.name == *name || seal.aliases.contains(name))
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn declares(&self, mount: &MountPath, key: &KeyName) -> bool {
        self.keys.iter().any(|one| one.name == *key && one.mount == *mount)
    }

    /// The same without the keys that nobody wants.
    #[must_use]
    pub fn only_keys(&self, is_wanted: impl Fn(&MountPath, &KeyName) -> bool) -> Self {
        let mut only = self.clone();
        only.keys.retain(|key| is_wanted(&key.mount, &key.name));
        only
    }

    /// Whether a server opens what was wrapped under `name`.
    pub(crate) fn opens(&self, name: &SealName) -> bool {
        self.seal_named(name).is_some_and(|seal| !seal.is_offline)
    }

    /// Whether both have the same key under `id` in the static seal `name`.
    pub(crate) fn shares_static_key(&self, other: &Self, name: &SealName, id: &KekId) -> bool {
        let [one, other] = [self, other].map(|of| of.seal_named(name)?.static_key(id));
        one.is_some() && one == other
    }

    /// The mount that opens what was encrypted under `path`.
    pub(crate) fn mount_now(&self, path: &MountPath) -> Option<&MountPath> {
        let mut mounts = self.mounts.iter();
        let found = mounts.find(|mount| mount.path == *path || mount.aliases.contains(path))?;
        Some(&found.path)
    }
}

impl PromisedSeal {
    fn of(seal: &Seal) -> Self {
        Self {
            name: seal.name.clone(),
            aliases: seal.aliases.clone(),
            is_offline: seal.is_offline(),
            offline_id: seal.offline_id().cloned(),
            static_keys: seal
                .static_keys()
                .map(|key| (key.id.clone(), key.key.fingerprint()))
                .collect(),
            distant_key: seal.distant_key(),
            former_keys: seal.former_keys(),
            in_hsm: seal.in_hsm().map(PromisedHsm::of),
        }
    }

    /// An offline seal whose public key stands in a file: to be compared, no key is read from one.
    fn unread(seal: &UnreadSeal) -> Self {
        Self {
            name: seal.name.clone(),
            aliases: seal.aliases.clone(),
            is_offline: true,
            offline_id: KekId::new(UNREAD).ok(),
            static_keys: Vec::new(),
            distant_key: None,
            former_keys: Vec::new(),
            in_hsm: None,
        }
    }

    /// The keys that somebody else holds under which what it wrapped may stand.
    pub(crate) fn distant_keys(&self) -> impl Iterator<Item = &DistantKey> {
        self.distant_key.iter().chain(&self.former_keys)
    }

    pub(crate) fn static_key(&self, id: &KekId) -> Option<&KeyFingerprint> {
        let (_, key) = self.static_keys.iter().find(|(found, _)| found == id)?;
        Some(key)
    }

    pub(crate) fn hsm_ids(&self) -> &[Vec<u8>] {
        self.in_hsm.as_ref().map_or(&[], |hsm| &hsm.ids)
    }

    pub(crate) fn hsm_label(&self) -> Option<&str> {
        self.in_hsm.as_ref()?.label.as_deref()
    }
}

impl PromisedHsm {
    fn of(seal: &Pkcs11Seal) -> Self {
        Self {
            label: seal.key_label.clone(),
            ids: seal.ids().map(<[u8]>::to_vec).collect(),
            token: seal.token(),
            token_in_words: seal.token_in_words(),
        }
    }
}
