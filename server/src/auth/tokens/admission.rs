//! Whether a token that is shown is good, here and now.

use std::net::IpAddr;
use std::sync::Arc;

use selkie_access::{TokenHash, TokenText};
use selkie_crypto::{StateKey, sha256};
use tokio::time::timeout;

use super::batch::IsKnown;
use super::record::TokenId;
use super::{ATTEMPTS, MOST_ANCESTORS, Parent, Token, TokenKind, Tokens};
use crate::auth::address::is_within;
use crate::auth::methods::AuthTable;
use crate::auth::policies::PolicyTable;
use crate::auth::{Client, Clients, Credentials, KnownClient, NotAuthenticated};
use crate::look_budget::LOOK_PATIENCE;
use crate::state::records::{Batch, Current, Records, RecordsError, Unreadable};

/// A token, and what it is shown with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// Its text.
    pub(crate) text: &'a TokenText,
    /// What it came with.
    pub(crate) credentials: Credentials<'a>,
    /// What it may come from.
    pub(crate) sources: Sources<'a>,
}

/// What tokens come from that is not kept with them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    /// The declared clients, whose children go with the declaration.
    pub(crate) clients: &'a Clients,
    /// Where clients log in: what was got at a mount goes with it.
    pub(crate) mounts: AuthTable<'a>,
    /// What says what they may do.
    pub(crate) policies: PolicyTable<'a>,
}

/// What a token that lives came from in the end.
#[derive(Clone, Debug)]
pub(in crate::auth) enum Founder {
    /// The orphan at the head of its line, which may be the token itself: that of a login, or one that
    /// was made without a parent.
    Orphan(Arc<Token>),
    /// A declared client, by the hash of its token.
    Declared(TokenHash, Arc<Client>),
}

impl Founder {
    /// Whether it is this very one, as it was.
    pub(in crate::auth) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Orphan(one), Self::Orphan(other)) => Arc::ptr_eq(one, other),
            (Self::Declared(_, one), Self::Declared(_, other)) => Arc::ptr_eq(one, other),
            (Self::Orphan(_), Self::Declared(..)) | (Self::Declared(..), Self::Orphan(_)) => false,
        }
    }
}

/// Whether a token and all that it came from live.
enum Line {
    Lives(Founder),
    /// One of them has ended, or its mount is gone.
    Over,
    /// One of them is not held: it is gone, or was not heard of yet.
    Lacks(TokenId),
}

/// By how much the clocks of replicas and the watch of the store may be late together, in seconds.
const LATENESS: u64 = 60;
/// By how much the clocks of replicas may differ, in seconds.
const SKEW: u64 = 30;

/// A token that is good.
#[derive(Debug)]
pub struct Admitted {
    /// Its keyed hash.
    pub id: TokenId,
    /// What it is.
    pub token: Arc<Token>,
    /// What it came from, which says who it is.
    pub(in crate::auth) founder: Founder,
}

impl From<Unreadable> for NotAuthenticated {
    fn from(Unreadable: Unreadable) -> Self {
        Self::Unreadable
    }
}

impl From<RecordsError> for NotAuthenticated {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::NoStorage => Self::UnknownToken,
            RecordsError::StateSealed => Self::StateSealed,
            RecordsError::NotLookedUp => Self::NotLookedUp,
            RecordsError::Unreadable(_) => Self::Unreadable,
            RecordsError::TooLarge => Self::TooLarge,
            RecordsError::Conflict => Self::StoreAway(None),
            RecordsError::Store(error) => Self::StoreAway(Some(error.into())),
        }
    }
}

impl Tokens {
    /// Lets the token in, or not; no use of it is counted.
    pub(in crate::auth) async fn admit(
        &self,
        records: &Records,
        key: &StateKey,
        shown: Shown<'_>,
    ) -> Result<Admitted, NotAuthenticated> {
        // For all looks together: a seal may be waiting.
        let known = timeout(LOOK_PATIENCE, self.look_up(records, key, shown)).await;
        let admitted = known.map_err(|_late| NotAuthenticated::StoreAway(None))??;
        self.require_good(records, &admitted, shown)?;
        Ok(admitted)
    }

    /// The token and what it came from, if all of that lives.
    async fn look_up(
        &self,
        records: &Records,
        key: &StateKey,
        shown: Shown<'_>,
    ) -> Result<Admitted, NotAuthenticated> {
        let id = TokenId::of(key, shown.text);
        let from = shown.credentials.address;
        let token = match self.opened.token(key, &id, shown.text) {
            Some((token, IsKnown(true))) => token,
            Some((token, IsKnown(false))) => {
                if self.hear_what_judges(records, &token, shown).await?.0 {
                    self.opened.hold(id, &token);
                }
                token
            }
            None => {
                let found = records.find(&self.mirror, &id, Some(from)).await?;
                found.ok_or(NotAuthenticated::UnknownToken)?.value
            }
        };
        let founder = self.founder(records, &token, (shown.sources, Some(from))).await?;
        let expired = || NotAuthenticated::Expired(known_client(&token));
        let founder = founder.ok_or_else(expired)?;
        Ok(Admitted { id, token, founder })
    }

