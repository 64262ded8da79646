//! Wrapped responses: kept for a while, for one look by whoever has the wrapping token.

mod record;
mod room;
mod shares;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_access::{TokenText, draw_accessor};
use selkie_crypto::{
    Plaintext, Random, RandomError, SealRecordError, StateKey, unwrap_response, wrap_response,
};
use tokio::time::sleep;

pub use self::record::{Ends, WrapId, Wrapped};
pub use self::room::Room;
use self::shares::{Shares, Usage};
use super::Credentials;
use crate::clock::Clock;
use crate::state::records::{Batch, Current, Mirror, Mirrors, Records, RecordsError, Unreadable};

/// What is kept of wrapped responses at most, in memory as in the store; one alone may have half a
/// megabyte.
const MOST: Usage = Usage { count: 100_000, bytes: 64 << 20 };
/// What one client may have of that, so that no one takes all.
const SHARE: Usage = Usage { count: 10_000, bytes: 8 << 20 };
/// How often those whose time is over are removed.
const SWEPT_EVERY: Duration = Duration::from_secs(30);

/// All wrapped responses.
pub struct Wrapping {
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    mirror: Arc<Mirror<Wrapped>>,
    /// What responses will need that are to come.
    taken: Mutex<Shares>,
    most: Usage,
    share: Usage,
}

/// A response that was just wrapped: the only time that the token's text is known here.
#[derive(Debug)]
pub struct WrapInfo {
    /// For the reply.
    pub token: TokenText,
    /// What is kept.
    pub wrapped: Arc<Wrapped>,
}

/// A wrapping token, and the address that it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShownWrapping<'a> {
    /// Its text.
    pub(crate) token: &'a TokenText,
    /// Of whoever shows it.
    pub(crate) from: IpAddr,
}

impl<'a> ShownWrapping<'a> {
    /// The token that a request comes with, if it is one.
    pub(crate) fn of(credentials: Credentials<'a>) -> Option<Self> {
        Some(Self { token: credentials.token?, from: credentials.address })
    }
}

/// What is to be kept of a response besides itself.
#[derive(Clone, Debug)]
pub struct WrapOrder {
    /// The path that was asked for.
    pub path: String,
    /// For how long.
    pub ttl: Duration,
    /// The accessor of the token in it, if one is.
    pub accessor: Option<String>,
}

/// Why a response is not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// No response is kept for this token: there never was, its time is over, or it was looked at.
    #[error("the wrapping token is not valid or does not exist")]
    Invalid,
    /// As many are kept as may be, of all or of this client.
    #[error("as many wrapped responses are kept already as may be, of all or of one client")]
    Full,
    /// There is no randomness.
    #[error("there is no randomness")]
    Random,
    /// The store.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl From<RandomError> for WrapError {
    fn from(_: RandomError) -> Self {
        Self::Random
    }
}

impl From<SealRecordError> for WrapError {
    fn from(error: SealRecordError) -> Self {
        match error {
            SealRecordError::Random(_) => Self::Random,
            SealRecordError::TooLong => Self::Records(RecordsError::TooLarge),
        }
    }
}

impl Wrapping {
    pub(super) fn new(clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        let mirror = Arc::new(Mirror::indexed_by(Ends::by(Arc::clone(&clock))));
        let taken = Mutex::default();
        Self { clock, random, mirror, taken, most: MOST, share: SHARE }
    }

