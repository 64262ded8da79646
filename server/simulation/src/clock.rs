//! Wall time as one replica sees it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use selkie::clock::Clock;
use tokio::time::Instant;

/// When every history begins: 2025-11-24.
const BEGIN_SECONDS: i64 = 1_764_000_000;

/// Tokio's paused time, with a drift and with jumps.
#[derive(Debug)]
pub(crate) struct SimClock {
    began: Instant,
    /// In millionths, too fast or too slow.
    drift: i64,
    /// In seconds.
    jumped: AtomicI64,
}

impl SimClock {
    pub(crate) fn new(began: Instant, drift: i64) -> Self {
        Self { began, drift, jumped: AtomicI64::new(0) }
    }

    /// It shows `seconds` more, or less, than the others from now on.
    pub(crate) fn is_off_by(&self, seconds: i64) {
        self.jumped.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn off_by(&self) -> i64 {
        self.jumped.load(Ordering::Relaxed)
    }
}

impl Clock for SimClock {
    fn unix_seconds(&self) -> u64 {
        u64::try_from(self.unix_nanos() / 1_000_000_000).unwrap()
    }

    fn unix_nanos(&self) -> u128 {
        let elapsed: Duration = self.began.elapsed();
        let passed = i128::try_from(elapsed.as_nanos()).unwrap();
        let drifted = passed + passed * i128::from(self.drift) / 1_000_000;
        let jumped = i128::from(BEGIN_SECONDS + self.off_by()) * 1_000_000_000;
        u128::try_from(jumped + drifted).unwrap()
    }
}
