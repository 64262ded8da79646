//! What a process can do against being looked into, without privileges and before it has read
//! anything secret; and what it gives up once it has read its configuration ([`Confinement`]). It is
//! the process's own business: nothing but the binary and its command line call it.

mod confinement;
mod needs;
mod recording;
mod report;

use std::io;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use selkie_sandbox::Absent;

pub use self::confinement::{Confinement, ConfinementError};
pub(crate) use self::recording::Recording;
pub use self::report::{InForce, in_force};

/// The command of this program that is the launch process, and not for people.
pub(crate) const LAUNCH_COMMAND: &str = "launch-hsm-processes";

/// A protection that the kernel would not give.
#[derive(Debug, thiserror::Error)]
pub enum HardeningError {
    /// Core dumps could not be switched off.
    #[error("core dumps cannot be switched off")]
    Core(#[source] Errno),
    /// The process stays open to debuggers.
    #[error("the process cannot be closed to debuggers")]
    Dumpable(#[source] Errno),
    /// The process could still gain privileges.
    #[error("privileges cannot be given up")]
    Privileges(#[source] Errno),
    /// The limit of open files could not be raised.
    #[error("the limit of open files (RLIMIT_NOFILE) cannot be raised")]
    Files(#[source] Errno),
    /// A directory that is written to cannot be made.
    #[error(
        "the directory {} of \"data_dir\", or of \"path\" in storage \"sled\", cannot be made",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file would be made in the root directory.
    #[error(
        "{}: a server that may make files in / is not confined: move it into a directory, or set \
         sandbox = \"off\"",
        path.display()
    )]
    WritesInRoot {
        /// The file.
        path: PathBuf,
    },
    /// The process that starts HSM processes does not start.
    #[error("the process that starts HSM processes does not start")]
    Launches(#[source] io::Error),
    /// What "sandbox" requires is not there.
    #[error("sandbox \"required\"")]
    Absent(#[source] Absent),
    /// The same, and nobody says why: a bug.
    #[error("sandbox \"required\": it is not whole")]
    NotWhole,
    /// The memory could not be locked.
    #[error(
        "\"disable_mlock = false\" asks for all memory to be locked, which needs the limit \
         RLIMIT_MEMLOCK raised (systemd: LimitMEMLOCK=infinity) or the capability CAP_IPC_LOCK; or \
         leave the field out: pages of keys are locked always"
    )]
    Lock(#[source] Errno),
}

/// No core dump, no debugger of the same user, no new privileges, no file for group and others.
///
/// # Errors
///
/// [`HardeningError`]: then nothing secret should be read.
pub fn harden_process() -> Result<(), HardeningError> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(HardeningError::Core)?;
    // Also makes /proc/PID/mem and its like root's.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(HardeningError::Dumpable)?;
    rustix::thread::set_no_new_privs(true).map_err(HardeningError::Privileges)
}

/// Has all memory come in small pages: with huge ones each thread's stack and each corner of the heap
/// takes 2 MiB. For what is mapped from now on; a kernel that has none of them refuses.
pub fn keep_pages_small() {
    let _refused = rustix::thread::disable_transparent_huge_pages(true);
}

/// Raises the number of files that may be open to what the process may have: by default it is too
/// low for the connections that a listener allows.
///
/// # Errors
///
/// [`HardeningError::Files`].
pub fn allow_connections() -> Result<(), HardeningError> {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    let all = Rlimit { current: maximum, maximum };
    rustix::process::setrlimit(Resource::Nofile, all).map_err(HardeningError::Files)
}

/// Locks everything that is or will be mapped, each page once it is used.
///
/// # Errors
///
/// [`HardeningError::Lock`].
pub fn lock_all_memory() -> Result<(), HardeningError> {
    // Without ONFAULT the unused part of every thread's stack would be resident.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(flags).map_err(HardeningError::Lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_as_allowed_may_be_open() {
        allow_connections().unwrap();
        let limit = rustix::process::getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn pages_stay_small() {
        keep_pages_small();
        // Where the kernel cannot tell there are none.
        assert!(rustix::thread::transparent_huge_pages_are_disabled().unwrap_or(true));
    }

    #[test]
    fn a_hardened_process_gives_no_dump_and_gains_nothing() {
        harden_process().unwrap();
        assert_eq!(rustix::process::getrlimit(Resource::Core).maximum, Some(0));
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, DumpableBehavior::NotDumpable);
        assert!(rustix::thread::no_new_privs().unwrap());
        let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        assert_eq!(mask, Mode::RWXG | Mode::RWXO);
    }
}
