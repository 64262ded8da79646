//! Equal operations that are made once.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use tokio::time::{Instant, timeout_at};

use super::gate::Gate;
use super::party::{Party, Seat};
use crate::{Call, KmsError};

pub(super) type Answer<T> = Pin<Box<dyn Future<Output = Result<T, KmsError>> + Send>>;

/// The operations under way, by what they are about. An entry holds neither the operation nor its
/// answer: both belong to the passengers alone and go with the last of them. Whoever of them is
/// there drives it, so that it needs no task and ends when nobody is.
pub(super) struct Flights<K, T> {
    gate: Arc<Gate>,
    open: Mutex<HashMap<K, Flight<T>>>,
}

struct Flight<T> {
    party: Arc<Party>,
    answer: WeakShared<Answer<T>>,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, open: Mutex::default() }
    }

    /// Boards the flight for `key`, which begins with `depart` if there is none yet.
    pub(super) fn board(
        self: &Arc<Self>,
        key: K,
        call: Call,
        depart: impl FnOnce(Arc<Party>) -> Answer<T>,
    ) -> Passenger<K, T> {
        let mut open = self.open();
        let joined = open
            .get(&key)
            .and_then(|flight| Some((Arc::clone(&flight.party), flight.answer.upgrade()?)));
        let is_first = joined.is_none();
        let (party, answer) = joined.unwrap_or_else(|| self.open_flight(&mut open, &key, depart));
        let seat = party.join(call);
        let seat = HeldSeat { flights: Arc::clone(self), key, party, seat };
        Passenger { answer, seat, is_first, deadline: call.deadline }
    }

    fn open_flight(
        self: &Arc<Self>,
        open: &mut HashMap<K, Flight<T>>,
        key: &K,
        depart: impl FnOnce(Arc<Party>) -> Answer<T>,
    ) -> (Arc<Party>, Shared<Answer<T>>) {
        let party = Arc::new(Party::new(&self.gate));
        let operation = depart(Arc::clone(&party));
        let landing = (Arc::clone(self), key.clone(), Arc::clone(&party));
        let whole: Answer<T> = Box::pin(async move {
            let outcome = operation.await;
            let (flights, key, party) = landing;
            // Whoever comes now begins anew: nothing is answered from the past.
            flights.close(&key, &party);
            outcome
        });
        let answer = whole.shared();
        if let Some(weak) = answer.downgrade() {
            open.insert(key.clone(), Flight { party: Arc::clone(&party), answer: weak });
        }
        (party, answer)
    }

    fn close(&self, key: &K, party: &Arc<Party>) {
        Self::remove(&mut self.open(), key, party);
    }

    fn leave(&self, key: &K, party: &Arc<Party>, seat: Seat) {
        let mut open = self.open();
        if party.leave(seat) {
            Self::remove(&mut open, key, party);
        }
    }

    fn remove(open: &mut HashMap<K, Flight<T>>, key: &K, party: &Arc<Party>) {
        if open.get(key).is_some_and(|flight| Arc::ptr_eq(&flight.party, party)) {
            open.remove(key);
        }
    }
}

impl<K, T> Flights<K, T> {
    fn open(&self) -> MutexGuard<'_, HashMap<K, Flight<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Debug for Flights<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("open", &self.open().len()).finish_non_exhaustive()
    }
}

/// One who waits for a flight's answer.
pub(super) struct Passenger<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    // The seat is given up before the answer, so that no one boards a flight that is ending.
    seat: HeldSeat<K, T>,
    answer: Shared<Answer<T>>,
    is_first: bool,
    deadline: Instant,
}

impl<K, T> Passenger<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Whether the flight began with this one.
    pub(super) const fn is_first(&self) -> bool {
        self.is_first
    }

    /// The answer, or what was last seen when this one's deadline has passed.
    pub(super) async fn arrive(self) -> Result<Result<T, KmsError>, Overdue> {
        let Self { answer, seat, deadline, .. } = self;
        let outcome = timeout_at(deadline, answer).await;
        outcome.map_err(|_elapsed| Overdue(seat.party.last_failure()))
    }
}

/// The deadline has passed; with what was last seen of the KMS.
#[derive(Debug)]
pub(super) struct Overdue(pub(super) Option<KmsError>);

struct HeldSeat<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    flights: Arc<Flights<K, T>>,
    key: K,
    party: Arc<Party>,
    seat: Seat,
}

impl<K, T> Drop for HeldSeat<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.flights.leave(&self.key, &self.party, self.seat);
    }
}
