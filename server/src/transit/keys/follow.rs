use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use selkie_storage::{Revision, Store, StoreError};
use tokio::time::{sleep, timeout};

use super::{Keys, in_time};
use crate::seal::Learner;
use crate::telemetry::WithCauses;

/// How long the store is left alone after a watch broke; each failure doubles it, up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How often the keys are compared with the seals although nothing is heard.
const COMPARED_EVERY: Duration = Duration::from_secs(30);

impl Keys {
    /// Holds what other replicas commit, and lets the keys follow their seals, from when the store
    /// is attached and for as long as this is polled. It ends at once where no store is configured.
    pub async fn follow(self: Arc<Self>, learner: Learner) {
        let Some(store) = self.opened().await else { return };
        let mut retry = FIRST_RETRY;
        // What was committed since it was attached may be forgotten by now, so that it is listed.
        loop {
            let Err(error) = self.follow_once(&*store, &learner, &mut retry).await;
            self.note_lost(&error);
            tell_broken(&error);
            sleep(learner.jittered(retry)).await;
            retry = (2 * retry).min(LAST_RETRY);
        }
    }

    async fn opened(&self) -> Option<Arc<dyn Store>> {
        loop {
            let attached = self.attached.notified();
            match self.store.get() {
                Some(store) => return Some(Arc::clone(store)),
                None if self.expects_store => attached.await,
                None => return None,
            }
        }
    }

    async fn follow_once(
        &self,
        store: &dyn Store,
        learner: &Learner,
        retry: &mut Duration,
    ) -> Result<Infallible, StoreError> {
        let from: Revision = self.reload(store).await?;
        let mut watch = in_time(store.watch(from)).await?;
        self.note_followed();
        self.compare(learner).await;
        loop {
            match timeout(COMPARED_EVERY, watch.next()).await {
                Ok(commit) => {
                    self.holding_mut().follow(&commit?);
                    *retry = FIRST_RETRY;
                    self.ask(learner);
                }
                Err(_nothing_heard) => self.compare(learner).await,
            }
        }
    }

    async fn compare(&self, learner: &Learner) {
        self.ask(learner);
        let _no_other_change = self.hold_changes().await;
        self.advance(&learner.current.load_full(), learner.clock.unix_seconds()).await;
    }

    /// Has master keys described of which another replica knows more.
    fn ask(&self, learner: &Learner) {
        let deployment = learner.current.load_full();
        let keys = self.all();
        let latest: Vec<_> = keys.iter().flat_map(|key| key.keks(key.latest)).collect();
        for connection in deployment.seals.unaware_of(&latest) {
            let learner = learner.clone();
            drop(tokio::spawn(async move { learner.learn_soon(&connection).await }));
        }
    }
}

fn tell_broken(error: &StoreError) {
    match error {
        StoreError::NotReached { .. } => tracing::error!(
            reason = %WithCauses(error),
            advice = "find out who rolled the store back; restart to go on from what it says now",
            "the store is older than what was read from it: managed keys stay as they are held"
        ),
        error => tracing::warn!(
            reason = %WithCauses(error),
            advice = "managed keys go on as they are held; the store is tried again by itself",
            "the store cannot be followed"
        ),
    }
}
