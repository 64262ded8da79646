use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use selkie_access::{KeyName, ListPermit, MountPath, Permit, operation};
use selkie_crypto::KeyVersion;
use selkie_storage::{Guard, MAX_VALUE_BYTES, Page, Record, Revision, Store, Write};

use super::{
    KeyChanges, KeySource, NewKey, SettingError, Transit, TransitError, TransitKey, VersionRecord,
};
use crate::deployment::Deployment;
use crate::seal::KekRef;
use crate::state::{KeyRecord, record_key, under_mounts};

/// The managed keys: those made through the API, kept in the store, held here to be read without
/// it. Without a store there are none.
pub struct Keys {
    store: Option<Arc<dyn Store>>,
    held: RwLock<HashMap<MountPath, BTreeMap<KeyName, Held>>>,
    /// One change at a time, so that what is held follows what was committed.
    changes: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Held {
    key: Arc<TransitKey>,
    revision: Revision,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// No managed keys, and none can be made.
    #[must_use]
    pub fn without_store() -> Self {
        Self { store: None, held: RwLock::default(), changes: tokio::sync::Mutex::default() }
    }

    /// All keys in `store`.
    ///
    /// # Errors
    ///
    /// [`TransitError::Store`]; [`TransitError::RecordUnreadable`] for a record that is there but
    /// cannot be read: it is an error, never a missing key.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, TransitError> {
        let mut held: HashMap<MountPath, BTreeMap<KeyName, Held>> = HashMap::new();
        let mut next = under_mounts().ok().map(Page::under);
        while let Some(page) = next {
            let listing = store.list(&page).await?;
            for record in &listing.records {
                let (mount, name, one) = read(record).ok_or(TransitError::RecordUnreadable)?;
                held.entry(mount).or_default().insert(name, one);
            }
            next = listing.next;
        }
        Ok(Self { store: Some(store), held: RwLock::new(held), ..Self::without_store() })
    }

    /// Whether keys can be made through the API.
    #[must_use]
    pub const fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// The managed key of this name, whether or not a declared one hides it.
    #[must_use]
    pub fn managed(&self, mount: &MountPath, name: &str) -> Option<Arc<TransitKey>> {
        self.find(mount, name).map(|held| held.key)
    }

    fn find(&self, mount: &MountPath, name: &str) -> Option<Held> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(mount)?.get(name).cloned()
    }

    pub(super) fn names(&self, mount: &MountPath) -> Vec<KeyName> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(mount).map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
    }

    fn store(&self) -> Result<&Arc<dyn Store>, TransitError> {
        self.store.as_ref().ok_or(TransitError::NoStorage)
    }

    /// Commits `key` in the place of what is held, and holds it.
    async fn put(
        &self,
        mount: &MountPath,
        key: TransitKey,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let place = record_key(mount, &key.name).map_err(|_long| TransitError::NameTooLong)?;
        let value = KeyRecord::encode(&key).map_err(|_large| TransitError::RecordFull)?;
        let guard = match self.find(mount, key.name.as_str()) {
            Some(held) => Guard::At(place.clone(), held.revision),
            None => Guard::Absent(place.clone()),
        };
        let revision = self.store()?.commit(&[guard], &[Write::Put(place, value)]).await?;
        let (name, key) = (key.name.clone(), Arc::new(key));
        let one = Held { key: Arc::clone(&key), revision };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.entry(mount.clone()).or_default().insert(name, one);
        Ok(key)
    }

    async fn remove(&self, mount: &MountPath, held: &Held) -> Result<(), TransitError> {
        let name = &held.key.name;
        let place = record_key(mount, name).map_err(|_long| TransitError::NameTooLong)?;
        let guard = Guard::At(place.clone(), held.revision);
        self.store()?.commit(&[guard], &[Write::Delete(place)]).await?;
        let mut all = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = all.get_mut(mount) {
            keys.remove(name);
        }
        Ok(())
    }

    /// Waits for changes under way, and keeps further ones waiting while the guard lives.
    pub async fn hold_changes(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changes.lock().await
    }

    /// Gives a new version to every managed key whose latest was made for other master-key
    /// versions than the seals have now (invariant I7). A key that cannot advance goes on as it
    /// was, and the log says so: it must not keep the others, or a server, from starting.
    ///
    /// Call it while [`Keys::hold_changes`] lives, after `deployment` has taken effect.
    pub async fn follow_seals(&self, deployment: &Deployment, created: u64) {
        // A list without the seal that is away would be another list.
        let Ok(keks) = deployment.seals.current_keks() else { return };
        for (mount, key) in self.behind(&keks) {
            let name = key.name.clone();
            let advanced = match key.rotated(keks.clone(), created) {
                Ok(next) => self.put(&mount, next).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = advanced {
                tracing::error!(
                    key = %format_args!("{mount}/{name}"),
                    reason = %error,
                    advice = "trim the key, or mend the storage, then reload",
                    "a key could not follow its seals, and still wraps for the previous ones"
                );
            }
        }
    }

    fn behind(&self, keks: &[KekRef]) -> Vec<(MountPath, TransitKey)> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let all = held.iter().flat_map(|(mount, keys)| keys.values().map(move |one| (mount, one)));
        all.filter(|(_, one)| one.key.keks(one.key.latest) != keks)
            .map(|(mount, one)| (mount.clone(), TransitKey::clone(&one.key)))
            .collect()
    }
}

