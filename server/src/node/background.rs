//! What a node does between requests, in tasks that end with it.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::Node;
use crate::deployment::Deployment;
use crate::seal::Learner;

/// How often evidence of takeovers is kept; as much of it a crash may cost.
const EVIDENCE_INTERVAL: Duration = Duration::from_secs(5);

impl Node {
    pub(super) fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From when the store is attached, holds what other replicas change in it.
    pub(super) fn follow_store(&self) {
        let mut tasks = self.tasks();
        let records = Arc::clone(self.auth.records());
        tasks.spawn(Arc::clone(&self.keys).follow(self.learner(), records));
        tasks.spawn(Arc::clone(&self.keys).take_back_seals(self.learner()));
        tasks.spawn(Arc::clone(&self.auth).keep_tokens());
    }

    /// Learns of each seal that was not there `before`, for as long as it stays.
    pub(super) fn poll_new_seals(&self, before: Option<&Deployment>) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        for seal in self.deployment.load().seals.iter() {
            let connection = &seal.connection;
            let is_new = before.is_none_or(|before| !before.seals.has(connection));
            if is_new && !connection.is_fixed() {
                tasks.spawn(self.learner().poll(Arc::clone(connection)));
            }
        }
    }

    /// Follows each old key that was not there `before`, for as long as it stays.
    pub(super) fn follow_takeovers(&self, before: Option<&Deployment>) {
        let mut tasks = self.tasks();
        for old in self.deployment.load().takeovers.iter() {
            if before.is_none_or(|before| !before.takeovers.has(old)) {
                let (current, clock) = (Arc::clone(&self.deployment), Arc::clone(&self.clock));
                tasks.spawn(Arc::clone(old).poll(current, clock));
            }
        }
    }

    /// Keeps evidence of takeovers now and then, for as long as this lives.
    pub(super) fn keep_evidence(&self) {
        let evidence = Arc::clone(&self.evidence);
        let mut tasks = self.tasks();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(EVIDENCE_INTERVAL).await;
                evidence.keep().await;
            }
        });
    }

    fn learner(&self) -> Learner {
        self.own_transit().learner()
    }
}
