//! Which revocation lists count. webpki goes by an issuer's name, and takes the first list that it
//! finds: an older one before the one that revokes, or one of a key that the issuer had before.

use std::collections::{BTreeMap, BTreeSet};

use super::pem::RevocationList;

/// How many choices among the keys of authorities are made at most.
const MOST_CHOICES: usize = 16;

/// Of each issuer, key and scope the newest list; newer ones come first.
pub(super) fn newest(mut lists: Vec<RevocationList>) -> Vec<RevocationList> {
    // Of two of the same age the one that was read last: sorting keeps their order.
    lists.reverse();
    lists.sort_by(|one, other| other.facts.edition.cmp(&one.facts.edition));
    let mut seen = BTreeSet::new();
    lists.retain(|RevocationList { facts, .. }| {
        let key = facts.authority_key_id.clone();
        seen.insert((facts.issuer.clone(), key, facts.distribution_point.clone()))
    });
    lists
}

/// All ways to take the lists of one key of each issuer, those with the newest lists first. Two keys
/// may be one, told in two ways; so who is found revoked by one choice is not good by a later one.
pub(super) fn choices(lists: &[RevocationList]) -> Vec<Vec<&RevocationList>> {
    let mut by_issuer = BTreeMap::<_, Vec<Vec<&RevocationList>>>::new();
    for list in lists {
        let keys = by_issuer.entry(&list.facts.issuer).or_default();
        let key = &list.facts.authority_key_id;
        let of_key = |lists: &&mut Vec<&RevocationList>| {
            lists.iter().any(|one| one.facts.authority_key_id == *key)
        };
        match keys.iter_mut().find(of_key) {
            Some(known) => known.push(list),
            None => keys.push(vec![list]),
        }
    }
    by_issuer.values().fold(vec![Vec::new()], |choices, keys| {
        let longer = choices.iter().flat_map(|choice| {
            keys.iter().map(|lists| [choice.as_slice(), lists.as_slice()].concat())
        });
        longer.take(MOST_CHOICES).collect()
    })
}
