//! The limits to the requests that are under way on one listener: of all, and of each client
//! (invariant I10).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::limits::deadline_after;

/// Too many requests are under way, and none ended while this one waited. To be answered with 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are being worked on")]
pub struct Overloaded;

/// How many clients are remembered before those that wait for nothing are forgotten.
const CLIENTS: usize = 1024;

/// How many requests may be worked on at a time, by all services that share a clone.
///
/// The queue in front of it needs no limit of its own: a connection speaks HTTP/1 and waits with
/// one request at most, so the listeners' connection limits bound it.
#[derive(Clone, Debug)]
pub struct InFlight {
    permits: Arc<Semaphore>,
    /// Three quarters of them, for those who wait for somebody else.
    waiting: Arc<Semaphore>,
    shares: Arc<Shares>,
    limit: usize,
    patience: Duration,
}

/// One request's admission; dropped when the work on it is done.
#[derive(Debug)]
#[must_use = "dropping it lets the next request in"]
pub struct Admitted {
    _permit: OwnedSemaphorePermit,
    _waiting: Option<OwnedSemaphorePermit>,
    _share: Option<OwnedSemaphorePermit>,
}

/// What each client may have of the places for those who wait.
#[derive(Debug)]
struct Shares {
    places: usize,
    known: Mutex<KnownClients>,
}

#[derive(Debug)]
struct KnownClients {
    shares: HashMap<u64, Arc<Semaphore>>,
    /// With how many of them those that wait for nothing are forgotten next.
    sweep_at: usize,
}

impl Shares {
    fn new(places: usize) -> Self {
        let known = KnownClients { shares: HashMap::new(), sweep_at: CLIENTS };
        Self { places, known: Mutex::new(known) }
    }

    /// That of `client`. It stays when it is not in use, so that the next request makes no new one.
    fn of(&self, client: u64) -> Arc<Semaphore> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = known.shares.get(&client) {
            return Arc::clone(share);
        }
        if known.shares.len() >= known.sweep_at {
            known.sweep();
        }
        let share = Arc::new(Semaphore::new(self.places));
        known.shares.insert(client, Arc::clone(&share));
        share
    }
}

impl KnownClients {
    fn sweep(&mut self) {
        // Whoever has a place, or waits for one, holds the share too.
        self.shares.retain(|_, share| Arc::strong_count(share) > 1);
        // As many must come anew as were left: where all are in use, not each new one looks at all.
        self.sweep_at = CLIENTS.max(2 * self.shares.len());
    }
}

impl InFlight {
    /// Admits `limit` requests at a time; a further one waits for `patience`, first come, first
    /// served.
    #[must_use]
    pub fn new(limit: usize, patience: Duration) -> Self {
        let permits = limit.min(Semaphore::MAX_PERMITS);
        let waiting = permits - permits / 4;
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let shares = Shares::new((permits / 4).max(1));
        Self {
            permits: semaphore(permits),
            waiting: semaphore(waiting),
            shares: Arc::new(shares),
            limit: permits,
            patience,
        }
    }

    /// Waits to be admitted.
    ///
    /// # Errors
    /// [`Overloaded`] when nothing ended in time.
    pub async fn admit(&self) -> Result<Admitted, Overloaded> {
        let permit = acquire(&self.permits, deadline_after(self.patience)).await?;
        Ok(Admitted { _permit: permit, _waiting: None, _share: None })
    }

    /// Waits to be admitted with work that in its turn waits for another server: when that one is
    /// slow, a quarter of all places is left for those who need it not. No client has more than a
    /// quarter of all: whom it asks may hang, and others ask somebody else.
    ///
    /// # Errors
    /// [`Overloaded`] when nothing ended in time.
    pub async fn admit_waiting(&self, client: u64) -> Result<Admitted, Overloaded> {
        let until = deadline_after(self.patience);
        let share = acquire(&self.shares.of(client), until).await?;
        let waiting = acquire(&self.waiting, until).await?;
        let permit = acquire(&self.permits, until).await?;
        Ok(Admitted { _permit: permit, _waiting: Some(waiting), _share: Some(share) })
    }

    /// Whether nobody has been admitted who is not done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.permits.available_permits() == self.limit
    }
}

