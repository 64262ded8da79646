//! Whether a token that is shown is good, here and now.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use selkie_access::TokenText;
use selkie_crypto::{StateKey, sha256};

use super::record::TokenId;
use super::{ATTEMPTS, MOST_ANCESTORS, Parent, Token, Tokens, batch};
use crate::auth::{Clients, Credentials, NotAuthenticated};
use crate::state::records::{Batch, Current, Records, RecordsError, Unreadable};

/// How often in a second the store is asked about tokens that nobody here has heard of.
const LOOKS_PER_SECOND: u32 = 100;

/// A token, and what it is shown with.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its text.
    pub text: &'a TokenText,
    /// What it came with.
    pub credentials: Credentials<'a>,
    /// The declared clients, of which it may be a child.
    pub clients: &'a Clients,
}

/// A token that is good.
#[derive(Debug)]
pub struct Admitted {
    /// Its keyed hash.
    pub id: TokenId,
    /// What it is; after this use, if it has a number of them.
    pub token: Arc<Token>,
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
            RecordsError::Unreadable(_) | RecordsError::TooLarge => Self::Unreadable,
            RecordsError::Conflict | RecordsError::Store(_) => Self::StoreAway,
        }
    }
}

impl Tokens {
    /// Lets the token in, or not; a use of it is counted.
    pub(in crate::auth) async fn admit(
        &self,
        records: &Records,
        key: &StateKey,
        shown: Shown<'_>,
    ) -> Result<Admitted, NotAuthenticated> {
        let id = TokenId::of(key, shown.text);
        if let Some(token) = batch::open(key, shown.text) {
            let token = Arc::new(token);
            self.require_good(&token, shown)?;
            return Ok(Admitted { id, token });
        }
        for _ in 0..ATTEMPTS {
            let current = self.current(records, &id).await?;
            let Current { value: token, .. } = &current;
            self.require_good(token, shown)?;
            if token.made.num_uses == 0 {
                return Ok(Admitted { id, token: current.value });
            }
            if let Some(token) = count_down(records, &id, &current).await? {
                return Ok(Admitted { id, token });
            }
        }
        Err(NotAuthenticated::StoreAway)
    }

    /// The token of this text, if it lives; no use of it is counted.
    pub(in crate::auth) fn find(
        &self,
        key: &StateKey,
        clients: &Clients,
        text: &TokenText,
    ) -> Result<Option<Admitted>, Unreadable> {
        let id = TokenId::of(key, text);
        let token = match batch::open(key, text) {
            Some(token) => Some(Arc::new(token)),
            None => self.mirror.get(&id)?.map(|current| current.value),
        };
        let Some(token) = token else { return Ok(None) };
        Ok(self.is_alive(&token, clients)?.then_some(Admitted { id, token }))
    }

    /// The token that has this accessor, if it lives.
    pub(in crate::auth) fn find_accessor(
        &self,
        clients: &Clients,
        accessor: &str,
    ) -> Result<Option<Admitted>, Unreadable> {
        let id = self.mirror.find(|index| index.by_accessor(accessor));
        let Some(id) = id else { return Ok(None) };
        let Some(current) = self.mirror.get(&id)? else { return Ok(None) };
        let token = current.value;
        Ok(self.is_alive(&token, clients)?.then_some(Admitted { id, token }))
    }

    /// The accessors of all tokens that live, in order.
    pub(crate) fn accessors(&self, clients: &Clients) -> Vec<String> {
        let mut all = Vec::new();
        self.mirror.for_each(|_, token| all.push(Arc::clone(token)));
        all.retain(|token| matches!(self.is_alive(token, clients), Ok(true)));
        let mut accessors: Vec<_> = all.iter().map(|token| token.accessor.clone()).collect();
        accessors.sort();
        accessors
    }

    /// The token as it is kept. One that another replica has just made is looked for in the store.
    async fn current(
        &self,
        records: &Records,
        id: &TokenId,
    ) -> Result<Current<Token>, NotAuthenticated> {
        if let Some(current) = self.mirror.get(id)? {
            return Ok(current);
        }
        if self.looks.spend(self.clock.wall()) {
            records.look_again::<Token>(id).await?;
        }
        self.mirror.get(id)?.ok_or(NotAuthenticated::UnknownToken)
    }

    /// Whether the token may be used now, by who shows it.
    fn require_good(&self, token: &Arc<Token>, shown: Shown<'_>) -> Result<(), NotAuthenticated> {
        let client = || token.made.display_name.clone();
        if !self.is_alive(token, shown.clients)? {
            return Err(NotAuthenticated::Expired { client: client() });
        }
        if !may_come_from(&token.made.bound_cidrs, shown.credentials.address) {
            return Err(NotAuthenticated::OutsideBoundCidrs { client: client() });
        }
        let Some(bound) = token.made.bound_certificate else { return Ok(()) };
        let leaf = shown.credentials.certificate.and_then(|shown| shown.chain().first());
        match leaf.is_some_and(|leaf| sha256(leaf) == bound) {
            true => Ok(()),
            false => Err(NotAuthenticated::WithoutCertificate { client: client() }),
        }
    }

    /// Whether the token and all that it came from live.
    pub(super) fn is_alive(
        &self,
        token: &Arc<Token>,
        clients: &Clients,
    ) -> Result<bool, Unreadable> {
        let (now, mark) = (self.clock.now(), self.clock.mark());
        let mut one = Arc::clone(token);
        // Of a longer line only a store that we did not write could tell.
        for _ in 0..=MOST_ANCESTORS {
            if mark.is_over(&one, now) {
                return Ok(false);
            }
            one = match one.made.parent {
                None => return Ok(true),
                Some(Parent::Declared(hash)) => return Ok(clients.has(&hash)),
                Some(Parent::Token(id)) => match self.mirror.get(&id)? {
                    Some(parent) => parent.value,
                    None => return Ok(false),
                },
            };
        }
        Ok(false)
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

fn may_come_from(bound: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    bound.is_empty() || bound.iter().any(|net| net.contains(&address))
}

/// So many looks into the store a second, whoever causes them.
#[derive(Debug, Default)]
pub(super) struct LookBudget(std::sync::Mutex<(u64, u32)>);

impl LookBudget {
    fn spend(&self, second: u64) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if spent.0 != second {
            *spent = (second, 0);
        }
        spent.1 = spent.1.saturating_add(1);
        spent.1 <= LOOKS_PER_SECOND
    }
}
