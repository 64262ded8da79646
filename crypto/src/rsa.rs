//! RSA-OAEP-256 under the pinned public key of a KMS. There is no private half here.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use selkie_memory::with_scrubbed_stack;

use crate::{RecipientSecret, sha256};

const SIZES: [usize; 3] = [2048, 3072, 4096];

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
    /// Not a DER `SubjectPublicKeyInfo` of an RSA key (RFC 5280 §4.1.2.7), or numbers that make no
    /// RSA key.
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
        if !SIZES.contains(&bits) {
            return Err(RsaPublicKeyError::Size { bits });
        }
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| RsaPublicKeyError::Malformed)?;
        Ok(Self { key, spki_der: der.into() })
    }

    /// The key of these numbers, big-endian with or without leading zeros, as a JWK has them.
    ///
    /// # Errors
    ///
    /// [`RsaPublicKeyError`].
    #[expect(clippy::map_err_ignore, reason = "the library's errors have no content")]
    pub fn from_components(modulus: &[u8], exponent: &[u8]) -> Result<Self, RsaPublicKeyError> {
        let (n, e) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        let bits = bit_length(n);
        if !SIZES.contains(&bits) {
            return Err(RsaPublicKeyError::Size { bits });
        }
        let key: PublicEncryptingKey =
            PublicKeyComponents { n, e }.try_into().map_err(|_| RsaPublicKeyError::Malformed)?;
        let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| RsaPublicKeyError::Malformed)?;
        // The way by which every other key comes in, so that it meets the same checks.
        Self::from_spki_der(der.as_ref())
    }

    /// Length of the modulus in bits: 2048, 3072 or 4096.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.key_size_bits()
    }

    /// SHA-256 of [`Self::spki_der`], as it is declared and pinned.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.spki_der)
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

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Of a number without leading zeros.
fn bit_length(number: &[u8]) -> usize {
    let bits = number.len().saturating_mul(8);
    let unused = number.first().map_or(0, |first| first.leading_zeros());
    usize::try_from(unused).map_or(bits, |unused| bits.saturating_sub(unused))
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};

    use super::*;

    /// The modulus and the exponent in the DER of a 2048-bit key: 256 bytes, then three.
    fn numbers(spki: &[u8]) -> (&[u8], &[u8]) {
        let (rest, exponent) = spki.split_at(spki.len() - 3);
        (&rest[rest.len() - 258..rest.len() - 2], exponent)
    }

    #[test]
    fn numbers_of_a_key_make_the_same_key() {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
        let (modulus, exponent) = numbers(der.as_ref());
        for zeros in [0, 1, 5] {
            let padded = |number: &[u8]| [&vec![0; zeros], number].concat();
            let key = RsaPublicKey::from_components(&padded(modulus), &padded(exponent)).unwrap();
            assert_eq!(key.spki_der(), der.as_ref());
            assert_eq!(key.fingerprint(), sha256(der.as_ref()));
            assert_eq!(key.bits(), 2048);
        }
    }

    #[test]
    fn numbers_that_make_no_supported_key_are_refused() {
        let size = |bits| Some(RsaPublicKeyError::Size { bits });
        let refused = |modulus: &[u8], exponent: &[u8]| {
            RsaPublicKey::from_components(modulus, exponent).err()
        };
        assert_eq!(refused(&[0xFF; 128], &[1, 0, 1]), size(1024));
        assert_eq!(refused(&[0x7F; 256], &[1, 0, 1]), size(2047));
        assert_eq!(refused(&[0xFF; 1024], &[1, 0, 1]), size(8192));
        assert_eq!(refused(&[], &[1, 0, 1]), size(0));
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0]] {
            let outcome = refused(&[0xFF; 256], exponent);
            assert_eq!(outcome, Some(RsaPublicKeyError::Malformed), "{exponent:?}");
        }
        assert_eq!(refused(&[0xFE; 256], &[1, 0, 1]), Some(RsaPublicKeyError::Malformed));
    }
}
