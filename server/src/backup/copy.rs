//! Restores and migrations as a whole: all is verified before anything changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use selkie_config::Config;
use selkie_crypto::{SealName, StateKey, os_random};
use selkie_kms::ClientTag;
use selkie_storage::{Store, StoreError, Write};
use tokio::time::Instant;

use super::fill::require_ours;
use super::standing::{Back, Standing, compare, look};
use super::{
    BackupSealError, ContentError, Damage, FillError, Snapshot, SnapshotError, fill, open_key,
    open_state_key, read, read_frame, take,
};
use crate::clock::{Clock, SystemClock};
use crate::deployment::{Deployment, DeploymentError};
use crate::metrics::Metrics;
use crate::seal::listed as named;
use crate::state::keeper::learn;
use crate::state::opening::{OpenError, State};
use crate::state::presence::{PRESENCE, Present, Shown, present};
use crate::state::{others, state_key};
use crate::transit::{ManagedKeys, Transit};

/// Where a copy goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The raw store.
    pub store: &'t Arc<dyn Store>,
    /// The seals that its servers will have.
    pub transit: &'t Transit,
    /// Whether it may go back, or become another store.
    pub force: bool,
}

/// What a copy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The store's id.
    pub store: String,
    /// The number of its newest commit.
    pub sequence: u64,
    /// How many sealed records it has.
    pub records: u64,
    /// What was taken back, because it was forced.
    pub taken_back: Vec<Back>,
}

/// Why state was not copied. Only [`CopyError::Fill`] has changed the target, which servers refuse
/// then until the copy has been run to its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The backup is none, or was changed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The seals do not open what they must.
    #[error(transparent)]
    Seal(#[from] BackupSealError),
    /// The source cannot be copied.
    #[error("the source: {0}")]
    Source(#[source] SnapshotError),
    /// The source has nothing in it.
    #[error("the source is empty")]
    SourceEmpty,
    /// A restore or migration into the source was broken off.
    #[error("the source is half filled: run the restore or migration into it to its end first")]
    SourceBrokenOff,
    /// The target cannot be read.
    #[error("the target: {0}")]
    Target(#[source] SnapshotError),
    /// The target would go back.
    #[error("nothing has changed: {}", listed(.0))]
    GoesBack(Vec<Back>),
    /// The target holds what may not be Selkie's.
    #[error("nothing has changed: {}", what_to_delete(.0))]
    NotOurs(#[source] StoreError),
    /// The copy ended halfway.
    #[error("the target is half filled; run the same command again to finish")]
    Fill(#[source] FillError),
    /// Servers use the target, and would take the copy for tampering.
    #[error("nothing has changed: the storage is {}", in_use(.0))]
    InUse(Vec<Shown>),
    /// Servers use the source, and would go on to change it.
    #[error("nothing has changed: the source is {}", in_use(.0))]
    SourceInUse(Vec<Shown>),
    /// Source and target are one.
    #[error("source and target name the same storage: nothing was done")]
    SameStorage,
    /// Somebody changed the source during the copy.
    #[error("the source has changed meanwhile: stop all servers that use it, and run this again")]
    SourceChanged,
    /// The target is whole, and opens by no seal of its servers.
    #[error(
        "the storage is filled, but its state key is not wrapped anew, as nothing can be wrapped for {}: \
         until then it opens by the seals of the backup alone",
        named(.0)
    )]
    NotHandedOver(Vec<SealName>),
    /// The same, as the store or a seal fails.
    #[error("the storage is filled, but its state key is not wrapped for the configured seals")]
    HandOver(#[source] OpenError),
}

impl From<FillError> for CopyError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::NotOurs(error) => Self::NotOurs(error),
            FillError::Unread(error) => Self::Target(error.into()),
            halfway => Self::Fill(halfway),
        }
    }
}

