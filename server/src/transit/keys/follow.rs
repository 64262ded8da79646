use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use selkie_storage::{Revision, Store, StoreError};
use tokio::time::{sleep, timeout};

use super::Keys;
use crate::seal::Learner;
use crate::state::listing::in_time;
use crate::state::records::Records;
use crate::telemetry::WithCauses;

/// How long the store is left alone after a watch broke; each failure doubles it, up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How often the keys are compared with the seals although nothing is heard.
const COMPARED_EVERY: Duration = Duration::from_secs(30);

impl Keys {
    /// Holds what other replicas commit, of keys and of `records`, and lets the keys follow their seals, from when the store
    /// is attached and for as long as this is polled. It ends at once where no store is configured.
    pub async fn follow(self: Arc<Self>, learner: Learner, records: Arc<Records>) {
        let Some(store) = self.opened().await else { return };
        let mut retry = FIRST_RETRY;
        // What was committed since it was attached may be forgotten by now, so that it is listed.
        loop {
            let followed = self.follow_once(&*store, &learner, &records, &mut retry).await;
            let Err(error) = followed;
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
        records: &Records,
        retry: &mut Duration,
    ) -> Result<Infallible, StoreError> {
        // The watch first: a store that was tampered with while nobody watched refuses it, and then
        // the keys stay as they are held.
        let mut watch = in_time(store.watch(newest(store).await?)).await?;
        let from = self.reload(store).await?;
        records.reload(store).await?;
        self.note_followed();
        self.compare(learner).await;
        loop {
            match timeout(COMPARED_EVERY, watch.next()).await {
                Ok(commit) => {
                    let commit = commit?;
                    *retry = FIRST_RETRY;
                    records.follow(commit.revision, &commit.writes);
                    if commit.revision > from {
                        self.holding_mut().follow(&commit);
                        self.ask(learner);
                    }
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

/// The revision that the store has come to, as a commit that changes nothing answers it.
async fn newest(store: &dyn Store) -> Result<Revision, StoreError> {
    in_time(store.commit(&[], &[])).await
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