    /// A batch token is in no store, so that no revision tells when it was made: where it names a mount
    /// or a policy that is not held, another replica may have made that a moment ago. Whether that is
    /// known now.
    async fn hear_what_judges(
        &self,
        records: &Records,
        token: &Token,
        shown: Shown<'_>,
    ) -> Result<IsKnown, NotAuthenticated> {
        let Sources { mounts, policies, .. } = shown.sources;
        let mount = token.made.login.as_ref().map(|login| &*login.mount_accessor);
        let age = self.clock.wall().saturating_sub(token.created);
        let silence = records.silence();
        // There may be no such policy at all.
        let is_unheard = age <= silence.saturating_add(LATENESS);
        let lacks_policy = || token.made.policies.iter().any(|name| !policies.has(name));
        let lacks_mount = mount.is_some_and(|mount| !mounts.has(mount));
        if !(lacks_mount || is_unheard && lacks_policy()) {
            return Ok(IsKnown(true));
        }
        // Nobody can make up a token that opens, so that it is no stranger's look.
        let heard = records.hear_what_judges(&self.mirror, None);
        // An outage is not to keep out, for as long as it lasts, what was made before it: of that the
        // store was heard since, if perhaps late.
        if !lacks_mount && age > silence.saturating_add(SKEW) && silence > LATENESS {
            // What the token came from may have to be looked for in the rest of the time.
            match timeout(LOOK_PATIENCE / 2, heard).await {
                Ok(Err(RecordsError::Store(_))) | Err(_) => return Ok(IsKnown(false)),
                Ok(heard) => heard?,
            }
        } else {
            heard.await?;
        }
        Ok(IsKnown(true))
    }

    /// Counts one use of a token that has a number of them. What it is then.
    pub(in crate::auth) async fn count_use(
        &self,
        records: &Records,
        id: &TokenId,
    ) -> Result<Arc<Token>, NotAuthenticated> {
        for _ in 0..ATTEMPTS {
            let current = self.mirror.get(id)?.ok_or(NotAuthenticated::UnknownToken)?;
            if let Some(token) = count_down(records, id, &current).await? {
                return Ok(token);
            }
        }
        Err(NotAuthenticated::StoreAway(None))
    }

    /// The token of this text, if it lives; no use of it is counted.
    pub(in crate::auth) fn find(
        &self,
        key: &StateKey,
        sources: Sources<'_>,
        text: &TokenText,
    ) -> Result<Option<Admitted>, Unreadable> {
        let id = TokenId::of(key, text);
        let token = match self.opened.token(key, &id, text) {
            Some((token, _)) => Some(token),
            None => self.mirror.get(&id)?.map(|current| current.value),
        };
        let Some(token) = token else { return Ok(None) };
        Ok(match self.line(&token, sources)? {
            Line::Lives(founder) => Some(Admitted { id, token, founder }),
            Line::Over | Line::Lacks(_) => None,
        })
    }

