//! `selkie accept-losses`: what a configuration leaves behind is not missed any more.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CommandError, print, read_config};
use crate::promises::{Outlook, PromiseFile};

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
    refuse_for_another(&data_dir)?;
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
    file.write(&promises).map_err(failed)?;
    let accepted = losses.iter().map(|loss| format!("accepted: {loss}\n"));
    let doubts = doubts.iter().map(|doubt| format!("still to do: {doubt}\n"));
    let advice = "a server that runs with this file tells of it until SIGHUP or its next start\n";
    print(output, &(accepted.chain(doubts).collect::<String>() + advice))
}

/// What root replaces, the service could not read any more; and giving a file away in a directory of
/// another user is a way to give him any file.
fn refuse_for_another(data_dir: &Path) -> Result<(), CommandError> {
    let owner = fs::metadata(data_dir).map(|dir| dir.uid());
    match owner {
        Ok(owner) if owner != rustix::process::geteuid().as_raw() => {
            Err(CommandError::AnothersData { path: data_dir.to_owned(), owner })
        }
        _ => Ok(()),
    }
}
