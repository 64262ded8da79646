//! Public keys of providers. Each is for the algorithms of its own kind alone, whatever a token
//! asks for.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use serde_json::Value;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::{Algorithm, KeyKind};
use super::compact::Compact;
use super::strict;

/// The most keys of one set that are kept.
const SET_LIMIT: usize = 64;

/// A public key that tokens are verified with.
#[derive(Clone)]
pub struct VerificationKey {
    id: Option<String>,
    kind: KeyKind,
    /// The one algorithm that the set allows for it.
    only: Option<Algorithm>,
    key: DecodingKey,
}

/// It is no public key that could verify a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key or certificate in PEM, RSA, P-256, P-384 or Ed25519")]
pub struct UnusableKey;

/// What a provider publishes is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON Web Key set")]
pub struct NotAKeySet;

impl VerificationKey {
    /// The key in `pem`: a `PUBLIC KEY`, or a `CERTIFICATE`, of which the key alone counts.
    ///
    /// # Errors
    ///
    /// [`UnusableKey`].
    pub fn from_pem(pem: &str) -> Result<Self, UnusableKey> {
        let (kind, der) =
            <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).or(Err(UnusableKey))?;
        match kind {
            SectionKind::PublicKey => {
                let (_, info) = SubjectPublicKeyInfo::from_der(&der).or(Err(UnusableKey))?;
                Self::of(&info)
            }
            SectionKind::Certificate => {
                let (_, certificate) = X509Certificate::from_der(&der).or(Err(UnusableKey))?;
                Self::of(certificate.public_key())
            }
            _ => Err(UnusableKey),
        }
    }

    fn of(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, UnusableKey> {
        let bits = info.subject_public_key.data.as_ref();
        let algorithm = &info.algorithm.algorithm;
        let (kind, key) = if *algorithm == OID_PKCS1_RSAENCRYPTION {
            (KeyKind::Rsa, DecodingKey::from_rsa_der(bits))
        } else if *algorithm == OID_SIG_ED25519 {
            (KeyKind::Ed25519, DecodingKey::from_ed_der(bits))
        } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            (curve(info).ok_or(UnusableKey)?, DecodingKey::from_ec_der(bits))
        } else {
            return Err(UnusableKey);
        };
        Ok(Self { id: None, kind, only: None, key })
    }

    /// The keys of the set that `json` is, as far as they can verify tokens: of the others a set
    /// may hold any number (RFC 7517 section 5).
    ///
    /// # Errors
    ///
    /// [`NotAKeySet`].
    pub fn from_set(json: &[u8]) -> Result<Vec<Self>, NotAKeySet> {
        let mut set = strict::object(json).or(Err(NotAKeySet))?;
        let Some(Value::Array(keys)) = set.remove("keys") else { return Err(NotAKeySet) };
        // serde would take a list for an object, its items for the members.
        let read = |key: Value| {
            key.is_object().then(|| Self::from_jwk(&serde_json::from_value(key).ok()?)).flatten()
        };
        Ok(keys.into_iter().filter_map(read).take(SET_LIMIT).collect())
    }

    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let only = match &jwk.alg {
            Some(alg) => Some(alg.parse().ok()?),
            None => None,
        };
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let (kind, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
                (KeyKind::Rsa, DecodingKey::from_rsa_raw_components(&n, &e))
            }
            ("EC", Some("P-256")) => (KeyKind::P256, point(&bytes(&jwk.x)?, &bytes(&jwk.y)?)),
            ("EC", Some("P-384")) => (KeyKind::P384, point(&bytes(&jwk.x)?, &bytes(&jwk.y)?)),
            ("OKP", Some("Ed25519")) => {
                (KeyKind::Ed25519, DecodingKey::from_ed_der(&bytes(&jwk.x)?))
            }
            _ => return None,
        };
        Some(Self { id: jwk.kid.clone(), kind, only, key })
    }

    /// Whether it is the key that the token names; a token or a key without a name fits any.
    #[must_use]
    pub fn may_have_signed(&self, token: &Compact<'_>) -> bool {
        let named = match (&self.id, &token.key_id) {
            (Some(mine), Some(named)) => mine == named,
            _ => true,
        };
        let allowed = self.only.is_none_or(|only| only == token.algorithm);
        named && allowed && self.kind == token.algorithm.key_kind()
    }

    /// Whether it has signed the token.
    pub(super) fn has_signed(&self, token: &Compact<'_>) -> bool {
        // First, or a stranger's token would cost as many verifications as there are keys.
        if !self.may_have_signed(token) {
            return false;
        }
        let message = token.signed.as_bytes();
        let algorithm = token.algorithm.in_library();
        let verified = jsonwebtoken::crypto::verify(token.signature, message, &self.key, algorithm);
        verified.unwrap_or(false)
    }

    /// What the set calls it.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey").field("id", &self.id).field("kind", &self.kind).finish()
    }
}

/// The members of RFC 7517 and 7518 that make a public key.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The uncompressed form of SEC 1.
fn point(x: &[u8], y: &[u8]) -> DecodingKey {
    DecodingKey::from_ec_der(&[&[4], x, y].concat())
}

fn curve(info: &SubjectPublicKeyInfo<'_>) -> Option<KeyKind> {
    let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
    if curve == OID_EC_P256 {
        Some(KeyKind::P256)
    } else if curve == OID_NIST_EC_P384 {
        Some(KeyKind::P384)
    } else {
        None
    }
}
