//! From a raw store to the sealed one: known layout, the state key, every record verified.

mod error;
mod local_copy;
mod recipients;
mod tally;
mod verification;

use std::path::PathBuf;
use std::sync::Arc;

use selkie_crypto::{PinKey, SealName, StateKey};
use selkie_storage::{Guard, Page, Record, RecordKey, RecordValue, Store, StoreError, Write};

pub use self::error::OpenError;
pub(crate) use self::error::TAMPERED_ADVICE;
pub use self::recipients::Behind;
pub(super) use self::verification::verify;
use super::Root;
use super::checkpoint::{CheckpointError, CheckpointFile, Found};
use super::layout::{FORMAT, Format, is_presence};
use super::sealed_store::{Damage, ROOT, SealedStore, SharedRandom, corrupt, seal_root};
use super::state_key;
use crate::seal::listed;
use crate::telemetry::WithCauses;
use crate::transit::{Transit, TransitError};

pub(super) const FORMAT_PLACE: &str = "format";
pub(super) const KEY_PLACE: &str = "state-key";
const FILLING: &str = "filling";

/// A reserved place, or another constant one.
pub(super) fn place(name: &str) -> Result<RecordKey, StoreError> {
    name.parse().map_err(|error| StoreError::Corrupt { key: None, source: Box::new(error) })
}

/// A raw store, and what it takes to open it besides the seals.
#[derive(Debug)]
pub struct State {
    raw: Arc<dyn Store>,
    local_key: Option<Arc<PinKey>>,
    checkpoint_dir: Option<PathBuf>,
    when_empty: WhenEmpty,
}

/// What to do with a store that has nothing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenEmpty {
    /// Make it ready: it is empty at every start.
    Create,
    /// Make it ready and warn: this is the first start, or the disk is not mounted.
    CreateAndWarn,
    /// Leave it alone: it is not the one that was meant.
    Refuse,
}

/// A store that was opened and verified.
#[derive(Debug)]
pub struct Opened {
    /// Contents in, contents out.
    pub store: Arc<SealedStore>,
    /// The key of its records.
    pub key: Arc<StateKey>,
    /// Whose it is.
    pub format: Format,
    /// How far it had come, kept outside of it.
    pub checkpoint: Option<CheckpointFile>,
    /// Whether that says as much.
    pub is_checkpoint_kept: bool,
    /// What its records added up to when it was opened.
    pub root: Root,
}

impl State {
    /// `raw`, which `local_key` may open as well as the seals; a checkpoint of it is in
    /// `checkpoint_dir`.
    #[must_use]
    pub const fn new(
        raw: Arc<dyn Store>,
        local_key: Option<Arc<PinKey>>,
        checkpoint_dir: Option<PathBuf>,
    ) -> Self {
        Self { raw, local_key, checkpoint_dir, when_empty: WhenEmpty::CreateAndWarn }
    }

    /// The same, with an empty store taken for what `when_empty` says.
    #[must_use]
    pub fn when_empty(self, when_empty: WhenEmpty) -> Self {
        Self { when_empty, ..self }
    }

    /// Opens the store with the seals of `transit`, or with the local key, and verifies all of it.
    /// A store with nothing in it at all is made ready first, unless a checkpoint or the
    /// configuration tells of one.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Nothing that is there is ever made anew.
    pub async fn open(&self, transit: &Transit) -> Result<Opened, OpenError> {
        let format = match self.format(transit).await? {
            Some(format) => format,
            None => {
                self.require_no_checkpoint()?;
                if self.when_empty == WhenEmpty::Refuse {
                    return Err(OpenError::NotThere);
                }
                self.create(transit).await?;
                self.format(transit).await?.ok_or_else(|| missing(FORMAT_PLACE))?
            }
        };
        let checkpoint =
            self.checkpoint_dir.as_deref().map(|dir| CheckpointFile::new(dir, &format.store));
        let key = Arc::new(self.state_key(&format, checkpoint.as_ref(), transit).await?);
        let seen = verify(&*self.raw, &key).await?;
        let is_checkpoint_kept = match &checkpoint {
            Some(file) => bring_up(file, &key, &seen.root)?,
            None => false,
        };
        let root = seen.root;
        let random: SharedRandom = Arc::clone(&transit.random) as _;
        let store = SealedStore::new(Arc::clone(&self.raw), Arc::clone(&key), random, seen)?;
        let store = Arc::new(store);
        Ok(Opened { store, key, format, checkpoint, is_checkpoint_kept, root })
    }

