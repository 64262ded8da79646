//! Promises as a server writes them down, in JSON, and reads them again.

use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KekId, KeyFingerprint, KeyVersion, SealName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PromisedHsm, PromisedSeal, Promises};
use crate::key::{DeclaredKey, VersionRule};
use crate::mount::Mount;
use crate::seal::{DistantKey, TokenChoice};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    realms: Vec<String>,
    mounts: Vec<WrittenMount>,
    seals: Vec<WrittenSeal>,
    revoked: Vec<String>,
    keys: Vec<WrittenKey>,
    origin_key: Option<String>,
    is_origin_let_go: bool,
    /// Left out where there is none, as before it was remembered: servers of then refuse what they do
    /// not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_storage: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMount {
    path: String,
    aliases: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSeal {
    name: String,
    aliases: Vec<String>,
    /// The one version of an offline key; no other seal has it.
    offline: Option<String>,
    /// The ids, each with a fingerprint.
    static_keys: Vec<(String, String)>,
    distant: Option<WrittenDistantKey>,
    /// Left out where there are none, for servers of before they were remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<WrittenDistantKey>,
    hsm: Option<WrittenHsm>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WrittenDistantKey {
    KeyVault { endpoint: String, name: String },
    Transit { key_id_prefix: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHsm {
    label: Option<String>,
    ids: Vec<Vec<u8>>,
    /// Slot, label and serial number.
    token: (Option<u64>, Option<String>, Option<String>),
    token_in_words: String,
}

/// Of a key its minimum versions are not promised: they may change.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    name: String,
    mount: String,
    seals: Vec<String>,
    quorum: u8,
    version: WrittenRule,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenRule {
    Generation(u32),
    Stated(u32),
}

impl Promises {
    /// As they are written down. No secret is in it.
    ///
    /// # Errors
    ///
    /// None in practice: all of it can be said in JSON.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(Written {
            realms: self.realms.clone(),
            mounts: self.mounts.iter().map(WrittenMount::of).collect(),
            seals: self.seals.iter().map(WrittenSeal::of).collect(),
            revoked: self.revoked.iter().map(ToString::to_string).collect(),
            keys: self.keys.iter().map(WrittenKey::of).collect(),
            origin_key: self.origin_key.as_ref().map(ToString::to_string),
            is_origin_let_go: self.is_origin_let_go,
            has_storage: self.has_storage,
        })
    }

    /// The inverse of [`Promises::to_json`]; `None` for anything else.
    #[must_use]
    pub fn from_json(written: Value) -> Option<Self> {
        let written = Written::deserialize(written).ok()?;
        Some(Self {
            realms: written.realms,
            mounts: written.mounts.into_iter().map(WrittenMount::read).collect::<Option<_>>()?,
            seals: written.seals.into_iter().map(WrittenSeal::read).collect::<Option<_>>()?,
            revoked: seal_names(&written.revoked)?,
            keys: written.keys.into_iter().map(WrittenKey::read).collect::<Option<_>>()?,
            origin_key: optional(written.origin_key, |text| KeyFingerprint::from_hex(&text))?,
            is_origin_let_go: written.is_origin_let_go,
            has_storage: written.has_storage,
        })
    }
}

impl WrittenMount {
    fn of(mount: &Mount) -> Self {
        let aliases = mount.aliases.iter().map(ToString::to_string).collect();
        Self { path: mount.path.to_string(), aliases }
    }

    fn read(self) -> Option<Mount> {
        let aliases = self.aliases.iter().map(|path| path.parse::<MountPath>().ok());
        Some(Mount { path: self.path.parse().ok()?, aliases: aliases.collect::<Option<_>>()? })
    }
}

impl WrittenDistantKey {
    fn of(key: &DistantKey) -> Self {
        match key {
            DistantKey::InKeyVault { endpoint, name } => {
                Self::KeyVault { endpoint: endpoint.to_string(), name: name.clone() }
            }
            DistantKey::Transit { key_id_prefix } => {
                Self::Transit { key_id_prefix: key_id_prefix.clone() }
            }
        }
    }

