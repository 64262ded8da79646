//! What `fuzz/` reaches of what is private. No part of the interface.

use crate::commit::Commit;
use crate::key::RecordKey;
use crate::record::{Record, RecordValue, Revision};

/// What a journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Journal {
    /// Not even its image.
    Unreadable,
    /// All of it, or the first of its frames.
    Read {
        /// Whether every byte is accounted for.
        is_whole: bool,
        /// The last commit that was read.
        newest: Revision,
        /// All records, in the order of their keys.
        records: Vec<Record>,
    },
}

/// Reads a journal.
#[must_use]
pub fn journal(bytes: &[u8]) -> Journal {
    crate::sled::fuzzing::read(bytes)
}

/// A journal of these records and then these commits.
#[must_use]
pub fn journal_of(newest: Revision, records: &[Record], commits: &[Commit]) -> Vec<u8> {
    crate::sled::fuzzing::write(newest, records, commits)
}

/// A value as it lies in etcd.
#[must_use]
pub fn framed(key: &RecordKey, value: &RecordValue) -> Vec<u8> {
    crate::etcd::frame::frame(key, value)
}

/// The value that lies so in etcd, if it is whole.
#[must_use]
pub fn unframed(key: &RecordKey, bytes: &[u8]) -> Option<RecordValue> {
    crate::etcd::frame::unframe(key, bytes).ok()
}
