//! What was seen before, in a file of the data directory: for servers without storage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie_crypto::PinKey;
use serde::{Deserialize, Serialize};

use super::memory::Subject;
use super::record::{Learning, WrittenPair};
use crate::digest_text;
use crate::durable_file;

const FILE: &str = "alerts-seen.json";
const FORMAT: u32 = 1;
/// Twice 4096 pairs with the longest names.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The file, and what proves that it is ours.
#[derive(Clone, Debug)]
pub(super) struct MemoryFile {
    path: PathBuf,
    key: Arc<PinKey>,
}

/// Why the file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MemoryFileError {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is damaged")]
    Malformed(#[source] Option<serde_json::Error>),
    #[error("its MAC is wrong: the file was changed, or the local key was")]
    WrongMac,
    #[error("it cannot be written")]
    Unwritable(#[source] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// The JSON of [`Content`], which is what the MAC is of.
    content: String,
    mac: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    learning: Learning,
    seen: Vec<WrittenPair>,
}

/// What the file says.
pub(super) type Remembrance = (Learning, Vec<(Subject, u64)>);

impl MemoryFile {
    pub(super) fn new(data_dir: &Path, key: Arc<PinKey>) -> Self {
        Self { path: data_dir.join(FILE), key }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was seen, and since when is learned; `None` without a file.
    pub(super) fn read(&self) -> Result<Option<Remembrance>, MemoryFileError> {
        let text =
            durable_file::read(&self.path, MAX_BYTES).map_err(MemoryFileError::Unreadable)?;
        let Some(text) = text else { return Ok(None) };
        let malformed = |error| MemoryFileError::Malformed(Some(error));
        let sealed: Sealed = serde_json::from_slice(&text).map_err(malformed)?;
        let mac = digest_text::parse(&sealed.mac).ok_or(MemoryFileError::Malformed(None))?;
        if !self.key.verify(&signed(&sealed.content), &mac) {
            return Err(MemoryFileError::WrongMac);
        }
        let content: Content = serde_json::from_str(&sealed.content).map_err(malformed)?;
        let seen = content.seen.into_iter().map(WrittenPair::read).collect::<Option<_>>();
        match seen.filter(|_| content.format == FORMAT) {
            Some(seen) => Ok(Some((content.learning, seen))),
            None => Err(MemoryFileError::Malformed(None)),
        }
    }

    /// Replaces what the file holds, atomically. Blocks.
    pub(super) fn write(
        &self,
        learning: Learning,
        seen: &[(Subject, u64)],
    ) -> Result<(), MemoryFileError> {
        let seen = seen.iter().map(|(subject, last)| WrittenPair::of(subject, *last)).collect();
        let unwritable = |error: serde_json::Error| MemoryFileError::Unwritable(error.into());
        let content = serde_json::to_string(&Content { format: FORMAT, learning, seen });
        let content = content.map_err(unwritable)?;
        let mac = base16ct::lower::encode_string(&self.key.mac(&signed(&content)));
        let text = serde_json::to_vec(&Sealed { content, mac }).map_err(unwritable)?;
        let written = durable_file::make_directory_of(&self.path)
            .and_then(|()| durable_file::replace(&self.path, &text));
        written.map_err(MemoryFileError::Unwritable)
    }

    /// Keeps a file that was refused, out of the way, as `.refused`.
    pub(super) fn set_aside(&self) -> Result<(), MemoryFileError> {
        let aside = self.path.with_extension("json.refused");
        fs::rename(&self.path, aside).map_err(MemoryFileError::Unwritable)
    }
}

/// The local key signs pin files too, none of which begins like this.
fn signed(content: &str) -> Vec<u8> {
    ["selkie alerts\n", content].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::memory::What;
    use super::*;

    fn file(dir: &Path, fill: u8) -> MemoryFile {
        MemoryFile::new(dir, Arc::new(PinKey::init_with(|page| page.fill(fill)).unwrap()))
    }

    #[test]
    fn a_file_reads_as_written_and_neither_edited_nor_under_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let ours = file(dir.path(), 1);
        assert!(ours.read().unwrap().is_none());
        let learning = Learning { since: 5, is_over: false };
        let subject = Subject { client: "a".into(), what: What::Key("transit/k".into()) };
        ours.write(learning, &[(subject.clone(), 9)]).unwrap();
        assert_eq!(ours.read().unwrap(), Some((learning, vec![(subject, 9)])));
        let other = file(dir.path(), 2).read();
        assert!(matches!(other, Err(MemoryFileError::WrongMac)));
        let text = fs::read_to_string(ours.path()).unwrap();
        fs::write(ours.path(), text.replace("transit/k", "transit/x")).unwrap();
        assert!(matches!(ours.read(), Err(MemoryFileError::WrongMac)));
        fs::write(ours.path(), &text[..text.len() / 2]).unwrap();
        assert!(matches!(ours.read(), Err(MemoryFileError::Malformed(_))));
        ours.set_aside().unwrap();
        assert!(ours.read().unwrap().is_none());
    }

    #[test]
    fn a_mac_with_signs_for_digits_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(dir.path(), 1);
        file.write(Learning { since: 5, is_over: false }, &[]).unwrap();
        let mut sealed: Sealed = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        sealed.mac.replace_range(..2, "+f");
        fs::write(file.path(), serde_json::to_vec(&sealed).unwrap()).unwrap();
        assert!(matches!(file.read(), Err(MemoryFileError::Malformed(None))));
    }
}
