//! The pauses between tries, spread so that replicas do not keep step.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::IdentityError;
use super::failure::at;
use crate::azure::{Hop, Outcome};

/// The first pause between two tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(400);

/// Between four fifths of `time` and all of it, so that replicas do not keep step.
pub(super) fn jittered(time: Duration) -> Duration {
    // The standard library seeds this from the operating system and moves it on each time.
    let random = RandomState::new().hash_one(()) % 256;
    let part = u32::try_from(random).unwrap_or_default();
    time - time / 5 * part / 256
}

/// Tries until it succeeds, fails for good, or another try would not end before `deadline`; then
/// the last answer stands.
pub(super) async fn patiently<T, F>(
    hop: Hop,
    host: &str,
    deadline: Instant,
    attempt: impl Fn() -> F,
) -> Result<T, IdentityError>
where
    F: Future<Output = Result<T, IdentityError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let Ok(outcome) = timeout_at(deadline, attempt()).await else {
            return Err(IdentityError::new(at(hop, Outcome::TimedOut, host), None));
        };
        let error = match outcome {
            Err(error) if passes(&error) => error,
            other => return other,
        };
        let wait = jittered(pause).max(error.retry_after().unwrap_or_default());
        if deadline.saturating_duration_since(Instant::now()) <= wait {
            return Err(error);
        }
        sleep(wait).await;
        pause *= 2;
    }
}

/// Whether an answer of this status may be another one soon. Azure documents 404 and 410 of IMDS
/// as such: it is starting, or the identity has just been assigned.
fn passes(error: &IdentityError) -> bool {
    let diagnosis = error.diagnosis();
    match diagnosis.status {
        Some(404 | 410) => diagnosis.hop == Hop::ManagedIdentity,
        Some(429 | 500..=599) => diagnosis.outcome != Outcome::ProxyRefused,
        _ => false,
    }
}
