//! Who is next.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::ClientTag;

/// Names one operation for as long as it lasts; a lower one is older.
pub(super) type Ticket = u64;

/// Where a client that has nothing else waiting joins the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the others.
    Back,
    /// Before the others: its turn was lost to throttling.
    Front,
}

/// Operations that wait for a turn: clients take turns, each client's operations are served
/// oldest first, and every other turn is Selkie's own if it wants it. An operation that several
/// clients wait for takes the first turn that comes to any of them.
#[derive(Debug)]
pub(super) struct Queue<W> {
    waiting: HashMap<Ticket, Waiting<W>>,
    of: HashMap<ClientTag, BTreeSet<Ticket>>,
    /// Each client of `of` once. One with nothing waiting keeps its place until it is come to, so
    /// that leaving costs nothing.
    round: VecDeque<ClientTag>,
    sweep_at: usize,
    own: BTreeSet<Ticket>,
    last_was_own: bool,
}

#[derive(Debug)]
struct Waiting<W> {
    waker: W,
    clients: BTreeSet<ClientTag>,
}

const LEAST_SWEEP: usize = 64;

impl<W> Queue<W> {
    pub(super) fn new() -> Self {
        Self {
            waiting: HashMap::new(),
            of: HashMap::new(),
            round: VecDeque::new(),
            sweep_at: LEAST_SWEEP,
            own: BTreeSet::new(),
            last_was_own: false,
        }
    }

    pub(super) fn insert(
        &mut self,
        ticket: Ticket,
        waker: W,
        clients: impl Iterator<Item = ClientTag>,
        place: Place,
    ) {
        self.waiting.insert(ticket, Waiting { waker, clients: BTreeSet::new() });
        for client in clients {
            self.list(ticket, client, place);
        }
    }

    /// From now on `client` waits for `ticket` too, if that is waiting.
    pub(super) fn list(&mut self, ticket: Ticket, client: ClientTag, place: Place) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        if !waiting.clients.insert(client) {
            return;
        }
        if client == ClientTag::SELKIE {
            self.own.insert(ticket);
            return;
        }
        if !self.of.contains_key(&client) {
            self.sweep();
            match place {
                Place::Back => self.round.push_back(client),
                Place::Front => self.round.push_front(client),
            }
        }
        self.of.entry(client).or_default().insert(ticket);
    }

    /// `client` no longer waits for `ticket`.
    pub(super) fn unlist(&mut self, ticket: Ticket, client: ClientTag) {
        if let Some(waiting) = self.waiting.get_mut(&ticket) {
            waiting.clients.remove(&client);
        }
        self.forget(ticket, client);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<W> {
        let waiting = self.waiting.remove(&ticket)?;
        for client in waiting.clients {
            self.forget(ticket, client);
        }
        Some(waiting.waker)
    }

    /// Takes out the next operation, with the client whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(ClientTag, W)> {
        let own = self.own.first().copied();
        if let Some(ticket) = own.filter(|_| !self.last_was_own) {
            self.last_was_own = true;
            return self.remove(ticket).map(|waker| (ClientTag::SELKIE, waker));
        }
        self.last_was_own = false;
        self.pop_round()
            .or_else(|| own.and_then(|own| Some((ClientTag::SELKIE, self.remove(own)?))))
    }

    fn pop_round(&mut self) -> Option<(ClientTag, W)> {
        while let Some(client) = self.round.pop_front() {
            let next = self.of.get(&client).and_then(BTreeSet::first).copied();
            let taken = next.and_then(|ticket| self.remove(ticket));
            if self.of.get(&client).is_some_and(|tickets| !tickets.is_empty()) {
                self.round.push_back(client);
            } else {
                self.of.remove(&client);
            }
            if let Some(waker) = taken {
                return Some((client, waker));
            }
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn forget(&mut self, ticket: Ticket, client: ClientTag) {
        if client == ClientTag::SELKIE {
            self.own.remove(&ticket);
        } else if let Some(tickets) = self.of.get_mut(&client) {
            tickets.remove(&ticket);
        }
    }

    /// Takes the clients that wait for nothing out of the round when they may be half of it.
    fn sweep(&mut self) {
        if self.round.len() < self.sweep_at {
            return;
        }
        self.of.retain(|_, tickets| !tickets.is_empty());
        self.round.retain(|client| self.of.contains_key(client));
        self.sweep_at = self.round.len().saturating_mul(2).max(LEAST_SWEEP);
    }
}

#[cfg(test)]
mod tests;
