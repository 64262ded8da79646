use std::sync::Arc;
use std::sync::atomic::Ordering;

use selkie_access::{KeyName, MountPath};

use super::{Change, Keys};
use crate::deployment::Deployment;
use crate::seal::SealError;
use crate::telemetry::WithCauses;
use crate::transit::{TransitError, TransitKey};

impl Keys {
    /// Gives a new version to every managed key whose latest was made for other master-key
    /// versions than the seals of `deployment` have (invariant I7). A key that cannot advance goes
    /// on as it was, and the log says so: it must not keep the others, or a server, from starting.
    ///
    /// Call it while [`Keys::hold_changes`] lives, after `deployment` has taken effect.
    pub async fn follow_seals(&self, deployment: &Deployment, now: u64) {
        self.seals_due.store(true, Ordering::Relaxed);
        self.advance(deployment, now).await;
    }

    /// The same, where nothing but the versions of the master keys may have changed: the list of
    /// seals stays that of the key's latest version, for a replica with another configuration may
    /// have made it. What could not be done before is done now.
    ///
    /// Call it while [`Keys::hold_changes`] lives.
    pub async fn advance(&self, deployment: &Deployment, now: u64) {
        if self.store.get().is_none() {
            return;
        }
        let is_due = self.seals_due.load(Ordering::Relaxed);
        let mut is_done = true;
        for (mount, name) in self.behind(deployment, is_due, now) {
            let next = |key: Option<&TransitKey>| match key.map(|key| {
                let keks = target(key, deployment, is_due, now);
                keks.map(|keks| (key, keks))
            }) {
                Some(Ok((key, keks))) if !key.is_for(&keks) => {
                    Ok(Change::Put(key.clone().rotated(keks, now)?))
                }
                _ => Ok(Change::Keep),
            };
            match self.commit(&mount, &name, next).await {
                Ok(_) => {}
                Err(error) => {
                    tell_behind(&mount, &name, &error);
                    is_done = false;
                    if let TransitError::Store(_) = error {
                        break;
                    }
                }
            }
        }
        // A seal without description or trust is waited for.
        let is_told =
            || self.holding().keys().all(|(_, key)| target(key, deployment, is_due, now).is_ok());
        if is_done && is_due && is_told() {
            self.seals_due.store(false, Ordering::Relaxed);
        }
    }

    fn behind(&self, deployment: &Deployment, is_due: bool, now: u64) -> Vec<(MountPath, KeyName)> {
        let holding = self.holding();
        let behind = holding.keys().filter(|(_, key)| {
            target(key, deployment, is_due, now).is_ok_and(|keks| !key.is_for(&keks))
        });
        behind.map(|(mount, key)| (mount.clone(), key.name.clone())).collect()
    }

    /// All managed keys that can be read, wherever they are.
    pub(super) fn all(&self) -> Vec<Arc<TransitKey>> {
        self.holding().keys().map(|(_, key)| Arc::clone(key)).collect()
    }
}

fn target(
    key: &TransitKey,
    deployment: &Deployment,
    by_configuration: bool,
    now: u64,
) -> Result<Vec<crate::seal::KekRef>, SealError> {
    let made = key.versions.get(&key.latest).map_or(0, |latest| latest.created);
    let latest = key.keks(key.latest);
    if by_configuration {
        deployment.seals.next_keks(latest, made, now)
    } else {
        Ok(deployment.seals.newer_keks(latest, made, now))
    }
}

fn tell_behind(mount: &MountPath, name: &KeyName, error: &TransitError) {
    tracing::error!(
        key = %format_args!("{mount}/{name}"),
        reason = %WithCauses(error),
        advice = "trim the key, or mend the storage; it is tried again by itself",
        "a key could not follow its seals, and still wraps for the previous ones"
    );
}
