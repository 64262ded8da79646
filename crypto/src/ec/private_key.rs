//! Private keys for break-glass, which no server holds. Their one spelling in PKCS#8 is what other
//! tools write too, so that none of ours is needed in an emergency.

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use selkie_memory::{PageError, SecretPage, WipedVec, with_scrubbed_stack};

use super::agreement::AgreementFailed;
use super::{EcCurve, EcPublicKey};
use crate::kek::{UnwrapFailed, WRAPPED_DEK_BYTES, unwrap_key};
use crate::{Random, RandomError, RecipientSecret};

/// What PKCS#8 has before the private number (RFC 5958 §2, RFC 5915 §3, RFC 8410 §7), and for P-256
/// between it and the public point: the spelling of OpenSSL and of every other tool tried.
const P256_START: &[u8] = b"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20";
const P256_MIDDLE: &[u8] = b"\xa1\x44\x03\x42\x00";
const X25519_START: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20";

/// How often a number is drawn that might be no P-256 key: it is none once in 2^32 times.
const DRAWS: usize = 4;

/// The private half of an elliptic-curve master key: what opens the break-glass recipient. It never
/// belongs near the server.
///
/// It is kept in a page that no dump shows.
pub struct EcPrivateKey {
    pub(super) number: SecretPage<32>,
    public: EcPublicKey,
}

/// A private key in PKCS#8, wiped when dropped.
pub struct PrivateKeyDer(WipedVec);

/// Why there is no private key.
#[derive(Debug)]
pub enum EcPrivateKeyError {
    /// Not a PKCS#8 private key (RFC 5958) of P-256 or X25519, in DER.
    Malformed,
    /// There is no randomness.
    Random(RandomError),
    /// There is no page to hold it.
    Page(PageError),
}

impl EcPrivateKey {
    /// A fresh key.
    ///
    /// # Errors
    ///
    /// [`EcPrivateKeyError::Random`], [`EcPrivateKeyError::Page`].
    pub fn generate(curve: EcCurve, random: &Random) -> Result<Self, EcPrivateKeyError> {
        for _ in 0..DRAWS {
            let mut drawn = Ok(());
            let page = SecretPage::new(|number| drawn = random(number));
            let number = page.map_err(EcPrivateKeyError::Page)?;
            drawn.map_err(EcPrivateKeyError::Random)?;
            if let Ok(public) = EcPublicKey::of(curve, number.expose()) {
                return Ok(Self { number, public });
            }
        }
        Err(EcPrivateKeyError::Random(RandomError))
    }

    /// The key in DER: PKCS#8, for P-256 also a bare `ECPrivateKey` (RFC 5915).
    ///
    /// # Errors
    ///
    /// [`EcPrivateKeyError::Malformed`], [`EcPrivateKeyError::Page`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, EcPrivateKeyError> {
        with_scrubbed_stack(|| match der.strip_prefix(X25519_START) {
            Some(number) => Self::from_number(EcCurve::X25519, number),
            None => Self::from_p256_der(der).ok_or(EcPrivateKeyError::Malformed)?,
        })
    }

    fn from_p256_der(der: &[u8]) -> Option<Result<Self, EcPrivateKeyError>> {
        let key = PrivateKey::from_private_key_der(&ECDH_P256, der).ok()?;
        let number: EcPrivateKeyBin<'_> = key.as_be_bytes().ok()?;
        Some(Self::from_number(EcCurve::P256, number.as_ref()))
    }

    pub(super) fn from_number(curve: EcCurve, number: &[u8]) -> Result<Self, EcPrivateKeyError> {
        if number.len() != 32 {
            return Err(EcPrivateKeyError::Malformed);
        }
        let number = SecretPage::new(|page: &mut [u8; 32]| page.copy_from_slice(number))
            .map_err(EcPrivateKeyError::Page)?;
        match EcPublicKey::of(curve, number.expose()) {
            Ok(public) => Ok(Self { number, public }),
            Err(AgreementFailed) => Err(EcPrivateKeyError::Malformed),
        }
    }

    /// PKCS#8 in DER, which OpenSSL and JOSE tools read.
    #[must_use]
    pub fn to_pkcs8(&self) -> PrivateKeyDer {
        let number = self.number.expose();
        PrivateKeyDer(WipedVec::new(match self.public.curve() {
            EcCurve::X25519 => [X25519_START, number].concat(),
            EcCurve::P256 => [P256_START, number, P256_MIDDLE, self.public.point()].concat(),
        }))
    }

    /// The public half, which is what the server is told.
    #[must_use]
    pub const fn public_key(&self) -> &EcPublicKey {
        &self.public
    }

    /// The inverse of [`EcPublicKey::wrap_dek`].
    ///
    /// # Errors
    ///
    /// [`UnwrapFailed`] for any other length, an ephemeral key that is none of the curve or of low
    /// order, another key or a changed byte.
    pub fn unwrap_dek(&self, wrapped_dek: &[u8]) -> Result<RecipientSecret, UnwrapFailed> {
        let at = wrapped_dek.len().checked_sub(WRAPPED_DEK_BYTES).ok_or(UnwrapFailed)?;
        let (ephemeral, wrapped) = wrapped_dek.split_at_checked(at).ok_or(UnwrapFailed)?;
        let unwrap = |kek: &[u8; 32]| unwrap_key(kek, wrapped);
        let curve = self.public.curve();
        match with_scrubbed_stack(|| curve.with_agreed_kek(self.number.expose(), ephemeral, unwrap))
        {
            Ok(unwrapped) => unwrapped,
            Err(AgreementFailed) => Err(UnwrapFailed),
        }
    }
}

impl PrivateKeyDer {
    /// The bytes, for the file that keeps them.
    #[must_use]
    pub fn expose_for_writing(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EcPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EcPrivateKey")
    }
}

impl fmt::Debug for PrivateKeyDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyDer")
    }
}

impl fmt::Display for EcPrivateKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a PKCS#8 private key of P-256 or X25519 in DER"),
            Self::Random(error) => error.fmt(f),
            Self::Page(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EcPrivateKeyError {}
