//! One running Selkie: the deployment of the moment, the managed keys, time and randomness.

mod background;
mod reload;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use selkie_config::Config;
use selkie_crypto::{Random, os_random};
use selkie_kms::ClientTag;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use crate::alerts::{Alerts, AlertsError, Around, Prepared};
use crate::audit::{Audit, AuditError, await_others};
use crate::auth::Auth;
use crate::backup;
use crate::byte_budget::ByteBudget;
use crate::clock::{Clock, SystemClock};
use crate::continuity::Discontinuity;
use crate::deployment::{Deployment, DeploymentError};
use crate::drill::DrillLog;
use crate::faults::Bench;
use crate::last_reload::{LastReload, Remedy};
use crate::listener_certificates::ListenerCertificates;
use crate::metrics::{Metrics, StoreFigures};
use crate::state::keeper::Keeper;
use crate::state::{Backend, Behind, StateStatus, StateWatch};
use crate::takeover::Evidence;
use crate::transit::{ManagedKeys, Transit};

/// How long the start of a server waits for its state.
const OPENING_PATIENCE: Duration = Duration::from_secs(1);

/// What all requests share.
pub struct Node {
    deployment: Arc<ArcSwap<Deployment>>,
    keys: Arc<ManagedKeys>,
    auth: Arc<Auth>,
    audit: Audit,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    bytes: ByteBudget,
    metrics: Arc<Metrics>,
    /// `None` without storage.
    state: OnceLock<KeptState>,
    drills: DrillLog,
    alerts: Option<Arc<Alerts>>,
    evidence: Arc<Evidence>,
    bench: Option<Arc<Bench>>,
    /// In seconds since 1970.
    started: u64,
    listener_certificates: ListenerCertificates,
    last_reload: LastReload,
    /// They end with this.
    tasks: Mutex<JoinSet<()>>,
}

/// The state of a node.
struct KeptState {
    /// What is known of it.
    watch: Arc<StateWatch>,
    /// The label of its storage.
    kind: &'static str,
    /// Whether replicas share that.
    is_shared: bool,
}

#[cfg(test)]
impl KeptState {
    fn in_memory() -> Self {
        Self { watch: Arc::default(), kind: "inmem", is_shared: false }
    }
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
    /// The audit devices cannot be started.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The `alerts` stanza cannot be put to work.
    #[error("alerts")]
    Alerts(#[from] AlertsError),
    /// A reload cannot add, remove or change the storage; restart for that.
    #[error("the storage cannot change without a restart")]
    StorageChanged,
}

/// What a node has from its first task on.
struct Parts {
    keys: ManagedKeys,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    audit: Audit,
    bench: Option<Arc<Bench>>,
}

#[cfg(any(test, feature = "simulation"))]
impl Parts {
    fn without_audit(keys: ManagedKeys, clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self { keys, audit: Audit::none(Arc::clone(&clock)), clock, random, bench: None }
    }
}

impl Node {
    /// Puts `config` to work, with the operating system's time and randomness.
    ///
    /// # Errors
    ///
    /// [`NodeError`].
    pub async fn start(mut config: Config) -> Result<Self, NodeError> {
        let promises = config.promises();
        let storage = config.storage.take();
        let clock = Arc::new(SystemClock);
        await_others(&config.audit.devices).await;
        let (declared, audit_clock) = (std::mem::take(&mut config.audit), Arc::clone(&clock) as _);
        // A disk may hang, and whoever stops the server meanwhile is to be heard.
        let audit = spawn_blocking(move || Audit::start(declared, audit_clock));
        let audit = audit.await.map_err(|panic| AuditError::Thread(io::Error::other(panic)))??;
        let alerts = config.alerts.take();
        // Again here: whoever made this configuration, a script alone never makes a bench.
        let bench = config.faults.take().filter(|_| config.allow_faults).map(Bench::new);
        let deployment = Deployment::resume(config, promises, None, bench.as_ref()).await?;
        let keys = if storage.is_some() {
            ManagedKeys::awaiting_store()
        } else {
            ManagedKeys::without_store()
        };
        let parts = Parts { keys, clock, random: Arc::new(os_random), audit, bench };
        let node = Self::begin_with(deployment, parts).await.watching(alerts)?;
        node.auth.methods().read_certificates();
        if let Some(storage) = storage {
            let kind = storage.kind();
            node.keep_state(Backend::Configured(storage), kind).await;
        }
        Ok(node)
    }

