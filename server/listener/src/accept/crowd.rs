//! Who has to leave when others wait for a place, so that slow peers cannot keep out quick ones.

use std::{cmp::Reverse, collections::HashMap, future::pending, time::Duration};

use tokio::{
    task::{Id, JoinSet},
    time::{Instant, timeout},
};

use crate::{
    patience::HURRY,
    phase::{Kind, Phase, Word},
};

/// How long one who was asked to leave is waited for before the next is asked, and how old what is
/// known of them may become: to look at ten thousand takes some milliseconds.
const MOMENT: Duration = Duration::from_millis(50);

/// One place of so many is for those who need longer. Else, where all are slow, such as clients on one
/// machine that all shake hands at once, all would be sent away before they are done, over and over.
const PLACES_FOR_A_LONG_ONE: usize = 8;
/// How long those are borne.
const LONG: Duration = HURRY.saturating_mul(8);

/// The connections of a listener, and who of them is to leave first when others wait.
///
/// Nothing is kept in order meanwhile: what a connection does costs no more than to note it, and it
/// is looked at only while others wait.
#[derive(Debug)]
pub(super) struct Crowd {
    places: usize,
    connections: JoinSet<()>,
    members: HashMap<Id, Member>,
    long: usize,
    /// Who is to leave, the first of them last.
    leaving: Vec<(Id, Word)>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    phase: Phase,
    seen: Word,
    /// When it was first seen so.
    since: Instant,
    /// Whether it has one of the places for those who need longer.
    is_long: bool,
    is_asked: bool,
}

impl Crowd {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            connections: JoinSet::new(),
            members: HashMap::new(),
            long: 0,
            leaving: Vec::new(),
            looked: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.places
    }

    /// Begins to serve a connection.
    pub(super) fn admit(
        &mut self,
        phase: Phase,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let (seen, since) = (phase.word(), Instant::now());
        let is_long = self.long < self.places / PLACES_FOR_A_LONG_ONE;
        self.long += usize::from(is_long);
        let member = Member { phase, seen, since, is_long, is_asked: false };
        self.members.insert(self.connections.spawn(connection).id(), member);
    }

    /// Waits for the end of a connection; for ever if there is none.
    pub(super) async fn one_ends(&mut self) {
        let Some(ended) = self.connections.join_next_with_id().await else {
            return pending().await;
        };
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        let was_long = self.members.remove(&id).is_some_and(|member| member.is_long);
        self.long -= usize::from(was_long);
    }

    /// Asks one to leave, if there is anyone to ask, and waits until one has left, or a moment.
    pub(super) async fn make_room(&mut self) {
        self.ask_one_to_leave(Instant::now());
        // Asked of one who is late itself, the next is asked: only who has gone makes room.
        let _moment_is_over = timeout(MOMENT, self.one_ends()).await;
    }

    pub(super) fn ask_all_to_finish(&self) {
        self.members.values().for_each(|member| member.phase.ask_to_finish());
    }

    pub(super) async fn cut(mut self) {
        self.connections.shutdown().await;
    }

    fn ask_one_to_leave(&mut self, now: Instant) {
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= MOMENT) {
            self.looked = Some(now);
            self.look(now);
        }
        while let Some((id, seen)) = self.leaving.pop() {
            if let Some(member) = self.members.get_mut(&id)
                && member.phase.ask_to_leave(seen)
            {
                member.is_asked = true;
                return;
            }
        }
    }

    /// Who is idle leaves before who owes something, and both the sooner the longer it has been so.
    fn look(&mut self, now: Instant) {
        let mut leaving = Vec::new();
        for (id, member) in &mut self.members {
            member.look(now);
            if member.may_leave(now) {
                let owes = member.seen.kind() != Kind::Idle;
                leaving.push((owes, member.since, *id, member.seen));
            }
        }
        leaving.sort_unstable_by_key(|(owes, since, ..)| Reverse((*owes, *since)));
        self.leaving.clear();
        self.leaving.extend(leaving.into_iter().map(|(_, _, id, seen)| (id, seen)));
    }
}

impl Member {
    fn look(&mut self, now: Instant) {
        let word = self.phase.word();
        if word != self.seen {
            (self.seen, self.since, self.is_asked) = (word, now, false);
        }
    }

    /// The time in which the service works is not the peer's.
    fn may_leave(&self, now: Instant) -> bool {
        let borne = if self.is_long { LONG } else { HURRY };
        !self.is_asked
            && match self.seen.kind() {
                Kind::Idle => true,
                Kind::Busy => false,
                Kind::Head | Kind::Stranger | Kind::Deaf => now.duration_since(self.since) >= borne,
            }
    }
}

#[cfg(test)]
mod tests;
