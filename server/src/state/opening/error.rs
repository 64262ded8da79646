//! Why the state does not open, whether that passes by itself, and what to do about it.

use std::borrow::Cow;
use std::path::PathBuf;

use selkie_crypto::{PageError, RandomError, SealName};
use selkie_storage::{RecordKey, SledError, StoreError};

use super::super::backend::BackendError;
use super::super::checkpoint::CheckpointError;
use super::super::missing::Missing;
use super::super::others;
use super::super::sealed_store::Damage;
use crate::transit::TransitError;

const OVERLAP: &str = "the storage overlaps with that of another deployment";

/// Why the state is not open. What passes by itself says so in [`OpenError::is_passing`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no raw store.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The raw store failed, or a record in it cannot be read.
    #[error("the storage{}", place_in(.0))]
    Store(#[source] StoreError),
    /// Another Selkie made the store, and this one leaves it alone.
    #[error("the storage has format {found}, and this Selkie knows format {known} only")]
    OtherFormat {
        /// The store's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The record `format` is none.
    #[error("the record \"format\" of the storage cannot be read")]
    FormatUnreadable(#[source] serde_json::Error),
    /// The store is of another deployment.
    #[error("the storage is of realm {found:?}, and this is realm {ours:?}")]
    OtherRealm {
        /// Whose it is.
        found: String,
        /// Ours.
        ours: String,
    },
    /// There is no state, and the configuration says that there is one.
    #[error("the storage is empty, and \"create = false\" says that it holds the state already")]
    NotThere,
    /// A restore or a migration has begun and not ended.
    #[error("the storage is being filled by a restore or a migration that has not ended")]
    Filling,
    /// None of the seals that could open or make the state key answers.
    #[error("the state key waits for a seal{}", told(.missing))]
    Sealed {
        /// Any one of them is enough.
        missing: Vec<SealName>,
        /// What the last one said.
        #[source]
        source: Option<TransitError>,
    },
    /// Nothing can be drawn for a new state key, or for what wraps it.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No seal will ever open the state key.
    #[error("the state key does not open")]
    StateKey(#[source] TransitError),
    /// What the envelope of the state key holds is no key.
    #[error("what the envelope of the state key holds is no key")]
    KeyLength,
    /// The envelope of the state key has not the declared origin, and nothing else vouches for it.
    #[error(
        "nothing proves that the state key is ours: its envelope lacks the mark of \"origin_key\""
    )]
    OriginUnproven,
    /// There is no page for the key.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The checkpoint is against it.
    #[error("the checkpoint {path} {source}", path = path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CheckpointError,
    },
    /// All records open, but they are not those that the root was made for.
    #[error("the records of the storage do not add up: one was put back, added or dropped")]
    Sum,
    /// Others commit so often that the store could not be verified at rest.
    #[error("the storage changes too often to be verified")]
    Busy,
    /// The managed keys could not be loaded.
    #[error("the managed keys cannot be loaded")]
    Keys(#[source] TransitError),
    /// The store was tampered with while it was open.
    #[error("the record {record} of the storage was tampered with: {damage}")]
    Tampered {
        /// Which.
        record: RecordKey,
        /// How.
        damage: Damage,
    },
}

/// What to do where something else was at work in a store that is open.
pub(crate) const TAMPERED_ADVICE: &str = "if it was `selkie restore`, restart Selkie; else find out who else writes to the storage, stop \
     all servers, restore a backup with `selkie restore`, and start them";

impl OpenError {
    pub(super) fn of_seals(missing: Vec<SealName>, error: TransitError) -> Self {
        match error {
            TransitError::Seal(_) => Self::Sealed { missing, source: Some(error) },
            TransitError::Random(error) => Self::Random(error),
            TransitError::Store(error) => Self::Store(error),
            TransitError::KeyNotFound
            | TransitError::NotLookedUp
            | TransitError::Declared
            | TransitError::NoStorage
            | TransitError::RequestedVersionNegative
            | TransitError::RequestedVersionTooHigh
            | TransitError::RequestedVersionTooLow
            | TransitError::ContextMissing
            | TransitError::Ciphertext(_)
            | TransitError::VersionTooNew
            | TransitError::NewerVersion(_)
            | TransitError::VersionTooOld
            | TransitError::VersionSpelling
            | TransitError::Refused(_)
            | TransitError::Foreign
            | TransitError::NoUsableRecipient
            | TransitError::OtherVault(_)
            | TransitError::SealRevoked(_)
            | TransitError::UnwrapRejected
            | TransitError::OldServerRejected(_)
            | TransitError::Encrypt(_)
            | TransitError::Quorum(_)
            | TransitError::StateSealed
            | TransitError::StoreAttached
            | TransitError::RecordUnreadable
            | TransitError::VersionsExhausted
            | TransitError::RecordFull
            | TransitError::NameTooLong
            | TransitError::ChangePanicked
            | TransitError::Setting(_) => Self::StateKey(error),
        }
    }

    /// Why the managed keys of a store that is open were not loaded.
    pub(in crate::state) fn of_keys(error: TransitError) -> Self {
        match error {
            TransitError::Store(error) => Self::Store(error),
            other => Self::Keys(other),
        }
    }

    /// Whether it may pass without anybody doing anything here.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Sealed { .. }) || self.missing().is_some()
    }

    /// What of the storage is missing and may come back.
    pub(crate) fn missing(&self) -> Option<Missing> {
        match self {
            Self::Busy => Some(Missing::Storage),
            Self::Backend(BackendError::Store(error)) | Self::Store(error) => Missing::of(error),
            _ => None,
        }
    }

    /// Whether the store was reached.
    pub(crate) const fn has_store_answered(&self) -> bool {
        match self {
            Self::Backend(error) => matches!(error, BackendError::Nested(_)),
            Self::Store(error) => {
                !matches!(error, StoreError::Unavailable { .. } | StoreError::Undecided { .. })
            }
            _ => true,
        }
    }

    /// What is wrong, for anybody: it names nothing of this deployment.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Backend(BackendError::Nested(_)) => OVERLAP,
            Self::Store(error) if others::nested(error).is_some() => OVERLAP,
            Self::OtherRealm { .. } => "the storage belongs to another deployment",
            Self::OtherFormat { .. } => "the storage was written by another version",
            Self::NotThere => "the storage is empty",
            Self::Filling => "a restore or a migration is writing the storage",
            Self::FormatUnreadable(_)
            | Self::Store(StoreError::Corrupt { .. })
            | Self::Backend(BackendError::Store(StoreError::Corrupt { .. }))
            | Self::Sum
            | Self::Tampered { .. } => "the storage does not hold what was written to it",
            Self::Checkpoint { source: CheckpointError::RolledBack { .. }, .. } => {
                "the storage is older than what was seen before"
            }
            Self::Checkpoint { .. } => "the checkpoint of the storage is not in order",
            Self::Sealed { .. } | Self::StateKey(_) | Self::KeyLength => {
                "no seal opens the state key"
            }
            Self::Random(_) => "the system gives no randomness",
            Self::OriginUnproven => "nothing proves that the state key is ours",
            Self::Backend(_) | Self::Store(_) | Self::Busy => "the storage cannot be used",
            Self::Page(_) => "there is no locked memory for the state key",
            Self::Keys(_) => "the keys cannot be loaded",
        }
    }

    /// What an operator does about it.
    #[must_use]
    pub fn advice(&self) -> Cow<'static, str> {
        if let Some(missing) = self.missing() {
            return missing.advice();
        }
        let on_others = match self {
            Self::Backend(BackendError::Nested(nested)) => Some(nested.advice()),
            Self::Store(error) => others::advice(error),
            _ => None,
        };
        on_others.map_or_else(|| self.lasting_advice().into(), Cow::Owned)
    }

    fn lasting_advice(&self) -> &'static str {
        match self {
            Self::Backend(BackendError::Etcd(_) | BackendError::File { .. }) => {
                "check the storage stanza and the files that it names"
            }
            Self::Backend(BackendError::Store(StoreError::Corrupt { source, .. }))
                if is_of_other_format(&**source) =>
            {
                "run the version of Selkie that wrote it; nothing was changed"
            }
            Self::Backend(BackendError::Store(StoreError::Corrupt { .. })) => {
                "move the directory of the storage away, then restore the newest backup with \
                 `selkie restore`"
            }
            Self::Backend(_) => "see to the storage; Selkie goes on trying",
            Self::Tampered { .. } => TAMPERED_ADVICE,
            Self::Store(StoreError::Corrupt { .. }) | Self::Sum => {
                "find out who else writes to the storage, then restore a backup with \
                 `selkie restore`"
            }
            Self::Store(_) | Self::Busy => "see to the storage; Selkie goes on trying",
            Self::OtherFormat { .. } => {
                "run the version of Selkie that wrote it; nothing was changed"
            }
            Self::FormatUnreadable(_) => "restore a backup with `selkie restore`",
            Self::OtherRealm { .. } => {
                "point \"storage\" at this deployment's own place, or declare the old name in \
                 \"realm_aliases\""
            }
            Self::NotThere => {
                "mount the disk, or correct the path or prefix of the storage, and restart; if the \
                 state is lost, restore the newest backup with `selkie restore`; only for a first \
                 start leave out \"create\""
            }
            Self::Filling => "run `selkie restore` or `selkie migrate` again, to its end",
            Self::Sealed { .. } => {
                "see to the seals; declare \"local_key\" to open the state without them"
            }
            Self::StateKey(TransitError::OtherVault(other)) => other.error.source.advice(),
            Self::StateKey(_) | Self::KeyLength => {
                "configure a seal that the storage was used with, or restore a backup with \
                 `selkie restore`"
            }
            Self::Random(_) => {
                "see why the system gives no randomness (getrandom: a filter of system calls, or \
                 what its log says); Selkie goes on trying"
            }
            Self::OriginUnproven => {
                "close the listeners to clients; start once with \"local_key\" or \"data_dir\" and \
                 without \"origin_key\"; then declare \"origin_key\" and let clients in: what is \
                 encrypted without it is refused once it is declared"
            }
            Self::Page(_) => "raise the limit of locked memory",
            Self::Checkpoint { source, .. } => checkpoint_advice(source),
            Self::Keys(_) => "restore a backup with `selkie restore`",
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

const fn checkpoint_advice(error: &CheckpointError) -> &'static str {
    match error {
        CheckpointError::Unwritable(_) => "make \"data_dir\" writable for Selkie",
        CheckpointError::StoreGone => {
            "mount or configure the storage that was used, or restore the newest backup with \
             `selkie restore`; only if all managed keys may be lost, delete the checkpoint file"
        }
        CheckpointError::Malformed(_) | CheckpointError::Unreadable(_) => {
            "the checkpoint file is damaged, which says nothing of the storage: see that it can be \
             read; if nobody has put the storage back or changed it, delete the checkpoint file \
             alone and restart"
        }
        CheckpointError::OtherStore { .. }
        | CheckpointError::WrongMac
        | CheckpointError::RolledBack { .. }
        | CheckpointError::OtherHistory { .. } => {
            "if the storage was put back on purpose, delete the checkpoint file, here and on every \
             machine that says so (`selkie restore` does it where it runs); else restore the newest \
             backup"
        }
    }
}

