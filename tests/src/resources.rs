//! What a process takes of the machine: memory and open files.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How much memory a process holds, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Now (`VmRSS`).
    pub now: u64,
    /// At most, since its start or [`Resident::reset_peak`] (`VmHWM`).
    pub peak: u64,
}

impl Resident {
    /// Of this process.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn of(process: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        let [now, peak] = ["VmRSS:", "VmHWM:"].map(field);
        Ok(Self { now: now.context("no VmRSS")?, peak: peak.context("no VmHWM")? })
    }

    /// Has the peak counted from now on; needs the right to write to the other process's `/proc`.
    /// Without that it stays the peak since the start, which is no less.
    pub fn reset_peak(process: u32) {
        fs::write(format!("/proc/{process}/clear_refs"), "5").ok();
    }
}

/// How many files a process has open.
///
/// # Errors
///
/// If it is gone, or this is not its user's.
pub fn open_files(process: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// Lets this process open as many files as it may; the number.
///
/// # Errors
///
/// If that is refused.
pub fn raise_open_files() -> Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_seen() -> Result<()> {
        let before = Resident::of(std::process::id())?;
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = Resident::of(std::process::id())?;
        assert!(after.peak >= before.now + (60 << 10), "{before:?} {after:?}");
        drop(held);
        Ok(())
    }
}
