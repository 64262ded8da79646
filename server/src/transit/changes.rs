//! Managed keys as they are read and changed through the API.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use selkie_access::{KeyName, ListPermit, MountPath, Permit, operation};
use selkie_crypto::KeyVersion;
use selkie_storage::{MAX_VALUE_BYTES, StoreError};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout, timeout_at};

use super::keys::{Change, Target};
use super::{
    KeyChanges, KeySource, NewKey, SettingError, Transit, TransitError, TransitKey, VersionRecord,
};
use crate::deployment::Deployment;
use crate::look_budget::LOOK_PATIENCE;
use crate::seal::{KekRef, Seal, SealError, Seals, WRAP_PATIENCE};
use crate::state::KeyRecord;

/// How long a change waits for those before it.
const TURN_PATIENCE: Duration = Duration::from_secs(15);

impl TransitKey {
    /// Whether its latest version is for exactly these master-key versions, in whatever order.
    pub(super) fn is_for(&self, keks: &[KekRef]) -> bool {
        let is = self.keks(self.latest);
        is.len() == keks.len() && is.iter().all(|kek| keks.contains(kek))
    }

    fn new(name: KeyName, new: NewKey, Target { keks, left_out }: Target, created: u64) -> Self {
        let first = KeyVersion::FIRST;
        Self {
            name,
            source: KeySource::Managed,
            derived: new.derived,
            quorum: 1,
            deletion_allowed: false,
            allow_missing_seals: new.allow_missing_seals,
            min_decryption: first,
            min_encryption: None,
            min_available: None,
            latest: first,
            versions: BTreeMap::from([(
                first,
                Arc::new(VersionRecord { created, keks, left_out }),
            )]),
            uncounted: Vec::new(),
        }
    }

    /// Refuses a rotation that would leave the record no room to follow its seals later.
    pub(super) fn leave_room(&self) -> Result<(), TransitError> {
        let is_roomy = KeyRecord::encode(self)
            .is_ok_and(|value| value.as_bytes().len() <= MAX_VALUE_BYTES / 2);
        if is_roomy { Ok(()) } else { Err(TransitError::RecordFull) }
    }

    pub(super) fn rotated(
        mut self,
        Target { keks, left_out }: Target,
        created: u64,
    ) -> Result<Self, TransitError> {
        self.latest = self.latest.next().ok_or(TransitError::VersionsExhausted)?;
        let record = VersionRecord { created, keks, left_out };
        self.versions.insert(self.latest, Arc::new(record));
        Ok(self)
    }
}

