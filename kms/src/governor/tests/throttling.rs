use std::time::Duration;

use super::super::*;
use super::world::*;
use crate::Fault;

fn throttled(retry_after: Option<Duration>) -> KmsError {
    let cause: Cause = Arc::new(std::io::Error::other("request 4711"));
    KmsError::Throttled { retry_after, cause: Some(cause) }
}

#[tokio::test(start_paused = true)]
async fn throttled_kms_is_left_alone_for_its_time_then_probed_once_then_used_again() {
    let world = World::new(|settings| settings.concurrency = NonZeroUsize::new(4).unwrap());
    world.slow(ms(10));
    world.kms.on_unwrap().next(4, Fault::fail(throttled(Some(3 * SECOND))).after(ms(5)));
    let callers = world.unwraps(1, 0..40);
    sleep(ms(2_990)).await;
    assert_eq!(world.calls(), 4);
    assert!(world.governor.figures().is_closed);
    sleep(ms(20)).await;
    assert_eq!(world.calls(), 5, "one probe");
    for caller in callers {
        caller.end().await.unwrap();
    }
    assert!(world.elapsed() < ms(3_200), "{:?}", world.elapsed());
    assert_eq!(world.calls(), 44);
    let figures = world.governor.figures();
    assert_eq!((figures.calls_total.throttled, figures.calls_total.ok), (4, 40));
    assert!(!figures.is_closed && figures.limit == 4);
}

#[tokio::test(start_paused = true)]
async fn long_retry_after_is_probed() {
    let world = World::new(|_| {});
    world.kms.on_unwrap().next(1, Fault::fail(throttled(Some(60 * SECOND))));
    world.unwrap(1, 1, 15 * SECOND).end().await.unwrap();
    assert!((5 * SECOND..ms(5_010)).contains(&world.elapsed()), "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn kms_that_names_no_time_is_probed_soon_and_then_less_often() {
    let world = World::new(|_| {});
    world.fail(throttled(None));
    let _callers = [world.unwraps(1, 0..200), world.unwraps(2, 0..200)];
    settle().await;
    // All that were let through before the first answer; each is over at once here.
    let at_once = world.calls();
    assert!(at_once <= 64, "{at_once}");
    sleep(ms(1_000)).await;
    let in_first_second = world.calls() - at_once;
    assert!((2..=8).contains(&in_first_second), "{in_first_second}");
    sleep(10 * SECOND).await;
    let later = world.calls() - at_once - in_first_second;
    assert!((10..=20).contains(&later), "{later}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_wait_for_the_end_of_throttling_is_told_at_once_with_its_cause() {
    let world = World::new(|_| {});
    world.kms.on_unwrap().next(1, Fault::fail(throttled(Some(4 * SECOND))));
    let first = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    for patience in [ms(40), ms(1_500), ms(3_900)] {
        let error = world.unwrap(2, 2, patience).end().await.unwrap_err();
        let KmsError::Throttled { cause: Some(cause), .. } = error else { panic!("{error:?}") };
        assert_eq!(cause.to_string(), "request 4711");
    }
    assert!(world.elapsed() < ms(10), "{:?}", world.elapsed());
    first.end().await.unwrap();
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_until_the_deadline_leaves_with_the_cause_seen_by_others() {
    let world = World::new(|_| {});
    world.fail(throttled(None));
    let _first = world.unwrap(1, 1, 60 * SECOND);
    settle().await;
    let error = world.unwrap(2, 2, 2 * SECOND).end().await.unwrap_err();
    assert!(matches!(error, KmsError::Throttled { cause: Some(_), .. }), "{error:?}");
    assert!(world.elapsed() <= ms(2_010), "{:?}", world.elapsed());
}

#[test]
fn gate_opens_again_when_the_runtime_that_watched_it_is_gone() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let world = runtime().block_on(async {
        let world = World::new(|_| {});
        let throttled = KmsError::Throttled { retry_after: Some(SECOND), cause: None };
        world.kms.on_unwrap().next(1, Fault::fail(throttled));
        let _waiting = world.unwrap(1, 1, 15 * SECOND);
        settle().await;
        assert_eq!(world.governor.figures().waiting, 1);
        world
    });
    runtime().block_on(async {
        unwrap(&*world.governor, 1, 1, 5 * SECOND).await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn permit_that_is_dropped_outside_of_a_runtime_does_no_harm() {
    let world = World::of_one_call();
    let throttled = KmsError::Throttled { retry_after: Some(ms(50)), cause: None };
    world.kms.on_unwrap().next(1, Fault::fail(throttled));
    world.kms.on_unwrap().always(Fault::hang());
    let wrapped = [World::wrapped(1).await, World::wrapped(2).await];
    let kek = kek();
    let call = Call { client: ClientTag::new(1), deadline: Instant::now() + 15 * SECOND };
    let unwrap = |index: usize| {
        world.governor.unwrap_dek(&kek, WrapAlgorithm::A256Kw, &wrapped[index], call)
    };
    let mut operations = [unwrap(0), unwrap(1)];
    for operation in &mut operations {
        assert!(tokio::time::timeout(ms(600), operation).await.is_err());
    }
    let dropped = |operation| std::thread::scope(|scope| scope.spawn(|| drop(operation)).join());
    let [calling, waiting] = operations;
    dropped(calling).unwrap();
    // It was the probe, so the valve was closed before the other.
    assert!(world.governor.figures().is_closed);
    dropped(waiting).unwrap();
    assert_eq!(world.governor.figures().waiting, 0);
}
