//! What a process gives up once it has read its configuration: files that it does not need
//! ([`landlock`](files), TCP ports included) and system calls that no server makes ([`calls`]). It
//! knows nothing of Selkie, and restricts the calling thread with all threads that it starts later:
//! so it is entered before there are others.

mod calls;
mod files;
mod places;

pub use files::Allowed;
use places::Places;

/// Why something is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// The kernel was built without landlock, or is older than Linux 5.13.
    #[error("the kernel has no landlock, or the seccomp profile of a container hides it")]
    NotBuilt,
    /// The kernel has it, and was told at boot not to use it.
    #[error("landlock is switched off: add it to the kernel's parameter \"lsm=\"")]
    NotEnabled,
    /// ABI 1 (Linux 5.13 to 5.18) forbids to rename from one directory into another, always.
    #[error("the kernel's landlock is too old: Linux 5.19 or later is needed")]
    TooOld,
    /// The kernel refuses.
    #[error("the kernel refuses landlock")]
    Refused(#[source] landlock::RulesetError),
    /// The filter of system calls cannot be installed.
    #[error("the kernel refuses the filter of system calls")]
    Filter(#[source] seccompiler::Error),
    /// There is no filter for this kind of processor.
    #[error("there is no filter of system calls for this kind of processor")]
    Processor,
}

/// What is in force.
#[derive(Debug)]
pub struct Sandbox {
    /// The version of landlock that the kernel and we have in common.
    pub landlock: Result<i32, Absent>,
    /// Whether system calls are filtered.
    pub seccomp: Result<(), Absent>,
    places: Option<Places>,
}

impl Sandbox {
    /// Confines the calling thread, and those that it will start, to what is allowed. What the
    /// kernel does not have is left out and told.
    #[must_use]
    pub fn enter(allowed: &Allowed) -> Self {
        let places = Places::of(allowed);
        let landlock = files::confine(allowed);
        let seccomp = calls::deny(calls::Who::Server);
        let places = landlock.is_ok().then_some(places);
        Self { landlock, seccomp, places }
    }

    /// Whether everything is in force.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.landlock.is_ok() && self.seccomp.is_ok()
    }

    /// Whether the process may read this file, or one that will have this name. `true` without
    /// landlock.
    #[must_use]
    pub fn covers(&self, path: &std::path::Path) -> bool {
        self.places.as_ref().is_none_or(|places| places.cover(path))
    }

    /// Whether the process may write this file, or make one of this name. `true` without landlock.
    #[must_use]
    pub fn covers_writing(&self, path: &std::path::Path) -> bool {
        self.places.as_ref().is_none_or(|places| places.cover_writing(path))
    }

    /// What the kernel would give, tried out by a thread that ends at once.
    pub fn probe() -> (Result<i32, Absent>, Result<(), Absent>) {
        let nothing = || (files::confine(&Allowed::default()), calls::deny(calls::Who::Server));
        std::thread::spawn(nothing)
            .join()
            .unwrap_or((Err(Absent::NotBuilt), Err(Absent::Processor)))
    }
}

/// Takes from a process that starts other programs, and from these, the system calls that concern the
/// machine as a whole.
///
/// # Errors
///
/// [`Absent`].
pub fn deny_what_concerns_the_machine() -> Result<(), Absent> {
    calls::deny(calls::Who::Launcher)
}
