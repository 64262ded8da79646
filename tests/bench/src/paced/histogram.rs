//! Counts times without allocating, so that counting does not delay what is timed.

use std::time::Duration;

/// Bits of a time that are kept below its highest: 1/64 of it.
const BITS: u32 = 6;
const STEPS: usize = 1 << BITS;

/// How often which times came, to 1/64; to count one allocates nothing.
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most: Duration,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; STEPS * 64], total: 0, most: Duration::ZERO }
    }

    pub(super) fn note(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(step(nanos)) {
            *count += 1;
        }
        self.total += 1;
        self.most = self.most.max(time);
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) const fn most(&self) -> Duration {
        self.most
    }

    /// What so many of a thousand times are at most.
    pub(super) fn at(&self, permille: u64) -> Duration {
        let wanted = (self.total * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(self.most, |step| Duration::from_nanos(most_of(step)).min(self.most))
    }
}

fn step(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    let steps = usize::try_from(nanos >> shift).unwrap_or(usize::MAX);
    usize::try_from(shift).unwrap_or(0) * STEPS + steps
}

/// The longest time of a step, in nanoseconds.
fn most_of(step: usize) -> u64 {
    let shift = (step / STEPS).saturating_sub(1);
    let steps = u64::try_from(step - shift * STEPS).unwrap_or(0);
    ((steps + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_step_that_ends_at_most_a_64th_later() {
        for nanos in (0..5000).chain([1 << 20, (1 << 33) + 12_345, u64::MAX >> 8]) {
            let most = most_of(step(nanos));
            assert!(most >= nanos && most - nanos <= nanos / 64, "{nanos} counts as {most}");
        }
    }

    #[test]
    fn so_many_of_a_thousand_are_at_most_what_it_says() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|micros| histogram.note(Duration::from_micros(micros)));
        for permille in [1, 500, 990, 999, 1000] {
            let (at, exact) = (histogram.at(permille), Duration::from_micros(permille));
            assert!(at >= exact && at <= exact + exact / 64, "{permille}: {at:?}");
        }
        assert_eq!((histogram.total(), histogram.most()), (1000, Duration::from_millis(1)));
    }
}
