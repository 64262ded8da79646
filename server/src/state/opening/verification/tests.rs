use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use selkie_crypto::os_random;
use selkie_storage::{
    Guard, Listing, MemoryStore, Record, RecordKey, RecordValue, Revision, StoreFuture, Watch,
    Write,
};
use tokio::time::sleep;

use super::*;
use crate::clock::SystemClock;
use crate::state::records::Records;
use crate::state::sealed_store::{SealedStore, SharedRandom, seal_root};
use crate::transit::ManagedKeys;

const RECORDS: usize = 600;
const PAGE: NonZeroUsize = NonZeroUsize::new(256).unwrap();

fn put(at: &str, content: &str) -> Write {
    Write::Put(at.parse().unwrap(), RecordValue::new(content.as_bytes()).unwrap())
}

fn delete(at: &str) -> Write {
    Write::Delete(at.parse().unwrap())
}

/// A store to which a replica commits after each page that is read of it.
#[derive(Debug)]
struct Restless {
    raw: Arc<dyn Store>,
    replica: SealedStore,
    pages: AtomicUsize,
}

impl Restless {
    async fn new(key: &Arc<StateKey>) -> Self {
        let raw: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let random: SharedRandom = Arc::new(os_random);
        let empty = seal_root(key, &place(ROOT).unwrap(), &Root::EMPTY, &random).unwrap();
        let revision = raw.commit(&[], &[empty]).await.unwrap();
        let seen = Seen { root: Root::EMPTY, revision };
        let replica = SealedStore::new(Arc::clone(&raw), Arc::clone(key), random, seen).unwrap();
        for from in (0..RECORDS).step_by(100) {
            let writes: Vec<_> = (from..from + 100).map(|n| put(&format!("k/{n}"), "1")).collect();
            replica.commit(&[], &writes).await.unwrap();
        }
        Self { raw, replica, pages: AtomicUsize::new(0) }
    }

    /// Changes before and behind what was read: all that can happen to a record.
    async fn disturb(&self) {
        let n = self.pages.fetch_add(1, Ordering::Relaxed);
        let (changed, gone) = (n * 37 % RECORDS, (n * 61 + 1) % RECORDS);
        let writes = [put(&format!("k/{changed}"), &n.to_string()), delete(&format!("k/{gone}x"))];
        self.replica.commit(&[], &writes).await.unwrap();
        let writes = [put(&format!("a/{n}"), "1"), put(&format!("z/{n}"), "1")];
        self.replica.commit(&[], &writes).await.unwrap();
        let writes = [delete(&format!("a/{n}")), delete(&format!("k/{gone}"))];
        self.replica.commit(&[], &writes).await.unwrap();
        self.replica.commit(&[], &[put(&format!("k/{gone}"), "again")]).await.unwrap();
        // Nothing of ours, but a commit: it puts no root.
        self.raw.commit(&[], &[put("state-key-local/here", &n.to_string())]).await.unwrap();
    }
}

impl Store for Restless {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.raw.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            let short = Page { limit: PAGE, ..page.clone() };
            let listing = self.raw.list(&short).await.map(|listing| Listing {
                next: listing.next.map(|next| Page { limit: page.limit, ..next }),
                ..listing
            });
            self.disturb().await;
            listing
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.raw.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.raw.watch(from)
    }
}

/// A store of which a page takes its time, and has ten records.
#[derive(Debug)]
struct Slow(Arc<dyn Store>);

impl Store for Slow {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            sleep(Duration::from_millis(100)).await;
            let short = Page { limit: NonZeroUsize::new(10).unwrap(), ..page.clone() };
            self.0.list(&short).await
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.0.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.0.watch(from)
    }
}

fn state_key() -> Arc<StateKey> {
    Arc::new(StateKey::init_with(|page| page.fill(7)).unwrap())
}

#[tokio::test]
async fn i5_a_store_that_never_rests_is_verified_all_the_same() {
    let key = state_key();
    let store = Restless::new(&key).await;
    let seen = verify(&store, &key).await.unwrap();
    assert_eq!(seen, store.replica.seen());
    assert!(store.pages.load(Ordering::Relaxed) > PASSES * 3, "it was read while it rested");
}

#[tokio::test]
async fn i5_what_others_do_to_a_store_that_never_rests_is_detected() {
    let key = state_key();
    for foreign in [delete("k/599"), put("k/599", "of others")] {
        let store = Restless::new(&key).await;
        store.raw.commit(&[], &[foreign]).await.unwrap();
        assert!(verify(&store, &key).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_is_followed_that_takes_longer_to_verify_than_to_give_one_answer() {
    let key = state_key();
    let Restless { raw, replica, .. } = Restless::new(&key).await;
    let (slow, random): (_, SharedRandom) = (Arc::new(Slow(raw)), Arc::new(os_random));
    let store = SealedStore::new(slow, Arc::clone(&key), random, replica.seen()).unwrap();
    let keys = Arc::new(ManagedKeys::load(Arc::new(store)).await.unwrap());
    let records = Arc::new(Records::new(true, Vec::new(), Arc::new(SystemClock)));
    let learner = crate::transit::tests::engine(&[]).await.learner();
    let following = tokio::spawn(Arc::clone(&keys).follow(learner, Arc::clone(&records)));
    sleep(Duration::from_secs(60)).await;
    assert!(keys.lost().is_none(), "{:?}", keys.lost());
    assert!(records.silence() > 5, "it has been followed for a while");
    replica.commit(&[], &[put("k/new", "1")]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(records.silence() <= 1, "{} s", records.silence());
    following.abort();
}
