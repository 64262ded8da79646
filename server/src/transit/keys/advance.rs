//! Raises versions of managed keys when the versions of their master keys change (invariant I7).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use selkie_access::{KeyName, MountPath};
use tokio::task::yield_now;

use super::{Change, ManagedKeys};
use crate::deployment::Deployment;
use crate::telemetry::WithCauses;
use crate::transit::{TransitError, TransitKey};

/// How many keys are looked at before others have their turn.
const KEYS_AT_A_TIME: usize = 256;

impl ManagedKeys {
    /// Gives a new version to every managed key whose latest was made for other master-key
    /// versions than the seals of the `current` deployment have (invariant I7). A key that cannot
    /// advance goes on as it was, and the log says so: it must not keep the others, or a server, from
    /// starting.
    ///
    /// Call it after a deployment has taken effect. Changes by others wait for one key at most.
    pub async fn follow_seals(&self, current: &ArcSwap<Deployment>, now: u64) {
        let _one_at_a_time = self.following.lock().await;
        self.seals_due.store(true, Ordering::Relaxed);
        self.advance_all(current, now).await;
    }

    /// The same, where nothing but the versions of the master keys may have changed: the list of
    /// seals stays that of the key's latest version, for a replica with another configuration may
    /// have made it. What could not be done before is done now.
    pub async fn advance(&self, current: &ArcSwap<Deployment>, now: u64) {
        let _one_at_a_time = self.following.lock().await;
        self.advance_all(current, now).await;
    }

    async fn advance_all(&self, current: &ArcSwap<Deployment>, now: u64) {
        if self.store.get().is_none() {
            return;
        }
        // What was begun under an earlier deployment is done then, and seen.
        drop(self.hold_changes().await);
        let is_due = self.seals_due.load(Ordering::Relaxed);
        let mut is_done = true;
        for (mount, name) in self.behind(&current.load_full(), is_due, now).await {
            let _no_other_change = self.hold_changes().await;
            // Another may have taken effect meanwhile, which these keys are never turned back from.
            let deployment = current.load_full();
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
        if is_done && is_due && self.is_told(&current.load_full(), now).await {
            self.seals_due.store(false, Ordering::Relaxed);
        }
    }

    async fn behind(
        &self,
        deployment: &Deployment,
        is_due: bool,
        now: u64,
    ) -> Vec<(MountPath, KeyName)> {
        let is_behind = |(_, key): &(MountPath, Arc<TransitKey>)| {
            let target = key.target(&deployment.seals, is_due, now);
            target.is_ok_and(|target| !key.is_for(&target.keks))
        };
        let mut behind = Vec::new();
        for page in self.pages() {
            let found = page.into_iter().filter(is_behind);
            behind.extend(found.map(|(mount, key)| (mount, key.name.clone())));
            yield_now().await;
        }
        behind
    }

    /// Whether every key can tell what its next version is for.
    async fn is_told(&self, deployment: &Deployment, now: u64) -> bool {
        for page in self.pages() {
            if page.iter().any(|(_, key)| key.target(&deployment.seals, true, now).is_err()) {
                return false;
            }
            yield_now().await;
        }
        true
    }

    /// All managed keys that can be read, wherever they are, some at a time: nobody waits until all
    /// are seen, who changes one or looks at one.
    pub(super) fn pages(&self) -> impl Iterator<Item = Vec<(MountPath, Arc<TransitKey>)>> {
        let mut last = None;
        std::iter::from_fn(move || {
            let page = self.holding().page(last.as_ref(), KEYS_AT_A_TIME);
            let (mount, key) = page.last()?;
            last = Some((mount.clone(), key.name.clone()));
            Some(page)
        })
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
