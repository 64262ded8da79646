//! A raft snapshot, as `vault operator raft snapshot save` writes it: a gzipped tar whose `state.bin`
//! is one protobuf message for each record, each after its length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use prost::Message;

use super::{LARGEST_RECORD, RECORDS, SealedRecord, VaultStorageError, at_least_one, record};

/// `StorageEntry` of Vault's plugin protocol.
#[derive(Clone, PartialEq, Message)]
struct StorageEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The records behind which none of ours can come: they are in byte order.
const LAST: &str = "core/recovery-key";

/// The sealed records in the raft snapshot at `path`. It may be of any size that the header of
/// a tar tells by itself (8 GiB): it is read once, and only what is looked for is kept.
///
/// # Errors
///
/// [`VaultStorageError`].
pub fn from_raft_snapshot(path: &Path) -> Result<Vec<SealedRecord>, VaultStorageError> {
    let failed = |source| VaultStorageError::NotASnapshot { path: path.to_owned(), source };
    let file = File::open(path)
        .map_err(|source| VaultStorageError::Unreadable { path: path.to_owned(), source })?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    // Raw: what GNU and PAX put before an entry would be read into memory, however much it is.
    for entry in archive.entries().map_err(failed)?.raw(true) {
        let entry = entry.map_err(failed)?;
        if &*entry.path_bytes() != b"state.bin" {
            continue;
        }
        let values = sealed_values(&mut BufReader::new(entry)).map_err(failed)?;
        let records = values.iter().map(|entry| record(&entry.key, &entry.value));
        return at_least_one(records.collect::<Result<_, _>>()?, path);
    }
    Err(failed(io::ErrorKind::UnexpectedEof.into()))
}

fn sealed_values(state: &mut impl BufRead) -> io::Result<Vec<StorageEntry>> {
    let mut found: Vec<StorageEntry> = Vec::new();
    while found.len() < RECORDS.len()
        && let Some(length) = length(state)?
    {
        // Nothing of ours is that long, and nobody makes us keep what is.
        if length > LARGEST_RECORD {
            skip(state, length)?;
            continue;
        }
        let mut bytes = Vec::new();
        if state.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let entry = StorageEntry::decode(&*bytes).map_err(io::Error::other)?;
        if RECORDS.contains(&entry.key.as_str()) {
            // Each is there once in a store; a second one is nobody's.
            if found.iter().all(|other| other.key != entry.key) {
                found.push(entry);
            }
        } else if entry.key.as_str() > LAST {
            break;
        }
    }
    Ok(found)
}

fn skip(state: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut state.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The length of the next message, a varint; `None` at the end.
fn length(state: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut length = 0_u64;
    for shift in (0..63).step_by(7) {
        let mut byte = [0];
        if state.read(&mut byte)? == 0 {
            return if shift == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let [byte] = byte;
        length |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(Some(length));
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
