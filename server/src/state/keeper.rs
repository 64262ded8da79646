//! Opens the state in the background, as soon as it can be, and keeps what goes with it up to date.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use selkie_config::Storage;
use selkie_crypto::{SealName, StateKey};
use selkie_storage::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::checkpoint::CheckpointFile;
use super::missing::Missing;
use super::opening::{Behind, OpenError, Opened, State, WhenEmpty, tell_unwritten};
use super::presence::Presence;
use super::sealed_store::SealedStore;
use super::writes::{CountedStore, Writes};
use super::{backend, state_key};
use crate::auth::Auth;
use crate::backup::Source;
use crate::jitter::jittered;
use crate::seal::{KekRef, listed};
use crate::telemetry::WithCauses;
use crate::transit::Transit;

/// How long after a failed attempt the next one is made at first; each failure doubles it, up to the
/// last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long seals that are not known yet are waited for before that.
const LEARN_PATIENCE: Duration = Duration::from_secs(10);
/// How often a checkpoint is written at most.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);
/// How often the seals are looked at, and after how many looks the envelope is read all the same.
const SEALS_PAUSE: Duration = Duration::from_secs(5);
const LOOKS: u32 = 60;
/// For how long the envelope may be behind its seals before that is told: most seals come back.
const BEHIND_PATIENCE: Duration = Duration::from_secs(300);

/// How the state does, for health, status and metrics.
#[derive(Clone, Debug)]
pub enum StateStatus {
    /// It is being opened for the first time.
    Opening,
    /// It cannot be opened as long as something is away; that is tried again and again.
    Sealed {
        /// What is away.
        missing: Missing,
    },
    /// It is open, and has come to this commit.
    Open {
        /// The number of the newest commit that this process has seen.
        sequence: u64,
    },
    /// Something is wrong with it that does not pass by itself.
    Refused {
        /// What; [`OpenError::advice`] says what to do.
        why: Arc<OpenError>,
    },
}

impl StateStatus {
    /// In one word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Sealed { .. } => "sealed",
            Self::Open { .. } => "open",
            Self::Refused { .. } => "refused",
        }
    }

    /// What is missing, for anybody: it names no seal, no record and no address. `None` if nothing
    /// is.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::Open { .. } => return None,
            Self::Opening => "the state has not been opened yet",
            Self::Sealed { missing } => missing.reason(),
            Self::Refused { why } => why.reason(),
        })
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn advice(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Open { .. } => return None,
            Self::Opening => "nothing yet: it is being opened".into(),
            Self::Sealed { missing } => missing.advice(),
            Self::Refused { why } => why.advice(),
        })
    }
}

/// The raw store, or how to come by it.
#[derive(Debug)]
pub enum Backend {
    /// As the configuration says.
    Configured(Storage),
    /// Open already.
    Opened(Arc<dyn Store>),
}

impl Backend {
    pub(crate) const fn is_shared(&self) -> bool {
        match self {
            Self::Configured(storage) => storage.is_shared(),
            Self::Opened(_) => false,
        }
    }

    pub(crate) fn when_empty(&self) -> WhenEmpty {
        match self {
            Self::Configured(Storage::InMemory) => WhenEmpty::Create,
            Self::Configured(storage) if !storage.may_create() => WhenEmpty::Refuse,
            Self::Configured(_) | Self::Opened(_) => WhenEmpty::CreateAndWarn,
        }
    }
}

/// What is known of the state from outside.
#[derive(Debug)]
pub struct StateWatch {
    status: watch::Sender<StateStatus>,
    store: OnceLock<Arc<SealedStore>>,
    credentials: OnceLock<[u8; 32]>,
    backup_source: OnceLock<Source>,
    checkpoint: OnceLock<Checkpointed>,
    presence: Presence,
    writes: Arc<Writes>,
    behind: ArcSwapOption<Behind>,
}

/// What a checkpoint is written with.
#[derive(Debug)]
struct Checkpointed {
    file: CheckpointFile,
    key: Arc<StateKey>,
}

