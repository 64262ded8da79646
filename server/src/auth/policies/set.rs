//! Lists of policies, each held once for all who have it.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use selkie_access::PolicyName;

/// The policies that a token or a client has, in order. All who have the same policies share one
/// list: a million tokens have few of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySet(Arc<[PolicyName]>);

/// The lists that there are. A list never changes, so it may be anybody's in the process.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// How many lists are held at least before those that nobody has any more are looked for.
const FEWEST: usize = 1024;

#[derive(Default)]
struct Known {
    lists: HashSet<Arc<[PolicyName]>>,
    /// How many there were when they were last looked through.
    used: usize,
}

impl Known {
    fn share(&mut self, names: Vec<PolicyName>) -> Arc<[PolicyName]> {
        if let Some(known) = self.lists.get(&*names) {
            return Arc::clone(known);
        }
        // Twice as many as were of use: a look through all of them is as rare as they are many.
        if self.lists.len() >= FEWEST.max(self.used.saturating_mul(2)) {
            self.lists.retain(|list| Arc::strong_count(list) > 1);
            self.used = self.lists.len();
        }
        let list: Arc<[PolicyName]> = names.into();
        self.lists.insert(Arc::clone(&list));
        list
    }
}

impl From<Vec<PolicyName>> for PolicySet {
    fn from(names: Vec<PolicyName>) -> Self {
        Self(KNOWN.lock().unwrap_or_else(PoisonError::into_inner).share(names))
    }
}

impl FromIterator<PolicyName> for PolicySet {
    fn from_iter<I: IntoIterator<Item = PolicyName>>(names: I) -> Self {
        names.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for PolicySet {
    type Target = [PolicyName];

    fn deref(&self) -> &[PolicyName] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(number: usize) -> Vec<PolicyName> {
        vec!["default".parse().unwrap(), format!("p{number}").parse().unwrap()]
    }

    #[test]
    fn the_same_policies_in_the_same_order_are_one_list() {
        let (one, same) = (PolicySet::from(names(1)), names(1).into_iter().collect::<PolicySet>());
        assert!(Arc::ptr_eq(&one.0, &same.0));
        let turned: PolicySet = names(1).into_iter().rev().collect();
        assert_ne!(one, turned);
        assert_eq!(*one, *names(1));
    }

    #[test]
    fn lists_that_nobody_has_any_more_are_forgotten() {
        let mut known = Known::default();
        let kept: Vec<_> = (0..10).map(|number| known.share(names(number))).collect();
        (10..10 * FEWEST).for_each(|number| drop(known.share(names(number))));
        assert!(known.lists.len() <= FEWEST);
        let same = |number| Arc::ptr_eq(&kept[number], &known.share(names(number)));
        assert!((0..10).all(same), "those that somebody has are there still");
    }
}
