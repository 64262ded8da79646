//! The half of a break-glass key that a server has: it wraps, and cannot unwrap.

use std::fmt;

use selkie_memory::with_scrubbed_stack;
use zeroize::Zeroizing;

use super::EcCurve;
use super::agreement::AgreementFailed;
use crate::kek::wrap_key;
use crate::{RecipientSecret, WrapFailed, os_random, sha256};

/// What a DER `SubjectPublicKeyInfo` of each curve begins with; the public key is the rest
/// (RFC 5480 §2, RFC 8410 §4). DER has one spelling, so there is nothing to parse.
const P256_SPKI: [u8; 26] = *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const X25519_SPKI: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00";

/// How often a number is drawn that might be no P-256 key: it is none once in 2^32 times.
const DRAWS: usize = 4;

/// The public half of an elliptic-curve master key: wraps a DEK here, while only the holder of the
/// private half unwraps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcPublicKey {
    curve: EcCurve,
    spki_der: Box<[u8]>,
}

/// Why a public key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcPublicKeyError {
    /// Not a DER `SubjectPublicKeyInfo` of a P-256 (uncompressed) or X25519 key.
    Malformed,
    /// Not on the curve, or of low order, so that anyone could unwrap.
    Unusable,
}

impl EcCurve {
    pub(super) const fn spki_start(self) -> &'static [u8] {
        match self {
            Self::P256 => &P256_SPKI,
            Self::X25519 => &X25519_SPKI,
        }
    }
}

impl EcPublicKey {
    /// The key in a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`EcPublicKeyError`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, EcPublicKeyError> {
        let curve = Self::curve_of(der).ok_or(EcPublicKeyError::Malformed)?;
        let key = Self { curve, spki_der: der.into() };
        if key.point().len() != curve.public_bytes() {
            return Err(EcPublicKeyError::Malformed);
        }
        // Agreeing once checks all that there is to check; any private key will do.
        match curve.with_agreed_kek(&[1; 32], key.point(), |_| ()) {
            Ok(()) => Ok(key),
            Err(AgreementFailed) => Err(EcPublicKeyError::Unusable),
        }
    }

    /// The curve that `der` names, if it begins like a `SubjectPublicKeyInfo` of one.
    pub(crate) fn curve_of(der: &[u8]) -> Option<EcCurve> {
        EcCurve::ALL.into_iter().find(|curve| der.starts_with(curve.spki_start()))
    }

    /// The key of a private number.
    pub(super) fn of(curve: EcCurve, private: &[u8; 32]) -> Result<Self, AgreementFailed> {
        let point = with_scrubbed_stack(|| curve.public_of(private))?;
        Ok(Self { curve, spki_der: [curve.spki_start(), &point].concat().into() })
    }

    /// Its curve.
    #[must_use]
    pub const fn curve(&self) -> EcCurve {
        self.curve
    }

    /// The DER `SubjectPublicKeyInfo`; its SHA-256 is the fingerprint that is declared and pinned.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// SHA-256 of [`Self::spki_der`].
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.spki_der)
    }

    /// The uncompressed point (65 bytes) or the coordinate (32 bytes).
    pub(super) fn point(&self) -> &[u8] {
        self.spki_der.strip_prefix(self.curve.spki_start()).unwrap_or_default()
    }

    /// `ephemeral public key ‖ A256KW[kek](secret)`, where
    ///
    /// ```text
    /// kek = ConcatKDF-SHA-256(ECDH(ephemeral, this key), "ECDH-ES+A256KW", "", "", 256)
    /// ```
    ///
    /// as RFC 7518 §4.6 has it, without `apu` and `apv`. The ephemeral key is the operating system's
    /// randomness and is wiped.
    ///
    /// # Errors
    ///
    /// [`WrapFailed`].
    pub fn wrap_dek(&self, secret: &RecipientSecret) -> Result<Vec<u8>, WrapFailed> {
        let mut ephemeral = Zeroizing::new([0; 32]);
        for _ in 0..DRAWS {
            if os_random(&mut *ephemeral).is_err() {
                return Err(WrapFailed);
            }
            if let Ok(wrapped) = self.wrap_under(&ephemeral, secret) {
                return Ok(wrapped);
            }
        }
        Err(WrapFailed)
    }

    fn wrap_under(
        &self,
        ephemeral: &[u8; 32],
        secret: &RecipientSecret,
    ) -> Result<Vec<u8>, AgreementFailed> {
        with_scrubbed_stack(|| {
            let mut wrapped = self.curve.public_of(ephemeral)?;
            let point = self.point();
            let key = self.curve.with_agreed_kek(ephemeral, point, |kek| wrap_key(kek, secret))?;
            wrapped.extend_from_slice(&key);
            Ok(wrapped)
        })
    }
}

impl fmt::Display for EcPublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a P-256 or X25519 public key in DER (SubjectPublicKeyInfo)",
            Self::Unusable => "the public key is not on its curve, or of low order",
        })
    }
}

impl std::error::Error for EcPublicKeyError {}
