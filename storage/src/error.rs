//! What a store answers when it does not do what it was asked.

use std::error::Error;

use crate::key::RecordKey;
use crate::record::Revision;

/// Why a store did not do what it was asked; each variant tells the caller what is true now.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A guard did not hold: someone else was first. Nothing changed; read again and decide anew.
    #[error("{key} is not as the commit requires")]
    GuardFailed {
        /// The record of a guard that did not hold; there may be more.
        key: RecordKey,
    },
    /// One commit names one record in two writes. Nothing changed; the caller has a bug.
    #[error("{key} is written twice in one commit")]
    WrittenTwice {
        /// The record.
        key: RecordKey,
    },
    /// The place is the store's own, not one for records. Nothing changed; the caller has a bug.
    #[error("{key} is kept for the store itself")]
    Reserved {
        /// The record.
        key: RecordKey,
    },
    /// The commit exceeds [`MAX_COMMIT_RECORDS`](crate::MAX_COMMIT_RECORDS) or
    /// [`MAX_COMMIT_BYTES`](crate::MAX_COMMIT_BYTES). Nothing changed.
    #[error("the commit has too many records or bytes")]
    TooLarge,
    /// The changes after the asked revision are partly forgotten: list, and watch from there.
    #[error("the store remembers no changes before revision {oldest}")]
    Compacted {
        /// The oldest revision from which a watch can still start.
        oldest: Revision,
    },
    /// The store has never been at the asked revision: it was rolled back, or is another store.
    #[error("the store has only reached revision {newest}")]
    NotReached {
        /// The newest revision of the store.
        newest: Revision,
    },
    /// Something is stored and cannot be read. Nothing may be made anew in its place.
    #[error("the store is damaged")]
    Corrupt {
        /// The record, where the damage lies in one.
        key: Option<RecordKey>,
        /// What the backend saw.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store cannot be reached or does not take part now. Nothing changed; it may pass.
    #[error("the store is unavailable")]
    Unavailable {
        /// What the backend saw.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The commit was sent and its answer lost: it is applied whole or not at all, but which is
    /// open until the caller reads.
    #[error("the outcome of the commit is not known")]
    Undecided {
        /// What the backend saw.
        source: Box<dyn Error + Send + Sync>,
    },
}
