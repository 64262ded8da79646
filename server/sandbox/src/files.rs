//! Which files can be opened, and which ports listened at: landlock.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
    path_beneath_rules,
};

use crate::Absent;

/// All rights up to this one are taken away; what a later kernel adds was never tried.
const TRIED: ABI = ABI::V6;

/// What stays allowed. A directory stands for all that is below it, also what comes later; what
/// does not exist is left out.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Files and directories to read.
    pub read: Vec<PathBuf>,
    /// Directories in which files are made, written, renamed and removed, and single files to write.
    pub write: Vec<PathBuf>,
    /// TCP ports to listen at.
    pub listen: Vec<u16>,
}

const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});

/// Restricts the calling thread; the version of landlock that is in force.
pub(crate) fn confine(allowed: &Allowed) -> Result<i32, Absent> {
    if !knows_renames() {
        return Err(absence());
    }
    let status = ruleset(allowed).map_err(Absent::Refused)?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Err(Absent::NotBuilt),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi as i32),
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Err(Absent::NotBuilt),
    }
}

fn ruleset(allowed: &Allowed) -> Result<landlock::RestrictionStatus, RulesetError> {
    let ports = allowed.listen.iter().map(|port| Ok(NetPort::new(*port, AccessNet::BindTcp)));
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::BindTcp)?
        // No signals to others, the launcher of HSM processes included.
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(&allowed.read, read))?
        .add_rules(path_beneath_rules(&allowed.write, WRITE))?
        .add_rules(ports.collect::<Vec<Result<_, RulesetError>>>())?
        .restrict_self()
}

/// Whether this landlock can tell a rename from one allowed directory into another.
fn knows_renames() -> bool {
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    strict.handle_access(AccessFs::Refer).is_ok()
}

/// Why there is no usable landlock. A ruleset that handles the oldest right alone tells, by a thread
/// that ends at once.
fn absence() -> Absent {
    let tried = std::thread::spawn(|| {
        let rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V1))?;
        rules.create()?.restrict_self()
    });
    match tried.join() {
        Ok(Ok(status)) => match status.landlock {
            LandlockStatus::NotEnabled => Absent::NotEnabled,
            LandlockStatus::NotImplemented => Absent::NotBuilt,
            LandlockStatus::Available { .. } => Absent::TooOld,
        },
        Ok(Err(error)) => Absent::Refused(error),
        Err(_panicked) => Absent::NotBuilt,
    }
}
