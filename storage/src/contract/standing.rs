//! A store with what it stands on.

use crate::{
    Guard, Limits, Listing, Page, Record, RecordKey, Revision, Store, StoreFuture, Watch, Write,
};

/// A store with what it stands on, as a directory or a server, which goes after it.
#[derive(Debug)]
pub struct Standing<S, On> {
    store: S,
    _on: On,
}

impl<S, On> Standing<S, On> {
    /// `store`, which needs `on` for as long as it is there.
    pub const fn new(store: S, on: On) -> Self {
        Self { store, _on: on }
    }
}

impl<S: Store, On: std::fmt::Debug + Send + Sync> Store for Standing<S, On> {
    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn answers_from_memory(&self) -> bool {
        self.store.answers_from_memory()
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.store.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.store.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.store.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.store.watch(from)
    }
}
