//! The claims of every backend, one at a time on one server: they speak of the newest revision of
//! the whole store, which others below another prefix would move.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use selkie_storage::{
    EtcdStore, Guard, Listing, MemoryStore, Page, Record, RecordKey, Revision, Store, StoreFuture,
    Watch, Write,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::server::{Etcd, etcd_is_here};
use super::settings;

selkie_storage::store_contract!(open);

struct Shared {
    etcd: Etcd,
    turn: Arc<Mutex<()>>,
}

static SHARED: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());
static CLAIMS: AtomicUsize = AtomicUsize::new(0);

/// A store and the right to be the only one that writes.
struct Turn {
    store: EtcdStore,
    _turn: OwnedMutexGuard<()>,
    /// The last claim stops the server.
    _shared: Arc<Shared>,
}

async fn open() -> Arc<dyn Store> {
    if !etcd_is_here() {
        return Arc::new(MemoryStore::new());
    }
    let mut slot = SHARED.lock().await;
    let shared = match slot.upgrade() {
        Some(shared) => shared,
        None => {
            let shared = Arc::new(Shared { etcd: Etcd::start(1).await, turn: Arc::default() });
            *slot = Arc::downgrade(&shared);
            shared
        }
    };
    drop(slot);
    let turn = Arc::clone(&shared.turn).lock_owned().await;
    let prefix = format!("claim/{}/", CLAIMS.fetch_add(1, Ordering::Relaxed));
    let store = EtcdStore::connect(settings(shared.etcd.urls_from(0), &prefix)).unwrap();
    Arc::new(Turn { store, _turn: turn, _shared: shared })
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

impl Store for Turn {
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
