//! Wall time as a value.

use std::fmt::Debug;
use std::time::SystemTime;

/// Wall time, as a value that comes in: tests and simulations bring their own.
pub trait Clock: Debug + Send + Sync {
    /// Now, in seconds since 1970-01-01 UTC.
    fn unix_seconds(&self) -> u64;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that everyone else takes")]
    fn unix_seconds(&self) -> u64 {
        // Before 1970 the clock is plainly wrong; 0 says so as well as anything.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
