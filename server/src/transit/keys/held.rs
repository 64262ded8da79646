//! The managed keys in memory, each as of its revision.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use selkie_storage::{Commit, Record, RecordKey, Revision, Write};

use crate::state::KeyRecord;
use crate::transit::TransitKey;

/// What is held of the store. What is newer is never replaced by what is older.
///
/// A commit costs what it changes, however many keys there are: what must be found without its name
/// is noted apart.
#[derive(Debug, Default)]
pub(super) struct Holding {
    keys: BTreeMap<MountPath, BTreeMap<KeyName, Held>>,
    /// What was deleted, by the commit that did it. It may have been made anew since.
    deleted: BTreeSet<(Revision, Place)>,
    /// The keys whose latest version leaves out a seal.
    lacking: BTreeSet<Place>,
    /// Until when all commits have been told of, by the watch or a listing.
    followed: Option<Revision>,
}

/// Which key, of all.
pub(super) type Place = (MountPath, KeyName);

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
pub(super) struct KeyInStore {
    pub(super) mount: MountPath,
    pub(super) name: KeyName,
    pub(super) held: Held,
}

impl KeyInStore {
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

impl Entry {
    const fn key(&self) -> Option<&Arc<TransitKey>> {
        match self {
            Self::Key(key) => Some(key),
            Self::Unreadable | Self::Deleted => None,
        }
    }
}

impl Holding {
    pub(super) fn get(&self, mount: &MountPath, name: &str) -> Option<&Held> {
        self.keys.get(mount)?.get(name)
    }

    /// At most `limit` of the keys that can be read, in order, from the one after `after`.
    pub(super) fn page(
        &self,
        after: Option<&Place>,
        limit: usize,
    ) -> Vec<(MountPath, Arc<TransitKey>)> {
        let first = after.map_or(Bound::Unbounded, |(mount, _)| Bound::Included(mount));
        let mounts = self.keys.range::<MountPath, _>((first, Bound::Unbounded));
        let all = mounts.flat_map(|(mount, keys)| {
            let last = after.filter(|(at, _)| at == mount).map(|(_, name)| name);
            let first = last.map_or(Bound::Unbounded, Bound::Excluded);
            let names = keys.range::<KeyName, _>((first, Bound::Unbounded));
            names.map(move |(_, held)| (mount, held))
        });
        let of = |(mount, held): (&MountPath, &Held)| {
            held.entry.key().map(|key| (mount.clone(), Arc::clone(key)))
        };
        all.filter_map(of).take(limit).collect()
    }

    /// The keys whose latest version leaves out a seal.
    pub(super) fn lacking(&self) -> impl Iterator<Item = (&MountPath, &Arc<TransitKey>)> {
        let held = |(mount, name): &Place| self.keys.get(mount)?.get(name)?.entry.key();
        self.lacking.iter().filter_map(move |place| Some((&place.0, held(place)?)))
    }

