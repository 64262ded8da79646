//! The tokens made through the API and by logins.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use selkie_access::{PolicyName, TokenText};
use selkie_crypto::Random;

use crate::clock::Clock;
use crate::state::records::Mirrors;

/// All tokens that are not declared.
pub struct Tokens {
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
}

/// A token, as it is kept: its text is known to whoever has it, and to nobody here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// 24 characters of base62.
    pub accessor: String,
    /// What it was made to be.
    pub made: NewToken,
    /// When, in seconds since 1970.
    pub created: u64,
    /// When it ends unless it is renewed, in seconds since 1970; `None`: never.
    pub expires: Option<u64>,
}

/// What a token is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Vault's `display_name`: `token-...`, or `<mount>-<alias>` after a login.
    pub display_name: String,
    /// Its policies in order, `default` among them if it has that.
    pub policies: Vec<PolicyName>,
    /// `meta`, or what the login knew.
    pub meta: BTreeMap<String, String>,
    /// The path that made it, as `auth/token/create`.
    pub path: String,
    /// Whether it is kept or carries all it is in itself.
    pub kind: TokenKind,
    /// The hash of its parent, which it dies with; `None` for an orphan.
    pub parent: Option<[u8; 32]>,
    /// How long it lives at first; `None`: for ever, which only root may be.
    pub ttl: Option<Duration>,
    /// The most that renewals can make of it.
    pub explicit_max_ttl: Option<Duration>,
    /// What each renewal is worth.
    pub period: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// How many requests it is good for; 0: any number.
    pub num_uses: u32,
    /// Where it is good from; empty: from anywhere.
    pub bound_cidrs: Vec<IpNet>,
    /// The token role that it was made by.
    pub role: Option<String>,
    /// The SHA-256 of the client certificate that must come with it.
    pub bound_certificate: Option<[u8; 32]>,
}

/// Vault's token types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Kept in the store; renewed and revoked there.
    Service,
    /// Kept nowhere, not renewable, not revocable by itself.
    Batch,
}

/// A token that was just made: the only time that its text is known here.
#[derive(Debug)]
pub struct Issued {
    /// For the reply.
    pub text: TokenText,
    /// What is kept.
    pub token: Arc<Token>,
}

/// INTERIM until branch tokens is merged.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be kept or looked up.
    #[error(transparent)]
    Records(#[from] crate::state::records::RecordsError),
}

impl Tokens {
    /// No tokens, until a store is attached.
    pub(super) fn new(clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self { clock, random }
    }

    /// What follows the store.
    pub(super) fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        Vec::new()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}
