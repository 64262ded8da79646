use std::time::Duration;

use selkie_crypto::os_random;
use selkie_storage::{MemoryStore, store_contract};
use tokio::time::timeout;

use super::sealing::seal_root;
use super::*;
use crate::state::listing::list;

fn key_of(text: &str) -> RecordKey {
    text.parse().unwrap()
}

fn put(at: &str, content: &str) -> Write {
    Write::Put(key_of(at), RecordValue::new(content.as_bytes()).unwrap())
}

fn state_key() -> Arc<StateKey> {
    Arc::new(StateKey::init_with(|page| page.fill(7)).unwrap())
}

pub(in crate::state) async fn on(raw: &Arc<dyn Store>) -> SealedStore {
    let (key, place) = (state_key(), key_of(ROOT));
    let random: SharedRandom = Arc::new(os_random);
    let record = match raw.get(&place).await.unwrap() {
        Some(record) => record,
        None => {
            let root = seal_root(&key, &place, &Root::EMPTY, &random).unwrap();
            raw.commit(&[], &[root]).await.unwrap();
            raw.get(&place).await.unwrap().unwrap()
        }
    };
    let root = open_root(&key, &record.value).unwrap();
    let seen = Seen { root, revision: record.revision };
    SealedStore::new(Arc::clone(raw), key, random, seen).unwrap()
}

async fn sealed() -> (Arc<dyn Store>, SealedStore) {
    let raw: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = on(&raw).await;
    (raw, store)
}

mod contract {
    use super::*;

    async fn open() -> Arc<dyn Store> {
        Arc::new(sealed().await.1)
    }

    store_contract!(open);
}

async fn raw_value(raw: &Arc<dyn Store>, at: &str) -> RecordValue {
    raw.get(&key_of(at)).await.unwrap().unwrap().value
}

fn assert_corrupt<T: fmt::Debug>(outcome: Result<T, StoreError>, at: &str) {
    match outcome {
        Err(StoreError::Corrupt { key: Some(key), .. }) => assert_eq!(key.as_str(), at),
        other => panic!("{other:?}"),
    }
}

