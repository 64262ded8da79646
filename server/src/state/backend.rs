//! From the `storage` stanza to the raw store.

use std::sync::Arc;

use selkie_config::Storage;
use selkie_storage::{MemoryStore, Store, StoreError};

/// Why there is no raw store.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend says why.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This build has no such backend.
    #[error("storage \"{0}\" is not in this build")]
    NotBuilt(&'static str),
}

/// Opens the raw store that `storage` names.
///
/// # Errors
///
/// [`BackendError`].
#[expect(clippy::unused_async, reason = "backends on a disk or a network wait")]
pub async fn open(storage: &Storage) -> Result<Arc<dyn Store>, BackendError> {
    match storage {
        Storage::InMemory => Ok(Arc::new(MemoryStore::new())),
        Storage::Sled(_) | Storage::Etcd(_) => Err(BackendError::NotBuilt(storage.kind())),
    }
}
