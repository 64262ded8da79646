use super::*;
use crate::commit::MAX_COMMIT_BYTES;
use crate::error::StoreError;
use crate::record::{MAX_VALUE_BYTES, RecordValue};

async fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

crate::store_contract!(memory);

fn key(text: &str) -> RecordKey {
    text.parse().unwrap()
}

fn put(text: &str) -> Write {
    Write::Put(key(text), RecordValue::new(*b"value").unwrap())
}

async fn store_that_remembers_two_of(commits: &[&str]) -> (MemoryStore, Vec<Revision>) {
    let store = MemoryStore::with_history(NonZeroUsize::new(2).unwrap());
    let mut revisions = Vec::new();
    for name in commits {
        revisions.push(store.commit(&[], &[put(name)]).await.unwrap());
    }
    (store, revisions)
}

#[tokio::test]
async fn watch_from_a_forgotten_revision_names_the_oldest_start() {
    let (store, revisions) = store_that_remembers_two_of(&["a", "b", "c", "d"]).await;
    let refused = store.watch(revisions[0]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Compacted { oldest } if oldest == revisions[1]));
    let mut watch = store.watch(revisions[1]).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, revisions[2]);
    assert_eq!(watch.next().await.unwrap().revision, revisions[3]);
}

#[tokio::test]
async fn watch_that_falls_behind_is_told_and_misses_nothing_silently() {
    let (store, revisions) = store_that_remembers_two_of(&["a"]).await;
    let mut watch = store.watch(Revision::ORIGIN).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, revisions[0]);
    for name in ["b", "c", "d"] {
        store.commit(&[], &[put(name)]).await.unwrap();
    }
    assert!(matches!(watch.next().await, Err(StoreError::Compacted { .. })));
}

#[tokio::test]
async fn history_stays_within_its_limit() {
    let (store, _) = store_that_remembers_two_of(&["a", "b", "c", "d"]).await;
    assert_eq!(store.shared.state().history.len(), 2);
}

#[tokio::test]
async fn history_of_large_commits_stays_within_its_bytes_and_a_watch_in_step_misses_none() {
    let store = MemoryStore::new();
    let mut in_step = store.watch(Revision::ORIGIN).await.unwrap();
    let mut behind = store.watch(Revision::ORIGIN).await.unwrap();
    // As large as a commit may be.
    let half = || RecordValue::new(vec![0; (MAX_COMMIT_BYTES - 2) / 2]).unwrap();
    let whole = ["a", "b"].map(|name| Write::Put(key(name), half()));
    for _ in 0..80 {
        let revision = store.commit(&[], &whole).await.unwrap();
        let told = in_step.next().await.unwrap();
        assert_eq!((told.revision, &told.writes[..]), (revision, &whole[..]));
    }
    let refused = behind.next().await.unwrap_err();
    let StoreError::Compacted { oldest } = refused else { panic!("{refused:?}") };
    let mut listed_anew = store.watch(oldest).await.unwrap();
    let held = store.shared.state().history.len();
    assert_eq!(held, 64, "commits of 1 MiB");
    for _ in 0..held {
        listed_anew.next().await.unwrap();
    }
    // What is small is remembered as long as before, once the large ones are out of the way.
    for _ in 0..DEFAULT_HISTORY.get() {
        store.commit(&[], &[put("c")]).await.unwrap();
    }
    assert_eq!(store.shared.state().history.len(), DEFAULT_HISTORY.get());
}

/// Meanwhile others may list all and verify it.
#[tokio::test]
async fn who_makes_the_largest_response_again_and_again_overtakes_nobody_who_lists_a_small_store() {
    let store = MemoryStore::new();
    let listing = store.list(&Page::all()).await.unwrap();
    let largest = || RecordValue::new(vec![0; MAX_VALUE_BYTES]).unwrap();
    for _ in 0..60 {
        store.commit(&[], &[Write::Put(key("wrapped/a"), largest())]).await.unwrap();
        store.commit(&[], &[Write::Delete(key("wrapped/a"))]).await.unwrap();
    }
    let mut watch = store.watch(listing.revision).await.unwrap();
    for _ in 0..120 {
        watch.next().await.unwrap();
    }
}

/// It takes the longer to list the more there is, and meanwhile others commit.
#[tokio::test]
async fn history_may_have_as_many_bytes_as_the_records() {
    let store = MemoryStore::new();
    let mut revisions = Vec::new();
    for number in 0..160 {
        let value = RecordValue::new(vec![0; MAX_VALUE_BYTES]).unwrap();
        let put = Write::Put(key(&number.to_string()), value);
        revisions.push(store.commit(&[], &[put]).await.unwrap());
    }
    let mut watch = store.watch(Revision::ORIGIN).await.unwrap();
    for revision in revisions {
        assert_eq!(watch.next().await.unwrap().revision, revision);
    }
    let gone: Vec<_> = (0..160).map(|number| Write::Delete(key(&number.to_string()))).collect();
    for some in gone.chunks(80) {
        store.commit(&[], some).await.unwrap();
    }
    assert_eq!(store.shared.state().history.len(), 127 + 2, "64 MiB, and what deleted them");
}

#[tokio::test]
async fn store_never_prints_what_it_holds() {
    let store = MemoryStore::new();
    store.commit(&[], &[put("name")]).await.unwrap();
    assert_eq!(format!("{store:?}"), "MemoryStore { .. }");
}