async fn content(store: &SealedStore, at: &str) -> Option<String> {
    let record = store.get(&key_of(at)).await.unwrap()?;
    Some(String::from_utf8(record.value.as_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn no_content_and_no_reserved_record_shows() {
    let (raw, store) = sealed().await;
    store.commit(&[], &[put("a/b", "CONTENT")]).await.unwrap();
    let value = raw_value(&raw, "a/b").await;
    assert!(!value.as_bytes().windows(7).any(|part| part == b"CONTENT"));
    assert_eq!(store.get(&key_of(ROOT)).await.unwrap(), None);
    assert_eq!(store.list(&Page::all()).await.unwrap().records.len(), 1);
    for reserved in ["root", "format", "state-key-local/1", "filling"] {
        let outcome = store.commit(&[], &[put(reserved, "x")]).await;
        assert!(matches!(outcome, Err(StoreError::Reserved { .. })), "{reserved}");
        let outcome = store.commit(&[Guard::Absent(key_of(reserved))], &[put("x", "x")]).await;
        assert!(matches!(outcome, Err(StoreError::Reserved { .. })), "{reserved}");
    }
}

#[tokio::test]
async fn i5_an_old_record_put_back_is_refused_by_get_list_and_commit() {
    let (raw, store) = sealed().await;
    store.commit(&[], &[put("a", "old")]).await.unwrap();
    let old = raw_value(&raw, "a").await;
    store.commit(&[], &[put("a", "new")]).await.unwrap();
    raw.commit(&[], &[Write::Put(key_of("a"), old)]).await.unwrap();
    assert_corrupt(store.get(&key_of("a")).await, "a");
    assert_corrupt(store.list(&Page::all()).await, "a");
    assert_corrupt(store.commit(&[], &[put("a", "x")]).await, "a");
    assert_corrupt(store.commit(&[], &[put("b", "x")]).await, "a");
    assert_eq!(store.damage().unwrap().1, Damage::PutBack);
}

#[tokio::test]
async fn i5_forged_and_swapped_records_are_refused_by_get_and_list() {
    let (raw, store) = sealed().await;
    store.commit(&[], &[put("a", "1"), put("b", "2")]).await.unwrap();
    let (a, b) = (raw_value(&raw, "a").await, raw_value(&raw, "b").await);
    let root = raw_value(&raw, ROOT).await;
    for forged in [b.as_bytes().to_vec(), b"plain".to_vec(), Vec::new(), flipped(&a)] {
        // With the root, so that its place in the line is not what is seen first.
        let forged = Write::Put(key_of("a"), RecordValue::new(forged).unwrap());
        raw.commit(&[], &[forged, Write::Put(key_of(ROOT), root.clone())]).await.unwrap();
        assert_corrupt(store.get(&key_of("a")).await, "a");
        assert_corrupt(store.list(&Page::all()).await, "a");
        assert_eq!(content(&store, "b").await.unwrap(), "2");
    }
}

fn flipped(value: &RecordValue) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

/// What the watch answers to each raw commit that others make; the first of each is the culprit.
#[tokio::test]
async fn i5_the_watch_refuses_what_others_commit() {
    let back = |at: &str, value: &RecordValue| Write::Put(key_of(at), value.clone());
    for case in 0..7 {
        let (raw, store) = sealed().await;
        store.commit(&[], &[put("a", "old")]).await.unwrap();
        let (old_a, old_root) = (raw_value(&raw, "a").await, raw_value(&raw, ROOT).await);
        let from = store.commit(&[], &[put("a", "new")]).await.unwrap();
        let root = raw_value(&raw, ROOT).await;
        let mut watch = store.watch(from).await.unwrap();
        let (writes, culprit) = match case {
            0 => (vec![back("a", &old_a)], "a"),
            1 => (vec![back("a", &old_a), back(ROOT, &old_root)], ROOT),
            2 => (vec![back("a", &old_a), back(ROOT, &root)], ROOT),
            3 => (vec![Write::Delete(key_of("a"))], "a"),
            4 => (vec![Write::Delete(key_of(ROOT))], ROOT),
            5 => (vec![put("a", "forged")], "a"),
            _ => (vec![put("filling", "x")], "filling"),
        };
        raw.commit(&[], &writes).await.unwrap();
        assert_corrupt(watch.next().await, culprit);
        assert_corrupt(store.commit(&[], &[put("b", "x")]).await, culprit);
    }
}

#[tokio::test]
async fn i5_a_watch_that_begins_in_the_past_sees_a_rollback_in_it() {
    let (raw, store) = sealed().await;
    let from = store.commit(&[], &[put("a", "1")]).await.unwrap();
    let (a, root) = (raw_value(&raw, "a").await, raw_value(&raw, ROOT).await);
    store.commit(&[], &[put("a", "2")]).await.unwrap();
    raw.commit(&[], &[Write::Put(key_of("a"), a), Write::Put(key_of(ROOT), root)]).await.unwrap();
    // A replica that has seen nothing of it, and so finds nothing wrong with the newest root.
    let other = on(&raw).await;
    other.commit(&[], &[put("b", "1")]).await.unwrap();
    let mut watch = other.watch(from).await.unwrap();
    watch.next().await.unwrap();
    assert_corrupt(watch.next().await, ROOT);
    assert_corrupt(store.commit(&[], &[put("b", "1")]).await, ROOT);
}

#[tokio::test]
async fn i5_a_dropped_or_older_root_stops_commits() {
    let (raw, store) = sealed().await;
    let root = raw_value(&raw, ROOT).await;
    store.commit(&[], &[put("a", "1")]).await.unwrap();
    raw.commit(&[], &[Write::Put(key_of(ROOT), root)]).await.unwrap();
    assert_corrupt(store.commit(&[], &[put("a", "2")]).await, ROOT);
    let (raw, store) = sealed().await;
    raw.commit(&[], &[Write::Delete(key_of(ROOT))]).await.unwrap();
    assert_corrupt(store.commit(&[], &[put("a", "2")]).await, ROOT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_commit_in_one_line_and_see_each_other() {
    const EACH: u64 = 10;
    let (raw, first) = sealed().await;
    let mut watch = first.watch(first.seen().revision).await.unwrap();
    let mut replicas = tokio::task::JoinSet::new();
    for replica in 0..3 {
        let store = on(&raw).await;
        replicas.spawn(async move {
            for n in 0..EACH {
                store.commit(&[], &[put(&format!("{replica}/{n}"), "")]).await.unwrap();
                store.commit(&[], &[put("shared", &format!("{replica}/{n}"))]).await.unwrap();
            }
        });
    }
    replicas.join_all().await;
    for _ in 0..6 * EACH {
        timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
    }
    assert_eq!(first.seen().root.sequence, 6 * EACH);
    assert_eq!(first.seen().root.records, 3 * EACH + 1);
    assert_eq!(on(&raw).await.seen(), first.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_four_replicas_of_800_commits_leave_a_store_that_adds_up() {
    let (raw, _first) = sealed().await;
    let mut replicas = tokio::task::JoinSet::new();
    for replica in 0..4_u64 {
        let store = on(&raw).await;
        replicas.spawn(async move {
            for n in 0..200_u64 {
                let own = format!("own/{replica}/{}", n % 7);
                let shared = format!("shared/{}", n % 5);
                let writes = match n % 4 {
                    0 => vec![put(&own, "1"), put(&shared, &own)],
                    1 => vec![put(&own, "2")],
                    2 => vec![Write::Delete(key_of(&shared)), put(&own, "3")],
                    _ => vec![Write::Delete(key_of(&own)), put(&shared, "4")],
                };
                store.commit(&[], &writes).await.unwrap();
            }
        });
    }
    replicas.join_all().await;
    let whole = crate::state::opening::verify(&*raw, &state_key()).await.unwrap();
    assert_eq!(whole.root.sequence, 800);
    assert_eq!(whole.root.records, u64::try_from(raw_count(&raw).await - 1).unwrap());
}

async fn raw_count(raw: &Arc<dyn Store>) -> usize {
    raw.list(&Page::all()).await.unwrap().records.len()
}

#[tokio::test]
async fn i5_what_was_dropped_while_nobody_watched_is_refused_by_the_next_watch() {
    let dropped_alone = vec![Write::Delete(key_of("a"))];
    let with_all = vec![Write::Delete(key_of("a")), Write::Delete(key_of(ROOT))];
    for writes in [dropped_alone, with_all] {
        let (raw, store) = sealed().await;
        store.commit(&[], &[put("a", "1")]).await.unwrap();
        let since = raw.commit(&[], &writes).await.unwrap();
        assert_corrupt(store.watch(since).await, ROOT);
        assert!(store.damage().is_some());
        assert_corrupt(store.commit(&[], &[put("b", "1")]).await, ROOT);
    }
}

#[tokio::test]
async fn i5_nothing_is_listed_of_a_store_that_is_known_to_be_tampered_with() {
    let (raw, store) = sealed().await;
    let from = store.commit(&[], &[put("a/1", "1"), put("a/2", "2")]).await.unwrap();
    let mut watch = store.watch(from).await.unwrap();
    raw.commit(&[], &[Write::Delete(key_of("a/1"))]).await.unwrap();
    assert_corrupt(watch.next().await, "a/1");
    for page in [Page::all(), Page::under(key_of("a")), Page::under(key_of("b"))] {
        assert_corrupt(store.list(&page).await, "a/1");
        let listed = list(&store, page).await.map(|listed| listed.unreadable);
        assert_corrupt(listed, "a/1");
    }
    assert_eq!(content(&store, "a/2").await.unwrap(), "2", "what is sound is still read");
}

#[tokio::test]
async fn changes_of_the_state_key_do_not_show_in_the_watch() {
    let (raw, store) = sealed().await;
    let mut watch = store.watch(store.seen().revision).await.unwrap();
    raw.commit(&[], &[put("state-key", "x"), put("state-key-local/1", "x")]).await.unwrap();
    let revision = store.commit(&[], &[put("a", "1")]).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, revision);
}
