//! Records and the commits that led to them, in memory: what the memory store is, and what the
//! sled store answers reads and watches from.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::commit::{Commit, Guard, Write};
use crate::error::StoreError;
use crate::key::RecordKey;
use crate::page::{Listing, Page};
use crate::record::{Record, RecordValue, Revision};
use crate::{StoreFuture, Watch};

/// How many commits a store remembers for watches if nothing else is said.
pub(crate) const DEFAULT_HISTORY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// How many bytes of keys and values those may have together in a small store. As many commits of the
/// largest values would be far more, and whoever may make one can make it again and again. But with too
/// few, whoever does so keeps others from following: it takes them a while to list and verify before.
const HISTORY_BYTES: usize = 64 << 20;

const WALK_LIMIT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// All records, each with the commit that last put it.
pub(crate) type Records = BTreeMap<RecordKey, (RecordValue, Revision)>;

/// The state and those who wait for it to change.
pub(crate) struct Shared {
    state: Mutex<State>,
    newest: watch::Sender<Revision>,
}

pub(crate) struct State {
    records: Records,
    /// Of their keys and values.
    record_bytes: usize,
    newest: Revision,
    pub(crate) history: VecDeque<Commit>,
    history_limit: NonZeroUsize,
    /// Of the keys and values in `history`.
    history_bytes: usize,
    /// The last commit that `history` has forgotten.
    forgotten: Revision,
}

struct ImageWatch {
    shared: Arc<Shared>,
    newest: watch::Receiver<Revision>,
    /// The last commit that was handed out. It moves only together with a finished `next`.
    seen: Revision,
}

impl fmt::Debug for ImageWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageWatch").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Watch for ImageWatch {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(async move {
            loop {
                let commit = self.shared.state().commit_after(self.seen)?;
                if let Some(commit) = commit {
                    self.seen = commit.revision;
                    return Ok(commit);
                }
                let closed = |source| StoreError::Unavailable { source: Box::new(source) };
                self.newest.changed().await.map_err(closed)?;
            }
        })
    }
}

impl Shared {
    /// A state that knows nothing of how its records came to be.
    pub(crate) fn new(
        records: Records,
        newest: Revision,
        history_limit: NonZeroUsize,
    ) -> Arc<Self> {
        let state = State {
            record_bytes: records.iter().map(|(key, (value, _))| byte_count(key, value)).sum(),
            records,
            newest,
            history: VecDeque::new(),
            history_limit,
            history_bytes: 0,
            forgotten: newest,
        };
        Arc::new(Self { state: Mutex::new(state), newest: watch::Sender::new(newest) })
    }

    /// Makes `commit` happen, for readers and for watches.
    pub(crate) fn apply(&self, commit: Commit) -> Revision {
        self.apply_under(self.state(), commit)
    }

    /// As [`apply`](Self::apply), for who looked at the state before and holds it still.
    pub(crate) fn apply_under(&self, mut state: MutexGuard<'_, State>, commit: Commit) -> Revision {
        state.apply(commit);
        // Told under the lock, so that watches hear of revisions in their order.
        self.newest.send_replace(state.newest);
        state.newest
    }

    /// The commits after `from`.
    pub(crate) fn watch(self: &Arc<Self>, from: Revision) -> Result<Box<dyn Watch>, StoreError> {
        self.state().check_start(from)?;
        let newest = self.newest.subscribe();
        Ok(Box::new(ImageWatch { shared: Arc::clone(self), newest, seen: from }))
    }