    pub(super) fn names(&self, mount: &MountPath) -> Vec<KeyName> {
        let keys = self.keys.get(mount).into_iter().flatten();
        let there = keys.filter(|(_, held)| !matches!(held.entry, Entry::Deleted));
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Holds `found` unless it was told already what became of the key since.
    pub(super) fn take(&mut self, found: KeyInStore) {
        let is_unreadable = matches!(found.held.entry, Entry::Unreadable);
        if is_unreadable || !self.is_past(&found, found.held.revision) {
            self.hold(found);
        }
    }

    /// Whether it was told already what became of the key after `revision`: there is none now, so it was
    /// deleted since. Answers may come that late, to a read or a listing as to a commit of our own, and a
    /// watch that began before a listing tells of what is in it once more.
    fn is_past(&self, found: &KeyInStore, revision: Revision) -> bool {
        let was = self.get(&found.mount, found.name.as_str());
        let is_there = was.is_some_and(|was| !matches!(was.entry, Entry::Deleted));
        !is_there && Some(revision) <= self.followed
    }

    /// Holds `found` as a listing of `revision` has it. As of when a record is damaged nobody can say,
    /// but that it was there then.
    fn take_listed(&mut self, found: KeyInStore, revision: Revision) {
        let as_of = match found.held.revision {
            Revision::ORIGIN => revision,
            known => known,
        };
        let was = self.get(&found.mount, found.name.as_str());
        let is_older = was.is_some_and(|was| was.revision > as_of);
        if !is_older && !self.is_past(&found, as_of) {
            self.hold(found);
        }
    }

    /// Holds `found` unless something newer is held. What could not be read is replaced by what can.
    fn hold(&mut self, found: KeyInStore) {
        let KeyInStore { mount, name, mut held } = found;
        if let Some(was) = self.get(&mount, name.as_str()) {
            let is_unreadable = matches!(held.entry, Entry::Unreadable);
            let mends = matches!(was.entry, Entry::Unreadable) && held.revision == was.revision;
            // The store cannot say as of when it is damaged.
            if is_unreadable && held.revision == Revision::ORIGIN {
                held.revision = was.revision;
            } else if held.revision <= was.revision && !mends {
                return;
            }
        }
        self.set((mount, name), held);
    }

    /// Notes that the store has no such key any more, unless it has changed since it was held as of
    /// `revision`.
    pub(super) fn take_absence(&mut self, mount: &MountPath, name: &KeyName, revision: Revision) {
        let held = self.get(mount, name.as_str());
        if held.is_some_and(|held| held.revision == revision) {
            self.set((mount.clone(), name.clone()), Held { entry: Entry::Deleted, revision });
        }
    }

    /// Holds what a commit changed.
    pub(super) fn follow(&mut self, commit: &Commit) {
        for write in &commit.writes {
            let found = match write {
                Write::Put(key, value) => {
                    let (key, value) = (key.clone(), value.clone());
                    KeyInStore::read(&Record { key, value, revision: commit.revision })
                }
                Write::Delete(key) => KeyInStore::deleted(key, commit.revision),
            };
            found.into_iter().for_each(|found| self.take(found));
        }
        self.settle(commit.revision);
        self.followed = self.followed.max(Some(commit.revision));
    }

    /// Forgets what was deleted until `revision`, of which nothing older will be heard any more.
    fn settle(&mut self, revision: Revision) {
        while self.deleted.first().is_some_and(|(at, _)| *at <= revision)
            && let Some((at, (mount, name))) = self.deleted.pop_first()
        {
            let keys = self.keys.get_mut(&mount);
            let is_same = |held: &Held| matches!(held.entry, Entry::Deleted) && held.revision == at;
            if let Some(keys) = keys.filter(|keys| keys.get(&name).is_some_and(is_same)) {
                keys.remove(&name);
            }
        }
    }

    fn set(&mut self, place: Place, held: Held) {
        if matches!(held.entry, Entry::Deleted) {
            self.deleted.insert((held.revision, place.clone()));
        }
        if held.entry.key().is_some_and(|key| !key.left_out().is_empty()) {
            self.lacking.insert(place.clone());
        } else {
            self.lacking.remove(&place);
        }
        let (mount, name) = place;
        self.keys.entry(mount).or_default().insert(name, held);
    }

    /// Holds all that a listing as of `revision` found. What it did not find is gone, unless it is
    /// newer.
    pub(super) fn replace(&mut self, found: Vec<KeyInStore>, revision: Revision) {
        let place = |one: &KeyInStore| (one.mount.clone(), one.name.clone());
        let there: BTreeSet<_> = found.iter().map(place).collect();
        found.into_iter().for_each(|one| self.take_listed(one, revision));
        let Self { keys, lacking, .. } = self;
        for (mount, keys) in keys {
            keys.retain(|name, held| {
                let place = (mount.clone(), name.clone());
                let stays = held.revision > revision || there.contains(&place);
                if !stays {
                    lacking.remove(&place);
                }
                stays
            });
        }
        self.followed = self.followed.max(Some(revision));
    }
}

/// Which key a record is of. The store also tells of records that are none.
fn place(key: &RecordKey) -> Option<Place> {
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

#[cfg(test)]
mod tests;
