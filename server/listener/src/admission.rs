use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Too many requests are under way, and none ended while this one waited. To be answered with 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are being worked on")]
pub struct Overloaded;

/// How many requests may be worked on at a time, by all services that share a clone.
///
/// The queue in front of it needs no limit of its own: a connection speaks HTTP/1 and waits with
/// one request at most, so the listeners' connection limits bound it.
#[derive(Clone, Debug)]
pub struct InFlight {
    permits: Arc<Semaphore>,
    patience: Duration,
}

/// One request's admission; dropped when the work on it is done.
#[derive(Debug)]
#[must_use = "dropping it lets the next request in"]
pub struct Admitted {
    _permit: OwnedSemaphorePermit,
}

impl InFlight {
    /// Admits `limit` requests at a time; a further one waits for `patience`, first come, first
    /// served.
    #[must_use]
    pub fn new(limit: usize, patience: Duration) -> Self {
        let permits = limit.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), patience }
    }

    /// Waits to be admitted.
    ///
    /// # Errors
    /// [`Overloaded`] when nothing ended in time.
    pub async fn admit(&self) -> Result<Admitted, Overloaded> {
        if let Some(admitted) = self.admit_now() {
            return Ok(admitted);
        }
        // The semaphore is never closed, so either failure means that nothing became free.
        match tokio::time::timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Admitted { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Overloaded),
        }
    }

    fn admit_now(&self) -> Option<Admitted> {
        // Fails also while others wait, so nobody jumps the queue.
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .ok()
            .map(|permit| Admitted { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn one_too_many_is_overloaded_after_the_wait() {
        let in_flight = InFlight::new(1, PATIENCE);
        let _admitted = in_flight.admit().await.unwrap();
        let asked = tokio::time::Instant::now();
        assert_eq!(in_flight.admit().await.unwrap_err(), Overloaded);
        assert_eq!(asked.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_admitted_when_another_ends() {
        let in_flight = InFlight::new(1, PATIENCE);
        let first = in_flight.admit().await.unwrap();
        let second = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.admit().await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(second.await.unwrap(), Ok(()));
    }
}
