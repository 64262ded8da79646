//! How often the store is asked about what nobody here has heard of.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the store may take for one such look: a seal may be waiting, which has 1.5 s in all.
pub(crate) const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// How many looks each place has in a second.
pub(crate) const LOOKS_PER_SECOND: u32 = 25;
/// How many places are told apart.
const PLACES: usize = 16;

/// So many looks into the store a second for each place that they are caused from: whoever makes up
/// names keeps nobody out but those who share a place with him.
#[derive(Debug, Default)]
pub(crate) struct LookBudget {
    spent: Mutex<[(u64, u32); PLACES]>,
    hasher: RandomState,
}

impl LookBudget {
    /// Takes one look of those that `who` has in `second`; whether there was one left.
    pub(crate) fn spend(&self, who: impl Hash, second: u64) -> bool {
        let hash = usize::try_from(self.hasher.hash_one(who) >> 1).unwrap_or_default();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = spent.get_mut(hash % PLACES) else { return false };
        if place.0 != second {
            *place = (second, 0);
        }
        place.1 = place.1.saturating_add(1);
        place.1 <= LOOKS_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_up_names_spends_the_looks_of_his_place_alone() {
        let looks = LookBudget::default();
        let made = (0..1000).filter(|_| looks.spend(1, 7)).count();
        assert_eq!(made, usize::try_from(LOOKS_PER_SECOND).unwrap());
        assert!(!looks.spend(1, 7));
        assert!((2..=255).any(|who| looks.spend(who, 7)), "others have theirs");
        assert!(looks.spend(1, 8));
    }
}
