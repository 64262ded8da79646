use std::sync::{Mutex, PoisonError};

/// How many seconds the same trouble is told of once.
const PAUSE: u64 = 300;

/// Tells of trouble when it begins, and now and then while it lasts.
#[derive(Debug, Default)]
pub(super) struct Alarm(Mutex<Option<Told>>);

#[derive(Debug)]
struct Told {
    trouble: &'static str,
    second: u64,
}

impl Alarm {
    /// Whether `trouble` is to be logged at `second`.
    pub(super) fn is_due(&self, trouble: &'static str, second: u64) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.as_ref().is_none_or(|told| {
            told.trouble != trouble || second.saturating_sub(told.second) >= PAUSE
        });
        if is_due {
            *told = Some(Told { trouble, second });
        }
        is_due
    }

    /// All is well again; true if it was not.
    pub(super) fn clear(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_once_in_five_minutes_and_another_at_once() {
        let alarm = Alarm::default();
        assert!(alarm.is_due("a", 1000));
        assert!(!alarm.is_due("a", 1299));
        assert!(alarm.is_due("a", 1300));
        assert!(alarm.is_due("b", 1301));
        assert!(alarm.clear() && !alarm.clear());
        assert!(alarm.is_due("b", 1302));
    }
}
