//! Key material: made when first needed, or imported.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

/// What kind of key it is, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RSA with this many bits.
    Rsa(u16),
    /// AES-256.
    Aes,
}

/// The material of one key version.
pub(crate) struct Material {
    kind: Kind,
    made: OnceLock<Option<Made>>,
}

/// Material that exists.
pub(crate) enum Made {
    Rsa(Box<RsaKey>),
    Aes([u8; 32]),
}

/// An RSA key, ready for each of its uses.
pub(crate) struct RsaKey {
    pub(crate) signing: KeyPair,
    pub(crate) oaep: OaepPrivateDecryptingKey,
    pub(crate) oaep_public: OaepPublicEncryptingKey,
    pub(crate) pkcs1: Pkcs1PrivateDecryptingKey,
    pub(crate) pkcs1_public: Pkcs1PublicEncryptingKey,
    pub(crate) n: String,
    pub(crate) e: String,
    pkcs8: Vec<u8>,
}

/// Why imported material was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MaterialError {
    #[error("is not a private key in PEM")]
    Pem,
    #[error("is not an RSA private key of 2048, 3072 or 4096 bits")]
    Rsa,
    #[error("lacks a field of a private JWK, or one is not base64url")]
    Jwk,
    #[error("is not a symmetric key of 32 bytes")]
    Aes,
}

/// A private key as a JWK; what else Key Vault allows in it is ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PrivateJwk {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kty: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_ops: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    q: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dq: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qi: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) k: Option<String>,
}

impl Material {
    /// Material that is made when it is first used.
    pub(crate) fn later(kind: Kind) -> Self {
        Self { kind, made: OnceLock::new() }
    }

    pub(crate) fn from_pem(text: &str) -> Result<Self, MaterialError> {
        let der =
            PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_e| MaterialError::Pem)?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(MaterialError::Rsa),
        };
        Self::from_pair(pair.map_err(|_e| MaterialError::Rsa)?)
    }

    pub(crate) fn from_jwk(jwk: &PrivateJwk) -> Result<Self, MaterialError> {
        if let Some(k) = &jwk.k {
            let bytes = decode(Some(k))?;
            let key = bytes.try_into().map_err(|_e| MaterialError::Aes)?;
            return Ok(Self { kind: Kind::Aes, made: OnceLock::from(Some(Made::Aes(key))) });
        }
        let pair = KeyPair::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents {
                n: decode(jwk.n.as_ref())?,
                e: decode(jwk.e.as_ref())?,
            },
            d: decode(jwk.d.as_ref())?,
            p: decode(jwk.p.as_ref())?,
            q: decode(jwk.q.as_ref())?,
            dP: decode(jwk.dp.as_ref())?,
            dQ: decode(jwk.dq.as_ref())?,
            qInv: decode(jwk.qi.as_ref())?,
        });
        Self::from_pair(pair.map_err(|_e| MaterialError::Rsa)?)
    }

    fn from_pair(pair: KeyPair) -> Result<Self, MaterialError> {
        let bits = match pair.public_modulus_len() {
            256 => 2048,
            384 => 3072,
            512 => 4096,
            _ => return Err(MaterialError::Rsa),
        };
        let key = RsaKey::new(pair).ok_or(MaterialError::Rsa)?;
        let made = OnceLock::from(Some(Made::Rsa(Box::new(key))));
        Ok(Self { kind: Kind::Rsa(bits), made })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is there already, so that asking for it is cheap.
    pub(crate) fn is_made(&self) -> bool {
        self.made.get().is_some()
    }

    /// The material, made now if it was not: up to seconds. `None` if it cannot be made.
    pub(crate) fn get(&self) -> Option<&Made> {
        self.made.get_or_init(|| make(self.kind)).as_ref()
    }

    /// The private key as it stands in a vaults file; `None` if it was never needed.
    pub(crate) fn export(&self) -> Option<Exported> {
        match self.made.get()?.as_ref()? {
            Made::Rsa(key) => Some(Exported::Pem(pem(&key.pkcs8))),
            Made::Aes(key) => {
                let k = Some(URL_SAFE_NO_PAD.encode(key));
                Some(Exported::Jwk(Box::new(PrivateJwk { k, ..PrivateJwk::default() })))
            }
        }
    }
}

/// A private key as text.
pub(crate) enum Exported {
    Pem(String),
    Jwk(Box<PrivateJwk>),
}

impl RsaKey {
    fn new(signing: KeyPair) -> Option<Self> {
        let der: Pkcs8V1Der<'_> = signing.as_der().ok()?;
        let pkcs8 = der.as_ref().to_vec();
        let private = PrivateDecryptingKey::from_pkcs8(&pkcs8).ok()?;
        let public = private.public_key();
        let (n, e) = numbers(signing.public_key().as_ref())?;
        Some(Self {
            n: URL_SAFE_NO_PAD.encode(n),
            e: URL_SAFE_NO_PAD.encode(e),
            oaep: OaepPrivateDecryptingKey::new(private.clone()).ok()?,
            oaep_public: OaepPublicEncryptingKey::new(public.clone()).ok()?,
            pkcs1: Pkcs1PrivateDecryptingKey::new(private).ok()?,
            pkcs1_public: Pkcs1PublicEncryptingKey::new(public).ok()?,
            signing,
            pkcs8,
        })
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 A.1.1): two INTEGERs in a SEQUENCE.
pub(crate) fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, _) = element(der, 0x30)?;
    let (n, rest) = element(content, 0x02)?;
    let (e, _) = element(rest, 0x02)?;
    Some((n.strip_prefix(&[0]).unwrap_or(n), e.strip_prefix(&[0]).unwrap_or(e)))
}

/// The content of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

fn make(kind: Kind) -> Option<Made> {
    let size = match kind {
        Kind::Rsa(3072) => KeySize::Rsa3072,
        Kind::Rsa(4096) => KeySize::Rsa4096,
        Kind::Rsa(_) => KeySize::Rsa2048,
        Kind::Aes => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).ok()?;
            return Some(Made::Aes(key));
        }
    };
    let pair = KeyPair::generate(size).ok()?;
    RsaKey::new(pair).map(|key| Made::Rsa(Box::new(key)))
}

fn decode(text: Option<&String>) -> Result<Vec<u8>, MaterialError> {
    let text = text.ok_or(MaterialError::Jwk)?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_e| MaterialError::Jwk)
}

fn pem(pkcs8: &[u8]) -> String {
    let base64 = STANDARD.encode(pkcs8);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (i, c) in base64.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").field("kind", &self.kind).finish_non_exhaustive()
    }
}
