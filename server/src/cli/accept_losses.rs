//! `selkie accept-losses`: what a configuration leaves behind is not missed any more.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CommandError, print, read_config};
use crate::promises::{Outlook, PromiseFile, PromiseFileError};

/// Run it as the user of the service, before a start with the file or while a server runs.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file: what it does not keep is not promised any more.
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let config = read_config(&arguments.config)?;
    let now = config.promises();
    let Some(data_dir) = config.data_dir else {
        return Err(CommandError::NothingRemembered { path: arguments.config.clone() });
    };
    let file = PromiseFile::new(&data_dir, config.local_key.map(Arc::new));
    let failed = |source| CommandError::Promises { path: file.path().to_owned(), source };
    let Some(remembered) = file.read().map_err(failed)? else {
        return print(output, "nothing is remembered here yet, so nothing is lost\n");
    };
    let mut promises = remembered.promises;
    let Outlook { losses, doubts, .. } = Outlook::of(&now, promises.clone());
    if losses.is_empty() {
        return print(output, "nothing is lost: the file keeps all that was promised\n");
    }
    for earlier in &mut promises {
        earlier.let_go(&now);
    }
    keeping_its_owner(file.path(), || file.write(&promises)).map_err(failed)?;
    let accepted = losses.iter().map(|loss| format!("accepted: {loss}\n"));
    let doubts = doubts.iter().map(|doubt| format!("still to do: {doubt}\n"));
    let advice = "a server that runs with this file tells of it until SIGHUP or its next start\n";
    print(output, &(accepted.chain(doubts).collect::<String>() + advice))
}

/// A file that root has replaced must be one that the service can still read.
fn keeping_its_owner(
    path: &Path,
    replace: impl FnOnce() -> Result<(), PromiseFileError>,
) -> Result<(), PromiseFileError> {
    let was = fs::metadata(path);
    replace()?;
    let given_back = was.and_then(|was| {
        let now = fs::metadata(path)?;
        let is_same = (now.uid(), now.gid()) == (was.uid(), was.gid());
        if is_same {
            Ok::<(), io::Error>(())
        } else {
            chown(path, Some(was.uid()), Some(was.gid()))
        }
    });
    given_back.map_err(PromiseFileError::Unwritable)
}