    /// From now on watches what clients decrypt, if that is declared.
    pub(crate) fn watching(
        self,
        declared: Option<selkie_config::Alerts>,
    ) -> Result<Self, NodeError> {
        let Some(declared) = declared else { return Ok(self) };
        let deployment = self.deployment();
        let prepared = Prepared::new(declared, &self.around(&deployment))?;
        let mut tasks = self.tasks();
        let alerts = prepared.begin(&self.audit, &self.auth, &deployment.keeping, &mut tasks);
        drop(tasks);
        Ok(Self { alerts: Some(alerts), ..self })
    }

    fn around<'n>(&'n self, deployment: &'n Deployment) -> Around<'n> {
        Around {
            realm: deployment.realm(),
            cluster: deployment.cluster.name.as_deref(),
            clock: &self.clock,
            random: &self.random,
            figures: self.metrics.alerts(),
        }
    }

    /// Opens the state in the background. That is waited for a moment only: what is declared is
    /// served without it.
    pub(crate) async fn keep_state(&self, backend: Backend, kind: &'static str) {
        let (watch, is_shared) = (Arc::<StateWatch>::default(), backend.is_shared());
        if self.state.set(KeptState { watch: Arc::clone(&watch), kind, is_shared }).is_err() {
            return;
        }
        let transit = self.own_transit();
        let auth = Arc::clone(&self.auth);
        let when_empty = backend.when_empty();
        let keeper = Keeper { backend, when_empty, transit, auth, watch: Arc::clone(&watch) };
        self.tasks().spawn(keeper.run());
        let _open_or_later = timeout(OPENING_PATIENCE, watch.opened()).await;
    }

    /// How the state does; `None` without storage.
    #[must_use]
    pub fn state_status(&self) -> Option<StateStatus> {
        self.state.get().map(|state| state.watch.status())
    }

    /// What has kept the state key from following its seals for a while, if anything does.
    #[must_use]
    pub fn state_key_behind(&self) -> Option<Arc<Behind>> {
        self.state.get().and_then(|state| state.watch.behind())
    }

    /// How the storage does; `None` without one.
    #[must_use]
    pub fn store_figures(&self) -> Option<StoreFigures> {
        let watch = &self.state.get()?.watch;
        let (writes, unheard) = (watch.writes().figures(), self.auth.unheard_for());
        Some(StoreFigures::of(&watch.status(), &self.keys, writes, unheard))
    }

    /// What tells the credentials that the storage was opened with from others.
    pub(crate) fn store_credentials(&self) -> Option<&[u8; 32]> {
        self.state.get().and_then(|state| state.watch.credentials())
    }

    /// Writes down how far the state has come, if it is open, and leaves the storage: for a stop.
    pub(crate) async fn leave_state(&self) {
        self.evidence.keep().await;
        if let Some(state) = self.state.get() {
            state.watch.leave().await;
        }
    }

    /// A node that writes no audit log, for tests.
    #[cfg(test)]
    pub(crate) async fn begin(
        deployment: Deployment,
        keys: ManagedKeys,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let parts = Parts::without_audit(keys, clock, Arc::new(os_random));
        Self::begin_with(deployment, parts).await
    }

    /// A node that writes no audit log, on `store`, with time and randomness that the caller brings,
    /// for server/simulation alone: randomness that can be foretold must not be had in a server
    /// that is shipped.
    #[cfg(feature = "simulation")]
    pub async fn simulated(
        deployment: Deployment,
        store: Arc<dyn selkie_storage::Store>,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Self {
        let parts = Parts::without_audit(ManagedKeys::awaiting_store(), clock, random);
        let node = Self::begin_with(deployment, parts).await;
        node.keep_state(Backend::Opened(store), "simulated").await;
        node
    }

    /// Serves `deployment`, and begins to learn of its master keys. Nothing waits for a KMS.
    async fn begin_with(deployment: Deployment, parts: Parts) -> Self {
        let Parts { keys, clock, random, audit, bench } = parts;
        let deployment = Arc::new(ArcSwap::from_pointee(deployment));
        keys.follow_seals(&deployment, clock.unix_seconds()).await;
        let auth = Auth::new(keys.has_store(), Arc::clone(&clock), Arc::clone(&random));
        auth.tokens().set_limits(deployment.load().leases);
        let (records, mirror) = (Arc::clone(auth.records()), Arc::clone(auth.takeovers()));
        let evidence = Evidence::open(records, mirror, &deployment.load().keeping);
        let node = Self {
            evidence: Arc::new(evidence),
            auth: Arc::new(auth),
            audit,
            started: clock.unix_seconds(),
            last_reload: LastReload::none_since(clock.unix_seconds()),
            drills: DrillLog::default(),
            listener_certificates: ListenerCertificates::default(),
            alerts: None,
            bench,
            deployment,
            keys: Arc::new(keys),
            clock,
            random,
            bytes: ByteBudget::default(),
            metrics: Metrics::new(),
            state: OnceLock::new(),
            tasks: Mutex::new(JoinSet::new()),
        };
        node.poll_new_seals(None);
        node.follow_takeovers(None);
        node.keep_evidence();
        node.auth.methods().prepare(&node.deployment().auth_mounts);
        node.follow_store();
        node
    }

    /// What clients have opened with keys that are taken over.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The deployment of this moment; a request works with one from beginning to end.
    #[must_use]
    pub fn deployment(&self) -> Arc<Deployment> {
        self.deployment.load_full()
    }

    /// Who clients are, beside those that the deployment declares.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Where alerts are raised; `None` if nobody is to be told of any.
    #[must_use]
    pub const fn alerts(&self) -> Option<&Arc<Alerts>> {
        self.alerts.as_ref()
    }

    /// What goes wrong by script; `None` in a server that is no test bench.
    #[must_use]
    pub const fn bench(&self) -> Option<&Arc<Bench>> {
        self.bench.as_ref()
    }

    /// Where requests are recorded.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The type of the storage, as in the label of its stanza.
    #[must_use]
    pub fn storage_type(&self) -> Option<&'static str> {
        self.state.get().map(|state| state.kind)
    }

