//! Those who wait for one operation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::gate::{Gate, Late, Turn};
use super::queue::{Place, Ticket};
use crate::{Call, ClientTag, KmsError};

/// The callers that wait for one operation. It goes on until the last of their deadlines, and
/// waits for its turn on behalf of each of their clients.
#[derive(Debug)]
pub(super) struct Party {
    gate: Arc<Gate>,
    ticket: Ticket,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    deadlines: BTreeMap<Seat, Instant>,
    next_seat: u64,
    seen: Option<KmsError>,
}

/// One caller's place in a party.
pub(super) type Seat = (ClientTag, u64);

impl Party {
    pub(super) fn new(gate: &Arc<Gate>) -> Self {
        Self { gate: Arc::clone(gate), ticket: gate.ticket(), state: Mutex::default() }
    }

    pub(super) fn join(&self, call: Call) -> Seat {
        let mut state = self.state();
        let seat = (call.client, state.next_seat);
        state.next_seat += 1;
        state.deadlines.insert(seat, call.deadline);
        // Under the lock, so that the turn below is waited for on behalf of this client too.
        self.gate.list(self.ticket, call.client);
        seat
    }

    /// Whether nobody waits any longer.
    pub(super) fn leave(&self, seat: Seat) -> bool {
        let mut state = self.state();
        state.deadlines.remove(&seat);
        let (client, _) = seat;
        if state.deadlines.range((client, 0)..=(client, u64::MAX)).next().is_none() {
            self.gate.unlist(self.ticket, client);
        }
        state.deadlines.is_empty()
    }

    /// Waits for a call that may begin `least` before the last deadline.
    pub(super) fn enqueue(&self, place: Place, least: Duration) -> Result<Turn, Late> {
        let state = self.state();
        let now = Instant::now();
        let latest = state.deadline().and_then(|deadline| deadline.checked_sub(least));
        let mut clients: Vec<ClientTag> =
            state.deadlines.keys().map(|(client, _)| *client).collect();
        clients.dedup();
        self.gate.enqueue(self.ticket, clients.into_iter(), place, latest.unwrap_or(now))
    }

    /// The last deadline of those who wait.
    pub(super) fn deadline(&self) -> Instant {
        self.state().deadline().unwrap_or_else(Instant::now)
    }

    /// The operation failed so, and will try again.
    pub(super) fn saw(&self, error: KmsError) {
        self.state().seen = Some(error);
    }

    /// What it failed with last; without a try of its own, what others saw of the KMS.
    pub(super) fn last_failure(&self) -> Option<KmsError> {
        let seen = self.state().seen.clone();
        seen.or_else(|| self.gate.last_failure())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deadline(&self) -> Option<Instant> {
        self.deadlines.values().max().copied()
    }
}