impl Default for StateWatch {
    fn default() -> Self {
        Self {
            status: watch::Sender::new(StateStatus::Opening),
            store: OnceLock::new(),
            credentials: OnceLock::new(),
            backup_source: OnceLock::new(),
            checkpoint: OnceLock::new(),
            presence: Presence::default(),
            writes: Arc::default(),
            behind: ArcSwapOption::empty(),
        }
    }
}

impl StateWatch {
    /// How the state does as of now.
    #[must_use]
    pub fn status(&self) -> StateStatus {
        let Some(store) = self.store.get() else { return self.status.borrow().clone() };
        if let Some((record, damage)) = store.damage() {
            let why = OpenError::Tampered { record: record.clone(), damage: *damage };
            return StateStatus::Refused { why: Arc::new(why) };
        }
        StateStatus::Open { sequence: store.seen().root.sequence }
    }

    /// What came of the writes to the storage.
    #[must_use]
    pub fn writes(&self) -> &Writes {
        &self.writes
    }

    /// What keeps the state key from following its seals, and has for a while.
    #[must_use]
    pub fn behind(&self) -> Option<Arc<Behind>> {
        self.behind.load_full()
    }

    /// Notes that, or that it is over, and tells it once.
    fn note_behind(&self, behind: Option<&Behind>) {
        if self.behind().as_deref() == behind {
            return;
        }
        self.behind.store(behind.cloned().map(Arc::new));
        match behind {
            Some(Behind { lacking, waits_for }) => tracing::warn!(
                lacking = %listed(lacking),
                waits_for = %listed(waits_for),
                advice = Behind::advice(),
                "the state key does not follow its seals: one of them is away or not trusted"
            ),
            None => tracing::info!("the state key is no longer behind its seals"),
        }
    }

    /// What tells the credentials that the storage was opened with from others; `None` where there
    /// are none, or it is not open.
    pub(crate) fn credentials(&self) -> Option<&[u8; 32]> {
        self.credentials.get()
    }

    #[cfg(test)]
    pub(crate) fn tell(&self, status: StateStatus) {
        self.status.send_replace(status);
    }

    /// What backups are made of; `None` while the state is not open.
    #[must_use]
    pub fn backup_source(&self) -> Option<&Source> {
        self.backup_source.get()
    }

    /// Lets backups be made of `source` from now on; the first one stays.
    pub(crate) fn offer_backups(&self, source: Source) {
        let _first = self.backup_source.set(source);
    }

    /// Leaves the store, for a stop.
    pub async fn leave(&self) {
        self.write_last_checkpoint().await;
        self.presence.end().await;
    }

    /// Writes down how far the store has come by now: [`keep_checkpoint`] may be a second behind.
    async fn write_last_checkpoint(&self) {
        let (Some(store), Some(kept)) = (self.store.get(), self.checkpoint.get()) else { return };
        let (file, key, root) = (kept.file.clone(), Arc::clone(&kept.key), store.seen().root);
        let written = tokio::task::spawn_blocking(move || file.write(&key, &root)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(
                file = %kept.file.path().display(),
                reason = %WithCauses(&error),
                advice = "make \"data_dir\" writable for Selkie",
                "the last checkpoint of the state is not written: a roll-back might not be seen"
            );
        }
    }

    /// Waits until the state is open.
    pub async fn opened(&self) {
        let is_open = |status: &StateStatus| matches!(status, StateStatus::Open { .. });
        // The sender lives in this, so it ends with an open state or not at all.
        let mut status = self.status.subscribe();
        let _open = status.wait_for(is_open).await;
    }
}

/// The task that opens the state.
pub(crate) struct Keeper {
    pub(crate) backend: Backend,
    pub(crate) when_empty: WhenEmpty,
    pub(crate) transit: Transit,
    pub(crate) auth: Arc<Auth>,
    pub(crate) watch: Arc<StateWatch>,
}

