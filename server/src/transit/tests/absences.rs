//! Claims about what does not count as the absence of a seal.

use super::*;

const MISSING: NewKey = NewKey { derived: false, allow_missing_seals: true };

/// An engine with the managed key `m` for these seals.
async fn engine_with_key(seals: &[TestSeal]) -> Transit {
    let engine = engine(seals).await;
    engine.create_key(permit(operation::CreateKey, "m"), MISSING).await.unwrap();
    engine
}

fn latest(engine: &Transit) -> u32 {
    engine.keys.managed(&"transit".parse().unwrap(), "m").unwrap().latest.get()
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_throttles_or_talks_nonsense_is_not_away() {
    let seals = [TestSeal::new("a", &[1]), TestSeal::new("b", &[2])];
    let engine = engine_with_key(&seals).await;
    let throttled = KmsError::Throttled { retry_after: None, cause: None };
    for error in [throttled, KmsError::Misbehaved(None), KmsError::Denied(None)] {
        seals[1].kms.on_wrap().always(Fault::fail(error));
        assert!(matches!(encrypt(&engine, "m", "x").await, Err(TransitError::Seal(_))));
        assert_eq!(latest(&engine), 1);
    }
    seals[1].kms.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    assert_eq!(encrypt(&engine, "m", "x").await.unwrap().version.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_nearly_over_leaves_no_seal_out() {
    let seals = [TestSeal::new("a", &[1]), TestSeal::new("b", &[2])];
    let engine = engine_with_key(&seals).await;
    seals[1].kms.on_wrap().always(Fault::delay(Duration::from_millis(800)));
    for left in [0, 100, 700] {
        let until = Instant::now() + Duration::from_millis(left);
        let hurried = Transit { until, ..engine.clone() };
        let refused = encrypt(&hurried, "m", "x").await;
        assert!(matches!(refused, Err(TransitError::Seal(_))), "{left}: {refused:?}");
        // A change goes on when nobody waits for it any more.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(latest(&engine), 1, "{left}");
    }
    assert_eq!(encrypt(&engine, "m", "x").await.unwrap().version.get(), 1);
    seals[1].kms.on_wrap().always(Fault::hang());
    assert_eq!(encrypt(&engine, "m", "x").await.unwrap().version.get(), 2);
}
