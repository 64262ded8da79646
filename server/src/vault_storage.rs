//! What a Vault's seal has encrypted, found in a copy of the Vault's storage: the few bytes that
//! stand between its sealed state and its keys. Nothing here decrypts, and no Vault is asked.

mod snapshot;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use prost::Message;
use selkie_crypto::base64;
use serde::Deserialize;

pub use self::snapshot::from_raft_snapshot;

/// Where Vault and OpenBao keep what their seal has encrypted: the root key, and the recovery key.
pub const RECORDS: [&str; 2] = ["core/hsm/barrier-unseal-keys", "core/recovery-key"];

/// A record is a few KiB; this is room for one with sixteen recipients.
const LARGEST_RECORD: u64 = 1 << 20;

/// One record that a transit seal has encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// Its place in the Vault's storage; empty where that is not known.
    pub name: String,
    /// Under which version the Vault believes it to be encrypted, such as `v1` or `transit/v1`.
    pub key_id: String,
    /// The transit server's ciphertext, `vault:v1:…`.
    pub ciphertext: String,
}

/// Why nothing was extracted.
#[derive(Debug, thiserror::Error)]
pub enum VaultStorageError {
    /// It cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is larger than such a record ever is.
    #[error("{}: larger than any record that a seal encrypts", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file of the file storage is not in its format.
    #[error("{}: not a record of Vault's file storage", path.display())]
    NotARecord {
        /// The file.
        path: PathBuf,
        /// The error behind it.
        source: serde_json::Error,
    },
    /// The record is not what a seal writes.
    #[error("{record}: not what a seal has encrypted")]
    NotABlob {
        /// The record's place in the storage.
        record: String,
        /// The error behind it.
        source: prost::DecodeError,
    },
    /// The record was encrypted by another type of seal.
    #[error("{record}: not encrypted by a transit seal")]
    NotTransit {
        /// The record's place in the storage.
        record: String,
    },
    /// The archive breaks off or is none.
    #[error("{}: not a raft snapshot, or not all of it", path.display())]
    NotASnapshot {
        /// The file.
        path: PathBuf,
        /// The error behind it.
        source: io::Error,
    },
    /// There is no such record.
    #[error(
        "{}: no {} there: not a Vault's storage, or that Vault was never initialised with a seal",
        path.display(),
        RECORDS.join(" and no ")
    )]
    Nothing {
        /// Where it was looked for.
        path: PathBuf,
    },
}

/// `BlobInfo` of go-kms-wrapping, which earlier versions call `EncryptedBlobInfo`.
#[derive(Clone, PartialEq, Message)]
struct BlobInfo {
    #[prost(bytes = "vec", tag = "1")]
    ciphertext: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    key_info: Option<KeyInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyInfo {
    #[prost(string, tag = "3")]
    key_id: String,
}

/// A record of `storage "file"`.
#[derive(Deserialize)]
struct FileEntry {
    #[serde(rename = "Value")]
    value: String,
}

/// The sealed records in the directory of a `storage "file"`.
///
/// # Errors
///
/// [`VaultStorageError`].
pub fn from_file_storage(dir: &Path) -> Result<Vec<SealedRecord>, VaultStorageError> {
    // What is not there has no records either, and that is another mistake.
    fs::metadata(dir)
        .map_err(|source| VaultStorageError::Unreadable { path: dir.to_owned(), source })?;
    let mut found = Vec::new();
    for name in RECORDS {
        let (directory, last) = name.rsplit_once('/').unwrap_or(("", name));
        let path = dir.join(directory).join(format!("_{last}"));
        let Some(text) = read_if_there(&path)? else { continue };
        let entry: FileEntry = serde_json::from_slice(&text)
            .map_err(|source| VaultStorageError::NotARecord { path: path.clone(), source })?;
        let value = base64::decode_secret(entry.value.as_bytes())
            .map_err(|_none| VaultStorageError::NotTransit { record: name.to_owned() })?;
        found.push(record(name, value.expose_for_own_use())?);
    }
    at_least_one(found, dir)
}

/// The record in `path` as it lies in any storage: the protobuf message of the seal.
///
/// # Errors
///
/// [`VaultStorageError`].
pub fn from_record_file(path: &Path) -> Result<Vec<SealedRecord>, VaultStorageError> {
    let bytes = read_if_there(path)?;
    let missing = || VaultStorageError::Unreadable {
        path: path.to_owned(),
        source: io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error()),
    };
    let (name, bytes) = (path.file_name(), bytes.ok_or_else(missing)?);
    let name = name.map(|name| name.to_string_lossy().replace(char::is_whitespace, "_"));
    let name = name.unwrap_or_default();
    // bbolt's own program writes a line end behind what it prints.
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    record(&name, &bytes).or_else(|_as_it_is| record(&name, line)).map(|record| vec![record])
}

/// What the seal's message in `value` says.
fn record(name: &str, value: &[u8]) -> Result<SealedRecord, VaultStorageError> {
    let blob = BlobInfo::decode(value)
        .map_err(|source| VaultStorageError::NotABlob { record: name.to_owned(), source })?;
    let not_transit = || VaultStorageError::NotTransit { record: name.to_owned() };
    let ciphertext = String::from_utf8(blob.ciphertext).map_err(|_bytes| not_transit())?;
    let key_id = blob.key_info.map(|info| info.key_id).unwrap_or_default();
    // Both go to a terminal and into lines of three words.
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !ciphertext.starts_with("vault:v") || !is_word(&ciphertext) || !is_word(&key_id) {
        return Err(not_transit());
    }
    Ok(SealedRecord { name: name.to_owned(), key_id, ciphertext })
}

fn at_least_one(
    found: Vec<SealedRecord>,
    path: &Path,
) -> Result<Vec<SealedRecord>, VaultStorageError> {
    if found.is_empty() {
        Err(VaultStorageError::Nothing { path: path.to_owned() })
    } else {
        Ok(found)
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, VaultStorageError> {
    let failed = |source| VaultStorageError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    // Not by its size, which is 0 for a pipe or a device.
    let mut bytes = Vec::new();
    let read = file.take(LARGEST_RECORD + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > LARGEST_RECORD {
        return Err(VaultStorageError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
