//! What a copy of the store in memory owes, in whatever order a network lets it hear of the store.
//! There are two such copies, of the records and of the managed keys; both pass these claims.

use proptest::prelude::*;
use proptest::sample::Index;
use selkie_storage::{Commit, Record, RecordKey, RecordValue, Revision, Write};

/// A copy of one record, be it that of a key or another.
pub(crate) trait Follower: Default {
    /// Where the record stands.
    fn place() -> RecordKey;
    /// The record as commit `number` puts it there.
    fn value(number: u64) -> RecordValue;
    /// Which commit the record that is held is of.
    fn shown(&self) -> Option<u64>;
    /// The watch tells of a commit; of each, in their order.
    fn hear(&mut self, commit: &Commit);
    /// A commit of our own is answered.
    fn commit_answered(&mut self, commit: &Commit);
    /// A read is answered, as of `revision`, that was asked for because of what is held.
    fn read_answered(&mut self, found: Option<&Record>, revision: Revision);
    /// A listing as of `revision` is answered.
    fn listed(&mut self, found: Option<&Record>, revision: Revision);
}

#[derive(Clone, Debug)]
enum Event {
    Put,
    Delete,
    Heard,
    /// Of any commit until now: others answer late, or not at all.
    CommitAnswered(Index),
    ReadAnswered(Index),
    Listed(Index),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => Just(Event::Put),
        2 => Just(Event::Delete),
        4 => Just(Event::Heard),
        2 => any::<Index>().prop_map(Event::CommitAnswered),
        2 => any::<Index>().prop_map(Event::ReadAnswered),
        2 => any::<Index>().prop_map(Event::Listed),
    ];
    prop::collection::vec(event, 1..60)
}

/// A store of one record, and who follows it.
struct Network<F> {
    commits: Vec<Commit>,
    follower: F,
    /// Of how many commits the watch has told.
    heard: usize,
    /// As of how many commits the record was told of last, by a watch or a listing.
    known: usize,
}

impl<F: Follower> Network<F> {
    fn new() -> Self {
        Self { commits: Vec::new(), follower: F::default(), heard: 0, known: 0 }
    }

    /// The record after the first `commits` commits.
    fn record(&self, commits: usize) -> Option<Record> {
        let Commit { revision, writes } = self.commits.get(commits.checked_sub(1)?)?;
        match writes.first()? {
            Write::Put(key, value) => {
                Some(Record { key: key.clone(), value: value.clone(), revision: *revision })
            }
            Write::Delete(_) => None,
        }
    }

    fn commit(&mut self, write: impl FnOnce(u64) -> Write) {
        let number = self.commits.len() as u64 + 1;
        let revision = Revision::new(number);
        self.commits.push(Commit { revision, writes: vec![write(number)] });
    }

    fn hear_next(&mut self) {
        if let Some(commit) = self.commits.get(self.heard) {
            self.follower.hear(commit);
            self.heard += 1;
            self.known = self.known.max(self.heard);
        }
    }

    fn suffer(&mut self, event: &Event) {
        let now = self.commits.len();
        match event {
            Event::Put => self.commit(|number| Write::Put(F::place(), F::value(number))),
            Event::Delete => self.commit(|_number| Write::Delete(F::place())),
            Event::Heard => self.hear_next(),
            Event::CommitAnswered(which) if now > 0 => {
                self.follower.commit_answered(&self.commits[which.index(now)]);
            }
            Event::CommitAnswered(_) => {}
            Event::ReadAnswered(when) => {
                let then = when.index(now + 1);
                let found = self.record(then);
                self.follower.read_answered(found.as_ref(), Revision::new(then as u64));
            }
            Event::Listed(when) => {
                let then = when.index(now + 1);
                let found = self.record(then);
                self.follower.listed(found.as_ref(), Revision::new(then as u64));
                self.known = self.known.max(then);
            }
        }
    }

    fn may_show(&self, shown: Option<u64>) -> bool {
        let number = |commits| self.record(commits).map(|record| record.revision.number());
        (self.known..=self.commits.len()).any(|commits| number(commits) == shown)
    }
}

/// A revoked token is none, and a deleted key opens nothing, from when the replica has heard of it: no
/// answer that was overtaken brings them back. In the end the copy is what the store is.
pub(crate) fn no_late_answer_takes_back_what_was_heard<F: Follower>() {
    proptest!(|(events in events())| {
        let mut network = Network::<F>::new();
        for event in &events {
            network.suffer(event);
            let shown = network.follower.shown();
            prop_assert!(network.may_show(shown), "{shown:?} after {event:?}");
        }
        while network.heard < network.commits.len() {
            network.hear_next();
            prop_assert!(network.may_show(network.follower.shown()));
        }
    });
}