    /// What follows the store.
    pub(super) fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        vec![Arc::clone(&self.mirror) as _]
    }

    /// Keeps `response` for whoever gets the token.
    pub(super) async fn wrap(
        &self,
        records: &Records,
        key: &StateKey,
        response: Plaintext,
        (order, mut room): (WrapOrder, Room<'_>),
    ) -> Result<WrapInfo, WrapError> {
        room.require(response.expose_for_own_use().len())?;
        let mut batch = Batch::default();
        let info = self.add(&mut batch, key, response, (order, room.owner()))?;
        records.commit(&batch).await?;
        Ok(info)
    }

    fn add(
        &self,
        batch: &mut Batch,
        key: &StateKey,
        response: Plaintext,
        (order, owner): (WrapOrder, &str),
    ) -> Result<WrapInfo, WrapError> {
        let token = TokenText::draw("hvs.", &*self.random)?;
        let wrapped = Arc::new(Wrapped {
            accessor: draw_accessor(&*self.random)?,
            created: self.clock.unix_seconds(),
            ttl: order.ttl.as_secs(),
            path: order.path,
            wrapped_accessor: order.accessor,
            owner: owner.to_owned(),
            sealed: wrap_response(token.expose_for_hash(), response, &*self.random)?,
        });
        batch.put(&WrapId::of(key, &token), &*wrapped, None).map_err(RecordsError::from)?;
        Ok(WrapInfo { token, wrapped })
    }

    fn taken(&self) -> MutexGuard<'_, Shares> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes those whose time is over, again and again, for as long as it is polled; `token_time` is
    /// what the token clock says, once it has begun.
    pub(super) async fn keep(&self, records: &Records, token_time: impl Fn() -> Option<u64>) {
        loop {
            sleep(SWEPT_EVERY).await;
            // What fails, or another replica does at the same time, is for the next time.
            while matches!(self.sweep(records, token_time()).await, Ok(1..)) {}
        }
    }

    /// How many it removed of those whose time is over, which may be a part.
    async fn sweep(
        &self,
        records: &Records,
        token_time: Option<u64>,
    ) -> Result<usize, RecordsError> {
        let room = records.store()?.limits().records.max(1);
        let now = self.clock.unix_seconds();
        let mut batch = Batch::default();
        for id in self.mirror.find(|ends| ends.before(now, token_time, room)) {
            if let Ok(Some(over)) = self.mirror.get(&id) {
                batch.delete::<Wrapped>(&id, over.revision)?;
            }
        }
        if !batch.is_empty() {
            records.commit(&batch).await?;
        }
        Ok(batch.len())
    }

    /// What is kept for this token, of which one may look any number of times.
    pub(super) async fn look(
        &self,
        records: &Records,
        key: &StateKey,
        shown: ShownWrapping<'_>,
    ) -> Result<Option<Arc<Wrapped>>, RecordsError> {
        let found = self.find(records, &WrapId::of(key, shown.token), shown.from).await?;
        Ok(found.map(|current| current.value))
    }

    /// Whether something is kept for this token, as far as this replica has heard.
    pub(super) fn knows(&self, key: &StateKey, token: &TokenText) -> bool {
        let found = self.mirror.get(&WrapId::of(key, token));
        found.is_ok_and(|found| found.is_some_and(|current| self.is_good(&current.value)))
    }

    /// What is kept under this name: whoever reads "there is none" takes it that somebody else was
    /// first, so that only the store may say it.
    async fn find(
        &self,
        records: &Records,
        id: &WrapId,
        from: IpAddr,
    ) -> Result<Option<Current<Wrapped>>, RecordsError> {
        let found = records.find(&self.mirror, id, Some(from)).await?;
        Ok(found.filter(|current| self.is_good(&current.value)))
    }

    fn is_good(&self, wrapped: &Wrapped) -> bool {
        wrapped.ends() > self.clock.unix_seconds()
    }

    /// The response, which is not kept any longer: of several who ask at the same time one gets it.
    pub(super) async fn unwrap(
        &self,
        records: &Records,
        key: &StateKey,
        shown: ShownWrapping<'_>,
    ) -> Result<Plaintext, WrapError> {
        let mut batch = Batch::default();
        let (response, _) = self.take((records, &mut batch), key, shown).await?;
        commit_once(records, &batch).await?;
        Ok(response)
    }

    /// The same response for another token, for as long as it was kept at first, or `longest`. It takes
    /// the place of the first, so that there is room for it.
    pub(super) async fn rewrap(
        &self,
        records: &Records,
        key: &StateKey,
        (shown, longest): (ShownWrapping<'_>, Duration),
    ) -> Result<WrapInfo, WrapError> {
        let mut batch = Batch::default();
        let (response, wrapped) = self.take((records, &mut batch), key, shown).await?;
        let order = WrapOrder {
            path: wrapped.path.clone(),
            ttl: Duration::from_secs(wrapped.ttl).min(longest),
            accessor: wrapped.wrapped_accessor.clone(),
        };
        let info = self.add(&mut batch, key, response, (order, &wrapped.owner))?;
        commit_once(records, &batch).await?;
        Ok(info)
    }

    async fn take(
        &self,
        (records, batch): (&Records, &mut Batch),
        key: &StateKey,
        ShownWrapping { token, from }: ShownWrapping<'_>,
    ) -> Result<(Plaintext, Arc<Wrapped>), WrapError> {
        let id = WrapId::of(key, token);
        let current = self.find(records, &id, from).await?.ok_or(WrapError::Invalid)?;
        let opened = unwrap_response(token.expose_for_hash(), &current.value.sealed);
        let opened = opened.map_err(|_refused| WrapError::Records(Unreadable.into()))?;
        batch.delete::<Wrapped>(&id, current.revision).map_err(RecordsError::from)?;
        Ok((opened, current.value))
    }
}

/// Whoever is second finds nothing.
async fn commit_once(records: &Records, batch: &Batch) -> Result<(), WrapError> {
    match records.commit(batch).await {
        Err(RecordsError::Conflict) => Err(WrapError::Invalid),
        decided => Ok(decided?),
    }
}

impl fmt::Debug for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapping").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
