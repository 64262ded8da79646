//! `selkie migrate`: all state from one storage into another.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use selkie_config::Storage;

use super::backup::{progress_bar, reporter};
use super::restore::{config_and_storage, open, open_to_leave, told, told_forgotten};
use super::{CommandError, multi_threaded, print};
use crate::backup::{CopyError, Target, migrate, offline};
use crate::state::checkpoint::CheckpointFile;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file with the storage to copy from.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration file with the storage to copy into.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let (from, from_storage) = config_and_storage(&arguments.from)?;
    let (to, to_storage) = config_and_storage(&arguments.to)?;
    if is_one_directory(&from_storage, &to_storage) {
        return Err(CopyError::SameStorage.into());
    }
    let runtime = multi_threaded()?;
    let bar = progress_bar(Some(0));
    let copied = runtime.block_on(async {
        let (from, to) = (offline(from).await?, offline(to).await?);
        let source = open_to_leave(&from_storage).await?;
        let store = open(&to_storage).await?;
        let target = Target { store: &store, transit: &to, force: false };
        let copied = migrate(&source, &from, target, &mut reporter(&bar)).await?;
        // The target's would stand against the store that is there now.
        let forgotten = to.deployment.keeping.data_dir.as_deref().map(CheckpointFile::forget);
        Ok::<_, CommandError>(told(&copied) + &told_forgotten(forgotten))
    });
    bar.finish_and_clear();
    print(output, &copied?)
}

/// The lock in it would be in the way too, and name a process that nobody can stop: this one.
fn is_one_directory(from: &Storage, to: &Storage) -> bool {
    let (Storage::Sled(from), Storage::Sled(to)) = (from, to) else { return false };
    let found = fs::canonicalize(&from.path).ok().zip(fs::canonicalize(&to.path).ok());
    found.is_some_and(|(from, to)| from == to)
}
