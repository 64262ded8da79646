//! How much is decrypted within a window that slides.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use selkie_config::Burst;

use crate::oldest::take_oldest;

/// How many clients and keys are counted at once; beyond it those go that were quiet longest.
const MOST: usize = 2_048;
/// Into how many slices a window is cut.
const SLICES: u64 = 10;

/// Whose decrypts are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// Those of a client.
    Client(Arc<str>),
    /// Those with a key.
    Key(String),
}

/// The counts of all.
#[derive(Debug)]
pub(super) struct Bursts {
    bound: u64,
    /// In seconds.
    slice: u64,
    slices: u64,
    counts: HashMap<Counted, Count>,
}

/// The slices in which there was something: their numbers and how much.
#[derive(Debug, Default)]
struct Count(VecDeque<(u64, u64)>);

impl Bursts {
    pub(super) fn new(settings: Burst) -> Self {
        let window = settings.window.as_secs().max(1);
        let slice = window.div_ceil(SLICES);
        // One more than fits, so that no window is cut short by where its slices begin.
        let slices = window.div_ceil(slice) + 1;
        Self { bound: settings.decrypts, slice, slices, counts: HashMap::new() }
    }

    /// Within how many seconds what [`Bursts::note`] answers was counted, at most.
    pub(super) const fn seconds(&self) -> u64 {
        self.slice.saturating_mul(self.slices)
    }

    /// Counts `decrypts` of `whose` at `now`. How many that makes in the window, if it is too much.
    pub(super) fn note(&mut self, whose: Counted, decrypts: u64, now: u64) -> Option<u64> {
        if self.counts.len() >= MOST && !self.counts.contains_key(&whose) {
            take_oldest(&mut self.counts, MOST / 8, Count::last);
        }
        let count = self.counts.entry(whose).or_default();
        let total = count.add(now / self.slice, decrypts, self.slices);
        (total > self.bound).then_some(total)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.counts.len()
    }
}

impl Count {
    fn add(&mut self, slice: u64, decrypts: u64, slices: u64) -> u64 {
        if self.last() > slice.saturating_add(slices) {
            // The clock was set back.
            self.0.clear();
        }
        let slice = slice.max(self.last());
        match self.0.back_mut() {
            Some((last, count)) if *last == slice => *count = count.saturating_add(decrypts),
            _ => self.0.push_back((slice, decrypts)),
        }
        while self.0.front().is_some_and(|(first, _)| slice.saturating_sub(*first) >= slices) {
            self.0.pop_front();
        }
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn last(&self) -> u64 {
        self.0.back().map_or(0, |(slice, _)| *slice)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn bursts(decrypts: u64, seconds: u64) -> Bursts {
        Bursts::new(Burst { decrypts, window: Duration::from_secs(seconds) })
    }

    fn client(name: &str) -> Counted {
        Counted::Client(name.into())
    }

    #[test]
    fn the_first_decrypt_above_the_bound_is_a_burst_and_a_client_is_not_a_key() {
        let mut bursts = bursts(20, 60);
        assert_eq!(bursts.note(client("a"), 20, 1_000), None);
        assert_eq!(bursts.note(Counted::Key("a".into()), 1, 1_000), None);
        assert_eq!(bursts.note(client("a"), 1, 1_000), Some(21));
        assert_eq!(bursts.note(client("a"), 1, 1_000 + bursts.seconds()), None);
    }

    #[test]
    fn a_clock_that_is_set_back_counts_anew() {
        let mut bursts = bursts(20, 60);
        assert_eq!(bursts.note(client("a"), 20, 1_000_000), None);
        assert_eq!(bursts.note(client("a"), 1, 1_000), None);
        assert_eq!(bursts.note(client("a"), 20, 1_000), Some(21));
    }

    #[test]
    fn memory_is_bounded_and_the_busy_ones_stay() {
        let mut bursts = bursts(20, 60);
        for number in 0..100_000_u64 {
            assert_eq!(bursts.note(Counted::Key(number.to_string()), 1, number / 100), None);
            let _above = bursts.note(client("busy"), 1, number / 100);
            assert!(bursts.len() <= MOST);
        }
        assert!(bursts.note(client("busy"), 1, 1_000).unwrap() > 1_000);
    }

    proptest! {
        #[test]
        fn what_exceeds_the_bound_in_a_window_is_found_and_what_never_does_in_a_longer_one_is_not(
            seconds in 1_u64..200,
            steps in proptest::collection::vec((0_u64..30, 1_u64..8), 1..60),
        ) {
            let mut bursts = bursts(20, seconds);
            let (mut now, mut all) = (1_000_u64, Vec::new());
            for (step, decrypts) in steps {
                now += step;
                all.push((now, decrypts));
                let within = |span: u64| -> u64 {
                    all.iter().filter(|(at, _)| now - at < span).map(|(_, count)| count).sum()
                };
                let found = bursts.note(client("a"), decrypts, now).is_some();
                prop_assert!(found || within(seconds) <= 20);
                prop_assert!(!found || within(bursts.seconds()) > 20);
            }
        }
    }
}
