//! Wrapped responses: kept for a while, for one look by whoever has the wrapping token.

mod record;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selkie_access::{TokenText, draw_accessor};
use selkie_crypto::{
    Plaintext, Random, RandomError, SealRecordError, StateKey, unwrap_response, wrap_response,
};

pub use self::record::{Ends, WrapId, Wrapped};
use crate::clock::Clock;
use crate::state::records::{Batch, Mirror, Mirrors, Records, RecordsError, Unreadable};

/// How many wrapped responses are kept at most, in memory as in the store.
const MOST: usize = 100_000;
/// How many bytes they have together; one alone may have half a megabyte.
const MOST_BYTES: usize = 64 << 20;
/// How many whose time is over are removed with each one that is made.
const SWEPT_AT_A_TIME: usize = 8;

/// All wrapped responses.
pub struct Wrapping {
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    mirror: Arc<Mirror<Wrapped>>,
    most_bytes: usize,
}

/// A response that was just wrapped: the only time that the token's text is known here.
#[derive(Debug)]
pub struct WrapInfo {
    /// For the reply.
    pub token: TokenText,
    /// What is kept.
    pub wrapped: Arc<Wrapped>,
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
    /// As many are kept as may be.
    #[error("as many wrapped responses are kept already as may be")]
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

impl From<Unreadable> for WrapError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Records(unreadable.into())
    }
}

impl Wrapping {
    pub(super) fn new(clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self { clock, random, mirror: Arc::default(), most_bytes: MOST_BYTES }
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
        order: WrapOrder,
    ) -> Result<WrapInfo, WrapError> {
        let mut batch = Batch::default();
        let info = self.add(&mut batch, key, response, order)?;
        self.sweep(&mut batch)?;
        match records.commit(&batch).await {
            // Another replica has swept the same.
            Err(RecordsError::Conflict) => {
                let mut again = Batch::default();
                let id = WrapId::of(key, &info.token);
                again.put(&id, &*info.wrapped, None).map_err(RecordsError::from)?;
                records.commit(&again).await?;
            }
            decided => decided?,
        }
        Ok(info)
    }

    fn add(
        &self,
        batch: &mut Batch,
        key: &StateKey,
        response: Plaintext,
        order: WrapOrder,
    ) -> Result<WrapInfo, WrapError> {
        let bytes =
            self.mirror.find(Ends::bytes).saturating_add(response.expose_for_own_use().len());
        if self.mirror.find(Ends::count) >= MOST || bytes > self.most_bytes {
            return Err(WrapError::Full);
        }
        let token = TokenText::draw("hvs.", &*self.random)?;
        let wrapped = Arc::new(Wrapped {
            accessor: draw_accessor(&*self.random)?,
            created: self.clock.unix_seconds(),
            ttl: order.ttl.as_secs(),
            path: order.path,
            wrapped_accessor: order.accessor,
            sealed: wrap_response(token.expose_for_hash(), response, &*self.random)?,
        });
        batch.put(&WrapId::of(key, &token), &*wrapped, None).map_err(RecordsError::from)?;
        Ok(WrapInfo { token, wrapped })
    }

    fn sweep(&self, batch: &mut Batch) -> Result<(), WrapError> {
        let now = self.clock.unix_seconds();
        for id in self.mirror.find(|ends| ends.before(now, SWEPT_AT_A_TIME)) {
            if let Ok(Some(over)) = self.mirror.get(&id) {
                batch.delete::<Wrapped>(&id, over.revision).map_err(RecordsError::from)?;
            }
        }
        Ok(())
    }

    /// What is kept for this token, of which one may look any number of times.
    pub(super) fn look(
        &self,
        key: &StateKey,
        token: &TokenText,
    ) -> Result<Option<Arc<Wrapped>>, Unreadable> {
        let found = self.mirror.get(&WrapId::of(key, token))?.map(|current| current.value);
        Ok(found.filter(|wrapped| wrapped.ends() > self.clock.unix_seconds()))
    }

    /// The response, which is not kept any longer: of several who ask at the same time one gets it.
    pub(super) async fn unwrap(
        &self,
        records: &Records,
        key: &StateKey,
        token: &TokenText,
    ) -> Result<Plaintext, WrapError> {
        let mut batch = Batch::default();
        let (response, _) = self.take(&mut batch, key, token)?;
        commit_once(records, &batch).await?;
        Ok(response)
    }

    /// The same response for another token, for as long as it was kept at first.
    pub(super) async fn rewrap(
        &self,
        records: &Records,
        key: &StateKey,
        token: &TokenText,
    ) -> Result<WrapInfo, WrapError> {
        let mut batch = Batch::default();
        let (response, wrapped) = self.take(&mut batch, key, token)?;
        let order = WrapOrder {
            path: wrapped.path.clone(),
            ttl: Duration::from_secs(wrapped.ttl),
            accessor: wrapped.wrapped_accessor.clone(),
        };
        let info = self.add(&mut batch, key, response, order)?;
        commit_once(records, &batch).await?;
        Ok(info)
    }

    fn take(
        &self,
        batch: &mut Batch,
        key: &StateKey,
        token: &TokenText,
    ) -> Result<(Plaintext, Arc<Wrapped>), WrapError> {
        let id = WrapId::of(key, token);
        let current = self.mirror.get(&id)?.ok_or(WrapError::Invalid)?;
        if current.value.ends() <= self.clock.unix_seconds() {
            return Err(WrapError::Invalid);
        }
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