async fn acquire(
    places: &Arc<Semaphore>,
    until: Instant,
) -> Result<OwnedSemaphorePermit, Overloaded> {
    // Fails also while others wait, so nobody jumps the queue.
    if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
        return Ok(permit);
    }
    // The semaphore is never closed, so either failure means that nothing became free.
    match timeout_at(until, Arc::clone(places).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Overloaded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    impl Shares {
        fn count(&self) -> usize {
            self.known.lock().unwrap().shares.len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_is_overloaded_after_the_wait() {
        let in_flight = InFlight::new(1, PATIENCE);
        let _admitted = in_flight.admit().await.unwrap();
        let asked = Instant::now();
        assert_eq!(in_flight.admit().await.unwrap_err(), Overloaded);
        assert_eq!(asked.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_another_server_leaves_places_to_the_others() {
        let in_flight = InFlight::new(4, PATIENCE);
        let mut waiting = Vec::new();
        for client in 0..3 {
            waiting.push(in_flight.admit_waiting(client).await.unwrap());
        }
        assert_eq!(in_flight.admit_waiting(3).await.unwrap_err(), Overloaded);
        let other = in_flight.admit().await.unwrap();
        assert_eq!(in_flight.admit().await.unwrap_err(), Overloaded);
        drop(waiting);
        assert!(in_flight.admit_waiting(3).await.is_ok());
        drop(other);
    }

    #[tokio::test(start_paused = true)]
    async fn no_client_has_more_than_a_quarter_of_all_places_to_wait_in() {
        let in_flight = InFlight::new(1024, PATIENCE);
        let mut waiting = Vec::new();
        for _ in 0..256 {
            waiting.push(in_flight.admit_waiting(1).await.unwrap());
        }
        assert_eq!(in_flight.admit_waiting(1).await.unwrap_err(), Overloaded);
        let other = in_flight.admit_waiting(2).await.unwrap();
        let own = in_flight.admit().await.unwrap();
        waiting.pop();
        assert!(in_flight.admit_waiting(1).await.is_ok(), "each that ends lets the next one in");
        drop((other, own));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_share_and_for_a_place_waits_no_longer_than_for_one() {
        let in_flight = InFlight::new(4, PATIENCE);
        let share = in_flight.shares.of(1).try_acquire_owned().unwrap();
        let waiting = Arc::clone(&in_flight.waiting).acquire_many_owned(3).await.unwrap();
        let _places = Arc::clone(&in_flight.permits).acquire_many_owned(4).await.unwrap();
        let asked = Instant::now();
        let freed = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(share);
            tokio::time::sleep(PATIENCE / 4).await;
            drop(waiting);
        };
        let (admitted, ()) = tokio::join!(in_flight.admit_waiting(1), freed);
        assert_eq!(admitted.unwrap_err(), Overloaded);
        assert_eq!(asked.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn one_place_is_enough_for_a_client_to_wait_in() {
        let in_flight = InFlight::new(1, PATIENCE);
        assert!(in_flight.admit_waiting(1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_clients_only_those_are_remembered_who_wait() {
        let in_flight = InFlight::new(4, PATIENCE);
        let place = in_flight.admit_waiting(0).await.unwrap();
        for client in 1..5_000 {
            drop(in_flight.admit_waiting(client).await.unwrap());
            assert!(in_flight.shares.count() <= CLIENTS);
        }
        assert_eq!(in_flight.admit_waiting(0).await.unwrap_err(), Overloaded);
        drop(place);
    }

    #[test]
    fn where_all_known_clients_wait_not_each_new_one_is_a_reason_to_look_at_all() {
        let shares = Shares::new(1);
        let held: Vec<_> = (0..1500).map(|client| shares.of(client)).collect();
        assert_eq!(shares.count(), 1500);
        for client in 1500..2 * 1024 {
            drop(shares.of(client));
        }
        assert_eq!(shares.count(), 2 * 1024, "nobody was looked at since there were 1,024");
        drop(shares.of(10_000));
        assert_eq!(shares.count(), 1501);
        for client in 10_001..20_000 {
            drop(shares.of(client));
            assert!(shares.count() <= 2 * held.len());
        }
        drop(held);
        for client in 20_000..30_000 {
            drop(shares.of(client));
        }
        assert!(shares.count() <= CLIENTS, "a crowd that is gone is forgotten");
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
