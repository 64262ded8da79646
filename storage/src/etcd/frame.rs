//! How a value lies in etcd: its length, a CRC-32 of key and value, and the bytes.
//!
//! The checksum finds what broke by accident, and a value that lies under another record's key;
//! who tampers is found by the sealing above.

use crate::key::RecordKey;
use crate::record::RecordValue;

/// Why the bytes under a key are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the value is shorter than its frame")]
    Short,
    #[error("the value does not have the length that its frame states")]
    Length,
    #[error("the value does not have the checksum that its frame states")]
    Checksum,
    #[error("the key below the prefix is not a record key")]
    ForeignKey,
    #[error("the revision is negative")]
    Revision,
}

/// `value` as it is put under `key`.
pub(crate) fn frame(key: &RecordKey, value: &RecordValue) -> Vec<u8> {
    let bytes = value.as_bytes();
    // A value is far shorter than 4 GiB by its type.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(bytes.len() + 8);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&checksum(key, bytes).to_be_bytes());
    framed.extend_from_slice(bytes);
    framed
}

/// The value that lies framed under `key`.
pub(crate) fn unframe(key: &RecordKey, framed: &[u8]) -> Result<RecordValue, Damage> {
    let (length, rest) = framed.split_first_chunk().ok_or(Damage::Short)?;
    let (sum, bytes) = rest.split_first_chunk().ok_or(Damage::Short)?;
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(bytes.len()) {
        return Err(Damage::Length);
    }
    if u32::from_be_bytes(*sum) != checksum(key, bytes) {
        return Err(Damage::Checksum);
    }
    RecordValue::new(bytes).map_err(|_too_large| Damage::Length)
}

fn checksum(key: &RecordKey, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_str().as_bytes());
    // Keys hold no NUL, so that no byte can move between key and value.
    hasher.update(&[0]);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> RecordKey {
        text.parse().unwrap()
    }

    #[test]
    fn framed_value_comes_back() {
        for bytes in [&b""[..], b"\0", b"value"] {
            let value = RecordValue::new(bytes).unwrap();
            assert_eq!(unframe(&key("a"), &frame(&key("a"), &value)), Ok(value));
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_found() {
        let framed = frame(&key("a"), &RecordValue::new(*b"value").unwrap());
        for bit in 0..framed.len() * 8 {
            let mut broken = framed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(unframe(&key("a"), &broken).is_err(), "bit {bit}");
        }
        for length in 0..framed.len() {
            assert!(unframe(&key("a"), &framed[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn value_under_another_key_is_found() {
        let framed = frame(&key("a"), &RecordValue::new(*b"value").unwrap());
        assert_eq!(unframe(&key("b"), &framed), Err(Damage::Checksum));
    }
}
