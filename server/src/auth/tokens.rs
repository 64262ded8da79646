//! The tokens made through the API and by logins.

mod admission;
mod batch;
mod clock;
mod given_type;
mod index;
mod keeping;
mod lifetime;
mod metadata;
mod record;
mod renewal;
mod revocation;
mod role;
mod seal_use;
mod storm;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use selkie_access::{ManyPolicies, TokenHash, TokenText, draw_accessor};
use selkie_crypto::{Random, RandomError, SealRecordError, StateKey};
use tokio::sync::Notify;

pub use self::admission::Admitted;
pub(super) use self::admission::Founder;
pub(crate) use self::admission::{Shown, Sources};
use self::clock::TokenClock;
pub use self::given_type::GivenTokenType;
pub use self::lifetime::{LeaseLimits, LifetimeError, LifetimeWarning};
pub use self::metadata::LargeMetadata;
pub use self::record::TokenId;
pub use self::renewal::{RenewError, Renewed};
pub use self::role::{RoleName, TokenRole};
use self::seal_use::SealUses;
pub use self::seal_use::TokenInUse;
pub(crate) use self::storm::{RenewalStorms, Renewer};
use super::methods::LoginIdentity;
use super::policies::PolicySet;
use crate::clock::Clock;
use crate::state::records::{Batch, Mirror, Mirrors, Records, RecordsError, Unreadable};

/// The longest line of descent; each request of a token looks at all of its ancestors.
const MOST_ANCESTORS: usize = 64;
/// How often a change is made anew because somebody else was first.
const ATTEMPTS: u32 = 16;

/// All tokens that are not declared.
pub struct Tokens {
    clock: TokenClock,
    random: Arc<Random>,
    limits: RwLock<LeaseLimits>,
    mirror: Arc<Mirror<Token>>,
    roles: Arc<Mirror<TokenRole>>,
    storms: RenewalStorms,
    opened: batch::Opened,
    uses: SealUses,
    /// Until when the store is left alone by renewals, in seconds since 1970.
    store_failed: AtomicU64,
    sweep_now: Notify,
}

/// A token, as it is kept: its text is known to whoever has it, and to nobody here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// 24 characters of base62; empty for a batch token.
    pub accessor: String,
    /// What it was made to be; its lifetime is the one that it got.
    pub made: NewToken,
    /// When, in seconds since 1970.
    pub created: u64,
    /// When, in seconds of the token clock, which stands while nobody could renew
    /// ([`Tokens::remaining`]).
    pub issued: u64,
    /// When it ends unless it is renewed, in seconds of the token clock; `None`: never.
    pub expires: Option<u64>,
    /// When it was last renewed, in seconds since 1970.
    pub renewed: Option<u64>,
    /// How many requests it is good for still; of no meaning where `made.num_uses` is 0.
    pub uses_left: u32,
}

/// What a token is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Vault's `display_name`: `token-...`, or `<mount>-<alias>` after a login.
    pub display_name: String,
    /// Its policies in order, `default` among them if it has that.
    pub policies: PolicySet,
    /// `meta`, or what the login knew.
    pub meta: BTreeMap<String, String>,
    /// The path that made it, as `auth/token/create`.
    pub path: String,
    /// Whether it is kept or carries all it is in itself.
    pub kind: TokenKind,
    /// Whom it dies with; `None` for an orphan.
    pub parent: Option<Parent>,
    /// How long it lives at first; `None`: as long as the configuration says, or, for root, for
    /// ever.
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
    /// Who logged in for it; `None` for a token that was not got by a login.
    pub login: Option<Box<LoginIdentity>>,
}

impl NewToken {
    /// Of who logged in for it; empty for a token that was not got by a login.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        self.login.as_ref().map_or("", |login| &login.entity_id)
    }
}

/// What a token dies with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// A token of ours.
    Token(TokenId),
    /// A client that is declared with the hash of its token.
    Declared(TokenHash),
}

/// Vault's token types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Kept in the store; renewed and revoked there.
    Service,
    /// Kept nowhere, not renewable, not revocable by itself.
    Batch,
}

impl TokenKind {
    /// Vault's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

/// A token that was just made: the only time that its text is known here.
#[derive(Debug)]
pub struct Issued {
    /// For the reply.
    pub text: TokenText,
    /// What is kept. `made.ttl` is what the reply's `lease_duration` says; `None`: for ever.
    pub token: Arc<Token>,
    /// What the reply should warn of.
    pub warnings: Vec<LifetimeWarning>,
}

/// Why there is no token, or it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be kept or looked up.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The parent has died.
    #[error("the parent token is gone")]
    ParentGone,
    /// The parent has too many ancestors.
    #[error("a token has at most {MOST_ANCESTORS} ancestors")]
    TooDeep,
    /// There is nothing to live for.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// A token has the text already that was chosen for it.
    #[error("there is a token with this text")]
    Duplicate,
    /// It would have more policies than an audit line tells.
    #[error(transparent)]
    ManyPolicies(#[from] ManyPolicies),
    /// A batch token carries all it is, and that is too much.
    #[error("the token would be longer than a header may be")]
    TooLong,
}

impl From<Unreadable> for TokenError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Records(unreadable.into())
    }
}

impl From<SealRecordError> for TokenError {
    fn from(error: SealRecordError) -> Self {
        match error {
            SealRecordError::Random(error) => Self::Random(error),
            SealRecordError::TooLong => Self::TooLong,
        }
    }
}

