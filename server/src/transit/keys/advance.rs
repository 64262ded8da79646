use std::sync::Arc;
use std::sync::atomic::Ordering;

use selkie_access::{KeyName, MountPath};

use super::{Change, Keys};
use crate::deployment::Deployment;
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
            let next = |key: Option<&TransitKey>| {
                let Some(key) = key else { return Ok(Change::Keep) };
                match key.target(&deployment.seals, is_due, now) {
                    Ok(target) if !key.is_for(&target.keks) => {
                        Ok(Change::Put(key.clone().rotated(target, now)?))
                    }
                    _ => Ok(Change::Keep),
                }
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
        let target = |key: &TransitKey| key.target(&deployment.seals, is_due, now);
        let is_told = || self.holding().keys().all(|(_, key)| target(key).is_ok());
        if is_done && is_due && is_told() {
            self.seals_due.store(false, Ordering::Relaxed);
        }
    }

    fn behind(&self, deployment: &Deployment, is_due: bool, now: u64) -> Vec<(MountPath, KeyName)> {
        let holding = self.holding();
        let behind = holding.keys().filter(|(_, key)| {
            let target = key.target(&deployment.seals, is_due, now);
            target.is_ok_and(|target| !key.is_for(&target.keks))
        });
        behind.map(|(mount, key)| (mount.clone(), key.name.clone())).collect()
    }

    /// All managed keys that can be read, wherever they are.
    pub(super) fn all(&self) -> Vec<Arc<TransitKey>> {
        self.holding().keys().map(|(_, key)| Arc::clone(key)).collect()
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
