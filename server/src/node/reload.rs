//! From one deployment to the next while requests are served.

use std::sync::Arc;
use std::time::Duration;

use selkie_config::Config;
use tokio::time::timeout;

use super::{Node, NodeError};
use crate::deployment::Deployment;
use crate::transit::LostVersions;

/// How long a start and a reload wait for the disk that remembers promises.
const PROMISES_PATIENCE: Duration = Duration::from_secs(10);

impl Node {
    /// Replaces the current configuration with `config`, atomically.
    ///
    /// # Errors
    ///
    /// [`NodeError`].
    pub async fn reload(&self, mut config: Config) -> Result<(), NodeError> {
        let is_same = match (self.storage_type(), &config.storage) {
            (Some(was), Some(is)) => was == is.kind(),
            (None, is) => is.is_some() == self.keys.has_store(),
            (Some(_), None) => false,
        };
        if !is_same {
            return Err(NodeError::StorageChanged);
        }
        let audit = self.audit.prepare(std::mem::take(&mut config.audit)).await?;
        let no_other_change = self.keys.hold_changes().await;
        // Held while the seals take over what was learned, so that nothing learned now is lost.
        let no_adoption = self.keys.hold_deployment().await;
        let before = self.deployment.load_full();
        let faults = config.faults.take();
        let webhook = config.alerts.take().and_then(|alerts| alerts.webhook);
        let (promises, bench) = (config.promises(), self.bench.as_ref());
        let mut deployment = Deployment::resume(config, promises, Some(&before), bench).await?;
        let webhook = match &self.alerts {
            Some(alerts) => alerts.prepare_webhook(webhook, &self.around(&deployment))?,
            None => None,
        };
        self.approve(&before, &mut deployment).await?;
        self.auth.methods().read_certificates();
        // Before anything else, so that nothing is served unrecorded that should have been recorded.
        let gone = self.audit.put_to_use(audit);
        self.put_in_force(&before, deployment);
        drop((no_adoption, no_other_change));
        self.follow_promises().await;
        self.follow(&before).await;
        if let Some(alerts) = &self.alerts {
            let mut tasks = self.tasks();
            alerts.post_to(webhook, &mut tasks);
        }
        if let (Some(bench), Some(faults)) = (&self.bench, faults) {
            bench.replace(faults);
        }
        gone.stop().await;
        Ok(())
    }

    /// Remembers what the deployment of this moment promises to ciphertexts, and tells what it does
    /// not keep.
    pub(crate) async fn follow_promises(&self) {
        let deployment = self.deployment();
        let following = tokio::task::spawn_blocking(move || {
            deployment.memory.follow(&deployment.promises);
        });
        if timeout(PROMISES_PATIENCE, following).await.is_err() {
            tracing::warn!(
                advice = "see what is wrong with the disk of data_dir",
                "data_dir does not answer: what the configuration promises is not remembered yet"
            );
        }
    }

    #[cfg(test)]
    pub(crate) async fn replace(
        &self,
        before: &Deployment,
        mut next: Deployment,
    ) -> Result<(), NodeError> {
        self.approve(before, &mut next).await?;
        self.put_in_force(before, next);
        self.follow(before).await;
        Ok(())
    }

    /// Whether `next`, with what `before` has learned, may take its place.
    async fn approve(&self, before: &Deployment, next: &mut Deployment) -> Result<(), NodeError> {
        next.carry_over(before);
        Ok(next.require_continuity(before, &self.keys, &*self.random).await?)
    }

    fn put_in_force(&self, before: &Deployment, next: Deployment) {
        self.tell_losses(before, &next);
        let next = Arc::new(next);
        self.deployment.store(Arc::clone(&next));
        self.auth.tokens().set_limits(next.leases);
        self.auth.methods().prepare(&next.auth_mounts);
    }

    /// Has all that depends on the deployment follow it, now that it has taken the place of `before`.
    async fn follow(&self, before: &Deployment) {
        self.poll_new_seals(Some(before));
        self.follow_takeovers(Some(before));
        self.keys.follow_seals(&self.deployment, self.clock.unix_seconds()).await;
    }

    /// What no seal of `next` opens any more, and one of `before` did: said loudly, and not refused,
    /// for a master key that was stolen must be put out of use.
    fn tell_losses(&self, before: &Deployment, next: &Deployment) {
        let decrypts = self.metrics.last_aged_decrypts(before).unwrap_or_default();
        let known = self.keys.lost_versions(&before.seals);
        let managed = self.keys.lost_versions(&next.seals).into_iter();
        let lost = managed.filter(|lost| !known.contains(lost)).chain(next.lost_since(before));
        for LostVersions { key, versions, seals, .. } in lost {
            let uses = decrypts.iter().filter(|one| one.key == key);
            tracing::error!(
                key,
                versions,
                seals = seals.join(", "),
                last_use = uses.map(|one| one.last).max(),
                advice = "take the seal back into the configuration, unless its master key was stolen; \
                          have each Vault encrypt anew before a seal goes",
                "what was made for these seals alone can no longer be decrypted"
            );
        }
    }
}