fn is_of_other_format(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(source.downcast_ref(), Some(SledError::UnknownFormat { .. }))
}

fn place_in(error: &StoreError) -> String {
    match error {
        StoreError::Corrupt { key: Some(key), .. } => format!(", record {key}"),
        _ => String::new(),
    }
}

fn told(missing: &[SealName]) -> String {
    let names: Vec<_> = missing.iter().map(|name| format!("\"{name}\"")).collect();
    if names.is_empty() { String::new() } else { format!(": {}", names.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice_for(error: SledError) -> Cow<'static, str> {
        OpenError::Backend(BackendError::Store(error.into())).advice()
    }

    #[test]
    fn a_damaged_checkpoint_speaks_for_no_backup_and_a_store_that_went_back_does() {
        let advice = |source| OpenError::Checkpoint { path: "c".into(), source }.advice();
        let damaged = advice(CheckpointError::Malformed(None));
        assert!(damaged.contains("delete") && !damaged.contains("backup"), "{damaged}");
        let gone_back = advice(CheckpointError::RolledBack { checkpoint: 2, store: 1 });
        assert!(gone_back.contains("backup"), "{gone_back}");
    }

    #[test]
    fn advice_for_a_directory_of_sled_says_what_helps() {
        assert!(advice_for(SledError::Damaged).contains("restore the newest backup"));
        let in_use = advice_for(SledError::InUse { dir: "/d".into(), pid: Some(77) });
        for told in ["process 77 has /d open", "stop the other", "goes on trying"] {
            assert!(in_use.contains(told), "{in_use}");
        }
        let source = std::io::ErrorKind::StorageFull.into();
        let full = advice_for(SledError::Full { dir: "/d".into(), source });
        assert!(full.contains("free space on the disk of /d"), "{full}");
        let other_format = advice_for(SledError::UnknownFormat { found: 2 });
        assert!(other_format.contains("the version of Selkie that wrote it"), "{other_format}");
    }
}
