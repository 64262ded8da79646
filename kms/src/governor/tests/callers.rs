use std::time::Duration;

use super::super::*;
use super::world::*;
use crate::Fault;

#[tokio::test(start_paused = true)]
async fn no_more_calls_run_at_once_than_may() {
    let world = World::new(|settings| settings.concurrency = NonZeroUsize::new(3).unwrap());
    world.slow(ms(10));
    let callers = world.unwraps(1, 0..30);
    for done in 0..10 {
        sleep(if done == 0 { ms(5) } else { ms(10) }).await;
        let figures = world.governor.figures();
        assert_eq!((figures.in_flight, figures.waiting), (3, 27 - 3 * done));
        assert_eq!(figures.limit, 3);
    }
    for caller in callers {
        caller.end().await.unwrap();
    }
    let figures = world.governor.figures();
    assert_eq!((figures.in_flight, figures.waiting, figures.callers), (0, 0, 0));
    assert_eq!((figures.calls_total.ok, figures.calls_total.sum()), (30, 30));
}

#[tokio::test(start_paused = true)]
async fn one_busy_client_does_not_make_another_wait() {
    let world = World::of_one_call();
    world.slow(ms(10));
    let busy = world.unwraps(1, 0..100);
    settle().await;
    world.unwrap(2, 200, 15 * SECOND).end().await.unwrap();
    assert!(world.elapsed() <= ms(31), "{:?}", world.elapsed());
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn selkies_own_are_served_at_once_and_take_every_other_turn_at_most() {
    let world = World::of_one_call();
    world.slow(ms(10));
    world.kms.on_describe().always(Fault::delay(ms(10)));
    let _busy = [world.unwraps(1, 0..100), world.unwraps(2, 100..200)];
    settle().await;
    world.governor.describe().await.unwrap();
    assert!(world.elapsed() <= ms(31), "{:?}", world.elapsed());
    let _own = world.unwraps(0, 200..250);
    settle().await;
    let before = world.elapsed();
    world.unwrap(3, 251, 15 * SECOND).end().await.unwrap();
    // Behind two clients and their share of Selkie's own.
    assert!(world.elapsed() - before <= ms(71), "{:?}", world.elapsed() - before);
}

#[tokio::test(start_paused = true)]
async fn one_too_many_is_refused_at_once_with_the_reason() {
    let world = World::new(|settings| {
        settings.callers = 5;
        settings.callers_per_client = 3;
    });
    world.slow(SECOND);
    let _callers = [world.unwraps(1, 0..3), world.unwraps(2, 3..5)];
    settle().await;
    for (client, why) in [(1, GovernorCause::ClientFull), (3, GovernorCause::Full)] {
        let error = world.unwrap(client, 9, 15 * SECOND).end().await.unwrap_err();
        assert!(matches!(error, KmsError::Throttled { retry_after: None, .. }), "{error:?}");
        assert_eq!(own_cause(&error), Some(why));
    }
    assert_eq!(world.governor.figures().refused_total, 2);
    assert!(world.elapsed() < ms(10));
    sleep(SECOND).await;
    world.unwrap(1, 9, 15 * SECOND).end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_turn_leaves_at_the_deadline_and_costs_no_call() {
    let world = World::of_one_call();
    world.slow(4 * SECOND);
    let _first = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    let error = world.unwrap(2, 2, SECOND).end().await.unwrap_err();
    assert!(matches!(error, KmsError::TimedOut(_)), "{error:?}");
    assert_eq!(own_cause(&error), Some(GovernorCause::NoTurn));
    assert!(world.elapsed() <= ms(1_002), "{:?}", world.elapsed());
    sleep(10 * SECOND).await;
    assert_eq!(world.calls(), 1);
    assert_eq!(world.governor.figures().overdue_total, 1);
}

#[tokio::test(start_paused = true)]
async fn turn_that_comes_in_the_last_moment_costs_no_call() {
    let world = World::of_one_call();
    world.slow(ms(870));
    let _first = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    let error = world.unwrap(2, 2, SECOND).end().await.unwrap_err();
    assert_eq!(own_cause(&error), Some(GovernorCause::NoTurn));
    assert_eq!((world.calls(), world.elapsed()), (1, ms(870)));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_time_left_costs_no_call() {
    let world = World::new(|_| {});
    let error = world.unwrap(1, 1, Duration::ZERO).end().await.unwrap_err();
    assert_eq!(own_cause(&error), Some(GovernorCause::NoTurn));
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_the_queue_at_once_and_costs_no_call() {
    let world = World::of_one_call();
    world.slow(ms(500));
    let first = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    let others = world.unwraps(1, 2..50);
    settle().await;
    assert_eq!(world.governor.figures().waiting, 48);
    drop(others);
    settle().await;
    let figures = world.governor.figures();
    assert_eq!((figures.waiting, figures.callers), (0, 1));
    first.end().await.unwrap();
    world.unwrap(1, 60, 15 * SECOND).end().await.unwrap();
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_during_a_call_gives_its_place_back() {
    let world = World::of_one_call();
    world.kms.on_unwrap().next(1, Fault::hang());
    let first = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    let second = world.unwrap(2, 2, 15 * SECOND);
    settle().await;
    drop(first);
    second.end().await.unwrap();
    assert!(world.elapsed() < ms(10));
    assert_eq!(world.governor.figures().calls_total.abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn hurry_of_callers_is_not_taken_for_a_failure_of_the_kms() {
    let world = World::new(|_| {});
    world.slow(ms(450));
    for byte in 0..10 {
        let error = world.unwrap(1, byte, ms(400)).end().await.unwrap_err();
        assert!(matches!(error, KmsError::TimedOut(_)), "{error:?}");
    }
    let figures = world.governor.figures();
    assert_eq!((figures.limit, figures.is_closed), (64, false));
    world.unwrap(1, 1, SECOND).end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_from_a_slow_kms_that_answers_others_closes_it_for_nobody() {
    for (hangs, is_closed) in [(false, false), (true, true)] {
        let world = World::new(|_| {});
        match hangs {
            true => world.kms.on_unwrap().always(Fault::hang()),
            false => world.slow(ms(600)),
        }
        let patient = world.unwrap(1, 1, 15 * SECOND);
        sleep(ms(50)).await;
        let hurried = world.unwraps(2, 2..12);
        sleep(ms(570)).await;
        assert_eq!(patient.0.is_finished(), !hangs);
        drop(hurried);
        settle().await;
        let figures = world.governor.figures();
        assert_eq!((figures.calls_total.abandoned, figures.is_closed), (10, is_closed));
    }
}

#[tokio::test(start_paused = true)]
async fn future_that_is_never_polled_does_nothing() {
    let world = World::new(|_| {});
    let call = Call { client: ClientTag::new(1), deadline: Instant::now() + SECOND };
    let (kek, dek) = (kek(), dek(1));
    let _futures = (world.governor.describe(), world.governor.wrap_dek(&kek, &dek, call));
    settle().await;
    assert_eq!((world.calls(), world.governor.figures().callers), (0, 0));
}

#[tokio::test]
async fn governor_prints_its_figures_and_no_secret() {
    let world = World::new(|_| {});
    let printed = format!("{:?}", world.governor);
    assert!(printed.contains("in_flight: 0") && !printed.contains("wrapped"), "{printed}");
}
