//! Keys and their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::material::{Kind, Material};
use super::rotation::RotationPolicy;

/// The key types that the emulator has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyType {
    #[default]
    #[serde(rename = "RSA")]
    Rsa,
    #[serde(rename = "RSA-HSM")]
    RsaHsm,
    #[serde(rename = "oct-HSM")]
    OctHsm,
}

impl KeyType {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::RsaHsm => "RSA-HSM",
            Self::OctHsm => "oct-HSM",
        }
    }

    /// Key Vault's `hsmPlatform`: software, or the newest HSMs.
    pub(crate) const fn hsm_platform(self) -> &'static str {
        match self {
            Self::Rsa => "0",
            Self::RsaHsm | Self::OctHsm => "2",
        }
    }

    /// The kind of material for a size in bits; `None` if there is none.
    pub(crate) fn kind(self, size: Option<u16>) -> Option<Kind> {
        match (self, size) {
            (Self::Rsa | Self::RsaHsm, None) => Some(Kind::Rsa(2048)),
            (Self::Rsa | Self::RsaHsm, Some(bits @ (2048 | 3072 | 4096))) => Some(Kind::Rsa(bits)),
            (Self::OctHsm, None | Some(256)) => Some(Kind::Aes),
            _ => None,
        }
    }

    /// What a key of this type may be used for if nothing else is said.
    pub(crate) fn every_use(self) -> Vec<KeyUse> {
        use KeyUse as U;
        match self {
            Self::Rsa | Self::RsaHsm => {
                vec![U::Encrypt, U::Decrypt, U::Sign, U::Verify, U::WrapKey, U::UnwrapKey]
            }
            Self::OctHsm => vec![U::Encrypt, U::Decrypt, U::WrapKey, U::UnwrapKey],
        }
    }
}

/// An entry of `key_ops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KeyUse {
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    WrapKey,
    UnwrapKey,
    Import,
    Export,
}

/// A key: its versions, oldest first; never none.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) key_type: KeyType,
    pub(crate) kind: Kind,
    pub(crate) versions: Vec<Version>,
    pub(crate) policy: Option<RotationPolicy>,
    pub(crate) deleted_at: Option<i64>,
}

/// One version of a key.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) material: Arc<Material>,
    pub(crate) enabled: bool,
    pub(crate) exp: Option<i64>,
    pub(crate) nbf: Option<i64>,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) uses: Vec<KeyUse>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Version {
    pub(crate) fn new(material: Material, uses: Vec<KeyUse>, now: i64) -> Self {
        Self {
            id: random_version(),
            material: Arc::new(material),
            enabled: true,
            exp: None,
            nbf: None,
            created: now,
            updated: now,
            uses,
            tags: BTreeMap::new(),
        }
    }
}

/// What is changed of a version; in JSON an explicit null takes a date away.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VersionChange {
    pub(crate) enabled: Option<bool>,
    #[serde(deserialize_with = "present")]
    pub(crate) exp: Option<Option<i64>>,
    #[serde(deserialize_with = "present")]
    pub(crate) nbf: Option<Option<i64>>,
    pub(crate) key_ops: Option<Vec<KeyUse>>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

/// Tells null from absence.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::<i64>::deserialize(from).map(Some)
}

impl VersionChange {
    pub(crate) fn apply(&self, version: &mut Version, now: i64) {
        version.enabled = self.enabled.unwrap_or(version.enabled);
        version.exp = self.exp.unwrap_or(version.exp);
        version.nbf = self.nbf.unwrap_or(version.nbf);
        if let Some(uses) = &self.key_ops {
            version.uses.clone_from(uses);
        }
        if let Some(tags) = &self.tags {
            version.tags.clone_from(tags);
        }
        version.updated = now;
    }
}

impl Key {
    /// The version with this id, or the newest for none or an empty one.
    pub(crate) fn version(&self, id: Option<&str>) -> Option<&Version> {
        match id.filter(|id| !id.is_empty()) {
            None => self.versions.last(),
            Some(id) => self.versions.iter().find(|v| v.id.eq_ignore_ascii_case(id)),
        }
    }

    /// The same, to change it.
    pub(crate) fn version_mut(&mut self, id: Option<&str>) -> Option<&mut Version> {
        match id.filter(|id| !id.is_empty()) {
            None => self.versions.last_mut(),
            Some(id) => self.versions.iter_mut().find(|v| v.id.eq_ignore_ascii_case(id)),
        }
    }

    /// Adds a version like the newest, with material of its own.
    pub(crate) fn rotate(&mut self, now: i64) {
        let newest = self.versions.last();
        let uses = newest.map_or_else(|| self.key_type.every_use(), |v| v.uses.clone());
        let tags = newest.map(|v| v.tags.clone()).unwrap_or_default();
        let exp = self.policy.as_ref().and_then(|policy| policy.expires_at(now));
        let fresh = Version::new(Material::later(self.kind), uses, now);
        self.versions.push(Version { tags, exp, ..fresh });
    }

    /// Does the rotations that the policy has made due until now.
    pub(crate) fn rotate_if_due(&mut self, now: i64) {
        // A century of the shortest periods; a clock that is moved cannot make us spin.
        for _ in 0..6000 {
            let Some(policy) = &self.policy else { return };
            let Some(newest) = self.versions.last() else { return };
            match policy.rotates_at(newest.created, newest.exp) {
                Some(due) if due <= now && due > newest.created => self.rotate(due),
                _ => return,
            }
        }
    }
}

/// 32 hexadecimal digits.
pub(crate) fn random_version() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Whether this can be a key's name.
pub(crate) fn is_key_name(name: &str) -> bool {
    (1..=127).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether this can be a version's id.
pub(crate) fn is_version(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}
