//! `selkie restore`: a backup back into a storage.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie_config::{Config, Seal, Storage};
use selkie_storage::Store;

use super::backup::{progress_bar, reporter};
use super::break_glass::KeyArguments;
use super::{CommandError, multi_threaded, print, read_config};
use crate::backup::{Copied, CopyError, Target, hand_over, offline, read_frame, restore};
use crate::state::backend::{self, BackendError};
use crate::state::checkpoint::{CheckpointError, CheckpointFile};
use crate::telemetry::WithCauses;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file: one of its seals opens the backup, its storage is filled.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    key: KeyArguments,
    /// Also take back what the storage holds, or replace another store.
    #[arg(long)]
    force: bool,
    /// The backup.
    backup: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let path = &arguments.backup;
    let file = fs::read(path);
    let file = file.map_err(|source| CommandError::File { path: path.clone(), source })?;
    let (mut config, storage) = config_and_storage(&arguments.config)?;
    config.seals.extend(unlocked(arguments, &file)?);
    let runtime = multi_threaded()?;
    let bar = progress_bar(Some(0));
    let copied = runtime.block_on(async {
        let transit = offline(config).await?;
        let store = open(&storage).await?;
        let target = Target { store: &store, transit: &transit, force: arguments.force };
        let copied = restore(&file, target, &mut reporter(&bar)).await;
        let copied = copied.map_err(|error| refused(arguments, error))?;
        if arguments.key.is_given() {
            let handed_over = hand_over(&store, &transit).await;
            handed_over.map_err(|error| refused(arguments, error))?;
        }
        let forgotten = transit.deployment.keeping.data_dir.as_deref().map(CheckpointFile::forget);
        Ok::<_, CommandError>(told(&copied) + &told_forgotten(forgotten))
    });
    bar.finish_and_clear();
    print(output, &copied?)
}

/// The break-glass key as a seal beside those of the configuration, if its file was named.
fn unlocked(arguments: &Arguments, file: &[u8]) -> Result<Vec<Seal>, CommandError> {
    if !arguments.key.is_given() {
        return Ok(Vec::new());
    }
    let (envelope, _) = read_frame(file).map_err(|error| refused(arguments, error.into()))?;
    arguments.key.seals_for("backup", envelope)
}

fn refused(arguments: &Arguments, error: CopyError) -> CommandError {
    let (backup, config) = (arguments.backup.clone(), arguments.config.clone());
    match error {
        CopyError::GoesBack(back) => CommandError::RestoreGoesBack { backup, config, back },
        error => CommandError::Restore { backup, config, source: Box::new(error) },
    }
}

/// The store that no server may use meanwhile, to be filled.
pub(super) async fn open(storage: &Storage) -> Result<Arc<dyn Store>, CommandError> {
    backend::open_to_fill(storage).await.map_err(|error| unopened(storage, error))
}

/// The store that no server may use meanwhile, to be copied.
pub(super) async fn open_to_leave(storage: &Storage) -> Result<Arc<dyn Store>, CommandError> {
    backend::open_to_leave(storage).await.map_err(|error| unopened(storage, error))
}

fn unopened(storage: &Storage, source: BackendError) -> CommandError {
    match (storage, source) {
        (_, BackendError::Nested(nested)) => CommandError::Nested(nested),
        (Storage::Sled(sled), source) => {
            CommandError::StorageDirectory { path: sled.path.clone(), source }
        }
        (Storage::InMemory | Storage::Etcd(_), source) => CommandError::Backend(source),
    }
}

/// What became of the checkpoint, which would stand against a store that was put back on purpose.
pub(super) fn told_forgotten(
    forgotten: Option<Result<Option<PathBuf>, CheckpointError>>,
) -> String {
    match forgotten {
        // A service has its directory from systemd, and this command does not.
        None => "no \"data_dir\" here: remove the file state-checkpoint in that of every server\n"
            .into(),
        Some(Ok(None)) => String::new(),
        Some(Ok(Some(path))) => format!(
            "removed {}: on other machines, remove it where a server says that the storage went back\n",
            path.display()
        ),
        Some(Err(error)) => format!(
            "remove the file state-checkpoint in \"data_dir\" before a server starts: {}\n",
            WithCauses(&error)
        ),
    }
}

/// A configuration and its storage, which must outlive the command.
pub(super) fn config_and_storage(path: &Path) -> Result<(Config, Storage), CommandError> {
    let mut config = read_config(path)?;
    match config.storage.take() {
        None => Err(CommandError::NoStorage { path: path.to_owned() }),
        Some(Storage::InMemory) => Err(CommandError::KeepsNothing { path: path.to_owned() }),
        Some(storage) => Ok((config, storage)),
    }
}

/// What a copy came to, in words.
pub(super) fn told(copied: &Copied) -> String {
    let Copied { store, sequence, records, taken_back } = copied;
    let mut text = format!("store {store}: {records} records, commit {sequence}, verified\n");
    for back in taken_back {
        text += &format!("forced: {back}\n");
    }
    text
}
