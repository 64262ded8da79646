//! The store of a single machine: sled, and beside it a journal that is the truth.
//!
//! A commit is answered after the journal and then sled have been synced to the disk. Reads come
//! from memory, where everything was loaded and checked at the start. sled alone loses commits at a
//! power cut, refuses the whole of a damaged database or opens it with nothing in it; either part can
//! be made from the other, as long as the file `newest` says that it holds all that was answered.

mod aside;
mod codec;
mod engine;
mod files;
pub(crate) mod fuzzing;
mod journal;
mod newest;
mod start;

use std::fmt;
use std::future::ready;
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::commit::{Commit, Guard, Write, check_limits};
use crate::error::StoreError;
use crate::image::Shared;
use crate::key::RecordKey;
use crate::page::{Listing, Page};
use crate::record::{Record, Revision};
use crate::{Store, StoreFuture, Watch};

use self::start::Disk;

/// Where a [`SledStore`] is, and how much it keeps.
#[derive(Clone, Debug)]
pub struct SledSettings {
    /// The directory that belongs to the store alone; it is made if it is not there.
    pub path: PathBuf,
    /// The journal is compacted once so many bytes of commits follow its image, and more than it has.
    pub journal_bytes: u64,
    /// How many commits are remembered for watches: fewer where those have more bytes than 64 MiB and
    /// than all records.
    pub history: NonZeroUsize,
    /// How long sled may take over one write before it is given up with its files and made anew.
    pub patience: Duration,
}

impl SledSettings {
    /// The store in the directory `path`, with a journal of 4 MiB, a history of 1024 commits and a
    /// patience of 10 s.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            journal_bytes: 4 << 20,
            history: crate::image::DEFAULT_HISTORY,
            patience: Duration::from_secs(10),
        }
    }
}

/// Why a [`SledStore`] did not open, or does not write.
#[derive(Debug, thiserror::Error)]
pub enum SledError {
    /// Another process (or another store of this one) has the directory open.
    #[error("{} is in use by {}", dir.display(), Holder(*pid))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// That process, where it has said so.
        pid: Option<u32>,
    },
    /// The disk of the directory, or a quota on it, has no space left.
    #[error("there is no space left for {}", dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file system refused; nothing was found damaged.
    #[error("the store's files cannot be used")]
    Io(#[from] io::Error),
    /// The engine refused for a reason that may pass.
    #[error("sled cannot be used")]
    Engine(#[source] ::sled::Error),
    /// sled panicked.
    #[error("sled panicked")]
    Panicked,
    /// sled fails on files that it is to write anew: the disk does not do what it is told.
    #[error("sled cannot write its files anew")]
    Unwritable,
    /// Neither the journal nor sled holds all that was answered: put a backup in place.
    #[error("the journal and the database are both damaged")]
    Damaged,
    /// Journal and database are both whole and disagree about one revision.
    #[error("the journal and the database disagree at revision {at}")]
    Disagree {
        /// The newest revision of both.
        at: Revision,
    },
    /// A file says that it was written by another format.
    #[error("the store is of format {found}, which is not known")]
    UnknownFormat {
        /// The format byte.
        found: u8,
    },
}

impl SledError {
    /// The same, with the directory where that has run full.
    fn at(self, dir: &Path) -> Self {
        match self {
            Self::Io(source) | Self::Engine(::sled::Error::Io(source))
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                Self::Full { dir: dir.to_owned(), source }
            }
            other => other,
        }
    }

    /// Whether sled's files may lack on the disk what is read back from them: what a disk would not take
    /// the kernel forgets, and says of the next sync that all is well. Not where it refused to begin.
    fn leaves_files_in_doubt(&self) -> bool {
        match self {
            Self::Unwritable => true,
            Self::Io(error) | Self::Engine(::sled::Error::Io(error)) => !engine::is_refused(error),
            _ => false,
        }
    }
}

/// Another process that has what one alone can have, with its number if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(pub Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

