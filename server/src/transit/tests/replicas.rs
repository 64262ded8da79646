//! Claims about managed keys of several replicas on one store, in paused time.

use std::num::NonZeroUsize;

use futures_util::FutureExt;
use selkie_storage::{Guard, RecordKey, RecordValue, Store, StoreError, Write};
use tokio::time::sleep;

use super::faulty_store::{FaultyStore, Mood};
use super::*;
use crate::metrics::StoreFigures;
use crate::state::writes::WriteFigures;
use crate::state::{StateStatus, record_key};

pub(super) async fn replica(store: &Arc<FaultyStore>) -> Transit {
    let mut engine = engine(&[TestSeal::new("a", &[1])]).await;
    engine.keys = Arc::new(ManagedKeys::load(Arc::clone(store) as _).await.unwrap());
    engine
}

/// One that hears of what the others do.
async fn following(store: &Arc<FaultyStore>) -> Transit {
    let engine = replica(store).await;
    drop(tokio::spawn(Arc::clone(&engine.keys).follow(engine.learner(), no_records())));
    sleep(Duration::from_millis(1)).await;
    engine
}

pub(super) fn store() -> Arc<FaultyStore> {
    FaultyStore::new(&Arc::new(MemoryStore::new()))
}

async fn rotate(engine: &Transit) -> Result<u32, TransitError> {
    Ok(engine.rotate_key(permit(operation::RotateKey, "k")).await?.latest.get())
}

/// What this replica has, without a look into the store.
fn read(engine: &Transit, key: &str) -> Result<Option<u32>, TransitError> {
    let key = engine.held(&"transit".parse().unwrap(), &key.parse().unwrap())?;
    Ok(key.map(|key| key.latest.get()))
}

fn place(key: &str) -> RecordKey {
    record_key(&"transit".parse().unwrap(), &key.parse().unwrap()).unwrap()
}

async fn heard() {
    sleep(Duration::from_millis(1)).await;
}

pub(super) fn is_store_error<T>(outcome: &Result<T, TransitError>) -> bool {
    matches!(outcome, Err(TransitError::Store(_)))
}

