//! Pages for keys without `memfd_secret`, as on a kernel that has none.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// From now on the calling thread has no hidden pages. A hidden page is taken out of the kernel's own
/// map, which interrupts all processors: the three that a state key has took a sixth of the time of a
/// seed, whose history does not tell what kind they are. Where there is no filter it takes that time.
pub(crate) fn are_not_hidden() {
    let Ok(target) = TargetArch::try_from(std::env::consts::ARCH) else { return };
    let calls = BTreeMap::from([(libc::SYS_memfd_secret, Vec::new())]);
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, absent, target).unwrap();
    let _none = apply_filter(&BpfProgram::try_from(filter).unwrap());
}
