//! The one way to change a store: writes that happen together, if guards hold.

use std::collections::BTreeSet;

use crate::error::StoreError;
use crate::key::RecordKey;
use crate::record::{MAX_VALUE_BYTES, RecordValue, Revision};

/// The most guards, and the most writes, of one commit: etcd's default `--max-txn-ops`.
pub const MAX_COMMIT_RECORDS: usize = 128;

/// The most bytes of keys and values of one commit, which leaves room for framing within etcd's
/// default `--max-request-bytes` of 1.5 MiB.
pub const MAX_COMMIT_BYTES: usize = 1024 * 1024;

/// The most that a store takes in one commit; less where something stands between it and the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most guards, and the most writes.
    pub records: usize,
    /// The most bytes of keys and values together.
    pub bytes: usize,
    /// The most bytes of one value.
    pub value_bytes: usize,
}

impl Limits {
    /// Of every backend.
    pub const BACKEND: Self =
        Self { records: MAX_COMMIT_RECORDS, bytes: MAX_COMMIT_BYTES, value_bytes: MAX_VALUE_BYTES };

    /// Refuses what is over the limits, and what is written twice.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::WrittenTwice`].
    pub fn check(&self, guards: &[Guard], writes: &[Write]) -> Result<(), StoreError> {
        let bytes: usize = writes.iter().map(Write::byte_count).sum();
        let longest = writes.iter().map(Write::value_bytes).max().unwrap_or(0);
        if guards.len().max(writes.len()) > self.records
            || bytes > self.bytes
            || longest > self.value_bytes
        {
            return Err(StoreError::TooLarge);
        }
        let mut seen = BTreeSet::new();
        match writes.iter().map(Write::key).find(|key| !seen.insert(*key)) {
            Some(key) => Err(StoreError::WrittenTwice { key: key.clone() }),
            None => Ok(()),
        }
    }
}

/// What must be true of a record for a commit to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// There is no such record.
    Absent(RecordKey),
    /// The record was last put by the commit of this revision.
    At(RecordKey, Revision),
}

impl Guard {
    /// The record it speaks of.
    pub const fn key(&self) -> &RecordKey {
        match self {
            Self::Absent(key) | Self::At(key, _) => key,
        }
    }

    /// Whether it holds for a record that stands at `revision`, or is absent.
    pub(crate) fn holds(&self, revision: Option<Revision>) -> bool {
        match self {
            Self::Absent(_) => revision.is_none(),
            Self::At(_, required) => revision == Some(*required),
        }
    }
}

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The record holds this value from now on, whether or not it was there.
    Put(RecordKey, RecordValue),
    /// The record is gone; nothing happens if there was none.
    Delete(RecordKey),
}

impl Write {
    /// The record it changes.
    pub const fn key(&self) -> &RecordKey {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    fn byte_count(&self) -> usize {
        self.key().as_str().len() + self.value_bytes()
    }

    fn value_bytes(&self) -> usize {
        match self {
            Self::Put(_, value) => value.as_bytes().len(),
            Self::Delete(_) => 0,
        }
    }
}

/// A commit that happened, as a watch sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// When it happened.
    pub revision: Revision,
    /// All that changed, in the order of the keys.
    pub writes: Vec<Write>,
}

impl Commit {
    /// The bytes of its keys and values.
    pub(crate) fn byte_count(&self) -> usize {
        self.writes.iter().map(Write::byte_count).sum()
    }
}

/// Refuses what some backend could not take, so that all of them refuse the same.
pub(crate) fn check_limits(guards: &[Guard], writes: &[Write]) -> Result<(), StoreError> {
    Limits::BACKEND.check(guards, writes)
}
