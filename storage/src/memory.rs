//! The store of dev mode and of tests: in this process's memory, gone with it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::num::NonZeroUsize;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::commit::{Commit, Guard, Write, check_limits};
use crate::error::StoreError;
use crate::key::RecordKey;
use crate::page::{Listing, Page};
use crate::record::{Record, RecordValue, Revision};
use crate::{Store, StoreFuture, Watch};

const DEFAULT_HISTORY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A [`Store`] in memory. It remembers a bounded number of commits for watches.
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    newest: watch::Sender<Revision>,
}

struct State {
    records: BTreeMap<RecordKey, (RecordValue, Revision)>,
    newest: Revision,
    history: VecDeque<Commit>,
    history_limit: NonZeroUsize,
    /// The last commit that `history` has forgotten.
    forgotten: Revision,
}

impl MemoryStore {
    /// An empty store that remembers its last 1024 commits.
    pub fn new() -> Self {
        Self::with_history(DEFAULT_HISTORY)
    }

    /// An empty store that remembers its last `commits` commits.
    pub fn with_history(commits: NonZeroUsize) -> Self {
        let state = State {
            records: BTreeMap::new(),
            newest: Revision::ORIGIN,
            history: VecDeque::new(),
            history_limit: commits,
            forgotten: Revision::ORIGIN,
        };
        let newest = watch::Sender::new(Revision::ORIGIN);
        Self { shared: Arc::new(Shared { state: Mutex::new(state), newest }) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move { Ok(self.shared.state().get(key)) })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move { Ok(self.shared.state().list(page)) })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            check_limits(guards, writes)?;
            let mut state = self.shared.state();
            state.check_guards(guards)?;
            state.apply(writes);
            // Told under the lock, so that watches hear of revisions in their order.
            self.shared.newest.send_replace(state.newest);
            Ok(state.newest)
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        let start = self.shared.state().check_start(from).map(|()| {
            let newest = self.shared.newest.subscribe();
            let watch = MemoryWatch { shared: Arc::clone(&self.shared), newest, seen: from };
            Box::new(watch) as Box<dyn Watch>
        });
        Box::pin(ready(start))
    }
}

struct MemoryWatch {
    shared: Arc<Shared>,
    newest: watch::Receiver<Revision>,
    /// The last commit that was handed out. It moves only together with a finished `next`.
    seen: Revision,
}

impl fmt::Debug for MemoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWatch").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Watch for MemoryWatch {
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
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, key: &RecordKey) -> Option<Record> {
        self.records.get(key).map(|stored| record(key, stored))
    }

    fn list(&self, page: &Page) -> Listing {
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

    fn check_guards(&self, guards: &[Guard]) -> Result<(), StoreError> {
        let revision = |key| self.records.get(key).map(|(_, revision)| *revision);
        match guards.iter().find(|guard| !guard.holds(revision(guard.key()))) {
            Some(guard) => Err(StoreError::GuardFailed { key: guard.key().clone() }),
            None => Ok(()),
        }
    }

    fn apply(&mut self, writes: &[Write]) {
        let revision = Revision::new(self.newest.number() + 1);
        let mut changed = Vec::with_capacity(writes.len());
        for write in writes {
            let changes = match write {
                Write::Put(key, value) => {
                    self.records.insert(key.clone(), (value.clone(), revision));
                    true
                }
                Write::Delete(key) => self.records.remove(key).is_some(),
            };
            if changes {
                changed.push(write.clone());
            }
        }
        if !changed.is_empty() {
            changed.sort_unstable_by(|a, b| a.key().cmp(b.key()));
            self.remember(Commit { revision, writes: changed });
        }
    }

    fn remember(&mut self, commit: Commit) {
        self.newest = commit.revision;
        self.history.push_back(commit);
        if self.history.len() > self.history_limit.get()
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.revision;
        }
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

fn record(key: &RecordKey, (value, revision): &(RecordValue, Revision)) -> Record {
    Record { key: key.clone(), value: value.clone(), revision: *revision }
}

#[cfg(test)]
mod tests;
