//! What a server that has read its configuration confines itself to, and what a reload may still
//! name.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use selkie_config::{Config, SandboxMode};
use selkie_kms::pkcs11::{LaunchChild, Launcher, may_launch, start_launch_process};
use selkie_sandbox::{Allowed, Sandbox};
use tracing::{info, warn};

use super::needs::{files_of, launchers, needs, written_files};
use super::report::{InForce, say_in_force};
use super::{HardeningError, LAUNCH_COMMAND};

/// What confines this process.
#[derive(Debug)]
pub struct Confinement {
    /// `None` where it is not to be confined.
    sandbox: Option<Sandbox>,
    is_whole_memory_locked: bool,
}

/// Why a new configuration cannot be put to work by a confined process.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// A file lies elsewhere.
    #[error(
        "{} is not below the directories that this process was confined to at its start",
        .0.display()
    )]
    Outside(PathBuf),
    /// A file that is read is nowhere, which a restart would not mend.
    #[error("{}: no such file", .0.display())]
    Missing(PathBuf),
    /// A credential of systemd is not there, which only a start brings.
    #[error("{}: systemd gave this process no such credential at its start", .0.display())]
    NotGiven(PathBuf),
    /// A file that is written lies elsewhere.
    #[error(
        "{} is not in a directory that this process may write to since its start, as those of \
         declared audit files are",
        .0.display()
    )]
    NotWritable(PathBuf),
    /// An HSM's process would have to be another one.
    #[error(
        "seal \"pkcs11\" would start {} with the library {} in an environment that was not configured \
         at the start, and this process starts nothing else any more",
        .0.program.display(), .0.library.display()
    )]
    Program(Box<Launcher>),
}

/// Whether it is a credential of systemd that is not there. They are copied when the unit is started.
pub(super) fn is_credential_not_given(file: &Path) -> bool {
    let own = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|text| !text.is_empty());
    let mut places = own.iter().map(Path::new).chain([Path::new("/run/credentials")]);
    let is_nowhere = || file.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    places.any(|place| file.starts_with(place)) && is_nowhere()
}

impl ConfinementError {
    /// Of a file that the process may not open. Whether it is there may be asked all the same.
    fn elsewhere(file: &Path) -> Self {
        if is_credential_not_given(file) {
            return Self::NotGiven(file.to_owned());
        }
        match file.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing(file.to_owned()),
            _ => Self::Outside(file.to_owned()),
        }
    }
}

impl Confinement {
    /// Of a process that is not to be confined.
    #[must_use]
    pub const fn none() -> Self {
        Self { sandbox: None, is_whole_memory_locked: false }
    }

    /// Confines this process, which has no other threads yet, to what `config` and the `files` that
    /// it was read from need. HSM processes are started by another one from now on.
    ///
    /// # Errors
    ///
    /// [`HardeningError`]: a directory cannot be made, the kernel has not all that is required.
    pub fn enter(config: &Config, files: &[PathBuf]) -> Result<Self, HardeningError> {
        let is_whole_memory_locked = config.lock_all_memory;
        if config.sandbox == SandboxMode::Off {
            return Ok(Self { sandbox: None, is_whole_memory_locked });
        }
        let allowed: Allowed = needs(config, files)?;
        let launches = start_launches(launchers(config)).map_err(HardeningError::Launches)?;
        let sandbox = Sandbox::enter(&allowed);
        if config.sandbox == SandboxMode::Required && !sandbox.is_whole() {
            let Sandbox { landlock, seccomp, .. } = sandbox;
            let absent = landlock.err().or(seccomp.err()).ok_or(HardeningError::NotWhole)?;
            return Err(HardeningError::Absent(absent));
        }
        if let Some(child) = launches {
            child.watch().map_err(HardeningError::Launches)?;
        }
        Ok(Self { sandbox: Some(sandbox), is_whole_memory_locked })
    }

    /// One line of what is in force, and one for each thing that is not.
    pub fn tell(&self) {
        let now = InForce::of(self.sandbox.as_ref(), self.is_whole_memory_locked);
        info!(
            landlock = %now.landlock,
            seccomp = %now.seccomp,
            no_new_privileges = now.no_new_privileges,
            core_dumps = now.core_dumps,
            debuggable = now.debuggable,
            key_pages = now.key_pages,
            all_memory_locked = now.all_memory_locked,
            "hardening in force"
        );
        if let Some(Sandbox { landlock, seccomp, .. }) = &self.sandbox {
            let advice = "sandbox = \"required\" makes this fatal";
            if let Err(absent) = landlock {
                let reason = crate::telemetry::WithCauses(absent);
                warn!(%reason, advice, "landlock is not there: every file of this user stays open");
            }
            if let Err(absent) = seccomp {
                let reason = crate::telemetry::WithCauses(absent);
                warn!(%reason, advice, "seccomp is not there: every system call stays open");
            }
        }
        say_in_force(now);
    }

    /// Whether this process can read the file, so far as its confinement goes.
    #[must_use]
    pub fn covers(&self, path: &Path) -> bool {
        self.sandbox.as_ref().is_none_or(|sandbox| sandbox.covers(path))
    }

    /// Whether `config`, read from `files`, can be put to work by this process.
    ///
    /// # Errors
    ///
    /// [`ConfinementError`]: the first thing that needs a restart, or is missing.
    pub fn check(&self, config: &Config, files: &[PathBuf]) -> Result<(), ConfinementError> {
        let named = files_of(config);
        let outside = files.iter().chain(&named);
        let outside = outside.filter(|file| !self.covers(file) || is_credential_not_given(file));
        let outside = outside.map(|file| ConfinementError::elsewhere(file));
        // What a restart would not mend goes before what it might.
        let is_mended = |error: &ConfinementError| !matches!(error, ConfinementError::Missing(_));
        if let Some(error) = outside.min_by_key(is_mended) {
            return Err(error);
        }
        let Some(sandbox) = &self.sandbox else { return Ok(()) };
        let mut written = written_files(config).into_iter();
        if let Some(outside) = written.find(|file| !sandbox.covers_writing(file)) {
            return Err(ConfinementError::NotWritable(outside));
        }
        let has_none = |launcher: &Launcher| sandbox.seccomp.is_ok() && !may_launch(launcher);
        match launchers(config).into_iter().find(has_none) {
            Some(launcher) => Err(ConfinementError::Program(Box::new(launcher))),
            None => Ok(()),
        }
    }
}

/// The process that starts these from now on; `None` where there is none to start.
fn start_launches(launchers: Vec<Launcher>) -> io::Result<Option<LaunchChild>> {
    if launchers.is_empty() {
        return Ok(None);
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg(LAUNCH_COMMAND);
    start_launch_process(command, launchers).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_elsewhere_that_is_not_there_needs_no_restart_unless_it_is_a_credential() {
        let dir = tempfile::tempdir().unwrap();
        let told = |path: &Path| ConfinementError::elsewhere(path).to_string();
        let missing = told(&dir.path().join("selkei/cert.pem"));
        assert!(missing.contains("no such file"), "{missing}");
        let there = told(dir.path());
        assert!(there.contains("confined to at its start"), "{there}");
        let credential = told(Path::new("/run/credentials/none.service/tls.key"));
        assert!(credential.contains("no such credential at its start"), "{credential}");
    }
}
