//! Adds up records while they change.

use std::collections::HashMap;

use selkie_crypto::{StateKey, StateSum};
use selkie_storage::{Commit, RecordKey, RecordValue, StoreError, Write};

use crate::state::Root;
use crate::state::layout::is_reserved;
use crate::state::sealed_store::open_value;

/// What the records of a store add up to, while they change.
pub(super) struct Tally<'k> {
    key: &'k StateKey,
    summands: HashMap<RecordKey, StateSum>,
    sum: StateSum,
}

impl<'k> Tally<'k> {
    pub(super) fn new(key: &'k StateKey) -> Self {
        Self { key, summands: HashMap::new(), sum: StateSum::default() }
    }

    /// The record is this from now on; it must open.
    pub(super) fn put(&mut self, place: RecordKey, value: &RecordValue) -> Result<(), StoreError> {
        if is_reserved(&place) {
            return Ok(());
        }
        open_value(self.key, &place, value)?;
        let summand = self.key.summand(place.as_str(), value.as_bytes());
        self.sum = self.sum.toggled(summand);
        if let Some(old) = self.summands.insert(place, summand) {
            self.sum = self.sum.toggled(old);
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, commit: Commit) -> Result<(), StoreError> {
        for write in commit.writes {
            match write {
                Write::Put(place, value) => self.put(place, &value)?,
                Write::Delete(place) => {
                    if let Some(old) = self.summands.remove(&place) {
                        self.sum = self.sum.toggled(old);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the records are those of `root`.
    pub(super) fn is(&self, root: &Root) -> bool {
        u64::try_from(self.summands.len()) == Ok(root.records) && self.sum == root.sum
    }
}
