//! A store whose records are sealed in place (invariant I5): contents go in and come out, and what
//! others forged, put back or dropped is an error.

mod sealing;
mod watching;

use std::fmt;
use std::sync::{Arc, OnceLock};

use selkie_crypto::{RandomError, SEALED_OVERHEAD_BYTES, StateKey};
use selkie_storage::{
    Guard, Limits, Listing, Page, Record, RecordKey, RecordValue, Revision, Store, StoreError,
    StoreFuture, Watch, Write,
};
use tokio::sync::watch;

pub(super) use self::sealing::seal_root;
use self::watching::SealedWatch;
use super::Root;
use super::layout::is_reserved;
use super::listing::in_time;
use super::opening::{OpenError, TAMPERED_ADVICE};

/// Where the root stands.
pub(super) const ROOT: &str = "root";
/// How many other replicas may be first before a commit gives up.
const ATTEMPTS: u32 = 64;
/// More than the reserved records that may stand among others, local keys by the dozen aside.
const ROOM_FOR_RESERVED: usize = 8;

/// Randomness for salts and nonces.
pub type SharedRandom = Arc<dyn Fn(&mut [u8]) -> Result<(), RandomError> + Send + Sync>;

/// A [`Store`] of contents over a raw store of sealed records.
///
/// Each commit replaces the root in the same raw commit, guarded by the root's revision: so all
/// commits of all replicas stand in one line, and whatever is not in that line was done by others.
pub struct SealedStore(Arc<Sealed>);

/// A root, and the raw commit that put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What all records add up to.
    pub root: Root,
    /// When it was put.
    pub revision: Revision,
}

/// What a record shows about the store it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not open: forged, damaged, or moved from another place or store.
    #[error("the record was not sealed for this place, or was changed since")]
    Refused,
    /// It was put, dropped or put back by a commit that is not one of ours.
    #[error("the record was put back or dropped by something other than Selkie")]
    PutBack,
    /// It must be there, and is not.
    #[error("the record is missing")]
    Missing,
}

#[derive(Debug, thiserror::Error)]
#[error("other replicas were first {ATTEMPTS} times")]
struct Contended;

struct Sealed {
    raw: Arc<dyn Store>,
    key: Arc<StateKey>,
    random: SharedRandom,
    root: RecordKey,
    /// One commit at a time: two of one process would only fail each other's guard.
    turn: tokio::sync::Mutex<()>,
    /// The newest root that this process has seen.
    seen: watch::Sender<Seen>,
    /// Where others were found at work; nothing is written on top of that.
    damage: OnceLock<(RecordKey, Damage)>,
}

/// The error that says what is wrong with the record `key`.
pub(super) fn corrupt(key: &RecordKey, damage: Damage) -> StoreError {
    StoreError::Corrupt { key: Some(key.clone()), source: Box::new(damage) }
}

impl SealedStore {
    /// The store in `raw`, whose newest root is `seen`: read, opened and verified by the caller.
    ///
    /// # Errors
    ///
    /// None in practice: the place of the root is a constant.
    pub fn new(
        raw: Arc<dyn Store>,
        key: Arc<StateKey>,
        random: SharedRandom,
        seen: Seen,
    ) -> Result<Self, StoreError> {
        let root = super::opening::place(ROOT)?;
        let (turn, seen) = (tokio::sync::Mutex::default(), watch::Sender::new(seen));
        Ok(Self(Arc::new(Sealed { raw, key, random, root, turn, seen, damage: OnceLock::new() })))
    }

    /// The newest root that this process has seen.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.0.seen()
    }

    /// Tells of each root that this process sees.
    #[must_use]
    pub fn follow_root(&self) -> watch::Receiver<Seen> {
        self.0.seen.subscribe()
    }

    /// Where others were found at work while this store was open; it takes no more commits then.
    #[must_use]
    pub fn damage(&self) -> Option<&(RecordKey, Damage)> {
        self.0.damage.get()
    }
}

impl Store for SealedStore {
    fn limits(&self) -> Limits {
        let raw = self.0.raw.limits();
        let records = raw.records.saturating_sub(1);
        let root_bytes = ROOT.len() + Root::EMPTY.encode().len() + SEALED_OVERHEAD_BYTES;
        let overhead = records * SEALED_OVERHEAD_BYTES + root_bytes;
        Limits {
            records,
            bytes: raw.bytes.saturating_sub(overhead),
            value_bytes: raw.value_bytes.saturating_sub(SEALED_OVERHEAD_BYTES),
        }
    }

