//! A token as it is kept: under a keyed hash of its text, which is nowhere.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use selkie_access::{TokenHash, TokenText};
use selkie_crypto::StateKey;
use selkie_storage::RecordValue;
use serde::{Deserialize, Serialize};

use super::index::TokenIndex;
use super::{NewToken, Parent, Token, TokenKind};
use crate::auth::methods::{LoginIdentity, MountRecord};
use crate::auth::policies::ManagedPolicy;
use crate::state::records::{self, Kept, TooLarge};

/// The keyed hash of a token's text, by which it is kept. It is public: without the state key it
/// says nothing about the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; 32]);

impl TokenId {
    /// Under which name the token of this text is kept.
    pub(in crate::auth) fn of(key: &StateKey, text: &TokenText) -> Self {
        Self(key.token_hash(text.expose_for_hash()))
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let hash: TokenHash = text.parse().ok()?;
        // One token has one place.
        (hash.to_string() == text).then_some(Self(*hash.as_bytes()))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TokenHash::new(self.0).fmt(f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// The record `token/<id>`, as JSON; also what is sealed into a batch token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    accessor: String,
    display_name: String,
    policies: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    path: String,
    #[serde(default, skip_serializing_if = "is_false")]
    batch: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    declared_parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    explicit_max_ttl: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    period: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    renewable: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    num_uses: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    uses_left: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bound_cidrs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound_certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<Box<LoginIdentity>>,
    created: u64,
    issued: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewed: Option<u64>,
}

const FORMAT: u32 = 1;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Written {
    fn of(token: &Token) -> Self {
        let made = &token.made;
        let (parent, declared_parent) = match made.parent {
            Some(Parent::Token(id)) => (Some(id.to_string()), None),
            Some(Parent::Declared(hash)) => (None, Some(hash.to_string())),
            None => (None, None),
        };
        Self {
            format: FORMAT,
            accessor: token.accessor.clone(),
            display_name: made.display_name.clone(),
            policies: made.policies.iter().map(ToString::to_string).collect(),
            meta: made.meta.clone(),
            path: made.path.clone(),
            batch: made.kind == TokenKind::Batch,
            parent,
            declared_parent,
            ttl: seconds(made.ttl),
            explicit_max_ttl: seconds(made.explicit_max_ttl),
            period: seconds(made.period),
            renewable: made.renewable,
            num_uses: made.num_uses,
            uses_left: token.uses_left,
            bound_cidrs: made.bound_cidrs.iter().map(ToString::to_string).collect(),
            role: made.role.clone(),
            bound_certificate: made.bound_certificate.map(|hash| TokenHash::new(hash).to_string()),
            login: made.login.clone(),
            created: token.created,
            issued: token.issued,
            expires: token.expires,
            renewed: token.renewed,
        }
    }

    fn into_token(self) -> Option<Token> {
        let parent = match (self.parent, self.declared_parent) {
            (Some(id), None) => Some(Parent::Token(TokenId::parse(&id)?)),
            (None, Some(hash)) => Some(Parent::Declared(hash.parse().ok()?)),
            (None, None) => None,
            (Some(_), Some(_)) => return None,
        };
        let bound_certificate = match self.bound_certificate {
            Some(hash) => Some(*hash.parse::<TokenHash>().ok()?.as_bytes()),
            None => None,
        };
        let networks = self.bound_cidrs.iter().map(|one| one.parse().ok());
        let made = NewToken {
            display_name: self.display_name,
            policies: self.policies.iter().map(|one| one.parse().ok()).collect::<Option<_>>()?,
            meta: self.meta,
            path: self.path,
            kind: if self.batch { TokenKind::Batch } else { TokenKind::Service },
            parent,
            ttl: self.ttl.map(Duration::from_secs),
            explicit_max_ttl: self.explicit_max_ttl.map(Duration::from_secs),
            period: self.period.map(Duration::from_secs),
            renewable: self.renewable,
            num_uses: self.num_uses,
            bound_cidrs: networks.collect::<Option<_>>()?,
            role: self.role,
            bound_certificate,
            login: self.login,
        };
        Some(Token {
            accessor: self.accessor,
            made,
            created: self.created,
            issued: self.issued,
            expires: self.expires,
            renewed: self.renewed,
            uses_left: self.uses_left,
        })
    }
}

fn seconds(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| duration.as_secs())
}

/// A token as JSON.
pub(super) fn to_json(token: &Token) -> Result<Vec<u8>, TooLarge> {
    records::to_json(&Written::of(token))
}

/// The inverse of [`to_json`].
pub(super) fn from_json(json: &[u8]) -> Option<Token> {
    let written: Written = serde_json::from_slice(json).ok()?;
    if written.format == FORMAT { written.into_token() } else { None }
}

impl Kept for Token {
    const ROOT: &'static str = "token";
    type Name = TokenId;
    type Index = TokenIndex;
    /// A policy may deny, and a mount that is gone takes its tokens along.
    const JUDGED_BY: &'static [&'static str] = &[ManagedPolicy::ROOT, MountRecord::ROOT];

    fn place(name: &TokenId) -> String {
        name.to_string()
    }

    fn name(place: &str) -> Option<TokenId> {
        TokenId::parse(place)
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        records::to_record(&Written::of(self))
    }

    fn decode(_name: &TokenId, value: &RecordValue) -> Option<Self> {
        from_json(value.as_bytes()).filter(|token| token.made.kind == TokenKind::Service)
    }
}
