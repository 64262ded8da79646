use std::time::Duration;

use super::super::*;
use super::world::*;
use crate::Fault;

#[tokio::test(start_paused = true)]
async fn equal_unwraps_are_made_once_and_their_secret_goes_with_the_last_who_has_it() {
    let world = World::new(|_| {});
    world.slow(ms(10));
    let callers: Vec<_> = (1..=50).map(|client| world.unwrap(client, 1, 15 * SECOND)).collect();
    let mut secrets = Vec::new();
    for caller in callers {
        secrets.push(caller.end().await.unwrap());
    }
    assert_eq!((world.calls(), world.governor.figures().shared_flights_total), (1, 49));
    assert!(secrets.iter().all(|secret| Arc::ptr_eq(secret, &secrets[0])));
    let weak = Arc::downgrade(&secrets[0]);
    assert_eq!(weak.strong_count(), 50, "nobody else has it");
    drop(secrets.split_off(1));
    assert!(weak.upgrade().is_some());
    drop(secrets);
    assert!(weak.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_from_the_past() {
    let world = World::new(|_| {});
    let _first = world.unwrap(1, 1, SECOND).end().await.unwrap();
    world.unwrap(1, 1, SECOND).end().await.unwrap();
    assert_eq!(world.calls(), 2);
    world.fail(KmsError::Rejected(None));
    world.unwrap(1, 1, SECOND).end().await.unwrap_err();
    world.kms.on_unwrap().clear();
    world.unwrap(1, 1, SECOND).end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn answered_flight_takes_no_one_aboard_though_a_passenger_has_not_heard() {
    let world = World::new(|_| {});
    world.slow(ms(10));
    let wrapped = World::wrapped(1).await;
    let kek = kek();
    let call = Call { client: ClientTag::new(1), deadline: Instant::now() + 15 * SECOND };
    let mut slow = world.governor.unwrap_dek(&kek, WrapAlgorithm::A256Kw, &wrapped, call);
    assert!(futures_util::poll!(&mut slow).is_pending());
    world.unwrap(2, 1, 15 * SECOND).end().await.unwrap();
    world.unwrap(3, 1, 15 * SECOND).end().await.unwrap();
    assert_eq!(world.calls(), 2);
    slow.await.unwrap();
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn unwraps_that_differ_are_not_shared() {
    let world = World::new(|_| {});
    world.slow(ms(10));
    let wrapped = World::wrapped(1).await;
    let call = Call { client: ClientTag::new(1), deadline: Instant::now() + SECOND };
    let [one, two] = ["1", "2"].map(|id| KekId::new(id).unwrap());
    let unwrap = |kek, algorithm| world.governor.unwrap_dek(kek, algorithm, &wrapped, call);
    let (right, other_kek, other_algorithm, other_wrapped) = tokio::join!(
        unwrap(&one, WrapAlgorithm::A256Kw),
        unwrap(&two, WrapAlgorithm::A256Kw),
        unwrap(&one, WrapAlgorithm::RsaOaep256),
        world.unwrap(1, 2, SECOND).end(),
    );
    right.unwrap();
    other_wrapped.unwrap();
    assert!(matches!(other_kek, Err(KmsError::Rejected(_))));
    assert!(matches!(other_algorithm, Err(KmsError::Rejected(_))));
    assert_eq!(world.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn flight_outlives_its_first_caller() {
    let world = World::new(|_| {});
    world.slow(ms(100));
    let first = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    let second = world.unwrap(2, 1, 15 * SECOND);
    settle().await;
    drop(first);
    second.end().await.unwrap();
    assert_eq!(world.calls(), 1);
    assert!(world.elapsed() <= ms(101), "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn flight_ends_with_its_last_caller() {
    let alive = Alive::default();
    let calls = alive.clone();
    let kms = Scripted(move |_, _| {
        let one = calls.enter();
        async move {
            std::future::pending::<()>().await;
            drop(one);
            Ok(())
        }
    });
    let governor = Arc::new(Governor::new(Arc::new(kms), GovernorSettings::default(), random(1)));
    let caller = || {
        let governor = Arc::clone(&governor);
        Task(tokio::spawn(async move { unwrap(&*governor, 1, 1, 15 * SECOND).await }))
    };
    let (first, second) = (caller(), caller());
    settle().await;
    drop(first);
    settle().await;
    assert_eq!(alive.count(), 1);
    drop(second);
    settle().await;
    assert_eq!(alive.count(), 0);
    let figures = governor.figures();
    assert_eq!((figures.in_flight, figures.callers), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn failure_is_shared() {
    let world = World::new(|_| {});
    world.kms.on_unwrap().always(Fault::fail(KmsError::Disabled(None)).after(ms(10)));
    let callers: Vec<_> = (1..=9).map(|client| world.unwrap(client, 1, 15 * SECOND)).collect();
    for caller in callers {
        assert!(matches!(caller.end().await, Err(KmsError::Disabled(_))));
    }
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_leaves_at_its_own_deadline_and_the_flight_lasts_until_the_last() {
    let world = World::new(|_| {});
    world.fail(KmsError::Unavailable(None));
    let hasty = world.unwrap(1, 1, SECOND);
    settle().await;
    let patient = world.unwrap(2, 1, 10 * SECOND);
    let error = hasty.end().await.unwrap_err();
    assert!(matches!(error, KmsError::Unavailable(_)), "{error:?}");
    assert!(world.elapsed() <= ms(1_001), "{:?}", world.elapsed());
    sleep(4 * SECOND).await;
    world.kms.on_unwrap().clear();
    patient.end().await.unwrap();
    assert!(world.elapsed() < 8 * SECOND, "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shared_flight_takes_the_first_turn_of_any_of_its_clients() {
    let world = World::of_one_call();
    world.slow(ms(10));
    let mut busy = world.unwraps(1, 0..100);
    settle().await;
    world.unwrap(2, 99, 15 * SECOND).end().await.unwrap();
    assert!(world.elapsed() <= ms(31), "{:?}", world.elapsed());
    busy.pop().unwrap().end().await.unwrap();
    assert!(world.elapsed() <= ms(31), "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn describes_share_one_call() {
    let world = World::new(|_| {});
    world.kms.on_describe().always(Fault::delay(ms(10)));
    let (one, two) = tokio::join!(world.governor.describe(), world.governor.describe());
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(world.calls(), 1);
    world.governor.describe().await.unwrap();
    assert_eq!(world.calls(), 2);
    assert!(world.elapsed() < Duration::from_millis(30));
}

async fn governed() -> Arc<dyn Kms> {
    Arc::new(Governor::new(static_kms(), GovernorSettings::default(), random(1)))
}

crate::kms_contract!(governed);
