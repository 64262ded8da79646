//! The typed records of the state that are no transit keys: tokens, policies, what logs clients in.
//! They are written in the store first and then held in memory, where requests read them without
//! it; what other replicas commit is heard of by the watch.

mod encoding;
mod heard;
mod looks;
mod mirror;

use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use selkie_storage::{Guard, Page, Revision, Store, StoreError, Write};
use tokio::time::timeout;

pub(crate) use self::encoding::{to_json, to_record};
use self::heard::Heard;
use self::looks::CatchUps;
pub(crate) use self::looks::soon;
pub(crate) use self::mirror::Mirrors;
pub use self::mirror::{Current, Index, Kept, Mirror, TooLarge, Unreadable};
use super::listing::{STORE_PATIENCE, list};
use crate::clock::Clock;

/// Why records could not be changed; then none of them was, [`StoreError::Undecided`] aside.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// There is no storage.
    #[error("there is no storage")]
    NoStorage,
    /// The storage is configured and not open yet.
    #[error("the state is sealed")]
    StateSealed,
    /// A record is not as the change was made for: look again and make it anew.
    #[error("a record was changed by somebody else")]
    Conflict,
    /// A record is larger than the store takes, or its name is.
    #[error("a record is too large for the store")]
    TooLarge,
    /// Nobody has asked the store for the record: strangers at this place have asked too often.
    #[error("the record was not looked up: too many unknown ones are asked for from this network")]
    NotLookedUp,
    /// A record that is needed cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<TooLarge> for RecordsError {
    fn from(TooLarge: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// Changes that are made together or not at all. At most
/// [`selkie_storage::Limits::records`] of the store fit into one.
#[derive(Debug, Default)]
pub struct Batch {
    guards: Vec<Guard>,
    writes: Vec<Write>,
}

impl Batch {
    /// Writes `value`, provided that the record is as it was `at`; `None`: is not there.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn put<T: Kept>(
        &mut self,
        name: &T::Name,
        value: &T,
        at: Option<Revision>,
    ) -> Result<(), TooLarge> {
        let place = Mirror::<T>::place(name).ok_or(TooLarge)?;
        self.guards.push(match at {
            Some(at) => Guard::At(place.clone(), at),
            None => Guard::Absent(place.clone()),
        });
        self.writes.push(Write::Put(place, value.encode()?));
        Ok(())
    }

    /// Deletes the record, provided that it is as it was `at`.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn delete<T: Kept>(&mut self, name: &T::Name, at: Revision) -> Result<(), TooLarge> {
        let place = Mirror::<T>::place(name).ok_or(TooLarge)?;
        self.guards.push(Guard::At(place.clone(), at));
        self.writes.push(Write::Delete(place));
        Ok(())
    }

    /// Makes the batch depend on a record that it does not change.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn require<T: Kept>(&mut self, name: &T::Name, at: Revision) -> Result<(), TooLarge> {
        self.guards.push(Guard::At(Mirror::<T>::place(name).ok_or(TooLarge)?, at));
        Ok(())
    }

    /// Makes the batch depend on that there is no record of this name.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn require_absent<T: Kept>(&mut self, name: &T::Name) -> Result<(), TooLarge> {
        self.guards.push(Guard::Absent(Mirror::<T>::place(name).ok_or(TooLarge)?));
        Ok(())
    }

    /// On how many records it depends, those that it changes among them.
    #[must_use]
    pub fn guard_count(&self) -> usize {
        self.guards.len()
    }

    /// How many records it changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// The store of all records, and the mirrors that follow it.
pub struct Records {
    expects_store: bool,
    store: RwLock<Option<Arc<dyn Store>>>,
    mirrors: Vec<Arc<dyn Mirrors>>,
    heard: Heard,
    catch_ups: CatchUps,
}

impl Records {
    /// No record can be made where no store is configured: `expects_store` says whether one is.
    pub(crate) fn new(
        expects_store: bool,
        mirrors: Vec<Arc<dyn Mirrors>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (store, heard) = (RwLock::default(), Heard::new(clock));
        let catch_ups = CatchUps::of(&mirrors);
        Self { expects_store, store, mirrors, heard, catch_ups }
    }