    /// Which layout the store has; `None` if there is nothing in it at all.
    async fn format(&self, transit: &Transit) -> Result<Option<Format>, OpenError> {
        let record = self.get(FORMAT_PLACE).await?;
        let format = record.map(|record| read_format(&record.value)).transpose()?;
        if self.get(FILLING).await?.is_some() {
            return Err(OpenError::Filling);
        }
        match format {
            Some(format) if transit.deployment.realms.contains(&format.realm) => Ok(Some(format)),
            Some(format) => Err(OpenError::OtherRealm {
                found: format.realm,
                ours: transit.deployment.realm().to_owned(),
            }),
            None => {
                let listing = self.raw.list(&Page::all()).await?;
                // Who migrates shows there for a moment, before there is anything else.
                let holds_any = listing.records.iter().any(|record| !is_presence(&record.key));
                if holds_any { Err(missing(FORMAT_PLACE)) } else { Ok(None) }
            }
        }
    }

    /// Storage that is empty where there was a store was wiped, or is not the one: a new state key
    /// in it would be the loss of all managed keys without a word.
    fn require_no_checkpoint(&self) -> Result<(), OpenError> {
        let Some(dir) = &self.checkpoint_dir else { return Ok(()) };
        let failed = |path, source| OpenError::Checkpoint { path, source };
        match CheckpointFile::of_any_store(dir) {
            Ok(None) => Ok(()),
            Ok(Some(path)) => Err(failed(path, CheckpointError::StoreGone)),
            Err(error) => Err(failed(dir.clone(), error)),
        }
    }

