//! The claims of every backend, one at a time on one server: they speak of the newest revision of
//! the whole store, which others below another prefix would move.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use selkie_storage::contract::Standing;
use selkie_storage::{EtcdStore, MemoryStore, Store};
use tokio::sync::Mutex;

use super::server::{Etcd, etcd_is_here};
use super::settings;

selkie_storage::store_contract!(open);

#[derive(Debug)]
struct Shared {
    etcd: Etcd,
    turn: Arc<Mutex<()>>,
}

static SHARED: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());
static CLAIMS: AtomicUsize = AtomicUsize::new(0);

/// A store and the right to be the only one that writes. The last claim stops the server.
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
    Arc::new(Standing::new(store, (turn, shared)))
}
