//! Tells of trouble when it begins and now and then, not at every call.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// In how many seconds the same trouble is told of once, unless said otherwise.
const PAUSE: u64 = 300;

/// Tells of trouble when it begins, and now and then while it lasts.
#[derive(Debug)]
pub(super) struct Alarm {
    pause: u64,
    told: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self::every(PAUSE)
    }
}

impl Alarm {
    /// One that tells of the same trouble every `pause` seconds.
    pub(super) fn every(pause: u64) -> Self {
        Self { pause, told: Mutex::default() }
    }

    /// Whether `trouble` is to be logged at `second`, and now is.
    pub(super) fn ring(&self, trouble: &'static str, second: u64) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not silence it until it has caught up.
        let rings = told.get(trouble).is_none_or(|last| second.abs_diff(*last) >= self.pause);
        if rings {
            told.insert(trouble, second);
        }
        rings
    }

    /// All is well again; true if it was not.
    pub(super) fn clear(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::take(&mut *told).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_once_in_five_minutes_and_another_at_once() {
        let alarm = Alarm::default();
        assert!(alarm.ring("a", 1000));
        assert!(!alarm.ring("a", 1299));
        assert!(alarm.ring("a", 1300));
        assert!(alarm.ring("b", 1301));
        assert!(alarm.clear() && !alarm.clear());
        assert!(alarm.ring("b", 1302));
    }

    #[test]
    fn troubles_that_take_turns_do_not_flood_the_log() {
        let alarm = Alarm::default();
        let told = (0..100).filter(|turn| alarm.ring(["a", "b"][turn % 2], 1000)).count();
        assert_eq!(told, 2);
    }

    #[test]
    fn a_clock_set_back_does_not_silence_the_alarm() {
        let alarm = Alarm::default();
        assert!(alarm.ring("a", 4_000_000_000));
        assert!(alarm.ring("a", 1_800_000_000));
    }
}