impl From<SledError> for StoreError {
    fn from(error: SledError) -> Self {
        match error {
            SledError::Damaged | SledError::Disagree { .. } | SledError::UnknownFormat { .. } => {
                Self::Corrupt { key: None, source: Box::new(error) }
            }
            SledError::InUse { .. }
            | SledError::Full { .. }
            | SledError::Io(_)
            | SledError::Engine(_)
            | SledError::Panicked
            | SledError::Unwritable => Self::Unavailable { source: Box::new(error) },
        }
    }
}

/// A [`Store`] in a directory of this machine.
pub struct SledStore {
    inner: Arc<Inner>,
    /// Goes with a commit to its thread. The commits behind it wait as futures, of which those that are
    /// given up are gone: as threads that wait for a disk that hangs they would take those of all others,
    /// look-ups of names among them.
    turn: Arc<Semaphore>,
}

struct Inner {
    /// Held by whoever commits, from the guards' check to the answer.
    disk: Mutex<Disk>,
    shared: Arc<Shared>,
}

impl SledStore {
    /// Opens the store; repairs one part from the other; makes a new store where none ever was.
    ///
    /// # Errors
    /// [`SledError`]; what is damaged beyond repair is left as it is.
    pub async fn open(settings: SledSettings) -> Result<Self, SledError> {
        let opened = spawn_blocking(move || {
            let opened = Disk::open(&settings).map_err(|error| error.at(&settings.path));
            let (disk, state) = opened?;
            let shared = Shared::new(state.records, state.newest, settings.history);
            let inner = Arc::new(Inner { disk: Mutex::new(disk), shared });
            Ok(Self { inner, turn: Arc::new(Semaphore::new(1)) })
        });
        opened.await.unwrap_or(Err(SledError::Panicked))
    }

    /// Whether nobody has the store in the directory `dir` open, if there is one; changes nothing.
    ///
    /// # Errors
    /// [`SledError::InUse`], or what keeps us from looking.
    pub fn check_unused(dir: &Path) -> Result<(), SledError> {
        start::check_unlocked(dir)
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").finish_non_exhaustive()
    }
}

impl Inner {
    fn commit(&self, guards: &[Guard], writes: &[Write]) -> Result<Revision, StoreError> {
        // Whatever a panic left undone shows as a fault in `Disk`, and is healed first.
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = self.plan(guards, writes)?;
        let Some(commit) = planned else { return Ok(self.shared.state().newest()) };
        disk.heal(&self.shared)?;
        disk.journal(&commit, &self.shared)?;
        // In the journal it is true, whatever happens to sled: a fault there stops the next commit,
        // which must not take this one's number.
        let revision = self.shared.apply(commit.clone());
        disk.follow(&commit, &self.shared);
        Ok(revision)
    }

    fn plan(&self, guards: &[Guard], writes: &[Write]) -> Result<Option<Commit>, StoreError> {
        let state = self.shared.state();
        state.check_guards(guards)?;
        Ok(state.plan(writes))
    }
}

impl Store for SledStore {
    fn answers_from_memory(&self) -> bool {
        true
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(ready(Ok(self.inner.shared.state().get(key))))
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(ready(Ok(self.inner.shared.state().list(page))))
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            check_limits(guards, writes)?;
            let turn = Arc::clone(&self.turn).acquire_owned().await;
            let turn =
                turn.map_err(|closed| StoreError::Unavailable { source: Box::new(closed) })?;
            let (guards, writes) = (guards.to_vec(), writes.to_vec());
            let inner = Arc::clone(&self.inner);
            let commit = move || {
                let _until_done = turn;
                inner.commit(&guards, &writes)
            };
            let done = spawn_blocking(commit).await;
            done.unwrap_or_else(|lost| Err(StoreError::Undecided { source: Box::new(lost) }))
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(ready(self.inner.shared.watch(from)))
    }
}

#[cfg(test)]
mod tests;
