//! How much memory requests may make the server hold.

use std::sync::Arc;
use std::time::Duration;

use selkie_listener::Overloaded;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

/// What large bodies and replies may hold of the server's memory, all together (invariant I10).
const LARGE_BYTES: usize = 512 << 20;
/// Up to here a request costs nothing of it: that of a seal never waits for somebody's batch.
const FREE_BYTES: usize = 64 << 10;
/// How long a large request waits for others to end.
const PATIENCE: Duration = Duration::from_millis(250);
const UNIT_BYTES: usize = 1 << 10;

/// The memory that large requests share.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<Semaphore>);

/// A part of the budget; dropped when the bytes are.
#[derive(Debug, Default)]
pub struct Taken(Option<OwnedSemaphorePermit>);

impl Taken {
    /// Whether it is no part at all.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// This one, or the other if this is no part.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }
}

impl Default for ByteBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BYTES / UNIT_BYTES)))
    }
}

impl ByteBudget {
    /// A part for `bytes`, which may be an estimate from above.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] when others hold too much for too long.
    pub async fn take(&self, bytes: usize) -> Result<Taken, Overloaded> {
        if bytes <= FREE_BYTES {
            return Ok(Taken::default());
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).map_err(|_huge| Overloaded)?;
        match timeout(PATIENCE, Arc::clone(&self.0).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(Taken(Some(permit))),
            Ok(Err(_)) | Err(_) => Err(Overloaded),
        }
    }
}

impl Taken {
    /// What `work` gives, done off the threads that serve requests. Whoever waits may go away and the work
    /// goes on, so it holds this part too, for as long as its bytes.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if the work panics.
    pub async fn hold_for<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let held = Arc::clone(self);
        // In this order, which is the one that they are dropped in if nobody waits.
        let (given, _held) = spawn_blocking(move || (work(), held)).await?;
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_requests_share_what_there_is_and_small_ones_never_wait() {
        let budget = ByteBudget::default();
        let all = budget.take(LARGE_BYTES).await.unwrap();
        assert_eq!(budget.take(FREE_BYTES + 1).await.unwrap_err(), Overloaded);
        assert!(budget.take(FREE_BYTES).await.is_ok());
        drop(all);
        assert!(budget.take(FREE_BYTES + 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_there_ever_is_is_refused() {
        assert_eq!(ByteBudget::default().take(usize::MAX).await.unwrap_err(), Overloaded);
    }
}
