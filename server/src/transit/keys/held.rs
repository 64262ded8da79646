use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use selkie_storage::{Commit, Record, RecordKey, Revision, Write};

use crate::state::KeyRecord;
use crate::transit::TransitKey;

/// What is held of the store. What is newer is never replaced by what is older.
#[derive(Debug, Default)]
pub(super) struct Holding(HashMap<MountPath, BTreeMap<KeyName, Held>>);

/// What is held of one key, as of the commit that made it so.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) revision: Revision,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Key(Arc<TransitKey>),
    /// There is a record, and nobody can read it.
    Unreadable,
    /// It is gone; kept until the watch has come so far, which may still tell of the key.
    Deleted,
}

/// A key as the store told of it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) mount: MountPath,
    pub(super) name: KeyName,
    pub(super) held: Held,
}

impl Found {
    /// The key in `record`; `None` for a place that no key can have.
    pub(super) fn read(record: &Record) -> Option<Self> {
        let (mount, name) = place(&record.key)?;
        let entry = match KeyRecord::decode(name.clone(), &record.value) {
            Ok(key) => Entry::Key(Arc::new(key)),
            Err(error) => {
                tell_unreadable(&record.key, &error);
                Entry::Unreadable
            }
        };
        Some(Self { mount, name, held: Held { entry, revision: record.revision } })
    }

    /// The key whose record the store itself cannot read.
    pub(super) fn unreadable(key: &RecordKey) -> Option<Self> {
        let (mount, name) = place(key)?;
        tell_unreadable(key, &"the store says so");
        let held = Held { entry: Entry::Unreadable, revision: Revision::ORIGIN };
        Some(Self { mount, name, held })
    }

    fn deleted(key: &RecordKey, revision: Revision) -> Option<Self> {
        let (mount, name) = place(key)?;
        Some(Self { mount, name, held: Held { entry: Entry::Deleted, revision } })
    }
}

impl Holding {
    pub(super) fn get(&self, mount: &MountPath, name: &str) -> Option<&Held> {
        self.0.get(mount)?.get(name)
    }

    /// All keys that can be read.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&MountPath, &Arc<TransitKey>)> {
        let all = self.0.iter().flat_map(|(mount, keys)| keys.values().map(move |h| (mount, h)));
        all.filter_map(|(mount, held)| match &held.entry {
            Entry::Key(key) => Some((mount, key)),
            Entry::Unreadable | Entry::Deleted => None,
        })
    }

    pub(super) fn names(&self, mount: &MountPath) -> Vec<KeyName> {
        let keys = self.0.get(mount).into_iter().flatten();
        let there = keys.filter(|(_, held)| !matches!(held.entry, Entry::Deleted));
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Holds `found` unless something newer is held. What could not be read is replaced by what can.
    pub(super) fn take(&mut self, found: Found) {
        let Found { mount, name, mut held } = found;
        let keys = self.0.entry(mount).or_default();
        if let Some(was) = keys.get(&name) {
            let is_unreadable = matches!(held.entry, Entry::Unreadable);
            let mends = matches!(was.entry, Entry::Unreadable) && held.revision == was.revision;
            // The store cannot say as of when it is damaged.
            if is_unreadable && held.revision == Revision::ORIGIN {
                held.revision = was.revision;
            } else if held.revision <= was.revision && !mends {
                return;
            }
        }
        keys.insert(name, held);
    }

    /// Notes that the store has no such key any more, unless it has changed since it was held as of
    /// `revision`.
    pub(super) fn take_absence(&mut self, mount: &MountPath, name: &str, revision: Revision) {
        let held = self.0.get_mut(mount).and_then(|keys| keys.get_mut(name));
        if let Some(held) = held.filter(|held| held.revision == revision) {
            held.entry = Entry::Deleted;
        }
    }

    /// Holds what a commit changed.
    pub(super) fn follow(&mut self, commit: &Commit) {
        for write in &commit.writes {
            let found = match write {
                Write::Put(key, value) => {
                    let (key, value) = (key.clone(), value.clone());
                    Found::read(&Record { key, value, revision: commit.revision })
                }
                Write::Delete(key) => Found::deleted(key, commit.revision),
            };
            found.into_iter().for_each(|found| self.take(found));
        }
        self.retain(|_, _, held| {
            !matches!(held.entry, Entry::Deleted) || held.revision > commit.revision
        });
    }

    /// Holds all that a listing as of `revision` found. What it did not find is gone, unless it is
    /// newer.
    pub(super) fn replace(&mut self, found: Vec<Found>, revision: Revision) {
        let name = |one: &Found| (one.mount.clone(), one.name.clone());
        let there: BTreeSet<_> = found.iter().map(name).collect();
        found.into_iter().for_each(|one| self.take(one));
        self.retain(|mount, name, held| {
            held.revision > revision || there.contains(&(mount.clone(), name.clone()))
        });
    }

    fn retain(&mut self, keeps: impl Fn(&MountPath, &KeyName, &Held) -> bool) {
        for (mount, keys) in &mut self.0 {
            keys.retain(|name, held| keeps(mount, name, held));
        }
    }
}

/// Which key a record is of. The store also tells of records that are none.
fn place(key: &RecordKey) -> Option<(MountPath, KeyName)> {
    KeyRecord::place(key)
}

fn tell_unreadable(key: &RecordKey, reason: &dyn std::fmt::Display) {
    tracing::error!(
        record = %key,
        %reason,
        advice = "restore the store; nothing is made anew in the record's place",
        "the record of a managed key cannot be read: operations on this key fail"
    );
}
