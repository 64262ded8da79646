//! The start of the child process: the one place that starts a program.
//!
//! The child has nothing of ours but one socket, as its standard input. Nothing secret is on its
//! command line or in its environment. It inherits this process's limits, its `no_new_privs` and
//! whatever confines it by then; a sandbox that is narrower than what the maker's library needs is
//! therefore to be put up after the launch, or this type given a process to launch from that was
//! made before: nothing else would change.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// Starts `selkie-pkcs11`.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    environment: Vec<(String, String)>,
}

/// What the child's own glibc is told: C memory is overwritten when it is freed. Without
/// `tcache_count=0` small pieces were not.
const WIPE_FREED: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.perturb=1:glibc.malloc.tcache_count=0");

impl Launcher {
    /// A launcher of `program`, whose library sees this environment.
    #[must_use]
    pub const fn new(program: PathBuf, environment: Vec<(String, String)>) -> Self {
        Self { program, environment }
    }

    /// A new child and our end of its socket. The child ends with the value or the socket,
    /// whichever goes first.
    pub(super) fn launch(&self) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(&self.program)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(WIPE_FREED.0, WIPE_FREED.1)
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // What a library prints there may be anything, a PIN included.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok((child, UnixStream::from_std(ours)?))
    }

    pub(super) fn program(&self) -> &std::path::Path {
        &self.program
    }
}
