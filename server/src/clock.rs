//! Wall time as a value.

use std::fmt::Debug;
use std::time::SystemTime;

/// Wall time, as a value that comes in: tests and simulations bring their own.
pub trait Clock: Debug + Send + Sync {
    /// Now, in seconds since 1970-01-01 UTC.
    fn unix_seconds(&self) -> u64;

    /// Now, in nanoseconds since then; as fine as the clock is.
    fn unix_nanos(&self) -> u128 {
        u128::from(self.unix_seconds()) * 1_000_000_000
    }
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

    #[expect(clippy::disallowed_methods, reason = "this is the Clock that everyone else takes")]
    fn unix_nanos(&self) -> u128 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
    }
}