impl Tokens {
    /// No tokens, until a store is attached.
    pub(super) fn new(clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self {
            clock: TokenClock::new(clock),
            random,
            limits: RwLock::default(),
            mirror: Arc::default(),
            roles: Arc::default(),
            storms: RenewalStorms::default(),
            opened: batch::Opened::default(),
            uses: SealUses::default(),
            store_failed: AtomicU64::new(0),
            sweep_now: Notify::new(),
        }
    }

    /// What follows the store.
    pub(super) fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        vec![Arc::clone(&self.mirror) as _, Arc::clone(&self.roles) as _, self.clock.mirror()]
    }

    /// The token roles.
    pub(crate) const fn roles(&self) -> &Arc<Mirror<TokenRole>> {
        &self.roles
    }

    /// Removes what has ended without waiting for the next time.
    pub(crate) fn sweep_soon(&self) {
        self.sweep_now.notify_one();
    }

    /// For how long marks have been kept and none has been heard of; zero while they come.
    pub(super) fn unheard_for(&self, records: &Records) -> Duration {
        self.clock.unheard_for(records)
    }

    /// The renewals that fail.
    pub(crate) const fn storms(&self) -> &RenewalStorms {
        &self.storms
    }

    /// The limits of all lifetimes, as of now.
    #[must_use]
    pub fn limits(&self) -> LeaseLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other limits, for the lifetimes that begin from now on.
    pub(crate) fn set_limits(&self, limits: LeaseLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// How long `token` lives if it is not renewed, apart from what befalls its ancestors; `None`:
    /// for ever. Zero: it is dead.
    #[must_use]
    pub fn remaining(&self, token: &Token) -> Option<Duration> {
        let mark = self.clock.mark();
        let ends = mark.end_of(token)?;
        Some(Duration::from_secs(ends.saturating_sub(self.clock.now_by(&mark))))
    }

    /// What the token clock says, once it has begun.
    pub(super) fn time(&self) -> Option<u64> {
        self.clock.has_begun().then(|| self.clock.now())
    }

    /// Makes the token that is wanted.
    pub(super) async fn create(
        &self,
        records: &Records,
        key: &StateKey,
        mut new: NewToken,
        text: Option<TokenText>,
    ) -> Result<Issued, TokenError> {
        ManyPolicies::check(&*new.policies)?;
        let warnings = lifetime::settle(&mut new, self.limits())?;
        let mut token = Token::begin(new, self.clock.wall(), self.clock.now());
        if token.made.kind == TokenKind::Batch {
            self.require_parent(token.made.parent, &mut Batch::default())?;
            let text = batch::seal(key, &token, &*self.random)?;
            let token = Arc::new(token);
            self.opened.hold(TokenId::of(key, &text), &token);
            return Ok(Issued { text, token, warnings });
        }
        token.accessor = draw_accessor(&*self.random)?;
        let text = match text {
            Some(chosen) => chosen,
            None => TokenText::draw("hvs.", &*self.random)?,
        };
        let id = TokenId::of(key, &text);
        for _ in 0..ATTEMPTS {
            let mut batch = Batch::default();
            self.require_parent(token.made.parent, &mut batch)?;
            batch.put(&id, &token, None).map_err(RecordsError::from)?;
            match records.commit(&batch).await {
                Ok(()) => return Ok(Issued { text, token: Arc::new(token), warnings }),
                Err(RecordsError::Conflict) if self.mirror.get(&id)?.is_some() => {
                    return Err(TokenError::Duplicate);
                }
                // The parent was renewed or revoked meanwhile.
                Err(RecordsError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RecordsError::Conflict.into())
    }

    /// Makes `batch` depend on the parent, which must live.
    fn require_parent(&self, parent: Option<Parent>, batch: &mut Batch) -> Result<(), TokenError> {
        let Some(Parent::Token(id)) = parent else { return Ok(()) };
        let parent = self.mirror.get(&id)?.ok_or(TokenError::ParentGone)?;
        if self.line_of(&parent.value)?.len() >= MOST_ANCESTORS {
            return Err(TokenError::TooDeep);
        }
        batch.require::<Token>(&id, parent.revision).map_err(RecordsError::from)?;
        Ok(())
    }

    /// The token and its ancestors, all of which live.
    fn line_of(&self, token: &Arc<Token>) -> Result<Vec<Arc<Token>>, TokenError> {
        let mark = self.clock.mark();
        let now = self.clock.now_by(&mark);
        let mut line: Vec<Arc<Token>> = Vec::new();
        let mut next = Some(Arc::clone(token));
        while let Some(one) = next {
            // Of a longer line only a store that we did not write could tell.
            if mark.is_over(&one, now) || line.len() > MOST_ANCESTORS {
                return Err(TokenError::ParentGone);
            }
            next = match one.made.parent {
                Some(Parent::Token(id)) => {
                    let parent = self.mirror.get(&id)?.ok_or(TokenError::ParentGone)?;
                    Some(parent.value)
                }
                Some(Parent::Declared(_)) | None => None,
            };
            line.push(one);
        }
        Ok(line)
    }
}

impl Token {
    /// What `new` is when it begins; its lifetime is settled.
    fn begin(new: NewToken, created: u64, now: u64) -> Self {
        Self {
            accessor: String::new(),
            created,
            issued: now,
            expires: new.ttl.map(|ttl| now.saturating_add(ttl.as_secs())),
            renewed: None,
            uses_left: new.num_uses,
            made: new,
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
