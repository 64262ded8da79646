use super::*;
use crate::error::StoreError;
use crate::record::RecordValue;

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
async fn store_never_prints_what_it_holds() {
    let store = MemoryStore::new();
    store.commit(&[], &[put("name")]).await.unwrap();
    assert_eq!(format!("{store:?}"), "MemoryStore { .. }");
}
