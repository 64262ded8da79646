//! What the state waits for, and what an operator can do about it.

use std::borrow::Cow;
use std::path::PathBuf;

use selkie_crypto::SealName;
use selkie_storage::{Holder, SledError, StoreError};

/// What the state waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The storage does not answer.
    Storage,
    /// The disk of this directory of the storage has no space left.
    Space(PathBuf),
    /// Another process has the storage open, which one server alone can use.
    Turn {
        /// The directory of the storage.
        dir: PathBuf,
        /// That process, if it is known.
        pid: Option<u32>,
    },
    /// The files of the storage cannot be read or written.
    Files,
    /// None of these seals answers, of which one is enough.
    Seals(Vec<SealName>),
}

impl Missing {
    /// What `error` of the storage says is missing; `None` for what does not pass by itself.
    pub(super) fn of(error: &StoreError) -> Option<Self> {
        let (StoreError::Unavailable { source } | StoreError::Undecided { source }) = error else {
            return None;
        };
        Some(match source.downcast_ref() {
            None => Self::Storage,
            Some(SledError::Full { dir, .. }) => Self::Space(dir.clone()),
            Some(SledError::InUse { dir, pid }) => Self::Turn { dir: dir.clone(), pid: *pid },
            Some(_) => Self::Files,
        })
    }

    /// For anybody: it names no seal, no record, no file and no address.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Storage => "the storage cannot be reached",
            Self::Space(_) => "the disk of the storage is full",
            Self::Turn { .. } => "another process uses the storage",
            Self::Files => "the files of the storage cannot be used",
            Self::Seals(_) => "no seal opens the state key",
        }
    }

    /// What to do, for operators.
    pub(super) fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Storage => "see to the way to the storage; Selkie goes on trying".into(),
            Self::Space(dir) => {
                format!("free space on the disk of {}; Selkie goes on trying", dir.display()).into()
            }
            Self::Turn { dir, pid } => {
                let (holder, dir) = (Holder(*pid), dir.display());
                format!(
                    "{holder} has {dir} open, and one server alone uses a directory: stop the other \
                     one, or give this one a \"path\" of its own; Selkie goes on trying"
                )
                .into()
            }
            Self::Files => {
                "see to the disk of the storage and to who may write there; the log says \
                            what the system refuses; Selkie goes on trying"
                    .into()
            }
            Self::Seals(_) => "mend a seal: `selkie status` says what each lacks".into(),
        }
    }
}
