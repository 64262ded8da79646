//! Bugs that are planted to see that they are found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use selkie_storage::{
    Commit, Guard, Limits, Listing, Page, Record, RecordKey, RecordValue, Revision, Store,
    StoreError, StoreFuture, Watch, Write,
};

use crate::store::SimStore;

/// Which bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Every ninth commit is answered as if it were made.
    LostWrite,
    /// One replica never hears of what the others do.
    DeafWatch,
    /// Who may not decrypt is taken for somebody who may.
    NoPermit,
    /// A version of a master key is destroyed.
    PurgedKek,
    /// What is said of `min_decryption_version` is not heard.
    MinimumLost,
    /// A server never wraps by itself.
    WrapsRemotely,
    /// The state key is never wrapped for more master keys than before.
    StateStays,
    /// A rewrap is answered 503, however well everything is.
    NoRewrap,
    /// What was said to be tampered with was not.
    Untouched,
}

impl Planted {
    /// What the store of the replica `number` says that is not so, if it is in the store.
    pub(crate) fn lie_to(self, number: usize) -> Option<Lie> {
        match self {
            Self::LostWrite => Some(Lie::Made(AtomicU64::new(0))),
            Self::DeafWatch => (number == 1).then_some(Lie::Unchanged),
            Self::StateStays => Some(Lie::Outrun),
            Self::NoPermit
            | Self::PurgedKek
            | Self::MinimumLost
            | Self::WrapsRemotely
            | Self::NoRewrap
            | Self::Untouched => None,
        }
    }
}

/// What a store says that is not so.
#[derive(Debug)]
pub(crate) enum Lie {
    /// Every ninth of so many commits was made.
    Made(AtomicU64),
    /// Nobody changes anything.
    Unchanged,
    /// Another replica was first, whenever the state key is wrapped for more master keys.
    Outrun,
}

/// One that tells the truth in all else.
#[derive(Debug)]
pub(crate) struct LyingStore {
    pub(crate) inner: Arc<SimStore>,
    pub(crate) lie: Lie,
}

impl Store for LyingStore {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.inner.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        match &self.lie {
            Lie::Made(commits) if commits.fetch_add(1, Ordering::Relaxed) % 9 == 8 => {
                Box::pin(async {
                    let newest = self.inner.commit(&[], &[]).await?;
                    Ok(Revision::new(newest.number() + 1))
                })
            }
            Lie::Outrun => Box::pin(async move {
                if let [Write::Put(key, value)] = writes
                    && key.as_str() == "state-key"
                    && let Some(record) = self.inner.get(key).await?
                    && recipients(value) > recipients(&record.value)
                {
                    return Err(StoreError::GuardFailed { key: key.clone() });
                }
                self.inner.commit(guards, writes).await
            }),
            Lie::Made(_) | Lie::Unchanged => self.inner.commit(guards, writes),
        }
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        match self.lie {
            Lie::Unchanged => Box::pin(async { Ok(Box::new(Deaf) as Box<dyn Watch>) }),
            Lie::Made(_) | Lie::Outrun => self.inner.watch(from),
        }
    }
}

#[derive(Debug)]
struct Deaf;

impl Watch for Deaf {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(std::future::pending())
    }
}

/// How many master keys the state key is wrapped for.
fn recipients(envelope: &RecordValue) -> usize {
    let envelope: serde_json::Value = serde_json::from_slice(envelope.as_bytes()).unwrap();
    envelope["recipients"].as_array().unwrap().len()
}
