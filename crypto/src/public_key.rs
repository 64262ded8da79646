//! The public half of any master key: by its type a DEK can be wrapped without the KMS (invariant
//! I2).

use std::fmt;
use std::sync::Arc;

use crate::{
    EcPublicKey, EcPublicKeyError, RecipientSecret, RsaPublicKey, RsaPublicKeyError, WrapAlgorithm,
    WrapFailed, pem,
};

const LABEL: &str = "PUBLIC KEY";

/// The public half of a master key, under which a DEK is wrapped here.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// Of an RSA key.
    Rsa(Arc<RsaPublicKey>),
    /// Of an elliptic-curve key.
    Ec(Arc<EcPublicKey>),
}

/// Why a public key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyError {
    /// Not a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) of RSA, P-256 or X25519.
    Malformed,
    /// An RSA key of another size than 2048, 3072 or 4096 bits.
    Size {
        /// Length of the modulus.
        bits: usize,
    },
    /// A point that is not on its curve, or of low order.
    Unusable,
}

impl PublicKey {
    /// The key in a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        if EcPublicKey::curve_of(der).is_some() {
            return Ok(EcPublicKey::from_spki_der(der)?.into());
        }
        Ok(Arc::new(RsaPublicKey::from_spki_der(der)?).into())
    }

    /// The key in PEM, under the label `PUBLIC KEY`, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError`].
    pub fn from_pem(text: &str) -> Result<Self, PublicKeyError> {
        Self::from_spki_der(&pem::decode(LABEL, text).ok_or(PublicKeyError::Malformed)?)
    }

    /// The inverse of [`PublicKey::from_pem`].
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, self.spki_der())
    }

    /// `secret`, wrapped so that only the holder of the private half unwraps it; in the shape that
    /// [`PublicKey::algorithm`] has.
    ///
    /// # Errors
    ///
    /// [`WrapFailed`].
    pub fn wrap_dek(&self, secret: &RecipientSecret) -> Result<Vec<u8>, WrapFailed> {
        match self {
            Self::Rsa(key) => key.wrap_dek(secret),
            Self::Ec(key) => key.wrap_dek(secret),
        }
    }

    /// The algorithm that the recipient's header names.
    #[must_use]
    pub const fn algorithm(&self) -> WrapAlgorithm {
        match self {
            Self::Rsa(_) => WrapAlgorithm::RsaOaep256,
            Self::Ec(_) => WrapAlgorithm::EcdhEsA256Kw,
        }
    }

    /// The DER `SubjectPublicKeyInfo`; its SHA-256 is the fingerprint that is declared and pinned.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.spki_der(),
            Self::Ec(key) => key.spki_der(),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki_der() == other.spki_der()
    }
}

impl From<Arc<RsaPublicKey>> for PublicKey {
    fn from(key: Arc<RsaPublicKey>) -> Self {
        Self::Rsa(key)
    }
}

impl From<EcPublicKey> for PublicKey {
    fn from(key: EcPublicKey) -> Self {
        Self::Ec(Arc::new(key))
    }
}

impl From<RsaPublicKeyError> for PublicKeyError {
    fn from(error: RsaPublicKeyError) -> Self {
        match error {
            RsaPublicKeyError::Malformed => Self::Malformed,
            RsaPublicKeyError::Size { bits } => Self::Size { bits },
        }
    }
}

impl From<EcPublicKeyError> for PublicKeyError {
    fn from(error: EcPublicKeyError) -> Self {
        match error {
            EcPublicKeyError::Malformed => Self::Malformed,
            EcPublicKeyError::Unusable => Self::Unusable,
        }
    }
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a public key of RSA, P-256 or X25519"),
            Self::Size { bits } => RsaPublicKeyError::Size { bits: *bits }.fmt(f),
            Self::Unusable => EcPublicKeyError::Unusable.fmt(f),
        }
    }
}

impl std::error::Error for PublicKeyError {}