fn read(record: &Record) -> Option<(MountPath, KeyName, Held)> {
    let (mount, name) = KeyRecord::place(&record.key)?;
    let key = KeyRecord::decode(name.clone(), &record.value).ok()?;
    Some((mount, name, Held { key: Arc::new(key), revision: record.revision }))
}

impl TransitKey {
    fn new(name: KeyName, new: NewKey, keks: Vec<KekRef>, created: u64) -> Self {
        let first = KeyVersion::FIRST;
        Self {
            name,
            source: KeySource::Managed,
            derived: new.derived,
            deletion_allowed: false,
            min_decryption: first,
            min_encryption: None,
            min_available: None,
            latest: first,
            versions: BTreeMap::from([(first, VersionRecord { created, keks })]),
            uncounted: Vec::new(),
            may_lag: false,
        }
    }

    /// Refuses a rotation that would leave the record no room to follow its seals later.
    fn leave_room(&self) -> Result<(), TransitError> {
        let is_roomy = KeyRecord::encode(self)
            .is_ok_and(|value| value.as_bytes().len() <= MAX_VALUE_BYTES / 2);
        if is_roomy { Ok(()) } else { Err(TransitError::RecordFull) }
    }

    fn rotated(mut self, keks: Vec<KekRef>, created: u64) -> Result<Self, TransitError> {
        self.latest = self.latest.next().ok_or(TransitError::VersionsExhausted)?;
        self.versions.insert(self.latest, VersionRecord { created, keks });
        Ok(self)
    }
}

impl Transit {
    /// The key of this name: the declared one, else the managed one (invariant I6).
    pub(super) fn find(&self, mount: &MountPath, name: &str) -> Option<Arc<TransitKey>> {
        let declared = self.deployment.declared_key(mount, name);
        declared.or_else(|| self.keys.find(mount, name).map(|held| held.key))
    }

    /// Whether there is a key of this name, which decides between the capabilities `update` and
    /// `create` for an encrypt.
    #[must_use]
    pub fn has_key(&self, mount: &MountPath, name: &KeyName) -> bool {
        self.find(mount, name.as_str()).is_some()
    }

    /// The key, or `None`.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is for one operation")]
    #[must_use]
    pub fn read_key(&self, permit: Permit<operation::ReadKey>) -> Option<Arc<TransitKey>> {
        self.find(permit.mount(), permit.key().as_str())
    }

    /// The names of all keys of a mount, in byte order.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is for one operation")]
    #[must_use]
    pub fn list_keys(&self, permit: ListPermit) -> Vec<KeyName> {
        let mut names: BTreeSet<_> = self.keys.names(permit.mount()).into_iter().collect();
        names.extend(self.deployment.declared_names(permit.mount()));
        names.into_iter().collect()
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
        self.change(permit, |deployment, key, now| {
            let next = key.rotated(deployment.seals.current_keks()?, now)?;
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
        let transit = self.clone();
        in_its_own_task(async move {
            let _one_at_a_time = transit.keys.hold_changes().await;
            let deployment = transit.current.load_full();
            let held = transit.managed(&deployment, permit.mount(), permit.key())?;
            if !held.key.deletion_allowed {
                return Err(SettingError::DeletionNotAllowed.into());
            }
            transit.keys.remove(permit.mount(), &held).await
        })
        .await
    }

    async fn create(
        &self,
        mount: &MountPath,
        name: &KeyName,
        new: NewKey,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let _one_at_a_time = self.keys.hold_changes().await;
        let deployment = self.current.load_full();
        let existing = deployment.declared_key(mount, name.as_str());
        let managed = || self.keys.find(mount, name.as_str()).map(|held| held.key);
        if let Some(existing) = existing.or_else(managed) {
            return Ok(existing);
        }
        self.keys.store()?;
        let keks = deployment.seals.current_keks()?;
        let key = TransitKey::new(name.clone(), new, keks, self.clock.unix_seconds());
        self.keys.put(mount, key).await
    }

    async fn change<O: operation::KeyOperation + Send + Sync + 'static>(
        &self,
        permit: Permit<O>,
        change: impl FnOnce(&Deployment, TransitKey, u64) -> Result<TransitKey, TransitError>
        + Send
        + 'static,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let transit = self.clone();
        in_its_own_task(async move {
            let _one_at_a_time = transit.keys.hold_changes().await;
            let deployment = transit.current.load_full();
            let held = transit.managed(&deployment, permit.mount(), permit.key())?;
            let now = transit.clock.unix_seconds();
            let changed = change(&deployment, TransitKey::clone(&held.key), now)?;
            transit.keys.put(permit.mount(), changed).await
        })
        .await
    }

    fn managed(
        &self,
        deployment: &Deployment,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<Held, TransitError> {
        if deployment.declared_key(mount, name.as_str()).is_some() {
            return Err(TransitError::Declared);
        }
        self.keys.find(mount, name.as_str()).ok_or(TransitError::KeyNotFound)
    }
}

/// A change that has begun is finished, also when the client hangs up (design §4).
async fn in_its_own_task<T: Send + 'static>(
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
        let mut key = TransitKey::new("k".parse().unwrap(), new, vec![kek.clone()], 1);
        for _ in 1..versions {
            key = key.rotated(vec![kek.clone()], 1).unwrap();
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