    /// All records, a page at a time, so that readers never wait for the whole. Whoever walks keeps
    /// commits away meanwhile.
    pub(crate) fn walk(&self) -> impl Iterator<Item = Record> + '_ {
        let mut next = Some(Page { limit: WALK_LIMIT, ..Page::all() });
        let pages = std::iter::from_fn(move || {
            let Listing { records, next: following, .. } = self.state().list(next.as_ref()?);
            next = following;
            Some(records)
        });
        pages.flatten()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) const fn records(&self) -> &Records {
        &self.records
    }

    pub(crate) const fn newest(&self) -> Revision {
        self.newest
    }

    pub(crate) fn get(&self, key: &RecordKey) -> Option<Record> {
        self.records.get(key).map(|stored| record(key, stored))
    }

    pub(crate) fn list(&self, page: &Page) -> Listing {
        let under = page.under.as_ref();
        let start = page.after.as_ref().max(under).map_or(Bound::Unbounded, Bound::Excluded);
        // Keys that begin with the text of `under` stand together, look-alikes among them.
        let mut found = self
            .records
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| under.is_none_or(|u| key.as_str().starts_with(u.as_str())))
            .filter(|(key, _)| under.is_none_or(|u| key.is_under(u)))
            .map(|(key, stored)| record(key, stored));
        let records: Vec<Record> = found.by_ref().take(page.limit.get()).collect();
        let more = found.next().and_then(|_| records.last());
        let next = more.map(|last| Page { after: Some(last.key.clone()), ..page.clone() });
        Listing { records, revision: self.newest, next }
    }

    pub(crate) fn check_guards(&self, guards: &[Guard]) -> Result<(), StoreError> {
        let revision = |key| self.records.get(key).map(|(_, revision)| *revision);
        match guards.iter().find(|guard| !guard.holds(revision(guard.key()))) {
            Some(guard) => Err(StoreError::GuardFailed { key: guard.key().clone() }),
            None => Ok(()),
        }
    }

    /// What `writes` would change, as the commit that follows; `None` if nothing.
    pub(crate) fn plan(&self, writes: &[Write]) -> Option<Commit> {
        let changes = |write: &&Write| match write {
            Write::Put(..) => true,
            Write::Delete(key) => self.records.contains_key(key),
        };
        let mut writes: Vec<Write> = writes.iter().filter(changes).cloned().collect();
        writes.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        let revision = Revision::new(self.newest.number() + 1);
        (!writes.is_empty()).then_some(Commit { revision, writes })
    }

    fn apply(&mut self, commit: Commit) {
        self.count_bytes(&commit);
        apply(&mut self.records, &commit);
        self.newest = commit.revision;
        self.history.push_back(commit);
        // Whoever lists all records and then follows is longer behind the more there are.
        let most_bytes = self.record_bytes.max(HISTORY_BYTES);
        while (self.history.len() > self.history_limit.get() || self.history_bytes > most_bytes)
            && let Some(oldest) = self.history.pop_front()
        {
            self.history_bytes = self.history_bytes.saturating_sub(oldest.byte_count());
            self.forgotten = oldest.revision;
        }
    }

    fn count_bytes(&mut self, commit: &Commit) {
        for write in &commit.writes {
            let key = write.key();
            let gone = self.records.get(key).map_or(0, |(value, _)| byte_count(key, value));
            let come = match write {
                Write::Put(key, value) => byte_count(key, value),
                Write::Delete(_) => 0,
            };
            self.record_bytes = self.record_bytes.saturating_sub(gone).saturating_add(come);
        }
        self.history_bytes = self.history_bytes.saturating_add(commit.byte_count());
    }

    fn check_start(&self, from: Revision) -> Result<(), StoreError> {
        if from < self.forgotten {
            return Err(StoreError::Compacted { oldest: self.forgotten });
        }
        if from > self.newest {
            return Err(StoreError::NotReached { newest: self.newest });
        }
        Ok(())
    }

    fn commit_after(&self, seen: Revision) -> Result<Option<Commit>, StoreError> {
        self.check_start(seen)?;
        let next = self.history.partition_point(|commit| commit.revision <= seen);
        Ok(self.history.get(next).cloned())
    }
}

fn byte_count(key: &RecordKey, value: &RecordValue) -> usize {
    key.as_str().len().saturating_add(value.as_bytes().len())
}

pub(crate) fn record(key: &RecordKey, (value, revision): &(RecordValue, Revision)) -> Record {
    Record { key: key.clone(), value: value.clone(), revision: *revision }
}

/// Makes `commit` happen to `records`.
pub(crate) fn apply(records: &mut Records, commit: &Commit) {
    for write in &commit.writes {
        match write {
            Write::Put(key, value) => {
                records.insert(key.clone(), (value.clone(), commit.revision));
            }
            Write::Delete(key) => {
                records.remove(key);
            }
        }
    }
}
