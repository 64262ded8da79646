//! The start of the child process: the one place that starts a program.
//!
//! The child has nothing of ours but one socket, as its standard input. Nothing secret is on its
//! command line or in its environment. It inherits limits, `no_new_privs` and whatever confines who
//! starts it; so once the server is confined, the launch process starts it ([`launch_process`]).
//!
//! [`launch_process`]: super::launch_process

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::launch_process::{LaunchProcess, Launched};

/// What may be started: the program, the one library that it may load, and what that sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The program `selkie-pkcs11`.
    pub program: PathBuf,
    /// The maker's library.
    pub library: PathBuf,
    /// Its environment, beside what glibc is told.
    pub environment: Vec<(String, String)>,
}

/// What the child's own glibc is told: C memory is overwritten when it is freed. Without
/// `tcache_count=0` small pieces were not.
const WIPE_FREED: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.perturb=1:glibc.malloc.tcache_count=0");

/// Why no child was started.
#[derive(Debug)]
pub(super) enum LaunchError {
    /// The launch process has ended, and with it all that this server can start.
    NobodyLaunches,
    /// The system says why.
    Failed(io::Error),
}

impl From<io::Error> for LaunchError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A child, started by us or for us.
#[derive(Debug)]
pub(super) enum Process {
    Own(Child),
    Launched(Launched),
}

impl Launcher {
    /// A new child and our end of its socket. The child ends with the value or the socket,
    /// whichever goes first.
    pub(super) async fn launch(&self) -> Result<(Process, UnixStream), LaunchError> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let process = match LaunchProcess::of_this_process() {
            Some(other) => Process::Launched(other.launch(self, theirs.into()).await?),
            None => Process::Own(self.spawn(theirs.into())?),
        };
        Ok((process, UnixStream::from_std(ours)?))
    }

    pub(super) fn spawn(&self, socket: OwnedFd) -> io::Result<Child> {
        Command::new(&self.program)
            // The only one that it will load, whatever it is asked.
            .arg(&self.library)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(WIPE_FREED.0, WIPE_FREED.1)
            .current_dir("/")
            .stdin(Stdio::from(socket))
            // What a library prints there may be anything, a PIN included.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }
}

impl Process {
    /// Waits for its end; may be dropped and called again.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Own(child) => child.wait().await,
            Self::Launched(child) => child.wait().await,
        }
    }

    pub(super) fn start_kill(&mut self) -> io::Result<()> {
        match self {
            Self::Own(child) => child.start_kill(),
            Self::Launched(child) => child.start_kill(),
        }
    }
}
