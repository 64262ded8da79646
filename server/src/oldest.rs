//! Making room in a bounded memory: what was seen longest ago goes, many at once.

use std::collections::HashMap;
use std::hash::Hash;

/// Takes the `many` of `memory` that were seen longest ago, by the time that `seen` tells of each; of
/// those seen at the same time as the last that goes, any. A full memory lets a part go at once, so
/// that a flood of new ones does not look through all for each.
pub(crate) fn take_oldest<K: Eq + Hash, V>(
    memory: &mut HashMap<K, V>,
    many: usize,
    seen: impl Fn(&V) -> u64,
) -> Vec<K> {
    let mut times: Vec<u64> = memory.values().map(&seen).collect();
    let many = many.min(times.len());
    if many == 0 {
        return Vec::new();
    }
    let (older, last_going, _) = times.select_nth_unstable(many - 1);
    let last_going = *last_going;
    // Whatever is older goes in any case: only what that leaves is there for ties.
    let mut ties = many - older.iter().filter(|time| **time < last_going).count();
    let goes = |_: &K, one: &mut V| {
        let time = seen(one);
        let is_tie = time == last_going && ties > 0;
        ties -= usize::from(is_tie);
        is_tie || time < last_going
    };
    memory.extract_if(goes).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_as_many_go_and_none_was_seen_after_one_that_stays(
            // Few times for many, so that the border falls among equals.
            times in proptest::collection::vec(0_u64..8, 0..60),
            many in 0_usize..70,
        ) {
            let mut memory: HashMap<usize, u64> = times.iter().copied().enumerate().collect();
            let gone = take_oldest(&mut memory, many, |time| *time);
            prop_assert_eq!(gone.len(), many.min(times.len()));
            prop_assert_eq!(gone.len() + memory.len(), times.len());
            if let (Some(last_going), Some(first_left)) =
                (gone.iter().map(|key| times[*key]).max(), memory.values().min())
            {
                prop_assert!(last_going <= *first_left);
            }
        }
    }
}
