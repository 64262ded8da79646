//! Whether what several clients saw of one record can be the work of one record (Wing and Gong):
//! searches all orders in which each operation takes place between its call and its answer.

use std::collections::BTreeSet;
use std::time::Instant;

/// What the record holds; each write writes another number. 0 is its beginning.
pub(crate) type Value = u64;

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A read that saw this.
    Read(Value),
    /// A guarded write that happened.
    Replaced(Value, Value),
    /// A guarded write whose guard did not hold.
    Kept(Value),
    /// A guarded write that may have happened, at any time since.
    Perhaps(Value, Value),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) what: What,
    pub(crate) called: Instant,
    /// `None` if it may still take place.
    pub(crate) answered: Option<Instant>,
}

/// Whether some order explains all of `history`, of at most 128 operations.
pub(crate) fn is_linearizable(history: &[Operation]) -> bool {
    assert!(history.len() <= 128);
    search(history, 0, 0, &mut BTreeSet::new())
}

fn search(
    history: &[Operation],
    done: u128,
    value: Value,
    seen: &mut BTreeSet<(u128, Value)>,
) -> bool {
    if !seen.insert((done, value)) {
        return false;
    }
    let open = || history.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
    // Nothing can come before what was answered before it was called.
    let first_answer = open().filter_map(|(_, operation)| operation.answered).min();
    let Some(first_answer) = first_answer else { return true };
    open().filter(|(_, operation)| operation.called <= first_answer).any(|(n, operation)| {
        let after = match operation.what {
            What::Read(read) => (read == value).then_some(value),
            What::Kept(expected) => (expected != value).then_some(value),
            What::Replaced(from, to) | What::Perhaps(from, to) => (from == value).then_some(to),
        };
        after.is_some_and(|after| search(history, done | 1 << n, after, seen))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::What::{Kept, Perhaps, Read, Replaced};
    use super::*;

    fn history(operations: &[(What, u64, Option<u64>)]) -> bool {
        let start = Instant::now();
        let at = |t| start + Duration::from_secs(t);
        let operations: Vec<Operation> = operations
            .iter()
            .map(|&(what, called, answered)| Operation {
                what,
                called: at(called),
                answered: answered.map(at),
            })
            .collect();
        is_linearizable(&operations)
    }

    #[test]
    fn checker_accepts_what_one_record_can_do() {
        assert!(history(&[(Replaced(0, 1), 0, Some(2)), (Read(0), 1, Some(3))]));
        assert!(history(&[(Perhaps(0, 1), 0, None), (Read(0), 1, Some(2)), (Read(1), 3, Some(4))]));
        assert!(history(&[(Replaced(0, 1), 0, Some(1)), (Kept(0), 0, Some(3))]));
    }

    #[test]
    fn checker_refuses_stale_reads_lost_writes_and_double_winners() {
        assert!(!history(&[(Replaced(0, 1), 0, Some(1)), (Read(0), 2, Some(3))]));
        assert!(!history(&[(Replaced(0, 1), 0, Some(5)), (Replaced(0, 2), 0, Some(5))]));
        assert!(!history(&[
            (Perhaps(0, 1), 0, None),
            (Read(1), 1, Some(2)),
            (Read(0), 3, Some(4))
        ]));
        assert!(!history(&[(Kept(0), 0, Some(1)), (Read(0), 0, Some(1))]));
    }
}