    /// The same, where the store says whether there is one.
    pub(in crate::auth) async fn find_in_store(
        &self,
        records: &Records,
        key: &StateKey,
        (sources, text): (Sources<'_>, &TokenText),
    ) -> Result<Option<Admitted>, RecordsError> {
        let id = TokenId::of(key, text);
        let token = match self.opened.token(key, &id, text) {
            Some((token, _)) => Some(token),
            None => records.find(&self.mirror, &id, None).await?.map(|current| current.value),
        };
        let Some(token) = token else { return Ok(None) };
        let founder = self.founder(records, &token, (sources, None)).await?;
        Ok(founder.map(|founder| Admitted { id, token, founder }))
    }

    /// The token that has this accessor, if it lives; the store says whether there is one.
    pub(in crate::auth) async fn find_accessor(
        &self,
        records: &Records,
        (sources, accessor): (Sources<'_>, &str),
    ) -> Result<Option<Admitted>, RecordsError> {
        let look = || self.mirror.find(|index| index.by_accessor(accessor));
        let mut id = look();
        if id.is_none() {
            records.hear_of_all(&self.mirror).await?;
            id = look();
        }
        let Some(id) = id else { return Ok(None) };
        let Some(Current { value: token, .. }) = self.mirror.get(&id)? else { return Ok(None) };
        let founder = self.founder(records, &token, (sources, None)).await?;
        Ok(founder.map(|founder| Admitted { id, token, founder }))
    }

    /// The accessors of all tokens that live, in order.
    pub(in crate::auth) fn accessors(&self, sources: Sources<'_>) -> Vec<String> {
        let mut all = Vec::new();
        self.mirror.for_each(|_, token| all.push(Arc::clone(token)));
        all.retain(|token| matches!(self.is_alive(token, sources), Ok(true)));
        let mut accessors: Vec<_> = all.iter().map(|token| token.accessor.clone()).collect();
        accessors.sort();
        accessors
    }

    /// Whether the token may be used now, by who shows it.
    fn require_good(
        &self,
        records: &Records,
        Admitted { token, founder, .. }: &Admitted,
        shown: Shown<'_>,
    ) -> Result<(), NotAuthenticated> {
        let client = || known_client(token);
        if self.is_stale(records, token) {
            return Err(NotAuthenticated::Stale(client()));
        }
        if !is_within(&token.made.bound_cidrs, shown.credentials.address) {
            return Err(NotAuthenticated::OutsideBoundCidrs(client()));
        }
        let certificate = shown.credentials.certificate;
        let leaf = certificate.and_then(|shown| shown.chain().first());
        let is_own = |bound| leaf.is_some_and(|leaf| sha256(leaf) == bound);
        // A child token does not evade its founder's certificate requirement.
        let is_founders = match founder {
            Founder::Orphan(_) => true,
            Founder::Declared(hash, _) => {
                shown.sources.clients.takes(hash, certificate, self.clock.wall())
            }
        };
        match token.made.bound_certificate.is_none_or(is_own) && is_founders {
            true => Ok(()),
            false => Err(NotAuthenticated::WithoutCertificate(client())),
        }
    }

    /// Whether nothing has been heard of the store for so long that a revocation may have been
    /// missed, on which the token must not be used any more.
    fn is_stale(&self, records: &Records, token: &Token) -> bool {
        let limits = self.limits();
        let limit = match token.made.period {
            Some(_) => limits.max_periodic_staleness,
            None => limits.max_staleness,
        };
        // Until there is a mark, the last that was heard is that the store took the token.
        // A batch token is in no store, but it ends with the service token it came from.
        let heard = match (token.made.kind, &token.made.parent) {
            (TokenKind::Batch, parent) if !matches!(parent, Some(Parent::Token(_))) => {
                self.clock.wall()
            }
            _ => token.issued,
        };
        limit.is_some_and(|limit| self.clock.silence(records, heard) > limit.as_secs())
    }

    /// Whether the token and all that it came from live.
    pub(super) fn is_alive(
        &self,
        token: &Arc<Token>,
        sources: Sources<'_>,
    ) -> Result<bool, Unreadable> {
        Ok(matches!(self.line(token, sources)?, Line::Lives(_)))
    }

    /// What the token came from, if that and all in between live. An ancestor that is not held is
    /// looked for in the store: another replica may have made all of them a moment ago.
    async fn founder(
        &self,
        records: &Records,
        token: &Arc<Token>,
        (sources, from): (Sources<'_>, Option<IpAddr>),
    ) -> Result<Option<Founder>, RecordsError> {
        let mut gone = None;
        for _ in 0..=MOST_ANCESTORS {
            // Before the look, which would carry the founder along.
            let lacks = match self.line(token, sources)? {
                Line::Lives(founder) => return Ok(Some(founder)),
                Line::Lacks(one) if gone != Some(one) => one,
                Line::Lacks(_) | Line::Over => return Ok(None),
            };
            gone = Some(lacks);
            records.find(&self.mirror, &lacks, from).await?;
        }
        Ok(None)
    }

    fn line(&self, token: &Arc<Token>, sources: Sources<'_>) -> Result<Line, Unreadable> {
        let mark = self.clock.mark();
        let now = self.clock.now_by(&mark);
        let mut one = Arc::clone(token);
        // Of a longer line only a store that we did not write could tell.
        for _ in 0..=MOST_ANCESTORS {
            let mount = one.made.login.as_ref().map(|login| &*login.mount_accessor);
            if mark.is_over(&one, now) || mount.is_some_and(|mount| !sources.mounts.has(mount)) {
                return Ok(Line::Over);
            }
            one = match one.made.parent {
                None => return Ok(Line::Lives(Founder::Orphan(one))),
                Some(Parent::Declared(hash)) => {
                    let declared = sources.clients.find(&hash).map(Arc::clone);
                    let founder = declared.map(|client| Founder::Declared(hash, client));
                    return Ok(founder.map_or(Line::Over, Line::Lives));
                }
                Some(Parent::Token(id)) => match self.mirror.get(&id)? {
                    Some(parent) => parent.value,
                    None => return Ok(Line::Lacks(id)),
                },
            };
        }
        Ok(Line::Over)
    }
}

/// Counts one use in the store, so that no two requests are the same one; `None` if somebody else
/// was first. The last use takes the token with it.
async fn count_down(
    records: &Records,
    id: &TokenId,
    current: &Current<Token>,
) -> Result<Option<Arc<Token>>, NotAuthenticated> {
    let left = current.value.uses_left.saturating_sub(1);
    let token = Token { uses_left: left, ..Token::clone(&current.value) };
    let mut batch = Batch::default();
    let added = match left {
        0 => batch.delete::<Token>(id, current.revision),
        _ => batch.put(id, &token, Some(current.revision)),
    };
    added.map_err(RecordsError::from)?;
    match records.commit(&batch).await {
        Ok(()) => Ok(Some(Arc::new(token))),
        Err(RecordsError::Conflict) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whom the log names where the token is refused.
fn known_client(token: &Token) -> KnownClient {
    KnownClient { name: token.made.display_name.clone(), accessor: token.accessor.clone() }
}
