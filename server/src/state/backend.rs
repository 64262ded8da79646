//! From a `storage` stanza to the raw store.

use std::sync::Arc;

use selkie_config::Storage;
use selkie_storage::{MemoryStore, Store};

/// Why a storage cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// This build has no such backend.
    #[error("storage \"{kind}\" is not built in")]
    NotBuiltIn {
        /// The label of the stanza.
        kind: &'static str,
    },
}

/// The raw store that a stanza describes.
///
/// # Errors
///
/// [`BackendError`].
#[expect(clippy::unused_async, reason = "backends on a disk or a network wait")]
pub async fn open(storage: &Storage) -> Result<Arc<dyn Store>, BackendError> {
    match storage {
        Storage::InMemory => Ok(Arc::new(MemoryStore::new())),
        other => Err(BackendError::NotBuiltIn { kind: other.kind() }),
    }
}
