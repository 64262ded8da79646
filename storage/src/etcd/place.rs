//! Where records lie in etcd: keys begin with the prefix of the store.

use std::ops::Range;

use super::damage::EtcdDamage;
use super::frame::{Damage, unframe};
use super::protocol::KeyValue;
use crate::error::StoreError;
use crate::key::RecordKey;
use crate::page::Page;
use crate::record::{Record, Revision};

/// The prefix of a store; it ends with `/`.
#[derive(Clone, Debug)]
pub(super) struct Prefix(String);

impl Prefix {
    /// `None` unless it is visible ASCII, ends with `/` and has at most 512 bytes.
    pub(super) fn new(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        (plain && text.ends_with('/') && text.len() <= 512).then(|| Self(text.to_owned()))
    }

    /// etcd's key of a record.
    pub(super) fn place(&self, key: &RecordKey) -> Vec<u8> {
        format!("{}{key}", self.0).into_bytes()
    }

    /// All keys of the store.
    pub(super) fn whole(&self) -> Range<Vec<u8>> {
        below(self.0.clone().into_bytes())
    }

    /// The keys of a page and all that follow it.
    pub(super) fn page(&self, page: &Page) -> Range<Vec<u8>> {
        let all = match &page.under {
            Some(under) => below(format!("{}{under}/", self.0).into_bytes()),
            None => self.whole(),
        };
        let after = page.after.as_ref().map(|after| {
            let mut next = self.place(after);
            next.push(0);
            next
        });
        after.map_or(all.start.clone(), |after| after.max(all.start))..all.end
    }

    /// The prefixes that this one begins with, but for itself.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let levels = self.0.match_indices('/').map(|(at, _)| at + 1);
        levels.filter(|end| *end < self.0.len()).filter_map(|end| Self::new(self.0.get(..end)?))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The record key of one of etcd's keys, whatever lies there.
    pub(super) fn key(&self, place: &[u8]) -> Result<RecordKey, StoreError> {
        self.record_key(place).ok_or_else(|| {
            let key = EtcdDamage::shown(place);
            corrupt(None, EtcdDamage::NoRecord { key, source: Damage::ForeignKey.into() })
        })
    }

    fn record_key(&self, place: &[u8]) -> Option<RecordKey> {
        std::str::from_utf8(place).ok()?.strip_prefix(&self.0)?.parse().ok()
    }

    /// The record of one of etcd's pairs.
    pub(super) fn record(&self, pair: &KeyValue) -> Result<Record, StoreError> {
        let Some(key) = self.record_key(&pair.key) else {
            return Err(corrupt(None, self.damage(pair, Damage::ForeignKey)));
        };
        match unframe(&key, &pair.value) {
            Ok(value) => Ok(Record { revision: revision(pair.mod_revision)?, key, value }),
            Err(damage) => Err(corrupt(Some(key), self.damage(pair, damage))),
        }
    }

    /// What `pair` is, which is no record of this store for what `why` says.
    fn damage(&self, pair: &KeyValue, why: Damage) -> EtcdDamage {
        let key = EtcdDamage::shown(&pair.key);
        match owner(pair) {
            Some(Self(other)) => EtcdDamage::OtherStore { key, ours: self.0.clone(), other },
            None => EtcdDamage::NoRecord { key, source: why.into() },
        }
    }
}

/// The prefix of the store that `pair` is a record of: the checksum of its frame is over the key
/// below that prefix.
fn owner(pair: &KeyValue) -> Option<Prefix> {
    let place = std::str::from_utf8(&pair.key).ok()?;
    place.match_indices('/').find_map(|(at, _)| {
        let (prefix, key) = place.split_at_checked(at + 1)?;
        unframe(&key.parse().ok()?, &pair.value).ok()?;
        Prefix::new(prefix)
    })
}

/// All keys that begin with `start`, whose last byte is `/`.
fn below(start: Vec<u8>) -> Range<Vec<u8>> {
    let mut end = start.clone();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    start..end
}

/// The revision of one of etcd's numbers.
pub(super) fn revision(number: i64) -> Result<Revision, StoreError> {
    match u64::try_from(number) {
        Ok(number) => Ok(Revision::new(number)),
        Err(_negative) => {
            Err(StoreError::Corrupt { key: None, source: Box::new(Damage::Revision) })
        }
    }
}

/// etcd's number of a revision; `None` for what etcd never counts to.
pub(super) fn number(revision: Revision) -> Option<i64> {
    i64::try_from(revision.number()).ok()
}

fn corrupt(key: Option<RecordKey>, damage: EtcdDamage) -> StoreError {
    StoreError::Corrupt { key, source: Box::new(damage) }
}

#[cfg(test)]
mod tests {
    use super::super::frame::frame;
    use super::*;
    use crate::record::RecordValue;

    fn key(text: &str) -> RecordKey {
        text.parse().unwrap()
    }

    #[test]
    fn prefix_has_a_slash_at_its_end() {
        for refused in ["", "selkie", "sel kie/", "selkie/\n", &("p".repeat(512) + "/")] {
            assert!(Prefix::new(refused).is_none(), "{refused:?}");
        }
        assert!(Prefix::new("/").is_some());
    }

    #[test]
    fn page_leaves_out_look_alikes_and_what_was_listed() {
        let prefix = Prefix::new("s/").unwrap();
        let page = Page::under(key("k"));
        assert_eq!(prefix.page(&page), b"s/k/".to_vec()..b"s/k0".to_vec());
        let page = Page { after: Some(key("k/a")), ..page };
        assert_eq!(prefix.page(&page), b"s/k/a\0".to_vec()..b"s/k0".to_vec());
        let page = Page { after: Some(key("A")), ..page };
        assert_eq!(prefix.page(&page), b"s/k/".to_vec()..b"s/k0".to_vec());
        assert_eq!(prefix.page(&Page::all()), b"s/".to_vec()..b"s0".to_vec());
    }

    #[test]
    fn ancestors_are_whole_levels_above() {
        let above = |text: &str| -> Vec<_> {
            Prefix::new(text).unwrap().ancestors().map(|prefix| prefix.0).collect()
        };
        assert!(above("selkie/").is_empty());
        assert_eq!(above("selkie/prod/eu/"), ["selkie/", "selkie/prod/"]);
        assert_eq!(above("/selkie/"), ["/"]);
    }

    #[test]
    fn a_pair_of_another_store_tells_whose_it_is() {
        let (outer, inner) = (Prefix::new("s/").unwrap(), Prefix::new("s/in/").unwrap());
        let value = frame(&key("k/a"), &RecordValue::new(*b"v").unwrap());
        let pair = KeyValue { key: inner.place(&key("k/a")), value, ..KeyValue::default() };
        assert!(inner.record(&pair).is_ok());
        let told = outer.record(&pair).unwrap_err();
        let StoreError::Corrupt { source, .. } = told else { panic!("{told}") };
        let said = source.downcast_ref::<EtcdDamage>().unwrap();
        assert!(
            matches!(said, EtcdDamage::OtherStore { key, ours, other }
                if (&**key, &**ours, &**other) == ("s/in/k/a", "s/", "s/in/")),
            "{said}"
        );
    }

    #[test]
    fn key_of_another_is_damage_and_not_skipped() {
        let prefix = Prefix::new("s/").unwrap();
        for place in [&b"t/a"[..], b"s/", b"s/a//b", b"s/\xff"] {
            assert!(matches!(prefix.key(place), Err(StoreError::Corrupt { key: None, .. })));
        }
    }
}
