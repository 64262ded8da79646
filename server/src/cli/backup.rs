//! `selkie backup`: all state of a running server in a file, sealed for its master keys.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::remote::{Remote, ServerArguments};
use super::{CommandError, print};
use crate::backup::read_frame;
use crate::durable_file;

/// A backup of the largest state, over a slow network.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the backup goes; a file that is there is replaced once the new one is whole.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let spinner = progress_bar(None);
    spinner.set_message("the server makes the backup");
    let fetched = runtime.block_on(server.fetch("sys/storage/selkie/snapshot", "read and sudo"));
    spinner.finish_and_clear();
    let bytes = fetched?;
    save(&arguments.output, &bytes)?;
    let text = format!("{}: {} bytes\n", arguments.output.display(), bytes.len());
    print(output, &text)
}

/// A bar on the terminal; nothing is drawn where there is none.
pub(super) fn progress_bar(total: Option<u64>) -> ProgressBar {
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
}

/// What a fill reports to, as a bar.
pub(super) fn reporter(bar: &ProgressBar) -> impl FnMut(usize, usize) + Send + '_ {
    let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
    move |done, total| {
        bar.set_length(number(total));
        bar.set_position(number(done));
    }
}

/// Puts `bytes` at `path`, whole and for its owner alone, or leaves what was there.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    read_frame(bytes)?;
    let failed = |source| CommandError::File { path: path.to_owned(), source };
    durable_file::replace(path, bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_backup_is_for_its_owner_alone_and_replaces_nothing_unless_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.backup");
        let good = b"selkie-backup 1\n{}\n0123456789abcdef";
        save(&path, good).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(save(&path, &good[..good.len() - 1]).is_err());
        assert_eq!(fs::read(&path).unwrap(), good);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary stays");
    }
}