    fn answers_from_memory(&self) -> bool {
        self.0.raw.answers_from_memory()
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            if is_reserved(key) {
                return Ok(None);
            }
            Ok(self.0.read(key).await?.map(|found| found.opened))
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(self.0.list(page))
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            self.limits().check(guards, writes)?;
            self.0.commit(guards, writes).await
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(async move {
            self.0.require_sound()?;
            self.0.require_whole().await?;
            let raw = in_time(self.0.raw.watch(from)).await?;
            let watch = SealedWatch::new(Arc::clone(&self.0), raw, from).await?;
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }
}

impl Sealed {
    fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Takes note of a root that is certain to be one of ours.
    fn saw(&self, newer: Seen) {
        self.seen.send_if_modified(|seen| {
            let is_newer =
                (newer.root.sequence, newer.revision) > (seen.root.sequence, seen.revision);
            if is_newer {
                *seen = newer;
            }
            is_newer
        });
    }

    fn require_sound(&self) -> Result<(), StoreError> {
        match self.damage.get() {
            Some((key, damage)) => Err(corrupt(key, *damage)),
            None => Ok(()),
        }
    }

    /// Verifies all records: what others did while nobody watched shows in no later commit.
    async fn require_whole(&self) -> Result<(), StoreError> {
        let damage_in = |error: &StoreError| match error {
            StoreError::Corrupt { key: Some(key), source } => {
                source.downcast_ref().map(|damage: &Damage| (key.clone(), *damage))
            }
            _ => None,
        };
        match super::opening::verify(&*self.raw, &self.key).await {
            Ok(_) => Ok(()),
            Err(OpenError::Store(error)) => Err(match damage_in(&error) {
                Some((key, damage)) => self.damaged(&key, damage),
                None => error,
            }),
            Err(OpenError::Sum) => Err(self.damaged(&self.root, Damage::PutBack)),
            Err(busy) => Err(StoreError::Unavailable { source: Box::new(busy) }),
        }
    }

    /// The error of damage that speaks of the whole store, which nothing is written to any more.
    fn damaged(&self, key: &RecordKey, damage: Damage) -> StoreError {
        if self.damage.set((key.clone(), damage)).is_ok() {
            tracing::error!(
                record = %key,
                reason = %damage,
                advice = TAMPERED_ADVICE,
                "the storage was tampered with: managed keys can no longer be changed"
            );
        }
        corrupt(key, damage)
    }

    /// The root as it stands, which never goes back.
    async fn current(&self) -> Result<Seen, StoreError> {
        // What is seen while the root is on its way may be newer than it.
        let before = self.seen();
        let record = in_time(self.raw.get(&self.root)).await?;
        let record = record.ok_or_else(|| self.damaged(&self.root, Damage::Missing))?;
        let root = open_root(&self.key, &record.value);
        let root = root.ok_or_else(|| self.damaged(&self.root, Damage::Refused))?;
        let is_later = root.sequence > before.root.sequence || root == before.root;
        if !is_later || record.revision < before.revision {
            return Err(self.damaged(&self.root, Damage::PutBack));
        }
        let current = Seen { root, revision: record.revision };
        self.saw(current);
        Ok(current)
    }

    /// One page; none once the store is known to be tampered with. A record that was dropped does not
    /// show in a listing, and whoever holds what is listed would let go of what it held.
    async fn list(&self, page: &Page) -> Result<Listing, StoreError> {
        self.require_sound()?;
        let limit = page.limit.saturating_add(ROOM_FOR_RESERVED);
        let raw = match self.raw.list(&Page { limit, ..page.clone() }).await {
            // It may be one behind this page that cannot be read.
            Err(StoreError::Corrupt { .. }) => self.raw.list(page).await?,
            listed => listed?,
        };
        let Listing { records, revision, mut next } = raw;
        let mut records: Vec<_> =
            records.into_iter().filter(|record| !is_reserved(&record.key)).collect();
        if records.len() > page.limit.get() {
            records.truncate(page.limit.get());
            let after = records.last().map(|record| record.key.clone());
            next = Some(Page { after, ..page.clone() });
        } else if let Some(next) = &mut next {
            next.limit = page.limit;
        }
        if let Some(newest) = records.iter().max_by_key(|record| record.revision) {
            self.require_ours(newest).await?;
        }
        let mut opened: Vec<Record> = Vec::with_capacity(records.len());
        for record in records {
            match (self.open(record), opened.last()) {
                (Ok(record), _) => opened.push(record),
                (Err(error), None) => return Err(error),
                // The next page begins with it, so that whoever lists knows that it hides no other.
                (Err(_), Some(last)) => {
                    next = Some(Page { after: Some(last.key.clone()), ..page.clone() });
                    break;
                }
            }
        }
        Ok(Listing { records: opened, revision, next })
    }

    /// Refuses a record that was put after the newest root: each of our commits puts both.
    async fn require_ours(&self, record: &Record) -> Result<(), StoreError> {
        let is_ours = record.revision <= self.seen().revision
            || record.revision <= self.current().await?.revision;
        if is_ours { Ok(()) } else { Err(self.damaged(&record.key, Damage::PutBack)) }
    }

    fn open(&self, record: Record) -> Result<Record, StoreError> {
        let (value, _sequence) = open_value(&self.key, &record.key, &record.value)?;
        Ok(Record { value, ..record })
    }
}

/// The content of a record, and the commit that it says it belongs to.
pub(super) fn open_value(
    key: &StateKey,
    place: &RecordKey,
    sealed: &RecordValue,
) -> Result<(RecordValue, u64), StoreError> {
    let refused = || corrupt(place, Damage::Refused);
    let opened = key.open_record(place.as_str(), sealed.as_bytes());
    let opened = opened.map_err(|_refused| refused())?;
    let content = RecordValue::new(opened.content).map_err(|_large| refused())?;
    Ok((content, opened.sequence))
}

/// The root in a record; `None` if it is none of ours.
pub(super) fn open_root(key: &StateKey, sealed: &RecordValue) -> Option<Root> {
    let opened = key.open_record(ROOT, sealed.as_bytes()).ok()?;
    Root::decode(&opened.content).filter(|root| root.sequence == opened.sequence)
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedStore").finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
