//! One process writes to an audit file: two would break its chains and tear each other's lines. The
//! lock is advisory (`flock`) and lives as long as the file is open.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{major, minor};
use selkie_config::{AuditDevice, AuditKind};
use selkie_storage::Holder;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

/// Who looks whether a file is free holds it for a moment.
const TRIES: u32 = 10;
const TRY_PAUSE: Duration = Duration::from_millis(10);
/// How long a server that is told to stop may go on writing: requests under way, then the last lines.
const DRAINING: Duration = Duration::from_secs(15);
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// How long the disk of a file may take to say who has it.
const LOOK_WAIT: Duration = Duration::from_secs(1);
/// Where the kernel tells who has which lock; service managers may hide it.
const LOCKS: &str = "/proc/locks";

/// Another process has the file.
#[derive(Debug, thiserror::Error)]
#[error(
    "{holder}, most likely another Selkie, writes to it, and two would break its chain: stop that \
     one{}, or give this one a file of its own", HowToFindIt(*holder, path)
)]
pub(super) struct HeldElsewhere {
    holder: Holder,
    path: PathBuf,
}

impl HeldElsewhere {
    /// Whether this is what `error` says.
    pub(super) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|source| source.is::<Self>())
    }
}

/// A command to paste, where the process is not known.
struct HowToFindIt<'p>(Holder, &'p Path);

impl fmt::Display for HowToFindIt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Holder(None), path) = self else { return Ok(()) };
        let path = path.display().to_string().replace('\'', r"'\''");
        // Log shippers have it open too, and so have we, to wait for it.
        let own = std::process::id();
        write!(f, " (`fuser '{path}'` lists who has it open: the Selkie that is not process {own})")
    }
}

/// Locks `file`, which has the name `path`, for as long as what is returned, or `file` itself, lives.
/// On a file system without locks nothing is locked.
///
/// # Errors
///
/// [`HeldElsewhere`], or that there is no descriptor left.
pub(super) fn take(file: &File, path: &Path) -> io::Result<File> {
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
    Err(io::Error::other(HeldElsewhere { holder: holder_of(file), path: path.to_owned() }))
}

/// Waits until no other process has a file of `devices`, as long as one that was told to stop may take
/// for its last lines: whoever starts meanwhile, on the sockets that both have, takes over from it.
pub(crate) async fn await_others(devices: &[AuditDevice]) {
    let until = Instant::now() + DRAINING;
    let mut told: Option<PathBuf> = None;
    let mut files: Vec<_> = devices.iter().filter_map(file_of).map(Path::to_owned).collect();
    while let Some((path, holder)) = first_held(&mut files).await {
        if Instant::now() >= until {
            return;
        }
        if told.as_ref() != Some(&path) {
            tracing::warn!(
                file = %path.display(),
                %holder,
                seconds = DRAINING.as_secs(),
                "another process writes to an audit file: waiting for it, as long as a server that \
                 stops may take"
            );
            told = Some(path);
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// One of `files` that another process has, and who that is; the others are not looked at again. What
/// cannot be looked at, or not in time as its disk hangs, the start itself tells.
async fn first_held(files: &mut Vec<PathBuf>) -> Option<(PathBuf, Holder)> {
    while let Some(path) = files.last().cloned() {
        let looked_at = path.clone();
        let look = spawn_blocking(move || holder(&looked_at));
        if let Ok(Ok(Ok(Some(holder)))) = timeout(LOOK_WAIT, look).await {
            return Some((path, holder));
        }
        files.pop();
    }
    None
}

fn file_of(device: &AuditDevice) -> Option<&Path> {
    match &device.kind {
        AuditKind::File(file) => Some(&file.path),
        AuditKind::Syslog(_) | AuditKind::Socket(_) => None,
    }
}

/// Who has the audit file at `path`, if anybody.
///
/// # Errors
///
/// What keeps us from looking.
pub(crate) fn holder(path: &Path) -> io::Result<Option<Holder>> {
    let found = path.symlink_metadata();
    let opened = found.and_then(|found| found.is_file().then(|| File::open(path)).transpose());
    let file = match opened {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => None,
        opened => opened?,
    };
    let is_held = |file: &File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    Ok(file.filter(is_held).map(|file| holder_of(&file)))
}

/// The process that has locked `file`, as far as the kernel tells us. On some file systems (btrfs) it
/// tells another device than the file has.
fn holder_of(file: &File) -> Holder {
    let locks = fs::read_to_string(LOCKS).unwrap_or_default();
    let place = file
        .metadata()
        .map(|of| format!("{:02x}:{:02x}:{}", major(of.dev()), minor(of.dev()), of.ino()));
    Holder(place.ok().and_then(|place| pid_in(&locks, &place)))
}

/// Who has the lock on the file at `place` in a text such as
/// `2: FLOCK  ADVISORY  WRITE 4711 fe:00:5310257 0 EOF`; who waits for one has an arrow in it.
fn pid_in(locks: &str, place: &str) -> Option<u32> {
    let held = locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, "WRITE", pid, at, ..] if at == place => Some(pid),
            _ => None,
        }
    });
    // Of another namespace it is 0.
    held?.parse().ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "1: FLOCK  ADVISORY  READ 10 fe:00:57 0 EOF\n\
                         2: POSIX  ADVISORY  WRITE 11 fe:00:57 0 EOF\n\
                         2: -> FLOCK  ADVISORY  WRITE 12 fe:00:57 0 EOF\n\
                         3: FLOCK  ADVISORY  WRITE 13 fe:00:57 0 EOF\n\
                         4: FLOCK  ADVISORY  WRITE 0 fe:00:58 0 EOF\n";

    #[test]
    fn the_process_is_who_has_locked_the_file_itself() {
        assert_eq!(pid_in(LOCKS, "fe:00:57"), Some(13));
        assert_eq!(pid_in(LOCKS, "fe:00:58"), None, "a process of another namespace");
        assert_eq!(pid_in(LOCKS, "fe:01:57"), None);
    }

    #[test]
    fn the_advice_names_the_process_or_can_be_pasted_into_a_shell() {
        let told = |pid| {
            let path = "/var/log/it's mine.log".into();
            HeldElsewhere { holder: Holder(pid), path }.to_string()
        };
        assert!(told(Some(7)).starts_with("process 7, ") && !told(Some(7)).contains("fuser"));
        let pasted = r"(`fuser '/var/log/it'\''s mine.log'` lists who has it open: ";
        assert!(told(None).starts_with("another process, ") && told(None).contains(pasted));
    }

    #[test]
    fn the_kernel_tells_that_this_process_has_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holder(file.path()).unwrap(), None);
        file.as_file().lock().unwrap();
        let Some(Holder(pid)) = holder(file.path()).unwrap() else { panic!("nobody has it") };
        // Not on every file system, and not where /proc is hidden.
        assert!(pid.is_none_or(|pid| pid == std::process::id()), "{pid:?}");
    }
}
