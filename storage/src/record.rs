//! What a store holds: values, and the order in which they came.

use std::fmt;
use std::sync::Arc;

use crate::key::RecordKey;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

/// The bytes of a record: opaque, bounded, cheap to clone; `Debug` prints their number only.
///
/// A store does not wipe values: they are sealed, or hold nothing secret, before they come here.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordValue(Arc<[u8]>);

impl RecordValue {
    /// A value of at most [`MAX_VALUE_BYTES`]; it may be empty.
    ///
    /// # Errors
    /// [`ValueTooLarge`].
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ValueTooLarge> {
        let bytes = bytes.into();
        if bytes.len() > MAX_VALUE_BYTES { Err(ValueTooLarge) } else { Ok(Self(bytes)) }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RecordValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordValue({} bytes)", self.0.len())
    }
}

/// A value has more than [`MAX_VALUE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record value has at most {MAX_VALUE_BYTES} bytes")]
pub struct ValueTooLarge;

/// A record as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub key: RecordKey,
    /// What it holds.
    pub value: RecordValue,
    /// The commit that last put it.
    pub revision: Revision,
}

/// A point in the history of a store: each commit that changes something has a greater one than
/// all before it. Revisions only compare; they do not count, and may leap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Before the first commit.
    pub const ORIGIN: Self = Self(0);

    /// The revision of this number, as a backend or a checkpoint has kept it.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, to be kept.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_bounded_to_the_byte() {
        assert!(RecordValue::new(vec![0; MAX_VALUE_BYTES]).is_ok());
        assert_eq!(RecordValue::new(vec![0; MAX_VALUE_BYTES + 1]), Err(ValueTooLarge));
    }

    #[test]
    fn value_never_prints_its_bytes() {
        let value = RecordValue::new(*b"SECRET").unwrap();
        assert_eq!(format!("{value:?}"), "RecordValue(6 bytes)");
    }
}
