//! What is in force, for the log, `selkie status` and `selkie doctor`.

use std::sync::OnceLock;

use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
use selkie_memory::SecretPage;
use selkie_sandbox::{Absent, Sandbox};
use serde_json::{Value, json};

use crate::telemetry::WithCauses;

/// What protects this process, each thing as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// `ABI` and its version, or why there is none.
    pub landlock: String,
    /// `system calls are filtered`, or why not.
    pub seccomp: String,
    /// Nothing that it starts gains privileges.
    pub no_new_privileges: bool,
    /// Whether the kernel would write its memory to a file.
    pub core_dumps: bool,
    /// Whether other processes of its user may look into it.
    pub debuggable: bool,
    /// How pages of keys are kept.
    pub key_pages: &'static str,
    /// Whether nothing of it is ever swapped out.
    pub all_memory_locked: bool,
}

static OURS: OnceLock<InForce> = OnceLock::new();

/// Has the rest of the process know what is in force; the first word counts.
pub(super) fn say_in_force(now: InForce) {
    let _first = OURS.set(now);
}

/// What protects this server; `None` if it was started by other means than its binary.
#[must_use]
pub fn in_force() -> Option<&'static InForce> {
    OURS.get()
}

impl InForce {
    pub(super) fn of(sandbox: Option<&Sandbox>, all_memory_locked: bool) -> Self {
        let off = || "off, by \"sandbox\"".to_owned();
        Self {
            landlock: sandbox.map_or_else(off, |sandbox| landlock(&sandbox.landlock)),
            seccomp: sandbox.map_or_else(off, |sandbox| seccomp(&sandbox.seccomp)),
            no_new_privileges: rustix::thread::no_new_privs().unwrap_or(false),
            core_dumps: getrlimit(Resource::Core).maximum != Some(0),
            debuggable: dumpable_behavior().ok() != Some(DumpableBehavior::NotDumpable),
            key_pages: key_pages(),
            all_memory_locked,
        }
    }

    /// What this machine would give a server, tried out.
    #[must_use]
    pub fn of_this_machine(all_memory_locked: bool) -> Self {
        let (tried_landlock, tried_seccomp) = Sandbox::probe();
        Self {
            landlock: landlock(&tried_landlock),
            seccomp: seccomp(&tried_seccomp),
            ..Self::of(None, all_memory_locked)
        }
    }

    /// The same for `sys/seal-backend-status`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "landlock": self.landlock,
            "seccomp": self.seccomp,
            "no_new_privileges": self.no_new_privileges,
            "core_dumps": self.core_dumps,
            "debuggable": self.debuggable,
            "key_pages": self.key_pages,
            "all_memory_locked": self.all_memory_locked,
        })
    }

    /// One thing each, and whether it is as it should be.
    #[must_use]
    pub fn lines(&self) -> Vec<(bool, String)> {
        let yes = |is: bool, yes: &str, no: &str| (is, (if is { yes } else { no }).to_owned());
        vec![
            (self.landlock.starts_with("ABI"), format!("files (landlock): {}", self.landlock)),
            (
                self.seccomp.starts_with("filtered"),
                format!("system calls (seccomp): {}", self.seccomp),
            ),
            yes(self.no_new_privileges, "no new privileges", "privileges can be gained"),
            yes(!self.core_dumps, "no core dumps", "core dumps are written"),
            yes(
                !self.debuggable,
                "closed to debuggers of its user",
                "open to debuggers of its user",
            ),
            (self.key_pages != "unlocked", format!("pages of keys: {}", self.key_pages)),
            yes(
                true,
                if self.all_memory_locked {
                    "all memory is locked"
                } else {
                    "other memory may be swapped out"
                },
                "",
            ),
        ]
    }
}

fn landlock(tried: &Result<i32, Absent>) -> String {
    match tried {
        Ok(version) => format!("ABI {version}"),
        Err(absent) => WithCauses(absent).to_string(),
    }
}

fn seccomp(tried: &Result<(), Absent>) -> String {
    match tried {
        Ok(()) => "filtered".to_owned(),
        Err(absent) => WithCauses(absent).to_string(),
    }
}

fn key_pages() -> &'static str {
    match SecretPage::<1>::new(|_| ()) {
        Ok(page) if page.is_hidden() => "hidden from the kernel",
        Ok(_) => "locked",
        Err(_) => "unlocked",
    }
}
