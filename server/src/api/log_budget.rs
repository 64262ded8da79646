use std::sync::{Mutex, PoisonError};

/// How many refusals a second are logged, so that nobody fills the log by being refused.
const LINES_PER_SECOND: u32 = 50;

/// Lets through so many log lines a second, and counts the rest.
#[derive(Debug, Default)]
pub(super) struct LogBudget(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    second: u64,
    lines: u32,
    suppressed: u64,
}

impl LogBudget {
    /// Whether a line may be written at `second`; then, how many were not before it.
    pub(super) fn spend(&self, second: u64) -> Option<u64> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.second != second {
            (used.second, used.lines) = (second, 0);
        }
        if used.lines >= LINES_PER_SECOND {
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
        let budget = LogBudget::default();
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(budget.spend(1), Some(0));
        }
        assert_eq!((budget.spend(1), budget.spend(1)), (None, None));
        assert_eq!(budget.spend(2), Some(2));
        assert_eq!(budget.spend(2), Some(0));
    }
}
