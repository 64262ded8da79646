//! Waits, as long as the client can, for seals that have not said yet what their keys are.

use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use tokio::time::Instant;

use super::{KeySource, Transit, TransitError, TransitKey, Uncounted};
use crate::deployment::Deployment;
use crate::seal::{Connection, KekRef, Learner, Seal, SealError, SealFault, WRAP_PATIENCE};

impl Transit {
    /// What learns of master keys on behalf of this engine.
    pub(crate) fn learner(&self) -> Learner {
        Learner {
            current: Arc::clone(&self.current),
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// The key, and the deployment to encrypt under it with: the one at hand, or, if it lacks a
    /// description or trust, what is learned by asking the KMSs now, until the key's `deadline`.
    pub(super) async fn ready(
        &self,
        mount: &MountPath,
        name: &KeyName,
        deadline: impl FnOnce(&TransitKey) -> Instant,
    ) -> Result<(Arc<TransitKey>, Arc<Deployment>), TransitError> {
        let key = self.find(mount, name).await?.ok_or(TransitError::KeyNotFound)?;
        let unready = unready(&self.deployment, &key, self.clock.unix_seconds());
        let waited_for = awaited(&self.deployment, &key).map(|seal| Arc::clone(&seal.connection));
        let unready: Vec<_> = unready.chain(waited_for).collect();
        if unready.is_empty() {
            return Ok((key, Arc::clone(&self.deployment)));
        }
        Box::pin(self.learn_all(unready, deadline(&key))).await;
        let learned = Self { deployment: self.current.load_full(), ..self.clone() };
        let key = learned.held(mount, name)?.ok_or(TransitError::KeyNotFound)?;
        if let Some(seal) = awaited(&learned.deployment, &key).next() {
            return Err(seal.undescribed().into());
        }
        Ok((key, learned.deployment))
    }

    /// Asks the KMSs of a key of whose master keys not enough is known to go on from it.
    pub(super) async fn learn_of(&self, key: &TransitKey, deadline: Instant) {
        let deployment = self.current.load_full();
        let unready: Vec<_> = unready(&deployment, key, self.clock.unix_seconds()).collect();
        self.learn_all(unready, deadline).await;
    }

    /// Asks all KMSs that have not described their keys yet, which a new version of a managed key
    /// needs.
    pub(super) async fn describe_all(&self) {
        let deployment = self.current.load_full();
        let undescribed = deployment.seals.enabled().filter(|seal| seal.known.is_none());
        let undescribed: Vec<_> = undescribed.map(|seal| Arc::clone(&seal.connection)).collect();
        if !undescribed.is_empty() {
            self.learn_all(undescribed, Instant::now() + WRAP_PATIENCE).await;
        }
    }

    /// All at once: each may take all the time that there is.
    async fn learn_all(&self, connections: Vec<Arc<Connection>>, deadline: Instant) {
        let learner = self.learner();
        let mut tasks = tokio::task::JoinSet::new();
        for connection in connections {
            let learner = learner.clone();
            tasks.spawn(async move { learner.learn(&connection, deadline).await });
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// The seals of `key` that lack a description or a version to wrap under, as far as we know: it may
/// have been enabled or recovered since.
fn unready<'d>(
    deployment: &'d Deployment,
    key: &'d TransitKey,
    now: u64,
) -> impl Iterator<Item = Arc<Connection>> {
    let uncounted = key.uncounted.iter().filter_map(|uncounted| match uncounted {
        // Who was not let to list the versions may be by now.
        Uncounted::Undescribed(seal) | Uncounted::Unlisted(seal) => deployment.seals.find(seal),
    });
    let unusable = key.keks(key.latest).iter().filter_map(move |kek| {
        deployment.seals.find(&kek.seal).filter(|seal| !seal.disabled && !seal.wraps(&kek.kek, now))
    });
    uncounted.chain(unusable).map(|seal| Arc::clone(&seal.connection))
}

/// The seals that have not described themselves yet, and that `key` waits for: its latest version
/// is still for one that the configuration no longer has, or has disabled.
fn awaited<'d>(deployment: &'d Deployment, key: &'d TransitKey) -> impl Iterator<Item = &'d Seal> {
    let is_gone = |kek: &KekRef| deployment.seals.find(&kek.seal).is_none_or(|seal| seal.disabled);
    let is_waiting = key.source == KeySource::Managed && key.keks(key.latest).iter().any(is_gone);
    deployment.seals.enabled().filter(move |seal| is_waiting && seal.known.is_none())
}

impl TransitKey {
    /// Refuses to go by a version that is only the least that it can be.
    pub(crate) fn require_counted(&self, deployment: &Deployment) -> Result<(), TransitError> {
        match self.uncounted.first() {
            None => Ok(()),
            Some(Uncounted::Unlisted(seal)) => {
                Err(SealError { seal: seal.clone(), source: SealFault::Unlisted }.into())
            }
            Some(Uncounted::Undescribed(seal)) => {
                let missing = || SealError { seal: seal.clone(), source: SealFault::NotConfigured };
                let found = deployment.seals.find(seal);
                Err(found.map_or_else(missing, Seal::undescribed).into())
            }
        }
    }
}