    /// Makes an empty store ready. Of several replicas one does so, and the others find it done.
    async fn create(&self, transit: &Transit) -> Result<(), OpenError> {
        let keks = state_key::trusted_keks(&transit.deployment, transit.clock.unix_seconds());
        if keks.is_empty() {
            let missing = transit.deployment.seals.enabled().map(|seal| seal.name().clone());
            return Err(OpenError::Sealed { missing: missing.collect(), source: None });
        }
        let (mut drawn, mut id) = (Ok(()), [0; 16]);
        let key = StateKey::init_with(|page| drawn = (transit.random)(page))?;
        let drawn = drawn.and_then(|()| (transit.random)(&mut id));
        drawn?;
        let envelope = state_key::encrypt(&key, &keks, transit).await;
        let envelope = envelope.map_err(|error| OpenError::of_seals(names(&keks), error))?;
        let format = Format {
            format: FORMAT,
            realm: transit.deployment.realm().to_owned(),
            store: uuid::Builder::from_random_bytes(id).into_uuid().to_string(),
            created: transit.clock.unix_seconds(),
        };
        let format = serde_json::to_vec(&format).map_err(OpenError::FormatUnreadable)?;
        let places = [FORMAT_PLACE, KEY_PLACE, ROOT, FILLING].map(place);
        let guards = places.into_iter().map(|place| Ok(Guard::Absent(place?)));
        let guards = guards.collect::<Result<Vec<_>, StoreError>>()?;
        let random: SharedRandom = Arc::clone(&transit.random) as _;
        let writes = [
            Write::Put(place(FORMAT_PLACE)?, value(format)?),
            Write::Put(place(KEY_PLACE)?, value(envelope)?),
            seal_root(&key, &place(ROOT)?, &Root::EMPTY, &random)?,
        ];
        match self.raw.commit(&guards, &writes).await {
            Ok(_) if self.when_empty == WhenEmpty::Create => {
                let seals = listed(&names(&keks));
                tracing::info!(%seals, "the storage is ready");
            }
            Ok(_) => {
                tracing::warn!(
                    seals = %listed(&names(&keks)),
                    advice = "if this is not the first start of this deployment, stop it: the disk \
                              is not mounted, or the path or prefix is another; after a first start \
                              set \"create = false\" in the storage stanza",
                    "the storage was empty and is ready now"
                );
            }
            Err(StoreError::GuardFailed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The state key: from the local key, which asks nobody, else from the seals.
    async fn state_key(
        &self,
        format: &Format,
        checkpoint: Option<&CheckpointFile>,
        transit: &Transit,
    ) -> Result<StateKey, OpenError> {
        let record = self.get(KEY_PLACE).await?.ok_or_else(|| missing(KEY_PLACE))?;
        if let Some(key) = self.local_copy(format).await? {
            return Ok(key);
        }
        let json = record.value.as_bytes();
        let envelope = state_key::parse(json, &transit.deployment, None);
        let envelope =
            envelope.map_err(|refusal| OpenError::StateKey(TransitError::Refused(refusal)))?;
        let recipients = names(&state_key::recipients(&envelope));
        let opened = state_key::decrypt(&envelope, transit).await;
        let opened = opened.map_err(|error| OpenError::of_seals(recipients, error))?;
        let key = StateKey::from_plaintext(&opened)?.ok_or(OpenError::KeyLength)?;
        if !state_key::has_our_origin(json, &transit.deployment) {
            let failed = |file: &CheckpointFile, source| OpenError::Checkpoint {
                path: file.path().to_owned(),
                source,
            };
            let vouches = |file: &CheckpointFile| {
                file.vouches_for(&key).map_err(|source| failed(file, source))
            };
            if !checkpoint.map(vouches).transpose()?.unwrap_or(false) {
                return Err(OpenError::OriginUnproven);
            }
        }
        self.keep_local_copy(format, &key, transit).await;
        Ok(key)
    }

    async fn get(&self, name: &'static str) -> Result<Option<Record>, StoreError> {
        self.raw.get(&place(name)?).await
    }
}

/// Brings a checkpoint that does not contradict the store up to `root`; whether it is now.
///
/// The first one is a condition: without any, no roll-back would ever show. One that is behind does
/// its work, as it does between two writes, and a full disk keeps no state from opening.
fn bring_up(file: &CheckpointFile, key: &StateKey, root: &Root) -> Result<bool, OpenError> {
    let failed = |source| OpenError::Checkpoint { path: file.path().to_owned(), source };
    let found = file.check(key, root).map_err(failed)?;
    if found == Found::Same {
        return Ok(true);
    }
    match file.write(key, root) {
        Err(error) if found == Found::Behind => {
            tell_unwritten(file, &error);
            Ok(false)
        }
        written => written.map(|()| true).map_err(failed),
    }
}

/// Tells that a checkpoint stays behind.
pub(super) fn tell_unwritten(file: &CheckpointFile, error: &CheckpointError) {
    tracing::error!(
        file = %file.path().display(),
        reason = %WithCauses(error),
        advice = "make \"data_dir\" writable for Selkie, and see that its disk has space; it is \
                  tried again by itself",
        "the checkpoint of the state is not kept: a roll-back might not be seen"
    );
}

fn read_format(value: &RecordValue) -> Result<Format, OpenError> {
    #[derive(serde::Deserialize)]
    struct Number {
        format: u32,
    }
    let number: Number =
        serde_json::from_slice(value.as_bytes()).map_err(OpenError::FormatUnreadable)?;
    if number.format != FORMAT {
        return Err(OpenError::OtherFormat { found: number.format, known: FORMAT });
    }
    serde_json::from_slice(value.as_bytes()).map_err(OpenError::FormatUnreadable)
}

fn names(keks: &[crate::seal::KekRef]) -> Vec<SealName> {
    keks.iter().map(|kek| kek.seal.clone()).collect()
}

fn value(bytes: Vec<u8>) -> Result<RecordValue, StoreError> {
    RecordValue::new(bytes).map_err(|_large| StoreError::TooLarge)
}

fn missing(name: &'static str) -> OpenError {
    match place(name) {
        Ok(key) => OpenError::Store(corrupt(&key, Damage::Missing)),
        Err(error) => OpenError::Store(error),
    }
}

#[cfg(test)]
mod tests;