impl Transit {
    /// The key of this name: the declared one, else the managed one (invariant I6). One that another
    /// replica has just made is looked for in the store.
    pub(super) async fn find(
        &self,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<Option<Arc<TransitKey>>, TransitError> {
        match self.held(mount, name)? {
            Some(key) => Ok(Some(key)),
            None if !self.keys.has_store() => Ok(None),
            None => Box::pin(self.look_up(mount, name)).await,
        }
    }

    /// The same as this replica has it.
    pub(crate) fn held(
        &self,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<Option<Arc<TransitKey>>, TransitError> {
        match self.deployment.declared_key(mount, name.as_str()) {
            Some(declared) => Ok(Some(declared)),
            None => self.keys.find(mount, name.as_str()),
        }
    }

    /// The managed key as the store has it. "No such key" is final for a client, so nobody says it
    /// who has not asked.
    async fn look_up(
        &self,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<Option<Arc<TransitKey>>, TransitError> {
        let has_turn = || self.keys.looks.spend(self.client, self.clock.unix_seconds());
        if !self.keys.may_ask_at_will() && !has_turn() {
            return Err(TransitError::NotLookedUp);
        }
        let until = (Instant::now() + LOOK_PATIENCE).min(self.until);
        match timeout_at(until, self.keys.refresh(mount, name)).await {
            Ok(Err(TransitError::NameTooLong)) => Ok(None),
            Ok(looked) => looked,
            Err(late) => Err(StoreError::Unavailable { source: Box::new(late) }.into()),
        }
    }

    /// The managed key that is to change, before its turn comes: who asks for what is not there
    /// keeps no change waiting.
    async fn find_managed(
        &self,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<Arc<TransitKey>, TransitError> {
        self.require_managed(mount, name)?;
        self.find(mount, name).await?.ok_or(TransitError::KeyNotFound)
    }

    /// Whether there is a key of this name, which decides between the capabilities `update` and
    /// `create` for an encrypt.
    ///
    /// # Errors
    ///
    /// [`TransitError::StateSealed`], [`TransitError::RecordUnreadable`], [`TransitError::Store`],
    /// [`TransitError::NotLookedUp`]: nobody can tell.
    pub async fn has_key(&self, mount: &MountPath, name: &KeyName) -> Result<bool, TransitError> {
        Ok(self.find(mount, name).await?.is_some())
    }

    /// The key, or `None`.
    ///
    /// # Errors
    ///
    /// As for [`Transit::has_key`].
    pub async fn read_key(
        &self,
        permit: Permit<operation::ReadKey>,
    ) -> Result<Option<Arc<TransitKey>>, TransitError> {
        self.find(permit.mount(), permit.key()).await
    }

    /// The names of all keys of a mount, in byte order.
    ///
    /// # Errors
    ///
    /// [`TransitError::StateSealed`]: a part of them would pass for all.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is for one operation")]
    pub fn list_keys(&self, permit: ListPermit) -> Result<Vec<KeyName>, TransitError> {
        let mut names: BTreeSet<_> = self.keys.names(permit.mount())?.into_iter().collect();
        names.extend(self.deployment.declared_names(permit.mount()));
        Ok(names.into_iter().collect())
    }

    /// Creates the key; one that exists stays as it is, as in Vault.
    ///
    /// # Errors
    ///
    /// [`TransitError::NoStorage`], [`TransitError::Store`].
    pub async fn create_key(
        &self,
        permit: Permit<operation::CreateKey>,
        new: NewKey,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let transit = self.clone();
        self.describe_all().await;
        in_its_own_task(async move { transit.create(permit.mount(), permit.key(), new).await })
            .await
    }

    /// Creates the key that is about to be encrypted under, and turns the permit to do so into one
    /// to encrypt.
    ///
    /// # Errors
    ///
    /// [`TransitError::NoStorage`], [`TransitError::Store`].
    pub async fn upsert_key(
        &self,
        permit: Permit<operation::EncryptUpsert>,
        new: NewKey,
    ) -> Result<Permit<operation::Encrypt>, TransitError> {
        let transit = self.clone();
        self.describe_all().await;
        in_its_own_task(async move {
            transit.create(permit.mount(), permit.key(), new).await?;
            Ok(permit.into_encrypt())
        })
        .await
    }

    /// Changes the key's settings.
    ///
    /// # Errors
    ///
    /// [`TransitError::Setting`], and as for every change of a key: [`TransitError::Declared`],
    /// [`TransitError::KeyNotFound`], [`TransitError::Store`].
    pub async fn configure_key(
        &self,
        permit: Permit<operation::ConfigureKey>,
        changes: KeyChanges,
    ) -> Result<Arc<TransitKey>, TransitError> {
        self.change(permit, move |_, key, _| Ok(key.with(changes)?)).await
    }

    /// Gives the key a new version, for the master-key versions that its seals have now.
    ///
    /// # Errors
    ///
    /// As for every change of a key.
    pub async fn rotate_key(
        &self,
        permit: Permit<operation::RotateKey>,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let key = self.find_managed(permit.mount(), permit.key()).await?;
        self.learn_of(&key, Instant::now() + WRAP_PATIENCE).await;
        self.change(permit, |deployment, key, now| {
            let target = key.target(&deployment.seals, true, now)?;
            let next = key.rotated(target, now)?;
            next.leave_room()?;
            Ok(next)
        })
        .await
    }

    /// Deletes the versions before `min_available`, for good.
    ///
    /// # Errors
    ///
    /// [`TransitError::Setting`], and as for every change of a key.
    pub async fn trim_key(
        &self,
        permit: Permit<operation::TrimKey>,
        min_available: Option<i64>,
    ) -> Result<Arc<TransitKey>, TransitError> {
        self.change(permit, move |_, key, _| Ok(key.trimmed(min_available)?)).await
    }

    /// Deletes the key, if its settings allow it.
    ///
    /// # Errors
    ///
    /// [`SettingError::DeletionNotAllowed`], and as for every change of a key.
    pub async fn delete_key(
        &self,
        permit: Permit<operation::DeleteKey>,
    ) -> Result<(), TransitError> {
        self.find_managed(permit.mount(), permit.key()).await?;
        let transit = self.clone();
        in_its_own_task(async move {
            let _one_at_a_time = transit.turn().await?;
            let (mount, name) = (permit.mount(), permit.key());
            transit.require_managed(mount, name)?;
            let deleted = transit.keys.commit(mount, name, |key| match key {
                None => Err(TransitError::KeyNotFound),
                Some(key) if key.deletion_allowed => Ok(Change::Delete),
                Some(_) => Err(SettingError::DeletionNotAllowed.into()),
            });
            deleted.await.map(drop)
        })
        .await
    }

    async fn create(
        &self,
        mount: &MountPath,
        name: &KeyName,
        new: NewKey,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let _one_at_a_time = self.turn().await?;
        let deployment = self.current.load_full();
        if let Some(declared) = deployment.declared_key(mount, name.as_str()) {
            return Ok(declared);
        }
        let created = self.keys.commit(mount, name, |key| {
            if key.is_some() {
                return Ok(Change::Keep);
            }
            self.keys.store()?;
            let now = self.clock.unix_seconds();
            let target = first_target(&deployment.seals, new, now)?;
            Ok(Change::Put(TransitKey::new(name.clone(), new, target, now)))
        });
        created.await?.ok_or(TransitError::KeyNotFound)
    }

    async fn change<O: operation::KeyOperation + Send + Sync + 'static>(
        &self,
        permit: Permit<O>,
        change: impl Fn(&Deployment, TransitKey, u64) -> Result<TransitKey, TransitError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Arc<TransitKey>, TransitError> {
        self.find_managed(permit.mount(), permit.key()).await?;
        let transit = self.clone();
        in_its_own_task(async move {
            let _one_at_a_time = transit.turn().await?;
            let deployment = transit.current.load_full();
            let (mount, name) = (permit.mount(), permit.key());
            transit.require_managed(mount, name)?;
            let now = transit.clock.unix_seconds();
            let changed = transit.keys.commit(mount, name, |key| {
                let key = key.ok_or(TransitError::KeyNotFound)?;
                Ok(Change::Put(change(&deployment, key.clone(), now)?))
            });
            changed.await?.ok_or(TransitError::KeyNotFound)
        })
        .await
    }

    /// The right to make a change. While the store hangs, those that wait give up.
    pub(super) async fn turn(&self) -> Result<MutexGuard<'_, ()>, TransitError> {
        let late = |elapsed| StoreError::Unavailable { source: Box::new(elapsed) };
        Ok(timeout(TURN_PATIENCE, self.keys.hold_changes()).await.map_err(late)?)
    }

    pub(super) fn require_managed(
        &self,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<(), TransitError> {
        match self.current.load().declared_key(mount, name.as_str()) {
            Some(_) => Err(TransitError::Declared),
            None => Ok(()),
        }
    }
}

/// What the first version of a key is for: all enabled seals, or those of them that are there, if
/// a server can ask one of those.
fn first_target(seals: &Seals, new: NewKey, now: u64) -> Result<Target, SealError> {
    let wraps = |kek: &KekRef| seals.find(&kek.seal).is_some_and(|seal| seal.wraps(&kek.kek, now));
    let present: Vec<_> = seals.enabled().filter_map(Seal::current_kek).filter(wraps).collect();
    if !new.allow_missing_seals || !seals.opens_any(&present) {
        return Ok(Target { keks: seals.current_keks()?, left_out: Vec::new() });
    }
    let is_absent = |seal: &&Seal| present.iter().all(|kek| kek.seal != *seal.name());
    let left_out = seals.enabled().filter(is_absent).map(|seal| seal.name().clone()).collect();
    Ok(Target { keks: present, left_out })
}

/// A change that has begun is finished, also when the client hangs up: it runs in a task of
/// its own, so that no change is left half done.
pub(super) async fn in_its_own_task<T: Send + 'static>(
    change: impl Future<Output = Result<T, TransitError>> + Send + 'static,
) -> Result<T, TransitError> {
    tokio::spawn(change).await.unwrap_or(Err(TransitError::ChangePanicked))
}

#[cfg(test)]
mod tests {
    use selkie_crypto::{KekId, SealName};

    use super::*;

    fn key_with(versions: u32) -> TransitKey {
        let kek = KekRef { seal: SealName::new("a").unwrap(), kek: KekId::new("k").unwrap() };
        let new = NewKey::default();
        let target = || Target { keks: vec![kek.clone()], left_out: Vec::new() };
        let mut key = TransitKey::new("k".parse().unwrap(), new, target(), 1);
        for _ in 1..versions {
            key = key.rotated(target(), 1).unwrap();
        }
        key
    }

    #[test]
    fn rotations_leave_room_for_the_key_to_follow_its_seals() {
        assert!(key_with(2_000).leave_room().is_ok());
        let full = key_with(6_000);
        assert!(matches!(full.leave_room(), Err(TransitError::RecordFull)));
        assert!(KeyRecord::encode(&full).is_ok(), "its seals may still change");
    }
}