impl Keeper {
    /// Opens the state, hands it to the keys, and then keeps checkpoint and state key up to date.
    pub(crate) async fn run(mut self) {
        let (state, opened) = self.open_at_last().await;
        let presence = self.watch.presence.keep();
        tokio::join!(keep_checkpoint(&opened), self.follow_seals(&state, &opened), presence);
    }

    async fn open_at_last(&mut self) -> (State, Opened) {
        let (mut retry, mut told) = (FIRST_RETRY, String::new());
        loop {
            let error = match self.attempt().await {
                Ok(opened) => return opened,
                Err(error) => error,
            };
            let is_sealed = matches!(error, OpenError::Sealed { .. });
            self.note(error, &mut told);
            if !(is_sealed && learn(&self.now()).await) {
                sleep(jittered(&*self.transit.random, retry)).await;
                retry = (2 * retry).min(LAST_RETRY);
            }
        }
    }

    async fn attempt(&mut self) -> Result<(State, Opened), OpenError> {
        let transit = self.now();
        let is_lasting = !matches!(self.backend, Backend::Configured(Storage::InMemory));
        let raw = self.raw_store().await?;
        let keeping = &transit.deployment.keeping;
        // A checkpoint of what is gone with the process would only stand against the next one.
        let checkpoint_dir = keeping.data_dir.clone().filter(|_| is_lasting);
        if is_lasting {
            self.backend = Backend::Opened(Arc::clone(&raw));
        }
        let shared = Arc::clone(&raw);
        let writes = Arc::clone(&self.watch.writes);
        let raw: Arc<dyn Store> = Arc::new(CountedStore { inner: raw, writes });
        let state = State::new(Arc::clone(&raw), keeping.local_key.clone(), checkpoint_dir);
        let state = state.when_empty(self.when_empty);
        let opened = state.open(&transit).await?;
        let presence = &self.watch.presence;
        presence.begin(&shared, transit.clock.unix_seconds());
        // Before anything more is written, and for as long as all is loaded: who restores must see it.
        presence.show().await;
        tokio::select! {
            never = presence.keep() => match never {},
            loaded = self.load(&transit, &opened) => loaded?,
        }
        let store = Arc::clone(&opened.store);
        let sequence = store.seen().root.sequence;
        // Set once: after this there is no further attempt.
        let _first = self.watch.store.set(store);
        if let Some(file) = opened.checkpoint.clone() {
            let key = Arc::clone(&opened.key);
            let _first = self.watch.checkpoint.set(Checkpointed { file, key });
        }
        let source = Source { store: raw, state_key: Arc::clone(&opened.key) };
        self.watch.offer_backups(source);
        self.watch.status.send_replace(StateStatus::Open { sequence });
        tracing::info!(store = %opened.format.store, sequence, "the state is open");
        Ok((state, opened))
    }

    /// Loads all that is in the state, and lets the keys follow their seals.
    async fn load(&self, transit: &Transit, opened: &Opened) -> Result<(), OpenError> {
        let store = &opened.store;
        let auth = self.auth.attach(Arc::clone(store) as _, Arc::clone(&opened.key));
        auth.await.map_err(OpenError::Store)?;
        let keys = &transit.keys;
        keys.attach(Arc::clone(store) as _).await.map_err(OpenError::of_keys)?;
        keys.follow_seals(&transit.current, transit.clock.unix_seconds()).await;
        Ok(())
    }

    /// The raw store, opened unless it is open.
    async fn raw_store(&self) -> Result<Arc<dyn Store>, OpenError> {
        let storage = match &self.backend {
            Backend::Configured(storage) => storage,
            Backend::Opened(raw) => return Ok(Arc::clone(raw)),
        };
        // First, so that files which are replaced meanwhile are told of at the next reload.
        let credentials = backend::credentials_of(storage)?;
        let raw = backend::open(storage).await?;
        if let Some(credentials) = credentials {
            // Set once: after this the store is not opened again.
            let _first = self.watch.credentials.set(credentials);
        }
        Ok(raw)
    }

