//! One running Selkie: the deployment of the moment, the managed keys, time and randomness.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use selkie_config::Config;
use selkie_crypto::{Random, os_random};
use selkie_kms::ClientTag;
use selkie_storage::{MemoryStore, Store};
use tokio::task::JoinSet;

use crate::byte_budget::ByteBudget;
use crate::clock::{Clock, SystemClock};
use crate::continuity::Discontinuity;
use crate::deployment::{Deployment, DeploymentError};
use crate::drill::DrillLog;
use crate::metrics::Metrics;
use crate::seal::Learner;
use crate::state::{StateKeyEnvelope, StateStatus};
use crate::transit::{Keys, Transit, TransitError};

/// What all requests share.
pub struct Node {
    deployment: Arc<ArcSwap<Deployment>>,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    bytes: ByteBudget,
    metrics: Arc<Metrics>,
    state: ArcSwap<StateStatus>,
    state_key: ArcSwapOption<StateKeyEnvelope>,
    drills: DrillLog,
    /// In seconds since 1970.
    started: u64,
    /// One for each seal that is learned of; they end with this.
    polls: Mutex<JoinSet<()>>,
}

/// Why a configuration could not be put to work; a reload that fails so has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration cannot be put to work.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The new configuration would break what the running one promised.
    #[error(transparent)]
    Discontinuity(#[from] Discontinuity),
    /// The managed keys could not be read.
    #[error("managed keys: {0}")]
    Keys(#[from] TransitError),
    /// A reload cannot add, remove or change the storage; restart for that.
    #[error("the storage cannot change without a restart")]
    StorageChanged,
}

impl Node {
    /// Puts `config` to work, with the operating system's time and randomness.
    ///
    /// # Errors
    ///
    /// [`NodeError`].
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        let keys = match config.storage {
            None => Keys::without_store(),
            Some(_) => {
                let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
                Keys::load(store).await?
            }
        };
        let deployment = Deployment::resume(config, None).await?;
        Ok(Self::begin(deployment, keys, Arc::new(SystemClock)).await)
    }

    /// Serves `deployment`, and begins to learn of its master keys. Nothing waits for a KMS.
    pub(crate) async fn begin(deployment: Deployment, keys: Keys, clock: Arc<dyn Clock>) -> Self {
        let held = keys.hold_changes().await;
        keys.follow_seals(&deployment, clock.unix_seconds()).await;
        drop(held);
        let state = match keys.has_store() {
            true => StateStatus::Open { sequence: 0 },
            false => StateStatus::None,
        };
        let node = Self {
            started: clock.unix_seconds(),
            state: ArcSwap::from_pointee(state),
            state_key: ArcSwapOption::empty(),
            drills: DrillLog::default(),
            deployment: Arc::new(ArcSwap::from_pointee(deployment)),
            keys: Arc::new(keys),
            clock,
            random: Arc::new(os_random),
            bytes: ByteBudget::default(),
            metrics: Metrics::new(),
            polls: Mutex::new(JoinSet::new()),
        };
        node.poll_new_seals(None);
        node
    }

    /// Puts `config` in the place of what was: at once, or not at all.
    ///
    /// # Errors
    ///
    /// [`NodeError`].
    pub async fn reload(&self, config: Config) -> Result<(), NodeError> {
        if config.storage.is_some() != self.keys.has_store() {
            return Err(NodeError::StorageChanged);
        }
        // Held while the seals take over what was learned, so that nothing learned now is lost.
        let _no_other_change = self.keys.hold_changes().await;
        let before = self.deployment.load_full();
        let deployment = Deployment::resume(config, Some(&before)).await?;
        self.replace(&before, deployment).await
    }

    pub(crate) async fn replace(
        &self,
        before: &Deployment,
        mut next: Deployment,
    ) -> Result<(), NodeError> {
        next.carry_over(before);
        next.require_continuity(before, &self.keys, &*self.random).await?;
        let next = Arc::new(next);
        self.deployment.store(Arc::clone(&next));
        self.keys.follow_seals(&next, self.clock.unix_seconds()).await;
        self.poll_new_seals(Some(before));
        Ok(())
    }

    /// Learns of each seal that was not there `before`, for as long as it stays.
    fn poll_new_seals(&self, before: Option<&Deployment>) {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        while polls.try_join_next().is_some() {}
        for seal in self.deployment.load().seals.iter() {
            let connection = &seal.connection;
            let is_new = before.is_none_or(|before| !before.seals.has(connection));
            if is_new && !connection.is_fixed() {
                polls.spawn(self.learner().poll(Arc::clone(connection)));
            }
        }
    }

    fn learner(&self) -> Learner {
        Learner {
            current: Arc::clone(&self.deployment),
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// The deployment of this moment; a request works with one from beginning to end.
    #[must_use]
    pub fn deployment(&self) -> Arc<Deployment> {
        self.deployment.load_full()
    }

    /// The type of the storage, as in the label of its stanza.
    #[must_use]
    pub fn storage_type(&self) -> Option<&'static str> {
        self.keys.has_store().then_some("inmem")
    }

    /// Whether replicas share the storage.
    #[must_use]
    pub fn has_shared_store(&self) -> bool {
        self.storage_type() == Some("etcd")
    }

    /// How it stands with the state in storage.
    #[must_use]
    pub fn state_status(&self) -> Arc<StateStatus> {
        self.state.load_full()
    }

    /// Notes how it stands with the state in storage.
    pub fn set_state_status(&self, status: StateStatus) {
        self.state.store(Arc::new(status));
    }

    /// The state key in its envelope, once it was read.
    #[must_use]
    pub fn state_key(&self) -> Option<Arc<StateKeyEnvelope>> {
        self.state_key.load_full()
    }

    /// Notes the state key in its envelope, which drills open.
    pub fn set_state_key(&self, envelope: StateKeyEnvelope) {
        self.state_key.store(Some(Arc::new(envelope)));
    }

    /// What drills have come to since the start.
    #[must_use]
    pub const fn drills(&self) -> &DrillLog {
        &self.drills
    }

    /// When it was started, in seconds since 1970.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// What large requests may hold of the memory.
    #[must_use]
    pub const fn bytes(&self) -> &ByteBudget {
        &self.bytes
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Wall time.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The transit engine, on `deployment`, for `client`.
    #[must_use]
    pub fn transit(&self, deployment: Arc<Deployment>, client: ClientTag) -> Transit {
        Transit {
            deployment,
            client,
            current: Arc::clone(&self.deployment),
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            metrics: Arc::clone(&self.metrics),
            until: tokio::time::Instant::now() + Transit::REQUEST_PATIENCE,
            unwraps: None,
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}
