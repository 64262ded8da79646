//! The managed keys as this replica holds them, and how they and the store stay one.

mod absences;
mod advance;
mod commit;
mod follow;
mod held;
mod target;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use selkie_access::{KeyName, MountPath};
use selkie_listener::LogBudget;
use selkie_storage::{Page, Revision, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::absences::{LeftOut, Lost as LostVersions};
pub(super) use self::commit::Change;
use self::held::{Entry, Held, Holding, KeyInStore};
#[cfg(test)]
pub(crate) use self::target::RETURN_AFTER;
pub(super) use self::target::Target;
use super::{TransitError, TransitKey};
use crate::look_budget::LookBudget;
use crate::state::listing::{Listed, list};
use crate::state::under_mounts;

/// The managed keys: those made through the API, kept in the store, held here to be read without
/// it. Several replicas may share a store; each follows what the others commit.
pub struct ManagedKeys {
    expects_store: bool,
    store: OnceLock<Arc<dyn Store>>,
    /// Wakes whoever waits for the store.
    attached: Notify,
    /// Wakes whoever compares the keys with the seals.
    comparison_due: Notify,
    /// `None` while it is followed.
    lost: Mutex<Option<Lost>>,
    held: RwLock<Holding>,
    /// One change at a time, so that no two of one replica conflict. Those of others may.
    changes: tokio::sync::Mutex<()>,
    /// One change of the deployment that the keys follow at a time. Never wait for
    /// [`ManagedKeys::hold_changes`] while it is held: what is learned of a master key waits for no store.
    deployments: tokio::sync::Mutex<()>,
    /// Held by whoever has the keys follow their seals.
    following: tokio::sync::Mutex<()>,
    /// The list of seals may have changed since the keys last followed it.
    seals_due: AtomicBool,
    /// How often the store is asked about keys that are not held.
    pub(super) looks: LookBudget,
    /// Lines a minute about ciphertexts of versions newer than their key's latest.
    pub(super) told_newer: LogBudget,
}

/// A store that is not followed.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// Since when.
    pub(crate) since: Instant,
    /// Whether it answered all the same when it was last asked.
    pub(crate) is_up: bool,
    /// What to do, if it does not pass by itself.
    pub(crate) advice: Option<String>,
}

impl fmt::Debug for ManagedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedKeys").finish_non_exhaustive()
    }
}

impl ManagedKeys {
    fn new(expects_store: bool) -> Self {
        Self {
            expects_store,
            store: OnceLock::new(),
            attached: Notify::new(),
            comparison_due: Notify::new(),
            lost: Mutex::default(),
            held: RwLock::default(),
            changes: tokio::sync::Mutex::default(),
            deployments: tokio::sync::Mutex::default(),
            following: tokio::sync::Mutex::default(),
            seals_due: AtomicBool::new(true),
            looks: LookBudget::default(),
            told_newer: LogBudget::new(1),
        }
    }

    /// No managed keys, and none can be made.
    #[must_use]
    pub fn without_store() -> Self {
        Self::new(false)
    }

    /// A store is configured and not open yet: which managed keys there are is not known, so that
    /// operations on names which are not declared fail with [`TransitError::StateSealed`].
    #[must_use]
    pub fn awaiting_store() -> Self {
        Self::new(true)
    }

    /// All keys in `store`: [`ManagedKeys::awaiting_store`] and [`ManagedKeys::attach`].
    ///
    /// # Errors
    ///
    /// [`TransitError::Store`].
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, TransitError> {
        let keys = Self::awaiting_store();
        keys.attach(store).await?;
        Ok(keys)
    }

    /// Loads all keys of `store`, and from now on keeps changes in it. After an error nothing has
    /// changed, and the caller may try again.
    ///
    /// A record that cannot be read does not keep the others from being served: operations on its
    /// key fail with [`TransitError::RecordUnreadable`], for it is never a missing key.
    ///
    /// # Errors
    ///
    /// [`TransitError::Store`]; [`TransitError::StoreAttached`] if there is one already.
    pub async fn attach(&self, store: Arc<dyn Store>) -> Result<(), TransitError> {
        let _no_other_change = self.hold_changes().await;
        if self.store.get().is_some() {
            return Err(TransitError::StoreAttached);
        }
        self.reload(&*store).await?;
        self.store.set(store).map_err(|_second| TransitError::StoreAttached)?;
        self.attached.notify_waiters();
        Ok(())
    }

