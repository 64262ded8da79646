//! One process writes to an audit file: two would break its chains and tear each other's lines. The
//! lock is advisory (`flock`) and lives as long as the file is open.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use selkie_config::{AuditDevice, AuditKind};
use tokio::time::{Instant, sleep};

/// Who looks whether a file is free holds it for a moment.
const TRIES: u32 = 10;
const TRY_PAUSE: Duration = Duration::from_millis(10);
/// How long a server that is told to stop may go on writing: requests under way, then the last lines.
const DRAINING: Duration = Duration::from_secs(15);
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Another process has the file.
#[derive(Debug, thiserror::Error)]
#[error(
    "another process, most likely another Selkie, writes to it, and two would break its chain: stop \
     that one (`fuser FILE` names it), or give this one a file of its own"
)]
pub(super) struct HeldElsewhere;

/// Locks `file` for as long as what is returned, or `file` itself, lives. On a file system without
/// locks nothing is locked.
///
/// # Errors
///
/// [`HeldElsewhere`], or that there is no descriptor left.
pub(super) fn take(file: &File) -> io::Result<File> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return file.try_clone(),
            Err(TryLockError::WouldBlock) => thread::sleep(TRY_PAUSE),
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "an audit file cannot be locked against other processes");
                return file.try_clone();
            }
        }
    }
    Err(io::Error::other(HeldElsewhere))
}

/// Waits until no other process has a file of `devices`, as long as one that was told to stop may take
/// for its last lines: whoever starts meanwhile, on the sockets that both have, takes over from it.
pub(crate) async fn await_others(devices: &[AuditDevice]) {
    let until = Instant::now() + DRAINING;
    let mut told: Option<PathBuf> = None;
    while let Some(path) = devices.iter().filter_map(file_of).find(|path| is_held(path)) {
        if Instant::now() >= until {
            return;
        }
        if told.as_deref() != Some(path) {
            tracing::warn!(
                file = %path.display(),
                seconds = DRAINING.as_secs(),
                "another process writes to an audit file: waiting for it, as long as a server that \
                 stops may take"
            );
            told = Some(path.to_owned());
        }
        sleep(LOOK_PAUSE).await;
    }
}

fn file_of(device: &AuditDevice) -> Option<&Path> {
    match &device.kind {
        AuditKind::File(file) => Some(&file.path),
        AuditKind::Syslog(_) | AuditKind::Socket(_) => None,
    }
}

/// What cannot be looked at the start itself tells.
fn is_held(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let file = is_file.then(|| File::open(path).ok()).flatten();
    file.is_some_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