fn in_use(servers: &[Shown]) -> String {
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let seconds = PRESENCE.as_secs();
    format!(
        "in use by {}, heard of within the last {seconds} s. Stop all of them and run this again; one \
         that was killed, or is gone for good, counts for {seconds} s more. A record that outlives its \
         server by more than that has lost its lease, as in a copy of etcd's keys, and may be deleted: \
         `etcdctl del KEY`. First make sure that the server is gone: on that host, `ps -p` with the number \
         of the process shows no Selkie, and `etcdctl get KEY -w json` shows no \"lease\". What a server \
         that runs has put comes back within {seconds} s",
        servers.join("; ")
    )
}

fn what_to_delete(error: &StoreError) -> String {
    others::removal(error).unwrap_or_else(|| "nothing but Selkie's own records is deleted".into())
}

/// What would be lost, in a line.
pub(crate) fn listed(back: &[Back]) -> String {
    let lines: Vec<_> = back.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// An engine for the seals of `config` without a server: for commands that unwrap.
///
/// # Errors
///
/// [`DeploymentError`].
pub async fn offline(config: Config) -> Result<Transit, DeploymentError> {
    let promises = config.promises();
    let deployment = Arc::new(Deployment::resume(config, promises, None, None).await?);
    Ok(Transit {
        current: Arc::new(ArcSwap::new(Arc::clone(&deployment))),
        deployment,
        keys: Arc::new(ManagedKeys::without_store()),
        clock: Arc::new(SystemClock),
        random: Arc::new(os_random),
        client: ClientTag::SELKIE,
        metrics: Metrics::new(),
        until: Instant::now() + Transit::REQUEST_PATIENCE,
        trail: None,
        unwraps: None,
    })
}

/// All that the backup `file` holds, opened by any one of the seals and verified, with its state key.
///
/// # Errors
///
/// [`CopyError::Content`] and [`CopyError::Seal`].
pub async fn open_backup(
    file: &[u8],
    transit: &Transit,
) -> Result<(Snapshot, StateKey), CopyError> {
    let (envelope, sealed) = read_frame(file)?;
    let key = open_key(transit, envelope).await?;
    let opened = read(sealed, key)?;
    let state_key = opened.sealed_state_key().map_err(ContentError::from)?;
    let state_key = open_state_key(transit, state_key).await?;
    Ok((opened.verify(&state_key)?, state_key))
}

/// Puts the backup `file` into the target.
///
/// # Errors
///
/// [`CopyError`].
pub async fn restore(
    file: &[u8],
    target: Target<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Copied, CopyError> {
    require_unused(target.store).await?;
    let (snapshot, state_key) = open_backup(file, target.transit).await?;
    put(&snapshot, &Arc::new(state_key), target, progress).await
}

/// Wraps the state key in `store` for the seals of `transit`, as a server does once it has opened it:
/// none would open it by a key that only people have.
///
/// # Errors
///
/// [`CopyError::NotHandedOver`], [`CopyError::HandOver`] and [`CopyError::Seal`]. It can be repeated.
pub async fn hand_over(store: &Arc<dyn Store>, transit: &Transit) -> Result<(), CopyError> {
    learn(transit).await;
    let (deployment, until) =
        (transit.current.load_full(), Instant::now() + Transit::REQUEST_PATIENCE);
    let transit = Transit { deployment, until, ..transit.clone() };
    let sealed = state_key::stored(&**store).await;
    let sealed = sealed.map_err(|error| CopyError::HandOver(error.into()))?;
    let key = open_state_key(&transit, &sealed).await?;
    let state = State::new(Arc::clone(store), None, None);
    let behind = state.follow_seals(&key, &transit).await.map_err(CopyError::HandOver)?;
    let trusted = state_key::trusted_keks(&transit.deployment, transit.clock.unix_seconds());
    match behind {
        Some(behind) => Err(CopyError::NotHandedOver(behind.waits_for)),
        None if trusted.is_empty() => {
            let enabled = transit.deployment.seals.enabled();
            let asked = enabled.filter(|seal| !seal.connection.is_offline());
            Err(CopyError::NotHandedOver(asked.map(|seal| seal.name().clone()).collect()))
        }
        None => Ok(()),
    }
}

/// Copies all of `source`, which the seals of `transit` open, into the target.
///
/// # Errors
///
/// [`CopyError`].
pub async fn migrate(
    source: &Arc<dyn Store>,
    transit: &Transit,
    target: Target<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Copied, CopyError> {
    require_another(source, target.store).await?;
    let servers = present(&**source).await.map_err(unread_source)?;
    if !servers.is_empty() {
        return Err(CopyError::SourceInUse(servers));
    }
    require_unused(target.store).await?;
    let snapshot = whole(source, transit).await?;
    let sealed = snapshot.sealed_state_key().ok_or(Damage::Missing("state-key"));
    let sealed = sealed.map_err(|damage| CopyError::Source(damage.into()))?;
    // The new servers must be able to open it too.
    let state_key = Arc::new(open_state_key(target.transit, sealed).await?);
    let copied = put(&snapshot, &state_key, target, progress).await?;
    let now = take(source, &state_key).await.map_err(CopyError::Source)?;
    if now == snapshot { Ok(copied) } else { Err(CopyError::SourceChanged) }
}

fn unread_source(error: StoreError) -> CopyError {
    CopyError::Source(error.into())
}

async fn require_unused(target: &Arc<dyn Store>) -> Result<(), CopyError> {
    let servers = present(&**target).await.map_err(|error| CopyError::Target(error.into()))?;
    if servers.is_empty() { Ok(()) } else { Err(CopyError::InUse(servers)) }
}

/// Refuses one store under two names: what shows in the target for a moment shows in the source too.
/// A source whose space is used up need not take anything.
async fn require_another(
    source: &Arc<dyn Store>,
    target: &Arc<dyn Store>,
) -> Result<(), CopyError> {
    let unwritten = |error: StoreError| CopyError::Target(error.into());
    let this = Present::this(SystemClock.unix_seconds());
    let Some(mark) = this.attend(&**target).await.map_err(unwritten)? else { return Ok(()) };
    let found = source.get(&mark).await;
    target.commit(&[], &[Write::Delete(mark)]).await.map_err(unwritten)?;
    match found.map_err(unread_source)? {
        Some(_) => Err(CopyError::SameStorage),
        None => Ok(()),
    }
}

async fn whole(source: &Arc<dyn Store>, transit: &Transit) -> Result<Snapshot, CopyError> {
    match look(source, transit).await.map_err(CopyError::Source)? {
        Standing::Whole(snapshot) => Ok(*snapshot),
        Standing::Empty => Err(CopyError::SourceEmpty),
        Standing::BrokenOff { .. } => Err(CopyError::SourceBrokenOff),
        Standing::Unopened(error) => Err(CopyError::Seal(error)),
        Standing::Damaged(damage) => Err(CopyError::Source(damage.into())),
        Standing::Corrupt(error) => Err(CopyError::Source(error.into())),
    }
}

async fn put(
    snapshot: &Snapshot,
    state_key: &Arc<StateKey>,
    target: Target<'_>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Copied, CopyError> {
    let standing = look(target.store, target.transit).await.map_err(CopyError::Target)?;
    if matches!(standing, Standing::Corrupt(_)) {
        require_ours(target.store, snapshot).await?;
    }
    let taken_back = compare(&standing, snapshot);
    if !taken_back.is_empty() && !target.force {
        return Err(CopyError::GoesBack(taken_back));
    }
    // Again, as seals may have been waited for.
    require_unused(target.store).await?;
    fill(target.store, snapshot, progress).await?;
    let held = take(target.store, state_key).await.map_err(CopyError::Target)?;
    if held != *snapshot {
        return Err(FillError::Disturbed.into());
    }
    Ok(Copied {
        store: held.format.store,
        sequence: held.root.sequence,
        records: held.root.records,
        taken_back,
    })
}
