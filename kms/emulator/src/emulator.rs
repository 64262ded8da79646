//! What all requests share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::faults::{Faults, Rule};
use crate::identity::KeptTokens;
use crate::key_vault::{Failure, Work};
use crate::reply::Reply;
use crate::serve::switch::Switch;
use crate::stats::Stats;
use crate::tokens::Tokens;
use crate::world::World;

/// The emulator's state.
#[derive(Debug)]
pub(crate) struct Emulator {
    world: Mutex<World>,
    /// What `POST /control/reset` goes back to.
    initial: World,
    initial_faults: Vec<Rule>,
    pub(crate) clock: Clock,
    pub(crate) tokens: Tokens,
    pub(crate) kept_tokens: KeptTokens,
    pub(crate) faults: Faults,
    pub(crate) stats: Arc<Stats>,
    pub(crate) workers: Workers,
    pub(crate) switch: Switch,
    pub(crate) throttles: bool,
    pub(crate) save: Option<PathBuf>,
    pub(crate) ca: PathBuf,
    pub(crate) addresses: OnceLock<Addresses>,
}

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
}

/// What an emulator starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) world: World,
    pub(crate) faults: Vec<Rule>,
    pub(crate) tokens: Tokens,
    pub(crate) throttles: bool,
    pub(crate) save: Option<PathBuf>,
    pub(crate) ca: PathBuf,
}

/// Threads for arithmetic; as many at a time as there are processors.
#[derive(Debug)]
pub(crate) struct Workers {
    places: Semaphore,
}

impl Workers {
    pub(crate) async fn run(&self, work: Work) -> Result<Reply, Failure> {
        let _place = self.places.acquire().await.map_err(|_closed| Failure::internal())?;
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_panicked| Err(Failure::internal()))
    }
}

impl Emulator {
    pub(crate) fn new(start: Start) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let faults = Faults::default();
        faults.add(start.faults.clone(), crate::clock::real_ms());
        Self {
            world: Mutex::new(start.world.clone()),
            initial: start.world,
            initial_faults: start.faults,
            clock: Clock::default(),
            tokens: start.tokens,
            kept_tokens: KeptTokens::default(),
            faults,
            stats: Arc::default(),
            workers: Workers { places: Semaphore::new(processors) },
            switch: Switch::default(),
            throttles: start.throttles,
            save: start.save,
            ca: start.ca,
            addresses: OnceLock::new(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Back to the start; keys keep their material.
    pub(crate) fn reset(&self) {
        let mut world = self.initial.clone();
        self.clock.set_offset(0);
        for vault in &mut world.vaults {
            vault.roles_since_ms = self.clock.now_ms();
        }
        *self.world() = world;
        self.tokens.revoke_all();
        self.faults.clear();
        self.faults.add(self.initial_faults.clone(), self.clock.now_ms());
        self.stats.reset();
    }

    /// The state in the form of the vaults file.
    pub(crate) fn state(&self) -> Value {
        serde_json::to_value(self.world().to_file()).unwrap_or_default()
    }

    /// Writes the state to the file of `--save`; whether there is one.
    pub(crate) fn save(&self) -> std::io::Result<bool> {
        let Some(path) = &self.save else { return Ok(false) };
        let text = serde_json::to_vec_pretty(&self.state())?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // A temporary file has mode 0600, and a rename leaves no half-written state.
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or_else(|| ".".as_ref()))?;
        std::io::Write::write_all(&mut file, &text)?;
        file.persist(path)?;
        Ok(true)
    }
}
