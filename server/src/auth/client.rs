//! Who asks, made anew for each request, so that what was revoked meanwhile does not live on in it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selkie_access::{Acl, PolicyName};
use selkie_certificate::{Fingerprint, Malformed};
use selkie_kms::ClientTag;
use selkie_listener::Lapsed;
use selkie_storage::StoreError;

use super::policies::PolicySet;
use super::tokens::Token;

/// Who a request is from. It is made anew with each request, so it holds nothing that it can find
/// where it comes from.
#[derive(Clone, Debug)]
pub struct Client {
    /// What its policies allow.
    pub acl: Arc<Acl>,
    /// Tells it from other clients where a KMS is shared.
    pub tag: ClientTag,
    /// What it is known by.
    pub origin: Origin,
}

/// What a client is known by.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A token whose hash is declared.
    Declared {
        /// As what.
        who: Arc<Declaration>,
        /// What a renewal is worth; without it the token never expires and cannot be renewed.
        period: Option<Duration>,
    },
    /// A token that was made through the API or by a login.
    Token(Arc<Token>),
    /// A certificate alone, which names a declared client.
    Certificate {
        /// As what.
        who: Arc<Declaration>,
        /// The SHA-256 of the certificate.
        fingerprint: Fingerprint,
        /// From when its end is near, in seconds since 1970.
        warn_from: u64,
        /// Until when it is good, in seconds since 1970.
        not_after: u64,
    },
}

/// What is declared of a client, and what its certificate adds.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its name.
    pub name: String,
    /// Names its token without being one; the same on every replica. Empty without a token.
    pub accessor: String,
    /// Its policies in order.
    pub policies: PolicySet,
    /// What its certificate says, as `meta` of a token would.
    pub metadata: BTreeMap<String, String>,
    /// The same for the templates in policies.
    pub certificate: BTreeMap<String, String>,
}

/// Who it is that asks, as far as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownClient {
    /// As of [`Client::name`].
    pub name: String,
    /// As of [`Client::accessor`].
    pub accessor: String,
}

/// Why nobody is known to ask: for the log alone, the client gets one answer for all.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotAuthenticated {
    /// The request has no token, or none that could be one.
    #[error("no token")]
    NoToken,
    /// The certificate of the connection would not pass a handshake any more.
    #[error(transparent)]
    Lapsed(#[from] Lapsed),
    /// The certificate passed the handshake, but does not say whose it is.
    #[error("no token, and the client certificate cannot be read: {0}")]
    UnreadCertificate(Malformed),
    /// No client is declared by this certificate.
    #[error("no token, and no client is declared by the certificate {0}")]
    UnknownCertificate(Fingerprint),
    /// More than one client is declared by this certificate.
    #[error("no token, and the certificate is that of several clients: {}", .0.join(", "))]
    AmbiguousCertificate(Vec<String>),
    /// No client has this token.
    #[error("unknown token")]
    UnknownToken,
    /// The token has run out, or what it came from has gone.
    #[error("the token has expired, or its parent or the mount that it was got at is gone")]
    Expired(KnownClient),
    /// The client's token must not be used from where it was.
    #[error("the client's token was used from outside its token_bound_cidrs")]
    OutsideBoundCidrs(KnownClient),
    /// The client's token must come with a certificate, and did not.
    #[error("the client's token came without the certificate that it is bound to")]
    WithoutCertificate(KnownClient),
    /// Nobody can tell while the state is sealed.
    #[error("the token cannot be looked up while the state is sealed")]
    StateSealed,
    /// Nobody can tell while the store is away; what it said, if anything.
    #[error("the token cannot be looked up while the store is away")]
    StoreAway(#[source] Option<StoreWords>),
    /// Nobody has asked the store for the token: strangers at this place have asked too often.
    #[error("the token was not looked up: too many unknown tokens come from this network")]
    NotLookedUp,
    /// Nobody can tell whether the token was revoked since the store was last heard of.
    #[error("nothing was heard of the store for longer than the token is believed without it")]
    Stale(KnownClient),
    /// The record of the token cannot be read.
    #[error("the record of the token cannot be read")]
    Unreadable,
    /// The record of the token cannot be written.
    #[error("the record of the token is too large for the store")]
    TooLarge,
}

/// What the store said, which is equal to itself alone.
#[derive(Clone, Debug)]
pub struct StoreWords(Arc<StoreError>);

impl From<StoreError> for StoreWords {
    fn from(error: StoreError) -> Self {
        Self(Arc::new(error))
    }
}

impl PartialEq for StoreWords {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Display for StoreWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for StoreWords {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Client {
    /// Who it is, for the log.
    #[must_use]
    pub fn known(&self) -> KnownClient {
        KnownClient { name: self.name().to_owned(), accessor: self.accessor().to_owned() }
    }

    /// The declared name, or the display name of the token.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.origin {
            Origin::Token(token) => &token.made.display_name,
            Origin::Declared { who, .. } | Origin::Certificate { who, .. } => &who.name,
        }
    }

    /// Whose share of what is kept for all is used: the same after another login, by the same alias
    /// at the same mount, so that nobody gets a second one by it.
    #[must_use]
    pub fn owner(&self) -> String {
        let login = match &self.origin {
            Origin::Token(token) => token.made.login.as_ref(),
            Origin::Declared { .. } | Origin::Certificate { .. } => None,
        };
        match login {
            Some(login) => login.entity_id.clone(),
            None => format!("{:016x}", self.tag.number()),
        }
    }

    /// Names its token without being one; the same on every replica. Empty without a token.
    #[must_use]
    pub fn accessor(&self) -> &str {
        match &self.origin {
            Origin::Token(token) => &token.accessor,
            Origin::Declared { who, .. } | Origin::Certificate { who, .. } => &who.accessor,
        }
    }

    /// Its policies in order, `default` among them unless it was made without.
    #[must_use]
    pub fn policies(&self) -> &PolicySet {
        match &self.origin {
            Origin::Token(token) => &token.made.policies,
            Origin::Declared { who, .. } | Origin::Certificate { who, .. } => &who.policies,
        }
    }

    /// What the login knew of it, as in `meta` of its token.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        match &self.origin {
            Origin::Token(token) => &token.made.meta,
            Origin::Declared { who, .. } | Origin::Certificate { who, .. } => &who.metadata,
        }
    }

    /// Whether the client may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.policies().iter().any(PolicyName::is_root)
    }
}
