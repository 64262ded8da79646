//! Claims about the etcd store, on real etcd processes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a child learns from the environment what it is")]
#![expect(clippy::print_stdout, reason = "a child reports on stdout")]

mod contract;
mod faults;
mod history;
mod kills;
mod partition;
mod quota;
mod secured;
mod server;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use selkie_storage::{
    Commit, EtcdFault, EtcdSettings, EtcdStore, RecordKey, RecordValue, Revision, Store,
    StoreError, Watch, Write,
};

const TIMEOUT: Duration = Duration::from_secs(4);

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
        request_timeout: TIMEOUT,
    }
}

fn store(endpoints: Vec<String>) -> Arc<EtcdStore> {
    Arc::new(EtcdStore::connect(settings(endpoints, "selkie/")).unwrap())
}

async fn next(watch: &mut Box<dyn Watch>) -> Commit {
    tokio::time::timeout(Duration::from_secs(30), watch.next()).await.unwrap().unwrap()
}

async fn newest(store: &EtcdStore) -> Revision {
    store.commit(&[], &[]).await.unwrap()
}

/// Commits until it is certain that it happened.
async fn write(store: &EtcdStore, writes: &[Write]) -> Revision {
    loop {
        match store.commit(&[], writes).await {
            Ok(revision) => return revision,
            Err(StoreError::Undecided { .. } | StoreError::Unavailable { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// What etcd did, when a store is `Unavailable` for it.
fn unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> EtcdFault {
    match outcome {
        Err(StoreError::Unavailable { source }) => *source.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}
