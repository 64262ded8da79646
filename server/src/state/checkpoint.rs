//! How far the store had come, kept outside of it: what a roll-back of the whole store shows
//! against (invariant I5).

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base16ct::lower::encode_string;
use selkie_crypto::StateKey;
use serde::{Deserialize, Serialize};

use super::Root;
use crate::digest_text;
use crate::durable_file;

const FILE: &str = "state-checkpoint";
const FORMAT: u32 = 1;
/// Ours has about 300 bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The checkpoint file of one store.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    store: String,
    /// The sequence that was written last. One writes at a time: all write the same temporary file.
    written: Arc<Mutex<u64>>,
}

/// What a checkpoint says about a store that does not agree with it.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// It cannot be written.
    #[error("cannot be written")]
    Unwritable(#[source] io::Error),
    /// It is no checkpoint, or damaged.
    #[error("is no checkpoint, or is damaged")]
    Malformed(#[source] Option<serde_json::Error>),
    /// The storage is empty, and there was a store: it was lost, or another place is configured.
    #[error("says that there was a store, and the storage is empty: nothing was made anew in it")]
    StoreGone,
    /// It is of another store.
    #[error("is of another store, {found}")]
    OtherStore {
        /// Its UUID.
        found: String,
    },
    /// The state key that it was signed with is not the store's: one of them was replaced.
    #[error("was not signed with the state key of this store")]
    WrongMac,
    /// The store has gone back.
    #[error("says that the storage had come to commit {checkpoint}, and now it is at {store}")]
    RolledBack {
        /// Where it had been.
        checkpoint: u64,
        /// Where it is.
        store: u64,
    },
    /// The store has the same number of commits, but they were others.
    #[error("says that commit {sequence} of the storage was another one")]
    OtherHistory {
        /// The commit.
        sequence: u64,
    },
}

/// What there is of a checkpoint that does not contradict the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// None.
    Nothing,
    /// One of an earlier commit.
    Behind,
    /// One of the newest commit.
    Same,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    format: u32,
    store: String,
    sequence: u64,
    root: String,
    mac: String,
}

impl CheckpointFile {
    /// The checkpoint of the store with the UUID `store` in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path, store: &str) -> Self {
        Self { path: data_dir.join(FILE), store: store.to_owned(), written: Arc::default() }
    }

    /// The checkpoint of whatever store there was, in `data_dir`; `None` if there never was one.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Unreadable`]: nobody can say.
    pub fn of_any_store(data_dir: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        let path = data_dir.join(FILE);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CheckpointError::Unreadable(error)),
        }
    }

    /// Removes the checkpoint in `data_dir`, of whatever store it is: the store was put back on
    /// purpose. Answers what there was.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]; the file is still there.
    pub fn forget(data_dir: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        let Some(path) = Self::of_any_store(data_dir)? else { return Ok(None) };
        fs::remove_file(&path).map_err(CheckpointError::Unwritable)?;
        File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(CheckpointError::Unwritable)?;
        Ok(Some(path))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one, of this store and signed with this key, that `root` does not contradict.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`].
    pub fn check(&self, key: &StateKey, root: &Root) -> Result<Found, CheckpointError> {
        let Some(Checkpoint { sequence, root: marked, .. }) = self.authentic(key)? else {
            return Ok(Found::Nothing);
        };
        match root.sequence.cmp(&sequence) {
            Ordering::Less => {
                Err(CheckpointError::RolledBack { checkpoint: sequence, store: root.sequence })
            }
            Ordering::Greater => Ok(Found::Behind),
            Ordering::Equal if marked == mark(key, root) => Ok(Found::Same),
            Ordering::Equal => Err(CheckpointError::OtherHistory { sequence }),
        }
    }

    /// Whether a checkpoint vouches for `key` as the one that this store has had.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`].
    pub fn vouches_for(&self, key: &StateKey) -> Result<bool, CheckpointError> {
        Ok(self.authentic(key)?.is_some())
    }

    fn authentic(&self, key: &StateKey) -> Result<Option<Checkpoint>, CheckpointError> {
        let Some(checkpoint) = self.read()? else { return Ok(None) };
        if checkpoint.store != self.store {
            return Err(CheckpointError::OtherStore { found: checkpoint.store });
        }
        let mac = digest_text::parse(&checkpoint.mac).ok_or(CheckpointError::Malformed(None))?;
        if !key.verify_checkpoint(&checkpoint.signed(), &mac) {
            return Err(CheckpointError::WrongMac);
        }
        Ok(Some(checkpoint))
    }

    fn read(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let text =
            durable_file::read(&self.path, MAX_BYTES).map_err(CheckpointError::Unreadable)?;
        let Some(text) = text else { return Ok(None) };
        let read = serde_json::from_slice::<Checkpoint>(&text);
        let read = read.map_err(|error| CheckpointError::Malformed(Some(error)))?;
        if read.format == FORMAT { Ok(Some(read)) } else { Err(CheckpointError::Malformed(None)) }
    }

    /// Writes it anew, whole or not at all, unless a later `root` was written meanwhile. It blocks.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Unwritable`].
    pub fn write(&self, key: &StateKey, root: &Root) -> Result<(), CheckpointError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if root.sequence < *written {
            return Ok(());
        }
        let (store, sequence) = (self.store.clone(), root.sequence);
        let root = mark(key, root);
        let mut made = Checkpoint { format: FORMAT, store, sequence, root, mac: String::new() };
        made.mac = encode_string(&key.checkpoint_mac(&made.signed()));
        let text = serde_json::to_vec_pretty(&made);
        let text = text.map_err(|error| CheckpointError::Unwritable(error.into()))?;
        let replaced = durable_file::make_directory_of(&self.path);
        let replaced = replaced.and_then(|()| durable_file::replace(&self.path, &text));
        replaced.map_err(CheckpointError::Unwritable)?;
        *written = sequence;
        Ok(())
    }
}

impl Checkpoint {
    fn signed(&self) -> Vec<u8> {
        format!("{}\n{}\n{}\n{}", self.format, self.store, self.sequence, self.root).into_bytes()
    }
}

/// Tells roots apart without telling their sum.
fn mark(key: &StateKey, root: &Root) -> String {
    encode_string(&key.checkpoint_mac(&[b"root\n", &*root.encode()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_with_signs_for_digits_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let key = StateKey::init_with(|page| page.fill(1)).unwrap();
        let file = CheckpointFile::new(dir.path(), "store");
        file.write(&key, &Root::EMPTY).unwrap();
        let mut written = file.read().unwrap().unwrap();
        written.mac.replace_range(..2, "+f");
        fs::write(file.path(), serde_json::to_vec(&written).unwrap()).unwrap();
        assert!(matches!(file.check(&key, &Root::EMPTY), Err(CheckpointError::Malformed(None))));
    }

    /// A stop writes one while another may still be under way.
    #[test]
    fn a_checkpoint_is_whole_and_the_newest_however_many_write_it_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(dir.path(), "store");
        let key = StateKey::init_with(|page| page.fill(7)).unwrap();
        let root = |sequence| Root { sequence, ..Root::EMPTY };
        let write = |sequence| file.clone().write(&key, &root(sequence)).unwrap();
        std::thread::scope(|scope| {
            for sequence in 1..=16 {
                let write = &write;
                scope.spawn(move || write(sequence));
            }
        });
        file.check(&key, &root(16)).unwrap();
        let older = file.check(&key, &root(15));
        assert!(
            matches!(older, Err(CheckpointError::RolledBack { checkpoint: 16, .. })),
            "{older:?}"
        );
    }
}