    fn note(&self, error: OpenError, told: &mut String) {
        let text = WithCauses(&error).to_string();
        if *told != text {
            tracing::error!(
                reason = %text,
                advice = %error.advice(),
                "the state is sealed: managed keys cannot be used, declared ones can"
            );
            *told = text;
        }
        self.watch.status.send_replace(match error {
            OpenError::Sealed { missing, .. } => {
                StateStatus::Sealed { missing: Missing::Seals(missing) }
            }
            other => match other.missing() {
                Some(missing) => StateStatus::Sealed { missing },
                None => StateStatus::Refused { why: Arc::new(other) },
            },
        });
    }

    async fn follow_seals(&self, state: &State, opened: &Opened) {
        let mut settled: Option<(Vec<KekRef>, u32)> = None;
        let mut found: Option<(Behind, Instant)> = None;
        loop {
            let transit = self.now();
            let now = transit.clock.unix_seconds();
            let keks = state_key::trusted_keks(&transit.deployment, now);
            settled = match settled {
                Some((before, looks)) if before == keks && looks < LOOKS => {
                    Some((keks, looks.saturating_add(1)))
                }
                _ => match state.follow_seals(&opened.key, &transit).await {
                    Ok(behind) => {
                        let since = found.map_or_else(Instant::now, |(_, since)| since);
                        found = behind.map(|behind| (behind, since));
                        Some((keks, 0))
                    }
                    Err(error) => {
                        tracing::warn!(
                            reason = %WithCauses(&error),
                            advice = %error.advice(),
                            "the state key could not follow its seals, and opens with the former"
                        );
                        None
                    }
                },
            };
            let lasting = found.as_ref().filter(|(_, since)| since.elapsed() >= BEHIND_PATIENCE);
            self.watch.note_behind(lasting.map(|(behind, _)| behind));
            sleep(jittered(&*self.transit.random, SEALS_PAUSE)).await;
        }
    }

    /// The engine on the deployment of this moment.
    fn now(&self) -> Transit {
        let until = Instant::now() + Transit::REQUEST_PATIENCE;
        let deployment = self.transit.current.load_full();
        Transit { deployment, until, ..self.transit.clone() }
    }
}

/// Asks the seals that are not known well enough what they are; whether one is now.
pub(crate) async fn learn(transit: &Transit) -> bool {
    let now = transit.clock.unix_seconds();
    let is_lacking = |keks: &[KekRef], name: &SealName| !keks.iter().any(|k| k.seal == *name);
    let before = state_key::trusted_keks(&transit.deployment, now);
    let mut tasks = JoinSet::new();
    for seal in transit.deployment.seals.enabled() {
        if is_lacking(&before, seal.name()) {
            let (learner, connection) = (transit.learner(), Arc::clone(&seal.connection));
            let deadline = Instant::now() + LEARN_PATIENCE;
            tasks.spawn(async move { learner.learn(&connection, deadline).await });
        }
    }
    while tasks.join_next().await.is_some() {}
    let after = state_key::trusted_keks(&transit.current.load(), now);
    after.iter().any(|kek| is_lacking(&before, &kek.seal))
}

/// Writes down how far the store has come, at most once a second.
pub(super) async fn keep_checkpoint(opened: &Opened) {
    let Some(file) = &opened.checkpoint else { return };
    let mut roots = opened.store.follow_root();
    // What was committed since the store was opened counts too.
    if opened.store.seen().root != opened.root || !opened.is_checkpoint_kept {
        roots.mark_changed();
    }
    let mut is_told = !opened.is_checkpoint_kept;
    while roots.changed().await.is_ok() {
        let root = roots.borrow_and_update().root;
        let (to, key) = (file.clone(), Arc::clone(&opened.key));
        let written = tokio::task::spawn_blocking(move || to.write(&key, &root)).await;
        match written {
            Ok(Ok(())) => is_told = false,
            Ok(Err(error)) => {
                if !is_told {
                    tell_unwritten(file, &error);
                }
                is_told = true;
                // Whether or not anything else is committed.
                roots.mark_changed();
            }
            Err(_ended) => return,
        }
        sleep(CHECKPOINT_PAUSE).await;
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}
