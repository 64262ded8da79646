//! All records of one kind in memory, as of one revision, with indexes over them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use selkie_storage::{Guard, Record, RecordKey, RecordValue, Revision, Write};

use crate::look_budget::LookBudget;
use crate::state::listing::Listed;

/// A kind of record: how it is named, placed and written.
pub trait Kept: Sized + Send + Sync + 'static {
    /// The first segment of the places of this kind, which no other kind has.
    const ROOT: &'static str;
    /// Tells one record from the others of its kind.
    type Name: Clone + Eq + Hash + Send + Sync + fmt::Debug;
    /// What is found by something else than the name; `()` if nothing is.
    type Index: Index<Self>;
    /// The kinds of records without which one of this kind says too much or too little: whoever reads
    /// one from the store must not know an older state of those.
    const JUDGED_BY: &'static [&'static str] = &[];

    /// What stands behind `ROOT/` in place of the record `name`.
    fn place(name: &Self::Name) -> String;

    /// The inverse of [`Kept::place`]; `None` for what is no place of this kind.
    fn name(place: &str) -> Option<Self::Name>;

    /// The record's content, usually JSON with a format number.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    fn encode(&self) -> Result<RecordValue, TooLarge>;

    /// The inverse of [`Kept::encode`]; `None` for what was not written by it: an error of this
    /// record alone, in whose place nothing is made anew.
    fn decode(name: &Self::Name, value: &RecordValue) -> Option<Self>;
}

/// Follows which records there are, for looks by something else than their name.
pub trait Index<T: Kept>: Default + Send + Sync {
    /// The record `name` was `old` and is `new`; `None` is no record.
    fn note(&mut self, name: &T::Name, old: Option<&T>, new: Option<&T>);
}

impl<T: Kept> Index<T> for () {
    fn note(&mut self, _name: &T::Name, _old: Option<&T>, _new: Option<&T>) {}
}

/// A record does not fit into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is too large")]
pub struct TooLarge;

/// There is a record, and nobody can read it. It never counts as a missing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be read")]
pub struct Unreadable;

/// A record, as of the commit that made it so.
#[derive(Debug)]
pub struct Current<T> {
    /// What it says.
    pub value: Arc<T>,
    /// As of when; what a change of it guards itself with.
    pub revision: Revision,
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), revision: self.revision }
    }
}

/// All records of one kind, in memory as they are in the store.
pub struct Mirror<T: Kept> {
    held: RwLock<Held<T>>,
    /// Those for records of this kind that are not held.
    looks: LookBudget,
}

struct Held<T: Kept> {
    entries: HashMap<T::Name, (Entry<T>, Revision)>,
    index: T::Index,
    /// Names of deleted records that are still held.
    deleted: HashSet<T::Name>,
    /// Until when all commits have been told of, by the watch or a listing.
    followed: Option<Revision>,
}

enum Entry<T> {
    Value(Arc<T>),
    Unreadable,
    /// Gone; kept until the watch has come so far, which may still tell of the record.
    Deleted,
}

impl<T> Entry<T> {
    fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unreadable | Self::Deleted => None,
        }
    }

    const fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted)
    }
}

impl<T: Kept> Default for Mirror<T> {
    fn default() -> Self {
        Self::indexed_by(T::Index::default())
    }
}

impl<T: Kept> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("root", &T::ROOT).finish_non_exhaustive()
    }
}

impl<T: Kept> Mirror<T> {
    /// One with an index that is not the default.
    pub(crate) fn indexed_by(index: T::Index) -> Self {
        let (entries, deleted) = (HashMap::new(), HashSet::new());
        let held = RwLock::new(Held { entries, index, deleted, followed: None });
        Self { held, looks: LookBudget::default() }
    }

