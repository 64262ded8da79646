//! The file with what the configurations of this server have promised. No secret is in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base16ct::lower::encode_string;
use selkie_config::Promises;
use selkie_crypto::PinKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest_text;
use crate::durable_file;

const FILE: &str = "promises.json";
const FORMAT: u32 = 1;
/// A declared key has less than 1 KiB, so this is room for thousands.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The file, and what proves that it is ours.
#[derive(Clone, Debug)]
pub struct PromiseFile {
    path: PathBuf,
    key: Option<Arc<PinKey>>,
}

/// What the file says.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Of the configuration in use; where that does not keep what was promised before, of those before
    /// it, and of what something was made under since.
    pub promises: Vec<Promises>,
    /// Whether the local key signed it, if there is one.
    pub is_proven: bool,
}

/// Why the file is not used, or was not written.
#[derive(Debug, thiserror::Error)]
pub enum PromiseFileError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is no such file, or is damaged.
    #[error("it is damaged")]
    Malformed(#[source] Option<serde_json::Error>),
    /// Another version of Selkie wrote it.
    #[error("it is in format {found}, and this version of Selkie reads {FORMAT}")]
    OtherFormat {
        /// Its format.
        found: u32,
    },
    /// It has been changed, or the local key has.
    #[error(
        "its MAC is wrong: the file was changed, or is another server's, or the local key was changed"
    )]
    WrongMac {
        /// What it says.
        said: Vec<Promises>,
    },
    /// It cannot be written.
    #[error("it cannot be written")]
    Unwritable(#[source] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// The JSON of [`Content`], which is what the MAC is of.
    content: String,
    /// Under the local key, hexadecimal; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    promises: Vec<Value>,
}

impl PromiseFile {
    /// The one in `data_dir`; signed if there is a local key.
    #[must_use]
    pub fn new(data_dir: &Path, key: Option<Arc<PinKey>>) -> Self {
        Self { path: data_dir.join(FILE), key }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; `None` if there is none. What nobody has signed is taken where a local key is
    /// new: whoever may write here may as well remove the file.
    ///
    /// # Errors
    ///
    /// [`PromiseFileError`].
    pub fn read(&self) -> Result<Option<Remembered>, PromiseFileError> {
        let text = durable_file::read(&self.path, MAX_BYTES);
        let Some(text) = text.map_err(PromiseFileError::Unreadable)? else { return Ok(None) };
        let malformed = |error| PromiseFileError::Malformed(Some(error));
        let Signed { content, mac } = serde_json::from_slice(&text).map_err(malformed)?;
        let is_proven = self.is_proven(&content, mac.as_deref())?;
        let promises = promises_in(&content)?;
        match is_proven {
            None => Err(PromiseFileError::WrongMac { said: promises }),
            Some(is_proven) => Ok(Some(Remembered { promises, is_proven })),
        }
    }

    /// Whether the local key signed it, if there is one; `None` if another key did.
    fn is_proven(
        &self,
        content: &str,
        mac: Option<&str>,
    ) -> Result<Option<bool>, PromiseFileError> {
        match (&self.key, mac) {
            (None, _) => Ok(Some(true)),
            (Some(_), None) => Ok(Some(false)),
            (Some(key), Some(mac)) => {
                let mac = digest_text::parse(mac).ok_or(PromiseFileError::Malformed(None))?;
                Ok(key.verify(&signed(content), &mac).then_some(true))
            }
        }
    }

    /// Puts these in the place of what was. Blocks.
    ///
    /// # Errors
    ///
    /// [`PromiseFileError::Unwritable`].
    pub fn write(&self, promises: &[Promises]) -> Result<(), PromiseFileError> {
        let unwritable = |error: serde_json::Error| PromiseFileError::Unwritable(error.into());
        let promises = promises.iter().map(Promises::to_json).collect::<Result<_, _>>();
        let promises = promises.map_err(unwritable)?;
        let content = serde_json::to_string(&Content { format: FORMAT, promises });
        let content = content.map_err(unwritable)?;
        let mac = self.key.as_ref().map(|key| encode_string(&key.mac(&signed(&content))));
        let text = serde_json::to_vec(&Signed { content, mac }).map_err(unwritable)?;
        if u64::try_from(text.len()).is_ok_and(|bytes| bytes >= MAX_BYTES) {
            return Err(PromiseFileError::Unwritable(io::ErrorKind::FileTooLarge.into()));
        }
        let written = durable_file::make_directory_of(&self.path)
            .and_then(|()| durable_file::replace(&self.path, &text));
        written.map_err(PromiseFileError::Unwritable)
    }

    /// Keeps a file that was refused, out of the way, as `.refused`.
    ///
    /// # Errors
    ///
    /// [`PromiseFileError::Unwritable`].
    pub fn set_aside(&self) -> Result<(), PromiseFileError> {
        let aside = self.path.with_extension("json.refused");
        fs::rename(&self.path, aside).map_err(PromiseFileError::Unwritable)
    }
}

fn promises_in(content: &str) -> Result<Vec<Promises>, PromiseFileError> {
    let malformed = |error| PromiseFileError::Malformed(Some(error));
    let Head { format } = serde_json::from_str(content).map_err(malformed)?;
    if format != FORMAT {
        return Err(PromiseFileError::OtherFormat { found: format });
    }
    let content: Content = serde_json::from_str(content).map_err(malformed)?;
    let promises = content.promises.into_iter().map(Promises::from_json).collect::<Option<_>>();
    promises.ok_or(PromiseFileError::Malformed(None))
}

/// The local key signs other files too, none of which begins like this.
fn signed(content: &str) -> Vec<u8> {
    ["selkie promises\n", content].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_with_signs_for_digits_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let key = Arc::new(PinKey::init_with(|page| page.fill(1)).unwrap());
        let file = PromiseFile::new(dir.path(), Some(key));
        file.write(&[]).unwrap();
        let mut written: Signed = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        written.mac.as_mut().unwrap().replace_range(..2, "+f");
        fs::write(file.path(), serde_json::to_vec(&written).unwrap()).unwrap();
        assert!(matches!(file.read(), Err(PromiseFileError::Malformed(None))));
    }
}
