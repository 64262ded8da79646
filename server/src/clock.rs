//! Wall time as a value, and as text.

use std::fmt::Debug;
use std::time::SystemTime;

use jiff::Timestamp;

/// The text for a time that never was: Go's zero, which Vault tells then.
pub(crate) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

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

/// A time in seconds since 1970-01-01 UTC, as RFC 3339 has it; `None` beyond the year 9999, for which
/// that has no form.
pub(crate) fn rfc3339(unix_seconds: u64) -> Option<String> {
    let seconds = i64::try_from(unix_seconds).ok()?;
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_no_form_is_none() {
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(rfc3339(1_764_421_742).as_deref(), Some("2025-11-29T13:09:02Z"));
        assert_eq!([rfc3339(1 << 40), rfc3339(u64::MAX)], [None, None]);
    }
}
