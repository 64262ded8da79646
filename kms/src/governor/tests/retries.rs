use std::time::Duration;

use super::super::*;
use super::world::*;
use crate::Fault;

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_with_growing_pauses() {
    for error in [KmsError::Unavailable(None), KmsError::TimedOut(None), KmsError::Misbehaved(None)]
    {
        let world = World::new(|_| {});
        world.kms.on_unwrap().next(2, Fault::fail(error));
        world.unwrap(1, 1, 15 * SECOND).end().await.unwrap();
        assert_eq!(world.calls(), 3);
        assert!((ms(150)..ms(305)).contains(&world.elapsed()), "{:?}", world.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_not_tried_again() {
    for error in [KmsError::Rejected(None), KmsError::UnknownKek(None), KmsError::Disabled(None)] {
        let world = World::new(|_| {});
        world.fail(error.clone());
        let answer = world.unwrap(1, 1, 15 * SECOND).end().await.unwrap_err();
        assert_eq!(answer.to_string(), error.to_string());
        assert_eq!((world.calls(), world.elapsed()), (1, Duration::ZERO));
        assert!(!world.governor.figures().is_closed);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_try_holds_no_place() {
    let world = World::of_one_call();
    world.kms.on_unwrap().next(1, Fault::fail(KmsError::Unavailable(None)));
    let unlucky = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    world.unwrap(2, 2, 15 * SECOND).end().await.unwrap();
    assert!(world.elapsed() < ms(10), "{:?}", world.elapsed());
    unlucky.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn denied_is_tried_three_times_more_within_seconds() {
    let world = World::new(|_| {});
    world.fail(KmsError::Denied(None));
    let answer = world.unwrap(1, 1, 15 * SECOND).end().await;
    assert!(matches!(answer, Err(KmsError::Denied(_))), "{answer:?}");
    assert_eq!(world.calls(), 4);
    assert!((3 * SECOND..ms(6_500)).contains(&world.elapsed()), "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn role_that_takes_effect_meanwhile_is_used() {
    let world = World::new(|_| {});
    world.kms.on_unwrap().next(2, Fault::fail(KmsError::Denied(None)));
    world.unwrap(1, 1, 15 * SECOND).end().await.unwrap();
    assert_eq!(world.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn missing_role_does_not_multiply_the_load() {
    let world = World::new(|settings| settings.denied_retries = 2);
    world.fail(KmsError::Denied(None));
    for caller in world.unwraps(1, 0..50) {
        assert!(matches!(caller.end().await, Err(KmsError::Denied(_))));
    }
    assert_eq!(world.calls(), 50 + 2 * 3);
    // Their places are free again.
    world.unwrap(1, 1, 15 * SECOND).end().await.unwrap_err();
    assert_eq!(world.calls(), 56 + 4);
}

#[tokio::test(start_paused = true)]
async fn last_error_is_the_answer_at_once_when_no_other_try_fits() {
    let world = World::new(|_| {});
    let cause: Cause = Arc::new(std::io::Error::other("request 4711"));
    world.fail(KmsError::Unavailable(Some(cause)));
    let error = world.unwrap(1, 1, ms(90)).end().await.unwrap_err();
    let KmsError::Unavailable(Some(cause)) = error else { panic!("{error:?}") };
    assert_eq!(cause.to_string(), "request 4711");
    assert_eq!((world.calls(), world.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn wrap_keeps_to_its_short_patience() {
    let world = World::new(|_| {});
    world.kms.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    let call = Call { client: ClientTag::new(1), deadline: Instant::now() + ms(1_500) };
    let answer = world.governor.wrap_dek(&kek(), &dek(1), call).await;
    assert!(matches!(answer, Err(KmsError::Unavailable(_))), "{answer:?}");
    assert!(world.elapsed() <= ms(1_500), "{:?}", world.elapsed());
    assert!((3..=8).contains(&world.calls()), "{}", world.calls());
    world.kms.on_wrap().clear();
    let call = Call { client: ClientTag::new(1), deadline: Instant::now() + ms(1_500) };
    world.governor.wrap_dek(&kek(), &dek(1), call).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn call_that_hangs_is_cut_and_made_again() {
    let world = World::new(|_| {});
    world.kms.on_unwrap().next(1, Fault::hang());
    world.unwrap(1, 1, 15 * SECOND).end().await.unwrap();
    assert!((5 * SECOND..ms(5_105)).contains(&world.elapsed()), "{:?}", world.elapsed());
}

#[tokio::test(start_paused = true)]
async fn call_that_hangs_past_the_deadline_is_named_as_such() {
    let world = World::new(|_| {});
    world.kms.on_unwrap().always(Fault::hang());
    let error = world.unwrap(1, 1, 2 * SECOND).end().await.unwrap_err();
    assert_eq!(own_cause(&error), Some(GovernorCause::NoAnswer));
    assert!(matches!(error, KmsError::TimedOut(_)), "{error:?}");
    assert_eq!(world.elapsed(), ms(1_900));
    assert_eq!(world.governor.figures().calls_total.timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn provider_that_ends_by_the_deadline_has_the_last_word() {
    let kms = Scripted(|_, call: Call| async move {
        tokio::time::sleep_until(call.deadline).await;
        Err(KmsError::TimedOut(Some(Arc::new(std::io::Error::other("request 4711")))))
    });
    let governor = Governor::new(Arc::new(kms), GovernorSettings::default(), random(1));
    let error = unwrap(&governor, 1, 1, 2 * SECOND).await.unwrap_err();
    let KmsError::TimedOut(Some(cause)) = error else { panic!("{error:?}") };
    assert_eq!(cause.to_string(), "request 4711");
}

#[tokio::test(start_paused = true)]
async fn describe_has_its_own_time_and_is_tried_again_within_it() {
    let world = World::new(|_| {});
    world.kms.on_describe().next(2, Fault::fail(KmsError::Unavailable(None)));
    world.governor.describe().await.unwrap();
    assert_eq!(world.calls(), 3);
    let before = world.elapsed();
    world.kms.on_describe().always(Fault::hang());
    let error = world.governor.describe().await.unwrap_err();
    assert!(matches!(error, KmsError::TimedOut(_)), "{error:?}");
    assert!(world.elapsed() - before <= 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn answer_leaves_the_governor_while_its_caller_still_waits() {
    let world = World::of_one_call();
    world.slow(15 * SECOND);
    let busy = world.unwrap(1, 1, 15 * SECOND);
    settle().await;
    let (late, failing) = (world.unwrap(2, 2, 15 * SECOND), World::new(|_| {}));
    failing.fail(KmsError::Unavailable(None));
    for unanswered in [late, busy, failing.unwrap(1, 1, 15 * SECOND)] {
        unanswered.end().await.unwrap_err();
    }
    assert!(world.elapsed() <= ms(14_902), "{:?}", world.elapsed());
    let wrap = Call { client: ClientTag::new(1), deadline: Instant::now() + ms(500) };
    world.kms.on_wrap().always(Fault::hang());
    let before = world.elapsed();
    world.governor.wrap_dek(&kek(), &dek(1), wrap).await.unwrap_err();
    assert!(world.elapsed() - before <= ms(451), "{:?}", world.elapsed() - before);
}

#[tokio::test(start_paused = true)]
async fn describe_of_many_pages_may_take_longer_than_one_call() {
    let world = World::new(|_| {});
    world.kms.on_describe().always(Fault::delay(ms(9_500)));
    world.governor.describe().await.unwrap();
    assert_eq!(world.calls(), 1);
}
