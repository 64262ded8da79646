//! The file in which evidence is kept where there is no store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie_crypto::PinKey;
use serde::{Deserialize, Serialize};

use super::record::UsageRecord;
use crate::durable_file;

const FILE: &str = "takeover.json";
/// What is longer was not written by us.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// A file in the data directory, under a MAC of the local key.
#[derive(Clone, Debug)]
pub(super) struct EvidenceFile {
    path: PathBuf,
    key: Arc<PinKey>,
}

/// Why the file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum EvidenceFileError {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is damaged, or of a later version of Selkie")]
    Malformed,
    #[error("its MAC is wrong: the file was changed, or the local key was")]
    WrongMac,
    #[error("it would be too large to be read again")]
    TooLarge,
    #[error("it cannot be written")]
    Unwritable(#[source] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// The JSON of a list of records, which is what the MAC is of.
    content: String,
    mac: [u8; 32],
}

impl EvidenceFile {
    pub(super) fn new(data_dir: &Path, key: Arc<PinKey>) -> Self {
        Self { path: data_dir.join(FILE), key }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; nothing without a file.
    pub(super) fn read(&self) -> Result<Vec<UsageRecord>, EvidenceFileError> {
        let text =
            durable_file::read(&self.path, MAX_BYTES).map_err(EvidenceFileError::Unreadable)?;
        let Some(text) = text else { return Ok(Vec::new()) };
        let malformed = |_error| EvidenceFileError::Malformed;
        let sealed: Sealed = serde_json::from_slice(&text).map_err(malformed)?;
        if !self.key.verify(&signed(&sealed.content), &sealed.mac) {
            return Err(EvidenceFileError::WrongMac);
        }
        let records: Vec<UsageRecord> = serde_json::from_str(&sealed.content).map_err(malformed)?;
        match records.iter().all(UsageRecord::is_known) {
            true => Ok(records),
            false => Err(EvidenceFileError::Malformed),
        }
    }

    /// Replaces what the file holds with `records`, atomically. Blocks.
    pub(super) fn write(&self, records: &[UsageRecord]) -> Result<(), EvidenceFileError> {
        let unwritable = |error: serde_json::Error| EvidenceFileError::Unwritable(error.into());
        let content = serde_json::to_string(records).map_err(unwritable)?;
        let mac = self.key.mac(&signed(&content));
        let text = serde_json::to_vec(&Sealed { content, mac }).map_err(unwritable)?;
        if u64::try_from(text.len()).map_or(true, |length| length > MAX_BYTES) {
            return Err(EvidenceFileError::TooLarge);
        }
        let written = durable_file::make_directory_of(&self.path)
            .and_then(|()| durable_file::replace(&self.path, &text));
        written.map_err(EvidenceFileError::Unwritable)
    }

    /// Keeps a file that was refused, out of the way, as `.refused`.
    pub(super) fn set_aside(&self) -> Result<(), EvidenceFileError> {
        let aside = self.path.with_extension("json.refused");
        fs::rename(&self.path, aside).map_err(EvidenceFileError::Unwritable)
    }
}

/// The local key signs other files too, none of which begins like this.
fn signed(content: &str) -> Vec<u8> {
    ["selkie takeover\n", content].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::record::Pair;
    use super::super::usage::Usage;
    use super::*;

    fn file(dir: &Path, fill: u8) -> EvidenceFile {
        EvidenceFile::new(dir, Arc::new(PinKey::init_with(|page| page.fill(fill)).unwrap()))
    }

    #[test]
    fn what_would_not_be_read_again_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let ours = file(dir.path(), 1);
        let pair = Pair { key: "k".into(), client: "a".repeat(8 * 1024 * 1024).into() };
        let records = [UsageRecord::new(&pair, Usage::default())];
        assert!(matches!(ours.write(&records), Err(EvidenceFileError::TooLarge)));
        assert!(ours.read().unwrap().is_empty());
    }

    #[test]
    fn a_file_reads_as_written_and_neither_edited_nor_under_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let ours = file(dir.path(), 1);
        assert!(ours.read().unwrap().is_empty());
        let pair = Pair { key: "transit/k".into(), client: "a".into() };
        let records = [UsageRecord::new(&pair, Usage { own: 3, ..Usage::default() })];
        ours.write(&records).unwrap();
        assert_eq!(ours.read().unwrap(), records);
        assert!(matches!(file(dir.path(), 2).read(), Err(EvidenceFileError::WrongMac)));
        let text = fs::read_to_string(ours.path()).unwrap();
        fs::write(ours.path(), text.replace("transit/k", "transit/x")).unwrap();
        assert!(matches!(ours.read(), Err(EvidenceFileError::WrongMac)));
        fs::write(ours.path(), &text[..text.len() / 2]).unwrap();
        assert!(matches!(ours.read(), Err(EvidenceFileError::Malformed)));
        ours.set_aside().unwrap();
        assert!(ours.read().unwrap().is_empty());
    }
}
