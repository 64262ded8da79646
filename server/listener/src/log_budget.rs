//! Bounds what strangers can write into the log.

use std::sync::{Mutex, PoisonError};

/// Lets through so many log lines a second and counts the rest, so that nobody fills the log by
/// being refused.
#[derive(Debug)]
pub struct LogBudget {
    lines_per_second: u32,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    second: u64,
    lines: u32,
    suppressed: u64,
}

impl LogBudget {
    /// A budget of `lines_per_second`.
    #[must_use]
    pub fn new(lines_per_second: u32) -> Self {
        Self { lines_per_second, used: Mutex::default() }
    }

    /// Whether a line may be written at `second`; then, how many were not before it.
    pub fn spend(&self, second: u64) -> Option<u64> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.second != second {
            (used.second, used.lines) = (second, 0);
        }
        if used.lines >= self.lines_per_second {
            used.suppressed = used.suppressed.saturating_add(1);
            return None;
        }
        used.lines += 1;
        Some(std::mem::take(&mut used.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_second_are_bounded_and_the_rest_is_counted() {
        let budget = LogBudget::new(50);
        for _ in 0..50 {
            assert_eq!(budget.spend(1), Some(0));
        }
        assert_eq!((budget.spend(1), budget.spend(1)), (None, None));
        assert_eq!(budget.spend(2), Some(2));
        assert_eq!(budget.spend(2), Some(0));
    }
}
