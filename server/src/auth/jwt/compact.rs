//! A token's text taken apart. Of its claims one can be looked at before anything is proven
//! ([`Compact::unproven`]); all come out as [`Claims`](super::Claims) only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, UnknownAlgorithm};
use super::strict;

/// The largest token that is read; those of Entra with 200 groups have 12 KiB.
pub const TOKEN_LIMIT: usize = 32 * 1024;

/// A token taken apart: nothing in it is proven yet.
#[derive(Debug)]
pub struct Compact<'a> {
    /// How it says that it is signed.
    pub algorithm: Algorithm,
    /// The key that it says it is signed with.
    pub key_id: Option<String>,
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    pub(super) claims: Map<String, Value>,
}

/// Why a text is no token that could be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`TOKEN_LIMIT`] bytes.
    #[error("token is too large")]
    TooLarge,
    /// It is not three parts of base64url, the first two of them JSON objects without a member that
    /// is named twice.
    #[error("malformed token")]
    NotCompact,
    /// `alg` is missing, or not one of ours.
    #[error(transparent)]
    Algorithm(UnknownAlgorithm),
    /// The header asks for an extension, and there are none here (RFC 7515 section 4.1.11).
    #[error("critical header parameters are not supported")]
    Critical,
}

impl<'a> Compact<'a> {
    /// Takes `token` apart.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn parse(token: &'a str) -> Result<Self, Malformed> {
        if token.len() > TOKEN_LIMIT {
            return Err(Malformed::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Malformed::NotCompact)?;
        let (header, claims) = signed.split_once('.').ok_or(Malformed::NotCompact)?;
        if claims.contains('.') {
            return Err(Malformed::NotCompact);
        }
        let header = part(header)?;
        if header.contains_key("crit") {
            return Err(Malformed::Critical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = algorithm.parse().map_err(Malformed::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Malformed::NotCompact),
        };
        Ok(Self { algorithm, key_id, signed, signature, claims: part(claims)? })
    }

    /// A claim of which nothing is proven, to find the key that may prove it.
    #[must_use]
    pub fn unproven(&self, claim: &str) -> Option<&Value> {
        self.claims.get(claim)
    }
}

fn part(text: &str) -> Result<Map<String, Value>, Malformed> {
    let json = URL_SAFE_NO_PAD.decode(text).or(Err(Malformed::NotCompact))?;
    strict::object(&json).or(Err(Malformed::NotCompact))
}
