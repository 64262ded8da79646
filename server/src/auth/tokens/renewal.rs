//! Renewals. Those that gain next to nothing are not written, as thousands of clients renew for
//! ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::lifetime::{LifetimeError, LifetimeWarning, RequestedLifetime, lifetime};
use super::record::TokenId;
use super::{ATTEMPTS, Sources, Token, Tokens};
use crate::state::records::{Batch, Current, Records, RecordsError, Unreadable};

/// A renewal that would move the end by less than this, and by less than a tenth of the lifetime,
/// is not written.
const NOT_WORTH_A_WRITE: Duration = Duration::from_secs(60);
/// How long the store is left alone after it failed, so that renewals do not each wait for it.
const LEAVE_ALONE_SECONDS: u64 = 5;

/// A token that lives on.
#[derive(Debug)]
pub struct Renewed {
    /// As it is now.
    pub token: Arc<Token>,
    /// How long, from now on.
    pub lease: Duration,
    /// What the reply should warn of.
    pub warnings: Vec<LifetimeWarning>,
}

/// Why a token was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// It does not live.
    #[error("token not found")]
    NotFound,
    /// It never ends.
    #[error("invalid lease ID")]
    NeverEnds,
    /// It was made so.
    #[error("lease is not renewable")]
    NotRenewable,
    /// It is as old as it can be.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// It cannot be kept.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl From<Unreadable> for RenewError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Records(unreadable.into())
    }
}

impl Tokens {
    /// Renews the token. While the store is away a periodic one is renewed in memory, which the
    /// token clock makes good when it is back; another one goes on with what it has left.
    pub(in crate::auth) async fn renew(
        &self,
        records: &Records,
        sources: Sources<'_>,
        id: &TokenId,
        increment: Option<Duration>,
    ) -> Result<Renewed, RenewError> {
        for _ in 0..ATTEMPTS {
            let current = self.mirror.get(id)?.ok_or(RenewError::NotFound)?;
            let (next, renewed) = self.renewed(&current, sources, increment)?;
            let Some(next) = next else { return Ok(renewed) };
            let mut batch = Batch::default();
            batch.put(id, &*next, Some(current.revision)).map_err(RecordsError::from)?;
            let is_left_alone = self.clock.wall() < self.store_failed.load(Ordering::Relaxed);
            let kept = match is_left_alone {
                true => return Ok(self.renew_in_memory(&current.value, renewed)),
                false => records.commit(&batch).await,
            };
            match kept {
                Ok(()) => return Ok(renewed),
                Err(RecordsError::Conflict) => {}
                Err(RecordsError::Store(_)) => {
                    let until = self.clock.wall().saturating_add(LEAVE_ALONE_SECONDS);
                    self.store_failed.store(until, Ordering::Relaxed);
                    return Ok(self.renew_in_memory(&current.value, renewed));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(RecordsError::Conflict.into())
    }

    /// What a renewal makes of the token; nothing to write if that is as good as what there is.
    fn renewed(
        &self,
        current: &Current<Token>,
        sources: Sources<'_>,
        increment: Option<Duration>,
    ) -> Result<(Option<Arc<Token>>, Renewed), RenewError> {
        let token = &current.value;
        if !self.is_alive(token, sources)? {
            return Err(RenewError::NotFound);
        }
        let expires = token.expires.ok_or(RenewError::NeverEnds)?;
        if !token.made.renewable {
            return Err(RenewError::NotRenewable);
        }
        let now = self.clock.now();
        let asked = RequestedLifetime {
            ttl: increment.or(token.made.ttl),
            period: token.made.period,
            explicit_max: token.made.explicit_max_ttl,
            age: Duration::from_secs(now.saturating_sub(token.issued)),
        };
        let (lease, warning) = lifetime(asked, self.limits())?;
        let end = now.saturating_add(lease.as_secs());
        let warnings = warning.into_iter().collect();
        let gain = end.checked_sub(expires).map(Duration::from_secs);
        if gain.is_some_and(|gain| gain < NOT_WORTH_A_WRITE && gain < lease / 10) {
            let token = Arc::clone(token);
            return Ok((None, Renewed { token, lease, warnings }));
        }
        let wall = self.clock.wall();
        let next = Token { expires: Some(end), renewed: Some(wall), ..Token::clone(token) };
        let next = Arc::new(next);
        let token = Arc::clone(&next);
        Ok((Some(next), Renewed { token, lease, warnings }))
    }

    fn renew_in_memory(&self, token: &Arc<Token>, renewed: Renewed) -> Renewed {
        if token.made.period.is_some() {
            self.clock.owe();
            return renewed;
        }
        let left = self.remaining(token).unwrap_or(renewed.lease);
        Renewed { token: Arc::clone(token), lease: left.min(renewed.lease), ..renewed }
    }
}
