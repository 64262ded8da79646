//! What this process gives up before it loads code that is not ours.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

/// No core dump, no debugger of the same user, no new privileges. The parent has set most of it;
/// being dumpable comes back with each exec.
pub(crate) fn harden() -> Result<(), Errno> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)
}

/// Ends this process without running anything of the library's.
pub(crate) fn end_at_once() {
    // Should the kernel refuse, the process ends the usual way.
    let _refused = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}
