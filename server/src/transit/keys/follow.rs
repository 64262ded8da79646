//! Follows the store and the seals, so that replicas agree within a moment.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use selkie_storage::{Commit, Revision, Store, StoreError};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::ManagedKeys;
use crate::jitter::jittered;
use crate::seal::{Connection, Learner, Seals};
use crate::state::KeyRecord;
use crate::state::listing::in_time;
use crate::state::opening::TAMPERED_ADVICE;
use crate::state::others;
use crate::state::records::Records;
use crate::state::sealed_store::Damage;
use crate::telemetry::WithCauses;
use crate::transit::TransitKey;

/// How long the store is left alone after a watch broke; each failure doubles it, up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How often a watch that says nothing is asked whether it ought to have said something.
const WATCH_LOOK: Duration = Duration::from_secs(30);
/// How often all keys are compared with the seals, whatever is heard.
const COMPARED_EVERY: Duration = Duration::from_secs(30);

const ROLLED_BACK: &str =
    "find out who rolled the store back; restart to go on from what it says now";
const DAMAGED: &str = "find out who else writes to the storage, then restore a backup with \
                       `selkie restore`";

impl ManagedKeys {
    /// Holds what other replicas commit, of keys and of `records`, and lets the keys follow their
    /// seals, from when the store is attached and for as long as this is polled. It ends at once
    /// where no store is configured.
    pub async fn follow(self: Arc<Self>, learner: Learner, records: Arc<Records>) {
        let Some(store) = self.opened().await else { return };
        // Side by side: to look at all of many keys takes longer than the store remembers commits.
        tokio::join!(self.follow_store(&*store, &learner, &records), self.keep_comparing(&learner));
    }

    async fn follow_store(&self, store: &dyn Store, learner: &Learner, records: &Records) {
        let mut retry = FIRST_RETRY;
        // What was committed since it was attached may be forgotten by now, so that it is listed.
        loop {
            let followed = self.follow_once(store, learner, records, &mut retry).await;
            let Err(error) = followed;
            self.note_lost(&error);
            tell_broken(&error);
            sleep(jittered(&*learner.random, retry)).await;
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
        // the keys stay as they are held. The store bounds each answer that it waits for, and not the
        // whole: it verifies all records, however many they are.
        let mut watch = store.watch(newest(store).await?).await?;
        let from = self.reload(store).await?;
        records.reload(store).await?;
        self.note_followed();
        self.comparison_due.notify_one();
        loop {
            let commit = match timeout(WATCH_LOOK, watch.next()).await {
                Ok(commit) => commit?,
                // It may hang without an error: who listens to it alone would be deaf for ever.
                Err(late) if records.is_watch_overdue() => {
                    return Err(StoreError::Unavailable { source: Box::new(late) });
                }
                Err(_the_store_rests) => continue,
            };
            *retry = FIRST_RETRY;
            records.follow(commit.revision, &commit.writes);
            if commit.revision > from {
                self.holding_mut().follow(&commit);
                self.ask_about(&commit, learner);
            }
        }
    }

    async fn keep_comparing(&self, learner: &Learner) {
        loop {
            let _due_or_time = timeout(COMPARED_EVERY, self.comparison_due.notified()).await;
            if self.lost().is_none() {
                self.compare(learner).await;
            }
        }
    }

    async fn compare(&self, learner: &Learner) {
        let deployment = learner.current.load_full();
        let mut unaware: BTreeMap<_, Arc<Connection>> = BTreeMap::new();
        for page in self.pages() {
            let found = unaware_of_any(&deployment.seals, page.iter().map(|(_, key)| key));
            unaware.extend(found.into_iter().map(|one| (one.name().clone(), one)));
            yield_now().await;
        }
        ask(unaware.into_values(), learner);
        self.advance(&learner.current, learner.clock.unix_seconds()).await;
    }

    /// Has master keys described of which whoever made `commit` knows more.
    fn ask_about(&self, commit: &Commit, learner: &Learner) {
        let places = commit.writes.iter().filter_map(|write| KeyRecord::place(write.key()));
        let keys = places.filter_map(|(mount, name)| self.managed(&mount, name.as_str()));
        let keys: Vec<_> = keys.collect();
        ask(unaware_of_any(&learner.current.load_full().seals, keys.iter()), learner);
    }
}

/// The ways to the master keys that a latest version of `keys` knows more of than `seals` do.
fn unaware_of_any<'k>(
    seals: &Seals,
    keys: impl Iterator<Item = &'k Arc<TransitKey>>,
) -> Vec<Arc<Connection>> {
    seals.unaware_of(&keys.flat_map(|key| key.keks(key.latest)).collect::<Vec<_>>())
}

fn ask(connections: impl IntoIterator<Item = Arc<Connection>>, learner: &Learner) {
    for connection in connections {
        let learner = learner.clone();
        drop(tokio::spawn(async move { learner.learn_soon(&connection).await }));
    }
}

/// The revision that the store has come to, as a commit that changes nothing answers it.
async fn newest(store: &dyn Store) -> Result<Revision, StoreError> {
    in_time(store.commit(&[], &[])).await
}

/// What to do about a store that answers and is not followed; `None` if it is tried again.
pub(super) fn lasting_advice(error: &StoreError) -> Option<String> {
    match error {
        StoreError::NotReached { .. } => Some(ROLLED_BACK.to_owned()),
        StoreError::Corrupt { source, .. } if source.is::<Damage>() => {
            Some(TAMPERED_ADVICE.to_owned())
        }
        StoreError::Corrupt { .. } => {
            Some(others::advice(error).unwrap_or_else(|| DAMAGED.to_owned()))
        }
        _ => None,
    }
}

fn tell_broken(error: &StoreError) {
    let advice = lasting_advice(error).unwrap_or_default();
    match error {
        StoreError::NotReached { .. } => tracing::error!(
            reason = %WithCauses(error),
            advice,
            "the store is older than what was read from it: managed keys stay as they are held"
        ),
        StoreError::Corrupt { .. } => tracing::error!(
            reason = %WithCauses(error),
            advice,
            "the store is damaged and cannot be followed: managed keys stay as they are held, and \
             will not be there after a restart"
        ),
        error => tracing::warn!(
            reason = %WithCauses(error),
            advice = "managed keys go on as they are held; the store is tried again by itself",
            "the store cannot be followed"
        ),
    }
}
