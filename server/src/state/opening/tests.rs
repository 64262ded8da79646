use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use selkie_access::operation;
use selkie_config::VersionRule;
use selkie_crypto::{OriginKey, RandomError};
use selkie_kms::{Fault, KmsError};
use selkie_storage::{Listing, MemoryStore, Revision, StoreFuture, Watch};
use tokio::time::{Instant, sleep};

use super::super::checkpoint::CheckpointError;
use super::*;
use crate::deployment::Deployment;
use crate::node::Node;
use crate::seal::tests::{Site, TestClock, encrypt_under};
use crate::seal::{Keeping, Seal, Seals};
use crate::state::{Backend, Missing, StateStatus, under_mounts};
use crate::telemetry::captured::Log;
use crate::transit::tests::{TestSeal, config_of, engine, permit};
use crate::transit::{ManagedKeys, NewKey};

fn key_of(text: &str) -> RecordKey {
    text.parse().unwrap()
}

fn put(at: &str, content: &str) -> Write {
    Write::Put(key_of(at), RecordValue::new(content.as_bytes()).unwrap())
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn local(byte: u8) -> Option<Arc<PinKey>> {
    Some(Arc::new(PinKey::init_with(|page| page.fill(byte)).unwrap()))
}

fn state(raw: &Arc<dyn Store>) -> State {
    State::new(Arc::clone(raw), None, None)
}

async fn transit() -> Transit {
    engine(&[TestSeal::new("a", &[1])]).await
}

async fn everything(raw: &Arc<dyn Store>) -> Vec<Record> {
    raw.list(&Page::all()).await.unwrap().records
}

async fn raw_value(raw: &Arc<dyn Store>, at: &str) -> RecordValue {
    raw.get(&key_of(at)).await.unwrap().unwrap().value
}

/// A store with two records, of which one has had another content before.
async fn used(transit: &Transit) -> (Arc<dyn Store>, RecordValue) {
    let raw = memory();
    let store = state(&raw).open(transit).await.unwrap().store;
    store.commit(&[], &[put("x/a", "old"), put("x/b", "b")]).await.unwrap();
    let old = raw_value(&raw, "x/a").await;
    store.commit(&[], &[put("x/a", "new")]).await.unwrap();
    (raw, old)
}

fn corrupt_place(error: &OpenError) -> Option<&str> {
    match error {
        OpenError::Store(StoreError::Corrupt { key: Some(key), .. }) => Some(key.as_str()),
        _ => None,
    }
}

#[tokio::test]
async fn i5_what_was_written_is_there_after_a_restart() {
    let transit = transit().await;
    let (raw, _) = used(&transit).await;
    let opened = state(&raw).open(&transit).await.unwrap();
    let found = opened.store.get(&key_of("x/a")).await.unwrap().unwrap();
    assert_eq!(found.value.as_bytes(), b"new");
    assert_eq!(opened.store.seen().root.sequence, 2);
    assert_eq!(opened.format.realm, "test");
}

#[tokio::test(start_paused = true)]
async fn the_state_opens_in_a_moment_while_the_first_seal_is_dead() {
    let raw = memory();
    let seals = [TestSeal::new("a", &[1]), TestSeal::new("b", &[2])];
    drop(state(&raw).open(&engine(&seals).await).await.unwrap());
    seals[0].kms.on_unwrap().always(Fault::hang());
    let began = Instant::now();
    state(&raw).open(&engine(&seals).await).await.unwrap();
    assert!(began.elapsed() <= Duration::from_millis(305), "{:?}", began.elapsed());
}

#[tokio::test]
async fn i5_one_old_record_put_back_is_detected_at_the_start() {
    let transit = transit().await;
    let (raw, old) = used(&transit).await;
    raw.commit(&[], &[Write::Put(key_of("x/a"), old)]).await.unwrap();
    let refused = state(&raw).open(&transit).await.unwrap_err();
    assert!(matches!(refused, OpenError::Sum), "{refused:?}");
}

#[tokio::test]
async fn i5_a_dropped_record_is_detected_at_the_start() {
    let transit = transit().await;
    let (raw, _) = used(&transit).await;
    raw.commit(&[], &[Write::Delete(key_of("x/b"))]).await.unwrap();
    assert!(matches!(state(&raw).open(&transit).await, Err(OpenError::Sum)));
}

#[tokio::test]
async fn i5_swapped_and_forged_records_are_detected_at_the_start() {
    let transit = transit().await;
    let (raw, _) = used(&transit).await;
    let (a, b) = (raw_value(&raw, "x/a").await, raw_value(&raw, "x/b").await);
    let swapped = [Write::Put(key_of("x/a"), b), Write::Put(key_of("x/b"), a)];
    raw.commit(&[], &swapped).await.unwrap();
    let refused = state(&raw).open(&transit).await.unwrap_err();
    assert_eq!(corrupt_place(&refused), Some("x/a"), "{refused:?}");
    let (raw, _) = used(&transit).await;
    raw.commit(&[], &[put("x/c", "forged")]).await.unwrap();
    let refused = state(&raw).open(&transit).await.unwrap_err();
    assert_eq!(corrupt_place(&refused), Some("x/c"), "{refused:?}");
}

#[tokio::test]
async fn i5_nothing_that_is_missing_is_made_anew() {
    let transit = transit().await;
    for place in ["format", "state-key", "root"] {
        let (raw, _) = used(&transit).await;
        raw.commit(&[], &[Write::Delete(key_of(place))]).await.unwrap();
        let before = everything(&raw).await;
        let refused = state(&raw).open(&transit).await.unwrap_err();
        assert_eq!(corrupt_place(&refused), Some(place), "{refused:?}");
        assert_eq!(everything(&raw).await, before);
    }
    let raw = memory();
    raw.commit(&[], &[put("other/program", "x")]).await.unwrap();
    let refused = state(&raw).open(&transit).await.unwrap_err();
    assert_eq!(corrupt_place(&refused), Some("format"), "{refused:?}");
}

#[tokio::test]
async fn i5_a_forged_root_or_state_key_is_refused() {
    let transit = transit().await;
    let (raw, _) = used(&transit).await;
    raw.commit(&[], &[put("root", "forged")]).await.unwrap();
    let refused = state(&raw).open(&transit).await.unwrap_err();
    assert_eq!(corrupt_place(&refused), Some("root"), "{refused:?}");
    let (raw, _) = used(&transit).await;
    raw.commit(&[], &[put("state-key", "{}")]).await.unwrap();
    assert!(matches!(state(&raw).open(&transit).await, Err(OpenError::StateKey(_))));
}

#[tokio::test]
async fn an_older_selkie_refuses_a_newer_format_and_touches_nothing() {
    let transit = transit().await;
    let (raw, _) = used(&transit).await;
    raw.commit(&[], &[put("format", r#"{"format":7,"new":true}"#)]).await.unwrap();
    let before = everything(&raw).await;
    let refused = state(&raw).open(&transit).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("format 7") && text.contains("format 1"), "{text}");
    assert_eq!(everything(&raw).await, before);
}

#[tokio::test]
async fn a_store_that_is_being_filled_is_refused() {
    let transit = transit().await;
    let (raw, _) = used(&transit).await;
    raw.commit(&[], &[put("filling", "x")]).await.unwrap();
    assert!(matches!(state(&raw).open(&transit).await, Err(OpenError::Filling)));
    let raw = memory();
    raw.commit(&[], &[put("filling", "x")]).await.unwrap();
    assert!(matches!(state(&raw).open(&transit).await, Err(OpenError::Filling)));
}

async fn of_realms(realms: &[&str]) -> Transit {
    let mut transit = transit().await;
    let realms: Vec<_> = realms.iter().map(|realm| (*realm).to_owned()).collect();
    change(&mut transit.deployment, |deployment| deployment.realms = realms.into());
    transit
}

/// A deployment cannot be cloned, but one like it can be made.
fn change(deployment: &mut Arc<Deployment>, change: impl FnOnce(&mut Deployment)) {
    let seal = deployment.seals.iter().next().unwrap();
    let known = Arc::clone(seal.known.as_ref().unwrap());
    let mut other = deployment.with_known(&Arc::clone(&seal.connection), &known).unwrap();
    change(&mut other);
    *deployment = Arc::new(other);
}

#[tokio::test]
async fn the_store_of_another_realm_is_refused_unless_it_is_an_alias() {
    let (raw, _) = used(&transit().await).await;
    let refused = state(&raw).open(&of_realms(&["other"]).await).await.unwrap_err();
    assert!(matches!(refused, OpenError::OtherRealm { .. }), "{refused:?}");
    state(&raw).open(&of_realms(&["other", "test"]).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_racing_creations_by_three_replicas_end_with_one_state_key() {
    for _ in 0..10 {
        let raw = memory();
        let mut replicas = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (state, transit) = (state(&raw), transit().await);
            replicas.spawn(async move { state.open(&transit).await.unwrap() });
        }
        let opened = replicas.join_all().await;
        for one in &opened {
            assert!(one.key.is_same_key(&opened[0].key));
            assert_eq!(one.format.store, opened[0].format.store);
        }
        for (n, one) in opened.iter().enumerate() {
            one.store.commit(&[], &[put(&format!("by/{n}"), "")]).await.unwrap();
        }
        let transit = transit().await;
        assert_eq!(state(&raw).open(&transit).await.unwrap().store.seen().root.records, 3);
    }
}

#[tokio::test]
async fn i5_the_roll_back_of_a_whole_store_is_refused_by_the_checkpoint() {
    let transit = transit().await;
    let dir = tempfile::tempdir().unwrap();
    let keeping =
        |raw: &Arc<dyn Store>| State::new(Arc::clone(raw), None, Some(dir.path().to_owned()));
    let raw = memory();
    let store = keeping(&raw).open(&transit).await.unwrap().store;
    store.commit(&[], &[put("a", "1")]).await.unwrap();
    let snapshot = everything(&raw).await;
    store.commit(&[], &[put("a", "2")]).await.unwrap();
    keeping(&raw).open(&transit).await.unwrap();
    let back = restored(&snapshot).await;
    let refused = keeping(&back).open(&transit).await.unwrap_err();
    let rolled_back = CheckpointError::RolledBack { checkpoint: 2, store: 1 }.to_string();
    assert!(refused.to_string().ends_with(&rolled_back), "{refused}");
    assert!(refused.advice().contains("delete the checkpoint file"));
    // As many commits, but others.
    let other = state(&back).open(&transit).await.unwrap().store;
    other.commit(&[], &[put("a", "3")]).await.unwrap();
    let refused = keeping(&back).open(&transit).await.unwrap_err();
    let is_other = |error: &OpenError| {
        matches!(
            error,
            OpenError::Checkpoint { source: CheckpointError::OtherHistory { sequence: 2 }, .. }
        )
    };
    assert!(is_other(&refused), "{refused:?}");
    // Another store altogether.
    let refused = keeping(&used(&transit).await.0).open(&transit).await.unwrap_err();
    let source = CheckpointError::OtherStore { found: String::new() };
    assert!(
        matches!(&refused, OpenError::Checkpoint { source: is, .. }
        if std::mem::discriminant(is) == std::mem::discriminant(&source)),
        "{refused:?}"
    );
    // The store as it was goes on.
    keeping(&raw).open(&transit).await.unwrap();
    std::fs::remove_file(dir.path().join("state-checkpoint")).unwrap();
    keeping(&back).open(&transit).await.unwrap();
}

#[tokio::test]
async fn i5_storage_that_was_emptied_is_refused_and_stays_empty_while_a_checkpoint_tells_of_a_store()
 {
    let transit = transit().await;
    let dir = tempfile::tempdir().unwrap();
    let keeping =
        |raw: &Arc<dyn Store>| State::new(Arc::clone(raw), None, Some(dir.path().to_owned()));
    let raw = memory();
    keeping(&raw).open(&transit).await.unwrap();
    let kept = everything(&raw).await;
    let emptied = memory();
    let path = dir.path().join("state-checkpoint");
    for damage in [false, true] {
        if damage {
            std::fs::write(&path, "no checkpoint at all").unwrap();
        }
        let refused = keeping(&emptied).open(&transit).await.unwrap_err();
        let source = CheckpointError::StoreGone.to_string();
        assert!(refused.to_string().ends_with(&source), "{refused}");
        assert!(refused.advice().contains("selkie restore"), "{}", refused.advice());
        assert!(!refused.is_passing());
        assert_eq!(everything(&emptied).await, [], "nothing was made anew");
    }
    CheckpointFile::forget(dir.path()).unwrap();
    keeping(&restored(&kept).await).open(&transit).await.unwrap();
}

#[tokio::test]
async fn i5_an_empty_storage_is_refused_and_stays_empty_where_the_state_is_said_to_exist() {
    let transit = transit().await;
    let existing = |raw: &Arc<dyn Store>| state(raw).when_empty(WhenEmpty::Refuse);
    let empty = memory();
    let refused = existing(&empty).open(&transit).await.unwrap_err();
    assert!(matches!(refused, OpenError::NotThere), "{refused:?}");
    assert!(!refused.is_passing() && refused.advice().contains("mount the disk"));
    assert_eq!(everything(&empty).await, [], "nothing was made anew");
    state(&empty).open(&transit).await.unwrap();
    existing(&empty).open(&transit).await.unwrap();
}

#[tokio::test]
async fn i5_an_emptied_sled_directory_is_refused_while_a_checkpoint_tells_of_a_store() {
    use selkie_storage::{SledSettings, SledStore};
    let transit = transit().await;
    let (data, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("store");
    let sled = || async {
        let raw = SledStore::open(SledSettings::new(path.clone())).await.unwrap();
        let raw: Arc<dyn Store> = Arc::new(raw);
        State::new(raw, None, Some(data.path().to_owned()))
    };
    sled().await.open(&transit).await.unwrap();
    sled().await.open(&transit).await.unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    let refused = sled().await.open(&transit).await.unwrap_err();
    let is_gone =
        matches!(refused, OpenError::Checkpoint { source: CheckpointError::StoreGone, .. });
    assert!(is_gone, "{refused:?}");
}

/// A directory in the way of the temporary file, which root too cannot write over.
#[tokio::test]
async fn i5_a_checkpoint_that_cannot_be_brought_up_keeps_no_state_from_opening_and_still_counts() {
    let transit = transit().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state-checkpoint");
    let keeping =
        |raw: &Arc<dyn Store>| State::new(Arc::clone(raw), None, Some(dir.path().to_owned()));
    let unwritable = dir.path().join("state-checkpoint.tmp");
    std::fs::create_dir(&unwritable).unwrap();
    let raw = memory();
    // The first one is a condition: without any, no roll-back would ever show.
    let refused = keeping(&raw).open(&transit).await.unwrap_err();
    let is_unwritable = |error: &OpenError| {
        matches!(error, OpenError::Checkpoint { source: CheckpointError::Unwritable(_), .. })
    };
    assert!(is_unwritable(&refused), "{refused:?}");
    std::fs::remove_dir(&unwritable).unwrap();
    let before = everything(&raw).await;
    let store = keeping(&raw).open(&transit).await.unwrap().store;
    store.commit(&[], &[put("a", "1")]).await.unwrap();
    keeping(&raw).open(&transit).await.unwrap();
    store.commit(&[], &[put("a", "2")]).await.unwrap();
    std::fs::create_dir(&unwritable).unwrap();
    let opened = keeping(&raw).open(&transit).await.unwrap();
    assert!(!opened.is_checkpoint_kept);
    let opened = Opened { is_checkpoint_kept: true, ..opened };
    let sequence = |number| format!("\"sequence\": {number}");
    assert!(std::fs::read_to_string(&path).unwrap().contains(&sequence(1)));
    let refused = keeping(&restored(&before).await).open(&transit).await.unwrap_err();
    let rolled_back = CheckpointError::RolledBack { checkpoint: 1, store: 0 }.to_string();
    assert!(refused.to_string().ends_with(&rolled_back), "{refused}");
    // It is brought up once that can be done, though nothing else is committed.
    let log = Log::start();
    opened.store.commit(&[], &[put("a", "3")]).await.unwrap();
    let has_it = async {
        while !log.take().contains("is not kept") {
            sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_dir(&unwritable).unwrap();
        while !std::fs::read_to_string(&path).unwrap().contains(&sequence(3)) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = crate::state::keeper::keep_checkpoint(&opened) => panic!("it goes on"),
        had = tokio::time::timeout(Duration::from_secs(60), has_it) => had.unwrap(),
    }
}

#[tokio::test]
async fn a_checkpoint_that_says_as_much_is_not_written_anew() {
    let transit = transit().await;
    let dir = tempfile::tempdir().unwrap();
    let raw = memory();
    let keeping = || State::new(Arc::clone(&raw), None, Some(dir.path().to_owned()));
    keeping().open(&transit).await.unwrap();
    let inode = || std::fs::metadata(dir.path().join("state-checkpoint")).unwrap().ino();
    let before = inode();
    let opened = keeping().open(&transit).await.unwrap();
    assert!(opened.is_checkpoint_kept);
    assert_eq!(inode(), before);
}

/// By real time: the file is written by another thread.
#[tokio::test]
async fn i5_the_checkpoint_has_what_was_committed_while_the_server_started() {
    let transit = transit().await;
    let dir = tempfile::tempdir().unwrap();
    let raw = memory();
    let opened = State::new(Arc::clone(&raw), None, Some(dir.path().to_owned()));
    let opened = opened.open(&transit).await.unwrap();
    opened.store.commit(&[], &[put("a", "1")]).await.unwrap();
    let path = dir.path().join("state-checkpoint");
    let has_it = async {
        while !std::fs::read_to_string(&path).unwrap().contains("\"sequence\": 1") {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = crate::state::keeper::keep_checkpoint(&opened) => panic!("it goes on"),
        had = tokio::time::timeout(Duration::from_secs(60), has_it) => had.unwrap(),
    }
}

#[tokio::test]
async fn i5_a_running_server_never_puts_its_state_key_over_that_of_a_store_restored_under_it() {
    let one = transit().await;
    let raw = memory();
    let running = state(&raw);
    let opened = running.open(&one).await.unwrap();
    // Another store takes the place, as a forced restore leaves it.
    let (other, _) = used(&one).await;
    let puts = everything(&other).await.into_iter().map(|one| Write::Put(one.key, one.value));
    raw.commit(&[], &puts.collect::<Vec<_>>()).await.unwrap();
    let before = raw_value(&raw, "state-key").await;
    let rotated = engine(&[TestSeal::new("a", &[1, 2])]).await;
    let refused = running.follow_seals(&opened.key, &rotated).await.unwrap_err();
    assert_eq!(corrupt_place(&refused), Some("root"), "{refused:?}");
    assert_eq!(raw_value(&raw, "state-key").await, before);
    state(&raw).open(&one).await.unwrap();
}

/// Begins a fill right before the store is made ready.
#[derive(Debug)]
struct FillBegins(Arc<dyn Store>);

impl Store for FillBegins {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.0.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            self.0.commit(&[], &[put("filling", "x")]).await?;
            self.0.commit(guards, writes).await
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.0.watch(from)
    }
}

/// A store that nobody can watch until it is said so.
#[derive(Debug)]
struct Unwatched(Arc<dyn Store>, Arc<std::sync::atomic::AtomicBool>);

impl Store for Unwatched {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.0.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.0.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(async move {
            if self.1.load(Ordering::Relaxed) {
                return self.0.watch(from).await;
            }
            Err(StoreError::Unavailable { source: "nobody may watch".into() })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn i5_a_key_that_others_dropped_while_nobody_watched_is_served_on() {
    let site = Site::with_local_key();
    let (inner, may_watch) = (memory(), Arc::default());
    let raw: Arc<dyn Store> = Arc::new(Unwatched(Arc::clone(&inner), Arc::clone(&may_watch)));
    let node = node_on(&site, &raw, None).await;
    create(&node, "managed").await;
    let all = everything(&inner).await.into_iter().map(|record| Write::Delete(record.key));
    inner.commit(&[], &all.collect::<Vec<_>>()).await.unwrap();
    may_watch.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(120)).await;
    encrypt_under(&node, "managed").await.unwrap();
    assert!(matches!(status(&node), StateStatus::Refused { .. }), "{:?}", status(&node));
}

#[tokio::test]
async fn a_store_is_not_made_ready_in_the_middle_of_a_restore() {
    let raw = memory();
    let racing: Arc<dyn Store> = Arc::new(FillBegins(Arc::clone(&raw)));
    let refused = state(&racing).open(&transit().await).await.unwrap_err();
    assert!(matches!(refused, OpenError::Filling), "{refused:?}");
    assert_eq!(everything(&raw).await.len(), 1, "the marker alone");
}

async fn restored(records: &[Record]) -> Arc<dyn Store> {
    let raw = memory();
    let puts = records.iter().map(|one| Write::Put(one.key.clone(), one.value.clone()));
    raw.commit(&[], &puts.collect::<Vec<_>>()).await.unwrap();
    raw
}

#[tokio::test]
async fn i5_a_changed_checkpoint_is_refused() {
    let transit = transit().await;
    let dir = tempfile::tempdir().unwrap();
    let raw = memory();
    let state = State::new(Arc::clone(&raw), None, Some(dir.path().to_owned()));
    state.open(&transit).await.unwrap();
    let path = dir.path().join("state-checkpoint");
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in [
        good.replace("\"sequence\": 0", "\"sequence\": 00"),
        good.replace("\"sequence\": 0", "\"sequence\": 1"),
        good.replace("\"mac\": \"", "\"mac\": \"0"),
        String::new(),
    ] {
        assert_ne!(bad, good);
        std::fs::write(&path, bad).unwrap();
        let refused = state.open(&transit).await.unwrap_err();
        assert!(matches!(refused, OpenError::Checkpoint { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn i5_the_local_key_opens_the_state_while_the_kms_is_away() {
    let seal = TestSeal::new("a", &[1]);
    let transit = engine(std::slice::from_ref(&seal)).await;
    let (raw, _) = used(&transit).await;
    let with = |key| State::new(Arc::clone(&raw), key, None);
    // Opened by a seal once, which keeps the copy.
    let first = with(local(1)).open(&transit).await.unwrap();
    seal.kms.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    let again = with(local(1)).open(&transit).await.unwrap();
    assert!(again.key.is_same_key(&first.key));
    for other in [None, local(2)] {
        match with(other).open(&transit).await {
            Err(OpenError::Sealed { missing, .. }) => assert_eq!(missing[0].as_str(), "a"),
            outcome => panic!("{outcome:?}"),
        }
    }
    // A damaged copy is no way in, and is made anew once a seal has opened the state.
    let copy = format!("state-key-local/{}", local(1).unwrap().id());
    raw.commit(&[], &[put(&copy, "damaged")]).await.unwrap();
    assert!(matches!(with(local(1)).open(&transit).await, Err(OpenError::Sealed { .. })));
    seal.kms.on_unwrap().clear();
    with(local(1)).open(&transit).await.unwrap();
    seal.kms.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    with(local(1)).open(&transit).await.unwrap();
}

#[tokio::test]
async fn the_state_key_follows_its_seals_and_stays_the_same_key() {
    let raw = memory();
    let one = engine(&[TestSeal::new("a", &[1])]).await;
    let opened = state(&raw).open(&one).await.unwrap();
    opened.store.commit(&[], &[put("x", "1")]).await.unwrap();
    let both = engine(&[TestSeal::new("a", &[1, 2]), TestSeal::new("b", &[3])]).await;
    state(&raw).follow_seals(&opened.key, &both).await.unwrap();
    let envelope = raw_value(&raw, "state-key").await;
    state(&raw).follow_seals(&opened.key, &both).await.unwrap();
    assert_eq!(raw_value(&raw, "state-key").await, envelope, "nothing is left to follow");
    let other = engine(&[TestSeal::new("b", &[3])]).await;
    let reopened = state(&raw).open(&other).await.unwrap();
    assert!(reopened.key.is_same_key(&opened.key));
    state(&raw).follow_seals(&opened.key, &other).await.unwrap();
    assert!(matches!(state(&raw).open(&one).await, Err(OpenError::StateKey(_))), "a is gone");
}

async fn node_of_two(seals: [Seal; 2], clock: &Arc<TestClock>, raw: &Arc<dyn Store>) -> Node {
    let names: Vec<_> = seals.iter().map(|seal| seal.name().to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let config = config_of(&[("unseal", VersionRule::Counted { generation: 0 })], &names);
    let seals = Seals::new(seals.into()).resumed(None);
    let deployment = Deployment::assemble(config, seals).unwrap();
    let node = Node::begin(deployment, ManagedKeys::awaiting_store(), Arc::clone(clock) as _).await;
    node.keep_state(Backend::Opened(Arc::clone(raw)), "inmem").await;
    node
}

/// Else the seal that stays is taken for one that opens the state, and the other is taken away.
#[tokio::test(start_paused = true)]
async fn a_state_key_that_waits_for_a_seal_to_follow_another_is_told_of_once() {
    let (one, other, raw) = (Site::without_data_dir(), Site::without_data_dir(), memory());
    let log = Log::start();
    let node = node_of_two([one.seal("weu"), other.seal("neu")], &one.clock, &raw).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(node.state_key_behind(), None);
    drop(node);
    other.away();
    let node = node_of_two([one.seal("weu"), other.seal("neu")], &one.clock, &raw).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(node.state_key_behind(), None, "it is made for all that can be wrapped for");
    one.rotate();
    sleep(Duration::from_secs(120)).await;
    assert_eq!(node.state_key_behind(), None, "most seals come back");
    sleep(Duration::from_secs(600)).await;
    let [lacking, waits_for] = ["weu", "neu"].map(|name| vec![SealName::new(name).unwrap()]);
    assert_eq!(node.state_key_behind().as_deref(), Some(&Behind { lacking, waits_for }));
    sleep(Duration::from_secs(3600)).await;
    other.back();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(node.state_key_behind(), None);
    let text = log.take();
    for line in ["the state key does not follow its seals", "the state key is no longer behind"] {
        assert_eq!(text.matches(line).count(), 1, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_key_is_not_behind_a_seal_that_was_renamed_with_an_alias_alone() {
    let (one, other, raw) = (Site::without_data_dir(), Site::without_data_dir(), memory());
    let node = node_of_two([one.seal("weu"), other.seal("neu")], &one.clock, &raw).await;
    sleep(Duration::from_secs(60)).await;
    drop(node);
    other.away();
    let [north, weu, neu] = ["north", "weu", "neu"].map(|name| SealName::new(name).unwrap());
    let renamed = one.seal("north").known_as(vec![weu]);
    let node = node_of_two([renamed, other.seal("neu")], &one.clock, &raw).await;
    sleep(Duration::from_secs(1200)).await;
    assert_eq!(node.state_key_behind(), None, "it opens by the alias");
    one.rotate();
    sleep(Duration::from_secs(1200)).await;
    let behind = Behind { lacking: vec![north], waits_for: vec![neu] };
    assert_eq!(node.state_key_behind().as_deref(), Some(&behind));
}

#[tokio::test]
async fn i5_a_state_key_without_the_declared_origin_needs_another_voucher() {
    let plain = transit().await;
    let dir = tempfile::tempdir().unwrap();
    let (raw, _) = used(&plain).await;
    let mut marked = transit().await;
    let origin = OriginKey::init_with(|page| page.fill(5)).unwrap();
    change(&mut marked.deployment, |one| one.origin_key = Some(Arc::new(origin)));
    assert!(matches!(state(&raw).open(&marked).await, Err(OpenError::OriginUnproven)));
    let keeping = State::new(Arc::clone(&raw), None, Some(dir.path().to_owned()));
    keeping.open(&plain).await.unwrap();
    let opened = keeping.open(&marked).await.unwrap();
    keeping.follow_seals(&opened.key, &marked).await.unwrap();
    state(&raw).open(&marked).await.unwrap();
}

fn status(node: &Node) -> StateStatus {
    node.state_status().unwrap()
}

async fn node_on(site: &Site, raw: &Arc<dyn Store>, local_key: Option<Arc<PinKey>>) -> Node {
    let mut deployment = site.deployment(None);
    deployment.keeping = Keeping { data_dir: None, local_key };
    let clock = Arc::clone(&site.clock) as _;
    let node = Node::begin(deployment, ManagedKeys::awaiting_store(), clock).await;
    node.keep_state(Backend::Opened(Arc::clone(raw)), "inmem").await;
    node
}

async fn create(node: &Node, key: &str) {
    let engine = crate::seal::tests::engine(node);
    engine.create_key(permit(operation::CreateKey, key), NewKey::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn i5_declared_keys_are_served_while_the_state_is_sealed_and_managed_ones_come_later() {
    let site = Site::with_local_key();
    let raw = memory();
    let node = node_on(&site, &raw, None).await;
    assert!(matches!(status(&node), StateStatus::Open { sequence: 0 }), "{:?}", status(&node));
    create(&node, "managed").await;
    assert!(matches!(status(&node), StateStatus::Open { sequence: 1 }));
    encrypt_under(&node, "managed").await.unwrap();
    drop(node);
    site.away();
    let began = Instant::now();
    let node = node_on(&site, &raw, None).await;
    assert!(began.elapsed() <= Duration::from_secs(1), "the start waits for no KMS");
    encrypt_under(&node, "unseal").await.unwrap();
    encrypt_under(&node, "managed").await.unwrap_err();
    let StateStatus::Sealed { missing } = status(&node) else { panic!("{:?}", status(&node)) };
    assert_eq!(missing, Missing::Seals(vec![SealName::new("weu").unwrap()]));
    site.back();
    sleep(Duration::from_secs(60)).await;
    encrypt_under(&node, "managed").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn i5_with_the_local_key_managed_keys_are_served_while_the_kms_is_away() {
    let site = Site::with_local_key();
    let raw = memory();
    let node = node_on(&site, &raw, local(1)).await;
    create(&node, "managed").await;
    drop(node);
    site.away();
    let node = node_on(&site, &raw, local(1)).await;
    assert!(matches!(status(&node), StateStatus::Open { sequence: 1 }), "{:?}", status(&node));
    encrypt_under(&node, "managed").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn i5_a_running_server_tells_that_its_storage_was_tampered_with() {
    let site = Site::with_local_key();
    let raw = memory();
    let node = node_on(&site, &raw, None).await;
    create(&node, "managed").await;
    raw.commit(&[], &[Write::Delete(key_of("transit/transit/managed"))]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let StateStatus::Refused { why } = status(&node) else { panic!("{:?}", status(&node)) };
    assert!(matches!(*why, OpenError::Tampered { .. }), "{why:?}");
}

/// Of which several servers could be users.
#[derive(Debug)]
struct Attended {
    inner: Arc<dyn Store>,
    /// How long it takes to list the managed keys.
    load: Duration,
    attends: AtomicUsize,
    /// How often it was attended before the managed keys were first asked for, and before they were there.
    seen: [OnceLock<usize>; 2],
    /// Never answers who attends it.
    is_deaf: bool,
}

impl Attended {
    fn new(inner: &Arc<dyn Store>, load: Duration) -> Self {
        let (attends, seen) = (AtomicUsize::new(0), Default::default());
        Self { inner: Arc::clone(inner), load, attends, seen, is_deaf: false }
    }

    fn note(&self, at: usize) {
        let _first = self.seen[at].set(self.attends.load(Ordering::Relaxed));
    }
}

impl Store for Attended {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            if page.under == under_mounts().ok() {
                self.note(0);
                sleep(self.load).await;
                self.note(1);
            }
            self.inner.list(page).await
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.inner.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.inner.watch(from)
    }

    fn attend<'a>(
        &'a self,
        under: &'a RecordKey,
        _value: &'a RecordValue,
        _ttl: Duration,
    ) -> StoreFuture<'a, Option<RecordKey>> {
        Box::pin(async move {
            if self.is_deaf {
                std::future::pending::<()>().await;
            }
            self.attends.fetch_add(1, Ordering::Relaxed);
            Ok(Some(under.child("1").unwrap()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_shows_in_its_storage_before_it_writes_there_and_while_it_loads() {
    let site = Site::with_local_key();
    let raw = memory();
    drop(node_on(&site, &raw, None).await);
    let attended = Arc::new(Attended::new(&raw, Duration::from_secs(25)));
    let store: Arc<dyn Store> = Arc::clone(&attended) as _;
    let node = node_on(&site, &store, None).await;
    sleep(Duration::from_secs(30)).await;
    assert!(matches!(status(&node), StateStatus::Open { .. }), "{:?}", status(&node));
    let [before, meanwhile] = attended.seen.each_ref().map(|seen| *seen.get().unwrap());
    assert!(before >= 1, "it was not to be seen");
    assert!(meanwhile >= before + 2, "{meanwhile} after {before}: it was forgotten meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_state_opens_whatever_the_storage_says_to_a_server_that_would_show_there() {
    let site = Site::with_local_key();
    let deaf = Attended { is_deaf: true, ..Attended::new(&memory(), Duration::ZERO) };
    let raw: Arc<dyn Store> = Arc::new(deaf);
    let node = node_on(&site, &raw, None).await;
    sleep(Duration::from_secs(10)).await;
    assert!(matches!(status(&node), StateStatus::Open { .. }), "{:?}", status(&node));
    create(&node, "managed").await;
}

/// Goes away as soon as the managed keys are asked for.
#[derive(Debug)]
struct AwayForKeys(Arc<dyn Store>);

impl Store for AwayForKeys {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        if page.under == under_mounts().ok() {
            let away = StoreError::Unavailable { source: "away".into() };
            return Box::pin(std::future::ready(Err(away)));
        }
        self.0.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.0.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.0.watch(from)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_while_the_keys_are_loaded_is_away() {
    let site = Site::with_local_key();
    let away: Arc<dyn Store> = Arc::new(AwayForKeys(memory()));
    let node = node_on(&site, &away, None).await;
    let StateStatus::Sealed { missing } = status(&node) else { panic!("{:?}", status(&node)) };
    assert_eq!(missing, Missing::Storage);
}

#[tokio::test]
async fn missing_randomness_is_told_as_that() {
    let mut dry = transit().await;
    let raw = memory();
    state(&raw).open(&dry).await.unwrap();
    dry.random = Arc::new(|_: &mut [u8]| Err(RandomError));
    let refused = state(&memory()).open(&dry).await.unwrap_err();
    assert!(matches!(refused, OpenError::Random(_)), "{refused:?}");
    assert!(refused.advice().contains("getrandom"));
    // Of the copy under the local key too, which is not waited for.
    let log = Log::start();
    State::new(raw, local(1), None).open(&dry).await.unwrap();
    let told = log.take();
    let line = told.lines().find(|line| line.contains("no copy of the state key")).unwrap();
    assert!(line.contains(&RandomError.to_string()), "{line}");
    assert!(!line.contains("unavailable"), "{line}");
}