    /// Whether a store is configured, be it open or not.
    #[must_use]
    pub const fn has_store(&self) -> bool {
        self.expects_store
    }

    /// Whether the store is configured and not open yet.
    #[must_use]
    pub fn is_awaiting_store(&self) -> bool {
        self.expects_store && self.store.get().is_none()
    }

    /// The managed key of this name, whether or not a declared one hides it; `None` also where
    /// nobody can tell.
    #[must_use]
    pub fn managed(&self, mount: &MountPath, name: &str) -> Option<Arc<TransitKey>> {
        self.find(mount, name).ok().flatten()
    }

    /// The managed key of this name.
    pub(super) fn find(
        &self,
        mount: &MountPath,
        name: &str,
    ) -> Result<Option<Arc<TransitKey>>, TransitError> {
        Ok(self.find_held(mount, name)?.map(|(key, _)| key))
    }

    fn find_held(
        &self,
        mount: &MountPath,
        name: &str,
    ) -> Result<Option<(Arc<TransitKey>, Revision)>, TransitError> {
        if self.is_awaiting_store() {
            return Err(TransitError::StateSealed);
        }
        match self.holding().get(mount, name) {
            None | Some(Held { entry: Entry::Deleted, .. }) => Ok(None),
            Some(Held { entry: Entry::Unreadable, .. }) => Err(TransitError::RecordUnreadable),
            Some(Held { entry: Entry::Key(key), revision }) => {
                Ok(Some((Arc::clone(key), *revision)))
            }
        }
    }

    /// The names of all managed keys of a mount, those included that cannot be read.
    pub(super) fn names(&self, mount: &MountPath) -> Result<Vec<KeyName>, TransitError> {
        if self.is_awaiting_store() {
            Err(TransitError::StateSealed)
        } else {
            Ok(self.holding().names(mount))
        }
    }

    /// Whether it costs nobody anything to ask the store.
    pub(super) fn may_ask_at_will(&self) -> bool {
        self.store.get().is_some_and(|store| store.answers_from_memory())
    }

    pub(super) fn store(&self) -> Result<&Arc<dyn Store>, TransitError> {
        self.store.get().ok_or(match self.expects_store {
            true => TransitError::StateSealed,
            false => TransitError::NoStorage,
        })
    }

    /// Waits for changes under way, and keeps further ones waiting while the guard lives.
    pub async fn hold_changes(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changes.lock().await
    }

    /// Waits until nobody changes the deployment, and keeps others from that while the guard lives.
    pub(crate) async fn hold_deployment(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.deployments.lock().await
    }

    /// Holds all that is in `store`, and answers from where to watch it.
    async fn reload(&self, store: &dyn Store) -> Result<Revision, StoreError> {
        let Ok(root) = under_mounts() else { return Ok(Revision::ORIGIN) };
        let Listed { records, unreadable, revision } =
            list(store, Page::under_in_bulk(root)).await?;
        let readable = records.iter().filter_map(KeyInStore::read);
        let found = readable.chain(unreadable.iter().filter_map(KeyInStore::unreadable)).collect();
        self.holding_mut().replace(found, revision);
        Ok(revision)
    }

    /// Since when the keys held may not be those of the store.
    pub(crate) fn lost(&self) -> Option<Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_lost(&self, error: &StoreError) {
        let is_up = !matches!(error, StoreError::Unavailable { .. } | StoreError::Undecided { .. });
        let since = self.lost().map_or_else(Instant::now, |lost| lost.since);
        let lost = Some(Lost { since, is_up, advice: follow::lasting_advice(error) });
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    }

    fn note_followed(&self) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn holding(&self) -> RwLockReadGuard<'_, Holding> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn holding_mut(&self) -> RwLockWriteGuard<'_, Holding> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}
