//! What was seen before: which client has decrypted with which key, and from which network.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, OccupiedEntry};
use std::sync::Arc;

use ipnet::IpNet;

use crate::oldest::take_oldest;

/// How many pairs of each sort are remembered; beyond it those go that were seen longest ago.
pub(super) const MOST: usize = 4_096;
/// How old the kept time of a pair may become, in seconds, before it is written anew.
pub(super) const KEPT_ANEW_AFTER: u64 = 7 * 86_400;

/// A pair of a client and what it used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// What the client is known by.
    pub client: Arc<str>,
    /// What it used.
    pub what: What,
}

/// What a client used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// `mount/key`.
    Key(String),
    /// The network that it was in.
    Network(IpNet),
}

/// When a pair was seen, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Seen {
    last: u64,
    /// As it is kept across a restart; 0 if it is not.
    kept: u64,
}

/// All pairs that were seen.
#[derive(Debug, Default)]
pub(super) struct Memory {
    keys: HashMap<Subject, Seen>,
    networks: HashMap<Subject, Seen>,
    /// In how many pairs of `keys` each client is.
    clients: HashMap<Arc<str>, usize>,
    /// In how many of them each key is.
    names: HashMap<String, usize>,
}

impl Memory {
    /// Whether `subject` was seen before; it is now.
    pub(super) fn saw(&mut self, subject: &Subject, now: u64) -> bool {
        let seen = self.of(subject).get_mut(subject);
        seen.map(|seen| seen.last = seen.last.max(now)).is_some()
    }

    /// Remembers `subject` as seen `last`; `kept`: that is known across a restart.
    pub(super) fn learn(&mut self, subject: Subject, last: u64, kept: bool) {
        let pairs = self.of(&subject);
        let is_full = pairs.len() >= MOST && !pairs.contains_key(&subject);
        let going = if is_full { MOST / 8 } else { 0 };
        let gone = take_oldest(pairs, going, |seen| seen.last);
        let seen = Seen { last, kept: if kept { last } else { 0 } };
        let is_new = pairs.insert(subject.clone(), seen).is_none();
        gone.iter().for_each(|subject| self.uncount(subject));
        if is_new && let What::Key(name) = subject.what {
            *self.clients.entry(subject.client).or_default() += 1;
            *self.names.entry(name).or_default() += 1;
        }
    }

    fn uncount(&mut self, subject: &Subject) {
        let What::Key(name) = &subject.what else { return };
        if let Entry::Occupied(count) = self.clients.entry(Arc::clone(&subject.client)) {
            one_less(count);
        }
        if let Entry::Occupied(count) = self.names.entry(name.clone()) {
            one_less(count);
        }
    }

    /// Remembers what others have kept and nobody here has seen.
    pub(super) fn learn_of_others(&mut self, subject: &Subject, last: u64) {
        if !self.of(subject).contains_key(subject) {
            self.learn(subject.clone(), last, true);
        }
    }

    /// Whether more can be remembered without forgetting anything.
    pub(super) fn has_room(&self) -> bool {
        self.keys.len() < MOST && self.networks.len() < MOST
    }

    /// Whether the client has decrypted anything before.
    pub(super) fn knows_client(&self, client: &str) -> bool {
        self.clients.contains_key(client)
    }

    /// Whether anybody has decrypted with the key before.
    pub(super) fn knows_key(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// What is to be written, because it is not kept or was seen much later than that says; at most
    /// `most` pairs.
    pub(super) fn unkept(&self, most: usize) -> Vec<(Subject, u64)> {
        let is_unkept =
            |seen: &Seen| seen.kept == 0 || seen.last.saturating_sub(seen.kept) >= KEPT_ANEW_AFTER;
        let unkept = self.iter().filter(|(_, seen)| is_unkept(seen)).take(most);
        unkept.map(|(subject, seen)| (subject.clone(), seen.last)).collect()
    }

    /// These are kept now, with these times.
    pub(super) fn note_kept(&mut self, kept: Vec<(Subject, u64)>) {
        for (subject, last) in kept {
            if let Some(seen) = self.of(&subject).get_mut(&subject) {
                seen.kept = last;
            }
        }
    }

    /// All of it, in no order.
    pub(super) fn all(&self) -> Vec<(Subject, u64)> {
        self.iter().map(|(subject, seen)| (subject.clone(), seen.last)).collect()
    }

    fn iter(&self) -> impl Iterator<Item = (&Subject, &Seen)> {
        self.keys.iter().chain(&self.networks)
    }

    fn of(&mut self, subject: &Subject) -> &mut HashMap<Subject, Seen> {
        match subject.what {
            What::Key(_) => &mut self.keys,
            What::Network(_) => &mut self.networks,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.networks.len()
    }
}

fn one_less<K>(mut count: OccupiedEntry<'_, K, usize>) {
    if *count.get() <= 1 {
        count.remove();
    } else {
        *count.get_mut() -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(client: &str, key: &str) -> Subject {
        Subject { client: client.into(), what: What::Key(key.into()) }
    }

    #[test]
    fn beyond_the_limit_the_oldest_go_and_with_their_last_pair_clients_and_keys() {
        let mut memory = Memory::default();
        memory.learn(pair("old", "k-old"), 1, true);
        memory.learn(pair("old", "k-shared"), 1, true);
        for number in 0..u64::try_from(MOST).unwrap() {
            memory.learn(pair(&format!("c{number}"), "k-shared"), 10 + number, true);
        }
        assert!(memory.len() <= MOST);
        assert!(!memory.knows_client("old") && !memory.knows_key("k-old"));
        assert!(memory.knows_key("k-shared") && memory.saw(&pair("c4095", "k-shared"), 0));
    }

    #[test]
    fn a_pair_is_written_when_it_is_new_and_when_a_week_has_passed() {
        let mut memory = Memory::default();
        memory.learn(pair("a", "k"), 100, false);
        assert_eq!(memory.unkept(9), [(pair("a", "k"), 100)]);
        memory.note_kept(vec![(pair("a", "k"), 100)]);
        memory.saw(&pair("a", "k"), 100 + KEPT_ANEW_AFTER - 1);
        assert_eq!(memory.unkept(9), []);
        memory.saw(&pair("a", "k"), 100 + KEPT_ANEW_AFTER);
        assert_eq!(memory.unkept(9), [(pair("a", "k"), 100 + KEPT_ANEW_AFTER)]);
    }
}
