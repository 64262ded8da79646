//! Waiting for what another process does.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Generous: it bounds a failing test, it never measures a passing one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer, for a minute at most.
///
/// # Errors
///
/// If the minute is over, with what was waited for; or the first error of `ask`.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(answer) = ask().with_context(|| format!("waiting until {what}"))? {
            return Ok(answer);
        }
        thread::sleep(PAUSE);
    }
    bail!("waited {} s in vain until {what}", PATIENCE.as_secs())
}