    fn read(self) -> Option<DistantKey> {
        Some(match self {
            Self::KeyVault { endpoint, name } => {
                DistantKey::InKeyVault { endpoint: endpoint.parse().ok()?, name }
            }
            Self::Transit { key_id_prefix } => DistantKey::Transit { key_id_prefix },
        })
    }
}

impl WrittenHsm {
    fn of(hsm: &PromisedHsm) -> Self {
        let TokenChoice { slot, label, serial } = hsm.token.clone();
        Self {
            label: hsm.label.clone(),
            ids: hsm.ids.clone(),
            token: (slot, label, serial),
            token_in_words: hsm.token_in_words.clone(),
        }
    }

    fn read(self) -> PromisedHsm {
        let (slot, label, serial) = self.token;
        PromisedHsm {
            label: self.label,
            ids: self.ids,
            token: TokenChoice { slot, label, serial },
            token_in_words: self.token_in_words,
        }
    }
}

impl WrittenSeal {
    fn of(seal: &PromisedSeal) -> Self {
        let static_keys = seal.static_keys.iter();
        Self {
            name: seal.name.to_string(),
            aliases: seal.aliases.iter().map(ToString::to_string).collect(),
            offline: seal.offline_id.as_ref().map(ToString::to_string),
            static_keys: static_keys.map(|(id, key)| (id.to_string(), key.to_string())).collect(),
            distant: seal.distant_key.as_ref().map(WrittenDistantKey::of),
            former: seal.former_keys.iter().map(WrittenDistantKey::of).collect(),
            hsm: seal.in_hsm.as_ref().map(WrittenHsm::of),
        }
    }

    fn read(self) -> Option<PromisedSeal> {
        let static_keys = self
            .static_keys
            .into_iter()
            .map(|(id, key)| Some((KekId::new(&id).ok()?, KeyFingerprint::from_hex(&key)?)));
        let former_keys = self.former.into_iter().map(WrittenDistantKey::read);
        Some(PromisedSeal {
            name: SealName::new(&self.name).ok()?,
            aliases: seal_names(&self.aliases)?,
            is_offline: self.offline.is_some(),
            offline_id: optional(self.offline, |id| KekId::new(&id).ok())?,
            static_keys: static_keys.collect::<Option<_>>()?,
            distant_key: optional(self.distant, WrittenDistantKey::read)?,
            former_keys: former_keys.collect::<Option<_>>()?,
            in_hsm: self.hsm.map(WrittenHsm::read),
        })
    }
}

impl WrittenKey {
    fn of(key: &DeclaredKey) -> Self {
        Self {
            name: key.name.to_string(),
            mount: key.mount.to_string(),
            seals: key.seals.iter().map(ToString::to_string).collect(),
            quorum: key.quorum,
            version: match key.version {
                VersionRule::Counted { generation } => WrittenRule::Generation(generation),
                VersionRule::Stated(version) => WrittenRule::Stated(version.get()),
            },
        }
    }

    fn read(self) -> Option<DeclaredKey> {
        Some(DeclaredKey {
            name: self.name.parse::<KeyName>().ok()?,
            mount: self.mount.parse().ok()?,
            seals: seal_names(&self.seals)?,
            quorum: self.quorum,
            version: match self.version {
                WrittenRule::Generation(generation) => VersionRule::Counted { generation },
                WrittenRule::Stated(version) => VersionRule::Stated(KeyVersion::new(version)?),
            },
            min_decryption_version: KeyVersion::FIRST,
            min_encryption_version: None,
        })
    }
}

fn seal_names(names: &[String]) -> Option<Vec<SealName>> {
    names.iter().map(|name| SealName::new(name).ok()).collect()
}

/// What is there must be good.
fn optional<T, R>(written: Option<T>, read: impl FnOnce(T) -> Option<R>) -> Option<Option<R>> {
    match written {
        None => Some(None),
        Some(written) => read(written).map(Some),
    }
}
