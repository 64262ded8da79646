//! Claims about the etcd store, on real etcd processes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a child learns from the environment what it is")]
#![expect(clippy::print_stdout, reason = "a child reports on stdout")]

mod contract;
mod faults;
mod history;
mod kills;
mod leases;
mod partition;
mod places;
mod quota;
mod secured;
mod server;
mod slow;
mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use selkie_storage::{
    Commit, EtcdFault, EtcdSettings, EtcdStore, RecordKey, RecordValue, Revision, Store,
    StoreError, Watch, Write,
};

/// Generous: it bounds a failing test. The members may share a busy machine and a slow disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// The request timeout of a store that is to give up, for which a test then waits.
const BRIEF: Duration = Duration::from_secs(4);

fn key(text: &str) -> RecordKey {
    text.parse().unwrap()
}

fn put(at: &str, bytes: &[u8]) -> Write {
    Write::Put(key(at), RecordValue::new(bytes).unwrap())
}

fn settings(endpoints: Vec<String>, prefix: &str) -> EtcdSettings {
    EtcdSettings {
        endpoints,
        prefix: prefix.to_owned(),
        ca_pem: None,
        identity: None,
        credentials: None,
        request_timeout: PATIENCE,
    }
}

fn store(endpoints: Vec<String>) -> Arc<EtcdStore> {
    Arc::new(EtcdStore::connect(settings(endpoints, "selkie/")).unwrap())
}

/// A store that gives a request up after [`BRIEF`].
fn brief(endpoints: Vec<String>) -> Arc<EtcdStore> {
    let settings = EtcdSettings { request_timeout: BRIEF, ..settings(endpoints, "selkie/") };
    Arc::new(EtcdStore::connect(settings).unwrap())
}

async fn next(watch: &mut Box<dyn Watch>) -> Commit {
    tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap()
}

async fn newest(store: &EtcdStore) -> Revision {
    store.commit(&[], &[]).await.unwrap()
}

/// Asks again while the cluster cannot answer: it may be about to elect a leader.
async fn answered<T>(ask: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(StoreError::Undecided { .. } | StoreError::Unavailable { .. })
                if Instant::now() < end => {}
            outcome => return outcome.unwrap(),
        }
    }
}

/// Commits until it is certain that it happened.
async fn write(store: &EtcdStore, writes: &[Write]) -> Revision {
    answered(async || store.commit(&[], writes).await).await
}

/// What etcd did, when a store is `Unavailable` for it.
fn unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> EtcdFault {
    match outcome {
        Err(StoreError::Unavailable { source }) => *source.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}
