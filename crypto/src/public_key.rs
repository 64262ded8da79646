use std::sync::Arc;

use crate::{RecipientSecret, RsaPublicKey, RsaPublicKeyError, WrapAlgorithm, WrapFailed};

/// The public half of a master key, under which a DEK is wrapped here.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// Of an RSA key.
    Rsa(Arc<RsaPublicKey>),
}

impl PublicKey {
    /// The key in a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`RsaPublicKeyError`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, RsaPublicKeyError> {
        RsaPublicKey::from_spki_der(der).map(|key| Self::Rsa(Arc::new(key)))
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
        }
    }

    /// The algorithm that the recipient's header names.
    #[must_use]
    pub const fn algorithm(&self) -> WrapAlgorithm {
        match self {
            Self::Rsa(_) => WrapAlgorithm::RsaOaep256,
        }
    }

    /// The DER `SubjectPublicKeyInfo`; its SHA-256 is the fingerprint that is declared and pinned.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.spki_der(),
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
