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

#[derive(Debug)]
pub(crate) struct ForgetfulStore {
    inner: Arc<SimStore>,
    commits: AtomicU64,
}

impl ForgetfulStore {
    pub(crate) fn new(inner: Arc<SimStore>) -> Self {
        Self { inner, commits: AtomicU64::new(0) }
    }
}

impl Store for ForgetfulStore {
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
        let lost = self.commits.fetch_add(1, Ordering::Relaxed) % 9 == 8;
        if !lost {
            return self.inner.commit(guards, writes);
        }
        Box::pin(async {
            let newest = self.inner.commit(&[], &[]).await?;
            Ok(Revision::new(newest.number() + 1))
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.inner.watch(from)
    }
}

#[derive(Debug)]
pub(crate) struct DeafStore(pub(crate) Arc<SimStore>);

impl Store for DeafStore {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.0.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.0.commit(guards, writes)
    }

    fn watch(&self, _: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(async { Ok(Box::new(Deaf) as Box<dyn Watch>) })
    }
}

#[derive(Debug)]
struct Deaf;

impl Watch for Deaf {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(std::future::pending())
    }
}

#[derive(Debug)]
pub(crate) struct StayingStore(pub(crate) Arc<SimStore>);

impl Store for StayingStore {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.0.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            if let [Write::Put(key, value)] = writes
                && key.as_str() == "state-key"
                && let Some(record) = self.0.get(key).await?
                && recipients(value) > recipients(&record.value)
            {
                // As if another replica had been first.
                return Err(StoreError::GuardFailed { key: key.clone() });
            }
            self.0.commit(guards, writes).await
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.0.watch(from)
    }
}

/// How many master keys the state key is wrapped for.
fn recipients(envelope: &RecordValue) -> usize {
    let envelope: serde_json::Value = serde_json::from_slice(envelope.as_bytes()).unwrap();
    envelope["recipients"].as_array().unwrap().len()
}