    /// Loads all records of `store`, and from now on keeps changes in it. After an error the caller
    /// may try again.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn attach(&self, store: Arc<dyn Store>) -> Result<(), StoreError> {
        self.reload(&*store).await?;
        // Opened by a second attempt, it is the same store; but what is found in it, damage among it,
        // is known to the one alone that all others use from now on.
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
        Ok(())
    }

    /// Whether a store is configured, be it open or not.
    #[must_use]
    pub const fn has_store(&self) -> bool {
        self.expects_store
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// [`RecordsError::NoStorage`], [`RecordsError::StateSealed`].
    pub fn store(&self) -> Result<Arc<dyn Store>, RecordsError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        store.ok_or(match self.expects_store {
            true => RecordsError::StateSealed,
            false => RecordsError::NoStorage,
        })
    }

    /// Makes all changes of `batch`; the mirrors show them when it returns. On a conflict they show
    /// what is there instead, so that the caller can look again.
    ///
    /// # Errors
    ///
    /// [`RecordsError`].
    pub async fn commit(&self, batch: &Batch) -> Result<(), RecordsError> {
        let store = self.store()?;
        let sent = timeout(STORE_PATIENCE, store.commit(&batch.guards, &batch.writes)).await;
        let late = |elapsed| Err(StoreError::Undecided { source: Box::new(elapsed) });
        match sent.unwrap_or_else(late) {
            Ok(revision) => {
                self.mirrors.iter().for_each(|mirror| mirror.take(revision, &batch.writes));
                if !batch.is_empty() {
                    self.heard.note_known(revision);
                }
                Ok(())
            }
            Err(StoreError::GuardFailed { .. }) => {
                self.look(&*store, &batch.guards).await.map_err(RecordsError::Store)?;
                Err(RecordsError::Conflict)
            }
            Err(StoreError::TooLarge) => Err(RecordsError::TooLarge),
            Err(error @ StoreError::Undecided { .. }) => {
                // Best effort: the watch tells of it in any case.
                let _looked = self.look(&*store, &batch.guards).await;
                Err(RecordsError::Store(error))
            }
            Err(error) => Err(RecordsError::Store(error)),
        }
    }

    /// Holds all that is in `store`; after an error, what it held before.
    pub(crate) async fn reload(&self, store: &dyn Store) -> Result<(), StoreError> {
        let began = self.heard.now();
        // What is judged by others is read before them, and held after them.
        let mut mirrors: Vec<_> = self.mirrors.iter().collect();
        mirrors.sort_by_key(|mirror| Reverse(self.judges_above(&***mirror)));
        let mut read = Vec::new();
        for mirror in mirrors {
            if let Ok(root) = mirror.root().parse() {
                read.push((mirror, list(store, Page::under_in_bulk(root)).await?));
            }
        }
        read.iter().rev().for_each(|(mirror, listed)| mirror.replace(listed));
        // The first: of what came during the listings, the watch tells.
        read.first().into_iter().for_each(|(_, listed)| self.heard.told(listed.revision));
        self.heard.note(began);
        Ok(())
    }

    /// How many kinds stand above the one in `mirror`, each of which judges the one before.
    fn judges_above(&self, mirror: &dyn Mirrors) -> usize {
        let judges = self.mirrors.iter().filter(|one| mirror.judged_by().contains(&one.root()));
        judges.map(|judge| self.judges_above(&**judge).saturating_add(1)).max().unwrap_or(0)
    }

    /// Holds what a commit changed, of which the watch tells in its turn.
    pub(crate) fn follow(&self, revision: Revision, writes: &[Write]) {
        for mirror in &self.mirrors {
            mirror.take(revision, writes);
            mirror.settle(revision);
        }
        self.heard.told(revision);
        if !self.is_watch_overdue() {
            self.heard.note(self.heard.now());
        }
    }

    /// Whether the watch has not told for long of what is known to be in the store.
    pub(crate) fn is_watch_overdue(&self) -> bool {
        self.heard.is_overdue()
    }

    /// For how many seconds nothing has been heard of what others commit, whatever our own commits
    /// were answered.
    pub(crate) fn silence(&self) -> u64 {
        self.heard.silence()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod late;
#[cfg(test)]
mod tests;