#[tokio::test(start_paused = true)]
async fn two_replicas_that_rotate_make_two_versions() {
    let store = store();
    let one = replica(&store).await;
    create(&one, "k").await;
    let two = replica(&store).await;
    assert_eq!(rotate(&one).await.unwrap(), 2);
    assert_eq!(rotate(&two).await.unwrap(), 3, "it had not heard of the other's");
    let (one, two) = tokio::join!(rotate(&one), rotate(&two));
    let mut made = [one.unwrap(), two.unwrap()];
    made.sort_unstable();
    assert_eq!(made, [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_setting_is_judged_by_what_the_other_replica_has_made_of_the_key() {
    let store = store();
    let one = replica(&store).await;
    let two = replica(&store).await;
    create(&one, "k").await;
    let allow = KeyChanges { deletion_allowed: Some(true), ..KeyChanges::default() };
    let deny = KeyChanges { deletion_allowed: Some(false), ..KeyChanges::default() };
    two.configure_key(permit(operation::ConfigureKey, "k"), allow).await.unwrap();
    one.configure_key(permit(operation::ConfigureKey, "k"), deny).await.unwrap();
    let deleted = two.delete_key(permit(operation::DeleteKey, "k")).await;
    assert!(matches!(deleted, Err(TransitError::Setting(SettingError::DeletionNotAllowed))));
    one.configure_key(permit(operation::ConfigureKey, "k"), allow).await.unwrap();
    two.delete_key(permit(operation::DeleteKey, "k")).await.unwrap();
    assert!(matches!(rotate(&one).await, Err(TransitError::KeyNotFound)), "it is not made anew");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_two_replicas_create_is_one() {
    let store = store();
    let (one, two) = (replica(&store).await, replica(&store).await);
    let derived = NewKey { derived: true, ..NewKey::default() };
    let made = one.create_key(permit(operation::CreateKey, "k"), derived).await.unwrap();
    assert_eq!(create(&two, "k").await, made);
}

#[tokio::test(start_paused = true)]
async fn a_replica_hears_of_what_the_others_do() {
    let store = store();
    let (one, two) = (following(&store).await, following(&store).await);
    create(&one, "k").await;
    heard().await;
    assert_eq!(read(&two, "k").unwrap(), Some(1));
    rotate(&two).await.unwrap();
    heard().await;
    assert_eq!(read(&one, "k").unwrap(), Some(2));
    let allow = KeyChanges { deletion_allowed: Some(true), ..KeyChanges::default() };
    two.configure_key(permit(operation::ConfigureKey, "k"), allow).await.unwrap();
    two.delete_key(permit(operation::DeleteKey, "k")).await.unwrap();
    heard().await;
    assert_eq!(read(&one, "k").unwrap(), None);
}

/// The watch tells of a replica's own commits too, later than it has made newer ones.
#[tokio::test(start_paused = true)]
async fn a_replica_reads_its_own_writes_whatever_the_watch_tells_of_the_past() {
    let store = store();
    let one = following(&store).await;
    create(&one, "k").await;
    for expected in 2..6 {
        rotate(&one).await.unwrap();
        assert_eq!(read(&one, "k").unwrap(), Some(expected));
        tokio::task::yield_now().await;
        assert_eq!(read(&one, "k").unwrap(), Some(expected));
    }
}

/// Invariant I2.
#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_keys_are_used_and_not_changed() {
    let store = store();
    let (one, two) = (following(&store).await, following(&FaultyStore::new(&store.inner)).await);
    create(&one, "k").await;
    let made = encrypt(&one, "k", "x").await.unwrap();
    for mood in [Mood::Away, Mood::Hanging] {
        store.is(mood);
        let latest = read(&one, "k").unwrap();
        assert_eq!(decrypt(&one, "k", &made.ciphertext).await.unwrap(), b"x");
        let began = Instant::now();
        assert!(is_store_error(&rotate(&one).await));
        let new = one.create_key(permit(operation::CreateKey, "new"), NewKey::default()).await;
        assert!(is_store_error(&new));
        assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
        assert_eq!(read(&one, "k").unwrap(), latest, "nothing changed");
        assert!(encrypt(&one, "k", "x").await.is_ok());
        let rotated = rotate(&two).await.unwrap();
        store.is(Mood::Away);
        store.is(Mood::Well);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(read(&one, "k").unwrap(), Some(rotated), "it has caught up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_made_once() {
    let store = store();
    let one = replica(&store).await;
    create(&one, "k").await;
    for (is_made, expected) in [(true, 2), (false, 3)] {
        store.loses_answer(is_made);
        assert_eq!(rotate(&one).await.unwrap(), expected);
        assert_eq!(read(&replica(&store).await, "k").unwrap(), Some(expected));
    }
    store.loses_answer(true);
    create(&one, "new").await;
    let allow = KeyChanges { deletion_allowed: Some(true), ..KeyChanges::default() };
    one.configure_key(permit(operation::ConfigureKey, "k"), allow).await.unwrap();
    for is_made in [false, true] {
        store.loses_answer(is_made);
    }
    one.delete_key(permit(operation::DeleteKey, "k")).await.unwrap();
    assert_eq!(read(&one, "k").unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_nobody_can_tell_of_is_an_error_and_is_heard_of_later() {
    let store = store();
    let one = following(&store).await;
    create(&one, "k").await;
    heard().await;
    store.is(Mood::Away);
    store.loses_answer(true);
    let outcome = rotate(&one).await;
    assert!(matches!(outcome, Err(TransitError::Store(StoreError::Undecided { .. }))));
    assert_eq!(read(&one, "k").unwrap(), Some(1));
    store.is(Mood::Well);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(read(&one, "k").unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn until_the_store_is_open_nobody_can_tell_which_keys_there_are() {
    let store = store();
    create(&replica(&store).await, "k").await;
    let mut one = engine(&[TestSeal::new("a", &[1])]).await;
    one.keys = Arc::new(ManagedKeys::awaiting_store());
    drop(tokio::spawn(Arc::clone(&one.keys).follow(one.learner(), no_records())));
    assert!(encrypt(&one, "unseal", "x").await.is_ok(), "what is declared is served");
    assert!(read(&one, "unseal").unwrap().is_some());
    let is_sealed = |error| matches!(error, TransitError::StateSealed);
    assert!(is_sealed(encrypt(&one, "k", "x").await.unwrap_err()));
    assert!(is_sealed(decrypt(&one, "k", "vault:v1:x").await.unwrap_err()));
    assert!(is_sealed(read(&one, "k").unwrap_err()));
    assert!(is_sealed(rotate(&one).await.unwrap_err()));
    assert!(is_sealed(
        one.has_key(&"transit".parse().unwrap(), &"k".parse().unwrap()).await.unwrap_err()
    ));
    let upsert = one.upsert_key(permit(operation::EncryptUpsert, "new"), NewKey::default()).await;
    assert!(is_sealed(upsert.unwrap_err()));
    store.is(Mood::Away);
    assert!(is_store_error(&one.keys.attach(Arc::clone(&store) as _).await));
    assert!(is_sealed(read(&one, "k").unwrap_err()), "it failed and may be tried again");
    store.is(Mood::Well);
    one.keys.attach(Arc::clone(&store) as _).await.unwrap();
    assert_eq!(read(&one, "k").unwrap(), Some(1));
    assert_eq!(read(&one, "new").unwrap(), None);
    let again = one.keys.attach(Arc::clone(&store) as _).await;
    assert!(matches!(again, Err(TransitError::StoreAttached)));
    rotate(&replica(&store).await).await.unwrap();
    heard().await;
    assert_eq!(read(&one, "k").unwrap(), Some(2), "it is followed from then on");
}

/// Invariant I5.
#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_an_error_of_its_key_alone() {
    let store = store();
    let one = following(&store).await;
    create(&one, "k").await;
    create(&one, "other").await;
    let good = store.inner.get(&place("k")).await.unwrap().unwrap();
    let bad = Write::Put(place("k"), RecordValue::new(*b"{}").unwrap());
    store.inner.commit(&[], &[bad]).await.unwrap();
    heard().await;
    for one in [&one, &following(&store).await] {
        let is_unreadable = |error| matches!(error, TransitError::RecordUnreadable);
        assert!(is_unreadable(read(one, "k").unwrap_err()));
        assert!(is_unreadable(encrypt(one, "k", "x").await.unwrap_err()));
        assert!(is_unreadable(rotate(one).await.unwrap_err()));
        let created = one.create_key(permit(operation::CreateKey, "k"), NewKey::default()).await;
        assert!(is_unreadable(created.unwrap_err()), "nothing is made in its place");
        assert!(encrypt(one, "other", "x").await.is_ok());
    }
    let rotation = permit(operation::RotateKey, "other");
    replica(&store).await.rotate_key(rotation).await.unwrap();
    store.inner.commit(&[], &[Write::Put(place("k"), good.value)]).await.unwrap();
    heard().await;
    assert_eq!(read(&one, "other").unwrap(), Some(2), "others are followed");
    assert_eq!(read(&one, "k").unwrap(), Some(1), "it was restored");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_too_late_for_the_watch_lists_anew() {
    let inner = Arc::new(MemoryStore::with_history(NonZeroUsize::MIN));
    let store = FaultyStore::new(&inner);
    let one = following(&store).await;
    create(&one, "k").await;
    heard().await;
    let record = inner.get(&place("k")).await.unwrap().unwrap();
    for name in ["a", "b", "c"] {
        let put = Write::Put(place(name), record.value.clone());
        // None of these lets the watch run.
        inner.commit(&[Guard::Absent(place(name))], &[put]).await.unwrap();
    }
    inner.commit(&[], &[Write::Delete(place("k"))]).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    for name in ["a", "b", "c"] {
        assert_eq!(read(&one, name).unwrap(), Some(1));
    }
    assert_eq!(read(&one, "k").unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_among_thousands_follows_its_seals_though_others_change_all_the_time() {
    let store = store();
    let one = replica(&store).await;
    create(&one, "k").await;
    let record = store.inner.get(&place("k")).await.unwrap().unwrap();
    for number in 0..3000 {
        let put = Write::Put(place(&format!("k{number}")), record.value.clone());
        store.inner.commit(&[], &[put]).await.unwrap();
    }
    let mut two = engine(&[TestSeal::new("a", &[1, 2])]).await;
    two.keys = Arc::new(ManagedKeys::load(Arc::clone(&store) as _).await.unwrap());
    drop(tokio::spawn(Arc::clone(&two.keys).follow(two.learner(), no_records())));
    for number in 0..70 {
        sleep(Duration::from_secs(1)).await;
        create(&one, &format!("new{number}")).await;
    }
    for key in ["k", "k0", "k1500", "k2999", "new0", "new20"] {
        assert_eq!(read(&two, key).unwrap(), Some(2), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_change_waits_until_all_keys_have_been_compared_with_their_seals() {
    let store = store();
    let one = replica(&store).await;
    create(&one, "k").await;
    let record = store.inner.get(&place("k")).await.unwrap().unwrap();
    for number in 0..3000 {
        let put = Write::Put(place(&format!("k{number}")), record.value.clone());
        store.inner.commit(&[], &[put]).await.unwrap();
    }
    let one = Transit {
        keys: Arc::new(ManagedKeys::load(Arc::clone(&store) as _).await.unwrap()),
        ..one
    };
    let learner = one.learner();
    let comparing = tokio::spawn(async move { learner.keys.advance(&learner.current, 5).await });
    for _ in 0..3 {
        tokio::task::yield_now().await;
        assert!(one.keys.hold_changes().now_or_never().is_some());
    }
    assert!(!comparing.is_finished());
    comparing.await.unwrap();
}

/// Invariant I7.
#[tokio::test(start_paused = true)]
async fn what_another_replica_encrypted_under_a_version_not_heard_of_yet_decrypts() {
    let store = store();
    let (one, two) = (replica(&store).await, replica(&FaultyStore::new(&store.inner)).await);
    create(&two, "k").await;
    let one = Transit {
        keys: Arc::new(ManagedKeys::load(Arc::clone(&store) as _).await.unwrap()),
        ..one
    };
    rotate(&two).await.unwrap();
    let made = encrypt(&two, "k", "x").await.unwrap();
    store.is(Mood::Away);
    assert_eq!(decrypt(&one, "k", &made.ciphertext).await.unwrap(), b"x");
    store.is(Mood::Well);
    assert_eq!(decrypt(&one, "k", &made.ciphertext).await.unwrap(), b"x");
    assert_eq!(read(&one, "k").unwrap(), Some(2));
    let newer = made.ciphertext.replace(":v2:", ":v3:");
    assert!(matches!(decrypt(&one, "k", &newer).await, Err(TransitError::NewerVersion(_))));
}

#[tokio::test(start_paused = true)]
async fn how_long_the_store_is_lost_is_told_until_it_is_followed_again() {
    let figures = |one: &Transit| {
        let figures = StoreFigures::of(
            &StateStatus::Open { sequence: 1 },
            &one.keys,
            WriteFigures::default(),
            Duration::ZERO,
        );
        (figures.is_up.unwrap(), figures.lag.unwrap().as_secs())
    };
    let store = store();
    let one = following(&store).await;
    assert_eq!(figures(&one), (true, 0));
    store.is(Mood::Away);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(figures(&one), (false, 600), "since the first failure, not the last");
    store.is(Mood::Well);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(figures(&one), (true, 0));
}

fn no_records() -> Arc<crate::state::records::Records> {
    let clock = Arc::new(crate::clock::SystemClock);
    Arc::new(crate::state::records::Records::new(false, Vec::new(), clock))
}
