//! What all records add up to: one that others put back, drop or add shows (invariant I5).

use selkie_crypto::StateSum;

/// What all sealed records of a store add up to. Each commit replaces it together with the records it
/// changes, so that a record put back, dropped or added by others shows (invariant I5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// The number of the newest commit: the first is 1, each is one more. It never goes back.
    pub sequence: u64,
    /// How many sealed records there are, without this one.
    pub records: u64,
    /// Their sum.
    pub sum: StateSum,
}

const BYTES: usize = 8 + 8 + 32;

impl Root {
    /// Of a store with nothing in it.
    pub const EMPTY: Self = Self { sequence: 0, records: 0, sum: StateSum::from_bytes([0; 32]) };

    /// `sequence ‖ records ‖ sum`, big endian, 48 bytes; sealed before it is kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.records.to_be_bytes());
        bytes.extend_from_slice(&self.sum.to_bytes());
        bytes
    }

    /// The inverse of [`Root::encode`]; `None` for any other length.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (sequence, rest) = bytes.split_first_chunk()?;
        let (records, sum) = rest.split_first_chunk()?;
        Some(Self {
            sequence: u64::from_be_bytes(*sequence),
            records: u64::from_be_bytes(*records),
            sum: StateSum::from_bytes(sum.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_comes_back_and_no_other_length_is_one() {
        let sum = StateSum::from_bytes([7; 32]);
        let root = Root { sequence: u64::MAX - 1, records: 3, sum };
        let bytes = root.encode();
        assert_eq!(Root::decode(&bytes), Some(root));
        for length in 0..bytes.len() {
            assert_eq!(Root::decode(&bytes[..length]), None);
        }
        assert_eq!(Root::decode(&[bytes, vec![0]].concat()), None);
    }
}
