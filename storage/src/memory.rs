//! The store of dev mode and of tests: in this process's memory, gone with it.

use std::fmt;
use std::future::ready;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::commit::{Guard, Write, check_limits};
use crate::image::{DEFAULT_HISTORY, Records, Shared};
use crate::key::RecordKey;
use crate::page::{Listing, Page};
use crate::record::{Record, Revision};
use crate::{Store, StoreFuture, Watch};

/// A [`Store`] in memory. It remembers a bounded number of commits for watches.
pub struct MemoryStore {
    shared: Arc<Shared>,
}

impl MemoryStore {
    /// An empty store that remembers its last 1024 commits, or fewer that are large.
    pub fn new() -> Self {
        Self::with_history(DEFAULT_HISTORY)
    }

    /// An empty store that remembers its last `commits` commits: fewer where those have more bytes than
    /// 64 MiB and than all records.
    pub fn with_history(commits: NonZeroUsize) -> Self {
        Self { shared: Shared::new(Records::new(), Revision::ORIGIN, commits) }
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
    fn answers_from_memory(&self) -> bool {
        true
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move { Ok(self.shared.state().get(key)) })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move { Ok(self.shared.state().list(page)) })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            check_limits(guards, writes)?;
            let state = self.shared.state();
            state.check_guards(guards)?;
            match state.plan(writes) {
                Some(commit) => Ok(self.shared.apply_under(state, commit)),
                None => Ok(state.newest()),
            }
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(ready(self.shared.watch(from)))
    }
}

#[cfg(test)]
mod tests;