    /// The record `name`.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub fn get(&self, name: &T::Name) -> Result<Option<Current<T>>, Unreadable> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        match held.entries.get(name) {
            Some((Entry::Value(value), revision)) => {
                Ok(Some(Current { value: Arc::clone(value), revision: *revision }))
            }
            Some((Entry::Unreadable, _)) => Err(Unreadable),
            Some((Entry::Deleted, _)) | None => Ok(None),
        }
    }

    /// Takes one look of those that `who` has in `second`, apart from looks for other kinds; whether
    /// there was one left.
    pub(super) fn spend_look(&self, who: impl Hash, second: u64) -> bool {
        self.looks.spend(who, second)
    }

    /// The names of all records, those included that cannot be read.
    #[must_use]
    pub fn names(&self) -> Vec<T::Name> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let there = held.entries.iter().filter(|(_, (entry, _))| !entry.is_deleted());
        there.map(|(name, _)| name.clone()).collect()
    }

    /// What `look` finds in the index.
    pub fn find<R>(&self, look: impl FnOnce(&T::Index) -> R) -> R {
        look(&self.held.read().unwrap_or_else(PoisonError::into_inner).index)
    }

    /// Calls `visit` with every record that can be read. Keep it short: changes wait for it.
    pub fn for_each(&self, mut visit: impl FnMut(&T::Name, &Arc<T>)) {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        for (name, (entry, _)) in &held.entries {
            if let Entry::Value(value) = entry {
                visit(name, value);
            }
        }
    }

    /// Where the record `name` stands; `None` if the name is too long for the store.
    #[must_use]
    pub fn place(name: &T::Name) -> Option<RecordKey> {
        [T::ROOT, "/", &T::place(name)].concat().parse().ok()
    }

    fn name_at(place: &RecordKey) -> Option<T::Name> {
        T::name(place.as_str().strip_prefix(T::ROOT)?.strip_prefix('/')?)
    }
}

impl<T: Kept> Held<T> {
    /// Whether it was told already what became of the record `name` after `revision`: there is none now,
    /// so it was deleted since. Answers may come that late, to a read or a listing as to a commit of our
    /// own, and a watch that began before a listing tells of what is in it once more.
    fn is_past(&self, name: &T::Name, revision: Revision) -> bool {
        let is_there = self.entries.get(name).is_some_and(|(entry, _)| !entry.is_deleted());
        !is_there && Some(revision) <= self.followed
    }

    /// Whether the record `name` of `revision` is newer than what is known of it, or mends it.
    fn lacks(&self, name: &T::Name, revision: Revision) -> bool {
        let is_newer = self.entries.get(name).is_none_or(|(was, as_of)| {
            let mends = matches!(was, Entry::Unreadable) && revision == *as_of;
            revision > *as_of || mends
        });
        is_newer && !self.is_past(name, revision)
    }

    /// Holds what stands at `place`.
    fn read(
        &mut self,
        name: T::Name,
        (place, value): (&RecordKey, &RecordValue),
        revision: Revision,
    ) {
        match T::decode(&name, value) {
            Some(value) => self.set(name, Entry::Value(Arc::new(value)), revision),
            None => self.set_unreadable(name, place, revision),
        }
    }

    /// Holds that the store cannot read the record, as a listing of `revision` found. As of when the
    /// record is, it cannot say; so whatever reads the record as it was held, or newer, mends it.
    fn spoil(&mut self, name: T::Name, place: &RecordKey, revision: Revision) {
        let as_of = self.entries.get(&name).map_or(Revision::ORIGIN, |(_, as_of)| *as_of);
        if as_of <= revision && !self.is_past(&name, revision) {
            self.set_unreadable(name, place, as_of);
        }
    }

    /// Once for each damage: strangers may cause listings, each of which finds it again.
    fn set_unreadable(&mut self, name: T::Name, place: &RecordKey, as_of: Revision) {
        let held = self.entries.get(&name);
        if !held.is_some_and(|(was, at)| matches!(was, Entry::Unreadable) && *at == as_of) {
            tell_unreadable(place);
            self.set(name, Entry::Unreadable, as_of);
        }
    }

    fn set(&mut self, name: T::Name, entry: Entry<T>, revision: Revision) {
        match entry {
            Entry::Deleted => self.deleted.insert(name.clone()),
            Entry::Value(_) | Entry::Unreadable => self.deleted.remove(&name),
        };
        let old = self.entries.remove(&name);
        let old = old.as_ref().and_then(|(entry, _)| entry.value());
        self.index.note(&name, old, entry.value());
        self.entries.insert(name, (entry, revision));
    }

