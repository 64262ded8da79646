//! The pin file of a seal: what was last confirmed of its master key, so that encrypting goes on
//! across a restart while the KMS is away. No secret is in it.

mod canaries;
mod record;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie_crypto::{PinKey, SealName};
use selkie_kms::KekDescription;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::record::Record;
use super::canary::Canary;
use crate::durable_file;

/// A pin is about 1 KiB for each version; this is room for thousands.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Where a seal's pin is, and what it must be about.
#[derive(Clone, Debug)]
pub struct PinFile {
    path: PathBuf,
    seal: SealName,
    target: Box<str>,
    key: Option<Arc<PinKey>>,
}

/// What a pin says.
#[derive(Clone, Debug, PartialEq)]
pub struct Pinned {
    /// The master key's versions.
    pub keks: KekDescription,
    /// Whether the local key signed it.
    pub is_signed: bool,
}

/// Why a pin file is not believed, or was not written.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is no pin: truncated, edited or of another format.
    #[error("it is no pin file, or is damaged")]
    Malformed(#[source] Option<serde_json::Error>),
    /// It has been changed, or the local key has.
    #[error("its MAC is wrong: the file was changed, or the local key was")]
    WrongMac,
    /// It is of another seal.
    #[error("it is of seal {found:?}")]
    OtherSeal {
        /// Whose it is.
        found: String,
    },
    /// It is of another master key.
    #[error("it is of another master key: {found:?}")]
    OtherKey {
        /// The name of that key.
        found: String,
    },
    /// It cannot be written.
    #[error("it cannot be written")]
    Unwritable(#[source] io::Error),
}

impl PinFile {
    /// The pin of `seal`, about the master key `target`, in the data directory `data_dir`; signed if
    /// there is a local key.
    #[must_use]
    pub fn new(data_dir: &Path, seal: &SealName, target: &str, key: Option<Arc<PinKey>>) -> Self {
        let path = data_dir.join("pins").join(format!("{seal}.json"));
        Self { path, seal: seal.clone(), target: target.into(), key }
    }

    /// Whether both are the same file under the same local key.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let mac = |file: &Self| file.key.as_ref().map(|key| key.mac(b"the same key?"));
        self.path == other.path && mac(self) == mac(other)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what it says is believed without the KMS.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.key.is_some()
    }

    /// What it says; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`PinError`].
    pub fn read(&self) -> Result<Option<Pinned>, PinError> {
        let Some(record) = read_json::<Record>(&self.path)? else { return Ok(None) };
        let is_signed = record.is_signed_by(self.key.as_deref())?;
        if record.seal() != self.seal.as_str() {
            return Err(PinError::OtherSeal { found: record.seal().to_owned() });
        }
        if record.target() != &*self.target {
            return Err(PinError::OtherKey { found: record.target().to_owned() });
        }
        let keks = record.into_description().ok_or(PinError::Malformed(None))?;
        Ok(Some(Pinned { keks, is_signed }))
    }

    /// What the pin file of `seal` in the directory `pins` says, of whatever master key and whoever
    /// signed it: for a person who vouches for the file.
    ///
    /// # Errors
    ///
    /// [`PinError`].
    pub fn read_unproven(pins: &Path, seal: &SealName) -> Result<Option<KekDescription>, PinError> {
        let Some(record) = read_json::<Record>(&pins.join(format!("{seal}.json")))? else {
            return Ok(None);
        };
        if record.seal() != seal.as_str() {
            return Err(PinError::OtherSeal { found: record.seal().to_owned() });
        }
        record.into_description().ok_or(PinError::Malformed(None)).map(Some)
    }

    /// Writes it anew, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`PinError::Unwritable`].
    pub fn write(&self, keks: &KekDescription) -> Result<(), PinError> {
        write_json(&self.path, &Record::new(&self.seal, &self.target, keks, self.key.as_deref()))
    }

    /// What was wrapped under the seal's versions once, of whatever master key: another one under
    /// the same id is what they are for. None if there is no file.
    ///
    /// # Errors
    ///
    /// [`PinError`].
    pub(super) fn read_canaries(&self) -> Result<Vec<Canary>, PinError> {
        let record = read_json::<canaries::Record>(&self.canaries_path())?;
        let canaries = record.map(|one| one.into_canaries(&self.seal, self.key.as_deref()));
        canaries.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Writes them anew, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`PinError::Unwritable`].
    pub(super) fn write_canaries(&self, all: &[Canary]) -> Result<(), PinError> {
        let record = canaries::Record::new(&self.seal, all, self.key.as_deref());
        write_json(&self.canaries_path(), &record)
    }

    /// The file of the canaries.
    pub(super) fn canaries_path(&self) -> PathBuf {
        self.path.with_extension("canaries")
    }

    /// Keeps a file that was refused, out of the way, as `.refused`.
    ///
    /// # Errors
    ///
    /// [`PinError::Unwritable`].
    pub fn set_aside(&self) -> Result<(), PinError> {
        set_aside(&self.path)
    }

    /// The same with the file of the canaries.
    ///
    /// # Errors
    ///
    /// [`PinError::Unwritable`].
    pub(super) fn set_canaries_aside(&self) -> Result<(), PinError> {
        set_aside(&self.canaries_path())
    }
}

fn set_aside(path: &Path) -> Result<(), PinError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".refused");
    match fs::rename(path, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PinError::Unwritable(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_json(path: &Path, record: &impl Serialize) -> Result<(), PinError> {
    let text = serde_json::to_vec_pretty(record);
    let text = text.map_err(|error| PinError::Unwritable(error.into()))?;
    let written = durable_file::make_directory_of(path);
    written.and_then(|()| durable_file::replace(path, &text)).map_err(PinError::Unwritable)
}

fn read_json<R: DeserializeOwned>(path: &Path) -> Result<Option<R>, PinError> {
    let text = durable_file::read(path, MAX_BYTES).map_err(PinError::Unreadable)?;
    let Some(text) = text else { return Ok(None) };
    let record = serde_json::from_slice(&text);
    record.map(Some).map_err(|error| PinError::Malformed(Some(error)))
}

#[cfg(test)]
mod tests;
