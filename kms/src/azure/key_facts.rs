//! What Key Vault's answer about a key says, as far as it matters to us.

use std::sync::Arc;
use std::time::SystemTime;

use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::{
    DeletionRecoveryLevel, JsonWebKey, Key, KeyAttributes, KeyProperties, KeyType,
};
use selkie_crypto::{KekId, RsaPublicKey, WRAPPED_DEK_BYTES, WrapAlgorithm};

use super::Outcome;
use super::key_id::{KeyId, OwnKey};
use crate::{KekState, KekVersion, Wrapping};

/// A version of our key.
#[derive(Debug)]
pub(super) struct KeyFacts {
    pub(super) id: KeyId,
    pub(super) kek_id: KekId,
    pub(super) attributes: KeyAttributes,
    pub(super) material: Material,
    /// `key_ops`; none means that the answer does not say.
    pub(super) operations: Option<Vec<String>>,
    pub(super) is_in_hsm: bool,
}

/// What a DEK is wrapped under.
#[derive(Clone, Debug)]
pub(super) enum Material {
    Rsa(Arc<RsaPublicKey>),
    /// Key Vault does not say of how many bits a symmetric key is: a wrap shows it.
    Symmetric,
}

/// How long what is wrapped under a version is, and by which algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) algorithm: WrapAlgorithm,
    pub(super) wrapped_bytes: usize,
}

impl KeyFacts {
    /// # Errors
    /// [`Outcome::KeyUnsuitable`], or [`Outcome::AnswerWrong`] if the answer is about another key.
    pub(super) fn read(key: Key, own: &OwnKey) -> Result<Self, Outcome> {
        let (Some(jwk), Some(attributes)) = (key.key, key.attributes) else {
            return Err(Outcome::AnswerWrong);
        };
        let id = jwk.kid.as_deref().and_then(|kid| own.answered_id(kid));
        let id = id.ok_or(Outcome::AnswerWrong)?;
        let kek_id = id.kek_id().ok_or(Outcome::AnswerWrong)?;
        let is_in_hsm = matches!(jwk.kty, Some(KeyType::RsaHsm | KeyType::OctHsm));
        let material = Material::read(&jwk)?;
        Ok(Self { id, kek_id, attributes, material, operations: jwk.key_ops, is_in_hsm })
    }

    pub(super) fn shape(&self) -> Shape {
        match &self.material {
            Material::Rsa(key) => {
                Shape { algorithm: WrapAlgorithm::RsaOaep256, wrapped_bytes: key.bits() / 8 }
            }
            Material::Symmetric => {
                Shape { algorithm: WrapAlgorithm::A256Kw, wrapped_bytes: WRAPPED_DEK_BYTES }
            }
        }
    }

    /// Whether the key's `key_ops` let it be used for `operation`.
    pub(super) fn allows(&self, operation: &str) -> bool {
        self.operations.as_ref().is_none_or(|allowed| {
            allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(operation))
        })
    }

    pub(super) fn wrapping(&self, wrap_remotely: bool) -> Wrapping {
        match &self.material {
            Material::Rsa(key) if !wrap_remotely => Wrapping::Local(Arc::clone(key).into()),
            Material::Rsa(_) | Material::Symmetric => Wrapping::Remote(self.shape().algorithm),
        }
    }

    /// Whether somebody can destroy the key for good before its retention is over.
    pub(super) const fn is_purgeable(&self) -> Option<bool> {
        use DeletionRecoveryLevel as Level;
        match &self.attributes.recovery_level {
            Some(
                Level::Purgeable
                | Level::RecoverablePurgeable
                | Level::CustomizedRecoverablePurgeable,
            ) => Some(true),
            Some(Level::UnknownValue(_)) | None => None,
            Some(_) => Some(false),
        }
    }
}

impl Material {
    fn read(jwk: &JsonWebKey) -> Result<Self, Outcome> {
        match jwk.kty.as_ref().ok_or(Outcome::AnswerWrong)? {
            KeyType::Rsa | KeyType::RsaHsm => {
                let (Some(n), Some(e)) = (&jwk.n, &jwk.e) else {
                    return Err(Outcome::AnswerWrong);
                };
                let key = RsaPublicKey::from_components(n, e);
                key.map(|key| Self::Rsa(Arc::new(key))).or(Err(Outcome::KeyUnsuitable))
            }
            KeyType::OctHsm => Ok(Self::Symmetric),
            _ => Err(Outcome::KeyUnsuitable),
        }
    }
}

/// A version that stands in a list, which does not say what its key is; without all that we have no
/// use for, which may be much.
#[derive(Debug)]
pub(super) struct ListedVersion {
    pub(super) id: KeyId,
    pub(super) kek_id: KekId,
    pub(super) attributes: KeyAttributes,
}

impl ListedVersion {
    pub(super) fn read(properties: &KeyProperties, own: &OwnKey) -> Option<Self> {
        let id = own.answered_id(properties.kid.as_deref()?)?;
        let kek_id = id.kek_id()?;
        let found = properties.attributes.as_ref()?;
        let attributes = KeyAttributes {
            enabled: found.enabled,
            created: found.created,
            not_before: found.not_before,
            expires: found.expires,
            ..KeyAttributes::default()
        };
        Some(Self { id, kek_id, attributes })
    }
}

pub(super) fn version(
    id: KekId,
    wrapping: Wrapping,
    attributes: &KeyAttributes,
    now: SystemTime,
) -> KekVersion {
    let (created, expires) = (time(attributes.created), time(attributes.expires));
    KekVersion { id, wrapping, state: state(attributes, now), created, expires }
}

fn state(attributes: &KeyAttributes, now: SystemTime) -> KekState {
    if attributes.enabled == Some(false) {
        KekState::Disabled
    } else if time(attributes.not_before).is_some_and(|start| start > now) {
        KekState::NotYetValid
    } else if time(attributes.expires).is_some_and(|end| end <= now) {
        KekState::Expired
    } else {
        KekState::Enabled
    }
}

fn time(time: Option<OffsetDateTime>) -> Option<SystemTime> {
    time.map(SystemTime::from)
}
