//! The emulator's time: the real one, moved by an offset that tests set.

use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that can be moved.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_seconds: AtomicI64,
}

/// Five hundred years: far enough for tests, near enough for every date's arithmetic.
const FURTHEST: i64 = 500 * 365 * 86_400;

impl Clock {
    /// Milliseconds since 1970, moved.
    pub(crate) fn now_ms(&self) -> i64 {
        real_ms().saturating_add(self.offset_seconds().saturating_mul(1000))
    }

    /// Seconds since 1970, moved.
    pub(crate) fn now(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    pub(crate) fn offset_seconds(&self) -> i64 {
        self.offset_seconds.load(Ordering::Relaxed)
    }

    pub(crate) fn set_offset(&self, seconds: i64) {
        let bounded = seconds.clamp(-FURTHEST, FURTHEST);
        self.offset_seconds.store(bounded, Ordering::Relaxed);
    }
}

/// Milliseconds since 1970 by the machine's clock.
pub(crate) fn real_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
