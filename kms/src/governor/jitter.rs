//! Times that are not the same for everybody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::{Random, RandomError};

/// Times that double from `first` to `last`. Each is then drawn from its upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first time.
    pub first: Duration,
    /// The longest time.
    pub last: Duration,
}

impl Backoff {
    /// The time after `earlier` others.
    pub(super) fn after(self, earlier: u32, jitter: &Jitter) -> Duration {
        let factor = 1_u32.checked_shl(earlier).unwrap_or(u32::MAX);
        jitter.draw(self.first.saturating_mul(factor).min(self.last))
    }
}

#[derive(Clone)]
pub(super) struct Jitter(pub(super) Arc<Random>);

impl Jitter {
    /// A time between half of `longest` and all of it.
    pub(super) fn draw(&self, longest: Duration) -> Duration {
        let mut bytes = [0; 4];
        match (self.0)(&mut bytes) {
            Ok(()) => {
                let part = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
                longest.mul_f64(0.5 + part / 2.0)
            }
            // Without randomness the longest time is the civil one.
            Err(RandomError) => longest,
        }
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), last: Duration::from_secs(2) };

    fn constant(byte: u8) -> Jitter {
        Jitter(Arc::new(move |bytes: &mut [u8]| {
            bytes.fill(byte);
            Ok(())
        }))
    }

    #[test]
    fn times_double_up_to_the_last_and_lie_in_their_upper_half() {
        let times = |jitter: Jitter| [0, 1, 4, 5, 31, 32, 99].map(|n| BACKOFF.after(n, &jitter));
        let longest = [100, 200, 1600, 2000, 2000, 2000, 2000].map(Duration::from_millis);
        assert_eq!(times(constant(0xff)), longest);
        assert_eq!(times(constant(0)), longest.map(|time| time / 2));
    }

    #[test]
    fn longest_time_stands_in_for_missing_randomness() {
        let broken = Jitter(Arc::new(|_: &mut [u8]| Err(RandomError)));
        assert_eq!(BACKOFF.after(0, &broken), BACKOFF.first);
    }
}