    #[cfg(test)]
    pub(crate) fn tell_state(&self, status: StateStatus) {
        self.state.get_or_init(KeptState::in_memory).watch.tell(status);
    }

    #[cfg(test)]
    pub(crate) fn offer_backups(&self, source: backup::Source) {
        self.state.get_or_init(KeptState::in_memory).watch.offer_backups(source);
    }

    /// What backups are made of; `None` without an open store.
    #[must_use]
    pub fn backup_source(&self) -> Option<&backup::Source> {
        self.state.get()?.watch.backup_source()
    }

    /// Whether replicas share the storage.
    #[must_use]
    pub fn has_shared_store(&self) -> bool {
        self.state.get().is_some_and(|state| state.is_shared)
    }

    /// Whether the managed keys are at hand, were the storage away by now or not.
    #[must_use]
    pub fn has_managed_keys(&self) -> bool {
        self.keys.has_store() && !self.keys.is_awaiting_store()
    }

    /// What drills have come to since the start.
    #[must_use]
    pub const fn drills(&self) -> &DrillLog {
        &self.drills
    }

    /// The certificates that its listeners show.
    #[must_use]
    pub const fn listener_certificates(&self) -> &ListenerCertificates {
        &self.listener_certificates
    }

    /// What became of the last reload.
    #[must_use]
    pub const fn last_reload(&self) -> &LastReload {
        &self.last_reload
    }

    /// A reload was taken, or refused for a reason, against which something helps.
    pub(crate) fn note_reload(&self, refused: Option<(&str, Remedy)>) {
        self.last_reload.note(self.clock.unix_seconds(), refused);
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

    /// What is counted, and what is known of seals and storage now, for Prometheus.
    ///
    /// # Errors
    ///
    /// None in practice: writing to a string does not fail.
    pub fn metrics_text(&self, deployment: &Deployment) -> Result<String, fmt::Error> {
        if let Some(figures) = self.store_figures() {
            self.metrics.store(figures);
        }
        self.metrics.certificates(self.auth.certificates().seen());
        self.metrics.listener_certificates(self.listener_certificates.all());
        self.metrics.undrilled_since(self.started);
        self.metrics.last_reload(&self.last_reload.standing());
        self.metrics.losses(deployment.memory.losses().len());
        self.metrics.left_out(self.keys.left_out().into_iter().map(|one| one.seal));
        self.metrics.tokens(self.auth.tokens().in_use());
        let now = self.clock.unix_seconds();
        self.metrics.text(deployment, &self.audit, &self.evidence, self.bench.as_deref(), now)
    }

    /// The managed keys.
    pub(crate) const fn keys(&self) -> &Arc<ManagedKeys> {
        &self.keys
    }

    /// Wall time.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The transit engine for what this node does by itself.
    fn own_transit(&self) -> Transit {
        self.transit(self.deployment(), ClientTag::SELKIE, Instant::now())
    }

    /// The transit engine, on `deployment`, for `client`, whose request `came` then.
    #[must_use]
    pub fn transit(
        &self,
        deployment: Arc<Deployment>,
        client: ClientTag,
        came: Instant,
    ) -> Transit {
        Transit {
            deployment,
            client,
            current: Arc::clone(&self.deployment),
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            metrics: Arc::clone(&self.metrics),
            until: came + Transit::REQUEST_PATIENCE,
            trail: None,
            unwraps: None,
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}
