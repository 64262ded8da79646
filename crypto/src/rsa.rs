use std::fmt;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use selkie_memory::with_scrubbed_stack;

use crate::RecipientSecret;

/// The public half of an RSA master key: wraps a DEK here, while only the KMS can unwrap it.
///
/// So an encrypt needs no KMS (invariant I2).
#[derive(Debug)]
pub struct RsaPublicKey {
    key: OaepPublicEncryptingKey,
    spki_der: Box<[u8]>,
}

/// Why a public key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaPublicKeyError {
    /// Not a DER `SubjectPublicKeyInfo` of an RSA key (RFC 5280 §4.1.2.7).
    Malformed,
    /// Another size than 2048, 3072 or 4096 bits.
    Size {
        /// Length of the modulus.
        bits: usize,
    },
}

/// The library could not wrap; no cause is known but a lack of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapFailed;

impl RsaPublicKey {
    /// The key in a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`RsaPublicKeyError`].
    #[expect(clippy::map_err_ignore, reason = "the library's errors have no content")]
    pub fn from_spki_der(der: &[u8]) -> Result<Self, RsaPublicKeyError> {
        let key = PublicEncryptingKey::from_der(der).map_err(|_| RsaPublicKeyError::Malformed)?;
        let bits = key.key_size_bits();
        if ![2048, 3072, 4096].contains(&bits) {
            return Err(RsaPublicKeyError::Size { bits });
        }
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| RsaPublicKeyError::Malformed)?;
        Ok(Self { key, spki_der: der.into() })
    }

    /// The DER `SubjectPublicKeyInfo`; its SHA-256 is the fingerprint that is declared and pinned.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// `RSAES-OAEP-ENCRYPT[SHA-256, MGF1-SHA-256, empty label](secret)` (RFC 8017 §7.1.1), as many
    /// bytes as the modulus has.
    ///
    /// # Errors
    ///
    /// [`WrapFailed`].
    #[expect(clippy::map_err_ignore, reason = "the library's error has no content")]
    pub fn wrap_dek(&self, secret: &RecipientSecret) -> Result<Vec<u8>, WrapFailed> {
        let mut wrapped = vec![0; self.key.ciphertext_size()];
        with_scrubbed_stack(|| {
            let dek = secret.expose_for_wrap();
            self.key.encrypt(&OAEP_SHA256_MGF1SHA256, dek, &mut wrapped, None).map(|_| ())
        })
        .map_err(|_| WrapFailed)?;
        Ok(wrapped)
    }
}

impl fmt::Display for RsaPublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not an RSA public key in DER (SubjectPublicKeyInfo)"),
            Self::Size { bits } => {
                write!(f, "an RSA key of {bits} bits; 2048, 3072 and 4096 are supported")
            }
        }
    }
}

impl std::error::Error for RsaPublicKeyError {}

impl fmt::Display for WrapFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the DEK could not be wrapped under the public key")
    }
}

impl std::error::Error for WrapFailed {}
