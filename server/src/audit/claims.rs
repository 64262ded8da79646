//! Which files the devices write to: two that write to one break its chain, whatever they call it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lock;

/// The files that devices have open, by device and inode, with the names of those devices. Theirs too
/// that are in use no more, as long as a disk that hangs keeps their threads.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<(u64, u64), String>>);

/// A file that no other device gets as long as this lives; nor another server, once it is locked.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    file: (u64, u64),
    lock: Option<File>,
}

/// Another device has the file.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is the file of audit device {by:?}, which has not let go of it; two would break its chain: \
     give each a file of its own"
)]
pub(super) struct Claimed {
    /// That device's path in `sys/audit`.
    by: String,
}

impl Claims {
    /// Claims `file` for the device `by`, before the devices of this server alone so far.
    ///
    /// # Errors
    ///
    /// [`Claimed`].
    pub(super) fn take(self: &Arc<Self>, file: (u64, u64), by: &str) -> Result<Claim, Claimed> {
        match self.lock().entry(file) {
            Entry::Occupied(other) => return Err(Claimed { by: other.get().clone() }),
            Entry::Vacant(place) => place.insert(by.to_owned()),
        };
        Ok(Claim { claims: Arc::clone(self), file, lock: None })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u64, u64), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Locks the file, which is open as `opened` and has the name `path`, unless this has its lock.
    ///
    /// # Errors
    ///
    /// [`lock::HeldElsewhere`], or what the system says.
    pub(super) fn lock(&mut self, opened: &File, path: &Path) -> io::Result<()> {
        if self.lock.is_none() {
            self.lock = Some(lock::take(opened, path)?);
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.file);
    }
}
