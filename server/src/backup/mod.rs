//! Copies of a whole store: backups, restores, and migrations to another backend. What is copied are
//! the raw records, so the store's own seal (invariant I5) goes with them: a copy is taken and put
//! only after its root has been verified, and nothing is changed before all of it has been.

mod copy;
mod fill;
mod format;
mod seal;
mod snapshot;
mod standing;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

pub(crate) use copy::listed;
pub use copy::{Copied, CopyError, Target, hand_over, migrate, offline, open_backup, restore};
pub use fill::{FillError, fill};
pub use format::{ContentError, Opened, read, read_frame, write};
pub use seal::{BackupSealError, new_key, open_key, open_state_key, sealed_state_key};
use selkie_crypto::StateKey;
use selkie_storage::Store;
pub use snapshot::{Damage, MAX_SNAPSHOT_BYTES, Snapshot, SnapshotError, take, take_in};
pub use standing::{Back, Standing, compare, look};

/// An open store, of which a running server can make backups.
#[derive(Clone, Debug)]
pub struct Source {
    /// The raw store.
    pub store: Arc<dyn Store>,
    /// The key of its records.
    pub state_key: Arc<StateKey>,
}