    fn drop_entry(&mut self, name: &T::Name) {
        if let Some((entry, _)) = self.entries.remove(name) {
            self.index.note(name, entry.value(), None);
        }
        self.deleted.remove(name);
    }

    fn forget(&mut self, is_gone: impl Fn(&T::Name, Revision) -> bool) {
        let Self { entries, index, deleted, .. } = self;
        entries.retain(|name, (entry, revision)| {
            let goes = is_gone(name, *revision);
            if goes {
                index.note(name, entry.value(), None);
                deleted.remove(name);
            }
            !goes
        });
    }
}

/// What keeps a mirror as the store is, whatever its kind.
pub(crate) trait Mirrors: Send + Sync {
    /// Below which its records are.
    fn root(&self) -> &'static str;
    /// As [`Kept::JUDGED_BY`].
    fn judged_by(&self) -> &'static [&'static str];
    /// Holds all that a listing found. What it did not find is gone, unless it is newer.
    fn replace(&self, listed: &Listed);
    /// Holds what a commit changed.
    fn take(&self, revision: Revision, writes: &[Write]);
    /// Forgets what was deleted until `revision`, of which nothing older will be heard any more.
    fn settle(&self, revision: Revision);
    /// Holds the record at `guard` as it was read from the store just now.
    fn look(&self, guard: &Guard, found: Option<&Record>);
    /// Until when it has been told of all commits.
    fn followed(&self) -> Option<Revision>;
}

impl<T: Kept> Mirrors for Mirror<T> {
    fn root(&self) -> &'static str {
        T::ROOT
    }

    fn judged_by(&self) -> &'static [&'static str] {
        T::JUDGED_BY
    }

    fn followed(&self) -> Option<Revision> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).followed
    }

    fn replace(&self, listed: &Listed) {
        let mut there = HashSet::new();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for record in &listed.records {
            let Some(name) = Self::name_at(&record.key) else { continue };
            there.insert(name.clone());
            // Most are as they were, and everybody waits meanwhile.
            if held.lacks(&name, record.revision) {
                held.read(name, (&record.key, &record.value), record.revision);
            }
        }
        for place in &listed.unreadable {
            let Some(name) = Self::name_at(place) else { continue };
            there.insert(name.clone());
            held.spoil(name, place, listed.revision);
        }
        held.forget(|name, revision| revision <= listed.revision && !there.contains(name));
        held.followed = held.followed.max(Some(listed.revision));
    }

    fn take(&self, revision: Revision, writes: &[Write]) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            let Some(name) = Self::name_at(write.key()) else { continue };
            if !held.lacks(&name, revision) {
                continue;
            }
            match write {
                Write::Put(place, value) => held.read(name, (place, value), revision),
                Write::Delete(_) => held.set(name, Entry::Deleted, revision),
            }
        }
    }

    fn settle(&self, revision: Revision) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        // Those alone are looked at: there may be a million others.
        let is_settled =
            |name: &&T::Name| held.entries.get(*name).is_none_or(|(_, as_of)| *as_of <= revision);
        let settled: Vec<_> = held.deleted.iter().filter(is_settled).cloned().collect();
        settled.iter().for_each(|name| held.drop_entry(name));
        held.followed = held.followed.max(Some(revision));
    }

    fn look(&self, guard: &Guard, found: Option<&Record>) {
        let Some(name) = Self::name_at(guard.key()) else { return };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(record) if held.lacks(&name, record.revision) => {
                held.read(name, (&record.key, &record.value), record.revision);
            }
            Some(_) => {}
            None => {
                let held_at = held.entries.get(&name).map(|(_, revision)| *revision);
                if let (Guard::At(_, at), Some(held_at)) = (guard, held_at)
                    && held_at <= *at
                {
                    held.drop_entry(&name);
                }
            }
        }
    }
}

fn tell_unreadable(place: &RecordKey) {
    tracing::error!(
        record = %place,
        advice = "restore the store; nothing is made anew in the record's place",
        "a record cannot be read: what needs it fails"
    );
}
