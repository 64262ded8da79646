//! Why the engine fails.

use selkie_crypto::envelope::{EncryptError, EnvelopeRefusal, QuorumError};
use selkie_crypto::{CiphertextError, KekId, KeyVersion, RandomError, SealName};
use selkie_kms::KmsError;
use selkie_storage::StoreError;

use crate::seal::SealError;

/// Why an operation of the transit engine failed: facts, from which the API makes what Vault would
/// have said, and the log what to do.
#[derive(Debug, thiserror::Error)]
pub enum TransitError {
    /// There is no such key.
    #[error("no such key")]
    KeyNotFound,
    /// It is not held here, and the store is not asked about such keys that often.
    #[error("the store has been asked about too many keys that this replica does not know")]
    NotLookedUp,
    /// The key is declared in the configuration file, so the API cannot change it.
    #[error("the key is declared in the configuration file")]
    Declared,
    /// Without a store nothing can be made through the API.
    #[error("there is no storage for managed keys")]
    NoStorage,
    /// `key_version` is negative.
    #[error("the requested version is negative")]
    RequestedVersionNegative,
    /// `key_version` is newer than the latest.
    #[error("the requested version is newer than the latest")]
    RequestedVersionTooHigh,
    /// `key_version` is older than the settings allow for encryption.
    #[error("the requested version is older than the settings allow")]
    RequestedVersionTooLow,
    /// The key is derived and the request names no context.
    #[error("the key is derived and there is no context")]
    ContextMissing,
    /// The text form is wrong outside the envelope.
    #[error(transparent)]
    Ciphertext(CiphertextError),
    /// The ciphertext's version is newer than any that the server whose place we take knows.
    #[error("the ciphertext is of a version newer than the latest")]
    VersionTooNew,
    /// The ciphertext's version is newer than the key's latest, and it does not open.
    #[error("the ciphertext is of a version newer than the latest, and does not open")]
    NewerVersion(#[source] Box<Self>),
    /// The ciphertext's version is older than `min_decryption_version`.
    #[error("the ciphertext is of a version older than the settings allow")]
    VersionTooOld,
    /// The version outside is not spelled as Selkie spells it, so the envelope is not ours.
    #[error("the version outside the envelope is not in its one spelling")]
    VersionSpelling,
    /// The envelope does not open; only the log is told why (invariant I4).
    #[error("the envelope does not open: {0}")]
    Refused(EnvelopeRefusal),
    /// It is no envelope at all, and may well be what another server of this API makes.
    #[error("the ciphertext is no envelope of Selkie's")]
    Foreign,
    /// No recipient is for a seal that is configured, enabled, and has the KEK.
    #[error("no recipient of the envelope is for a configured seal that holds its KEK")]
    NoUsableRecipient,
    /// The same; but one is for a seal's key as it is in another vault.
    #[error("no recipient of the envelope is for a configured seal that holds its KEK")]
    OtherVault(#[source] Box<OtherVault>),
    /// What is left of its recipients is for a seal that is revoked.
    #[error("the envelope was made for seal \"{0}\", which is revoked")]
    SealRevoked(SealName),
    /// Every seal asked says that the wrapped DEK is not one of its own.
    #[error("no seal could unwrap the DEK")]
    UnwrapRejected,
    /// The server whose place we take does not open what is of its own form.
    #[error("the old server does not open the ciphertext")]
    OldServerRejected(#[source] KmsError),
    /// A seal failed for a reason of its own.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The plaintext cannot be encrypted.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// The key's quorum cannot be met by its seals.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is not open yet, so that nobody can tell which managed keys there are.
    #[error("the state is sealed: the store is not open yet")]
    StateSealed,
    /// There is a store already.
    #[error("a store is attached already")]
    StoreAttached,
    /// A record in the store cannot be read; nothing is made anew in its place.
    #[error("the record of the key cannot be read")]
    RecordUnreadable,
    /// Version numbers are used up.
    #[error("there is no version after the latest")]
    VersionsExhausted,
    /// The key has so many versions that its record is full.
    #[error("the key has too many versions: its record is full")]
    RecordFull,
    /// Mount and name together are too long for the store.
    #[error("mount path and key name are too long together")]
    NameTooLong,
    /// The task of a change panicked; whether the change was made is to be looked up.
    #[error("the change was broken off by a defect of Selkie")]
    ChangePanicked,
    /// A setting asked for cannot be.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// Why a key's settings were refused; each has a text of Vault's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// `min_decryption_version` is negative.
    #[error("min decryption version is negative")]
    MinDecryptionNegative,
    /// `min_encryption_version` is negative.
    #[error("min encryption version is negative")]
    MinEncryptionNegative,
    /// `min_decryption_version` is newer than the latest version.
    #[error("min decryption version {requested} is above the latest, {latest}")]
    MinDecryptionAboveLatest {
        /// As asked for.
        requested: i64,
        /// The key's latest version.
        latest: KeyVersion,
    },
    /// `min_encryption_version` is newer than the latest version.
    #[error("min encryption version {requested} is above the latest, {latest}")]
    MinEncryptionAboveLatest {
        /// As asked for.
        requested: i64,
        /// The key's latest version.
        latest: KeyVersion,
    },
    /// Encryption would be allowed with versions that no longer decrypt.
    #[error("min encryption version {encryption} is below min decryption version {decryption}")]
    MinEncryptionBelowMinDecryption {
        /// The one that would hold.
        encryption: KeyVersion,
        /// The one that would hold.
        decryption: KeyVersion,
    },
    /// `min_encryption_version` would name a version that was trimmed.
    #[error("min encryption version is below the oldest version that is left")]
    MinEncryptionBelowAvailable,
    /// `min_decryption_version` would name a version that was trimmed.
    #[error("min decryption version is below the oldest version that is left")]
    MinDecryptionBelowAvailable,
    /// The key is not to be deleted until `deletion_allowed` is set.
    #[error("deletion is not allowed")]
    DeletionNotAllowed,
    /// `min_available_version` is missing.
    #[error("min available version is missing")]
    MinAvailableMissing,
    /// `min_available_version` is negative.
    #[error("min available version is negative")]
    MinAvailableNegative,
    /// `min_available_version` is 0.
    #[error("min available version is 0")]
    MinAvailableZero,
    /// `min_available_version` is lower than it was.
    #[error("min available version is lower than it was")]
    MinAvailableDecremented,
    /// Trimming needs `min_encryption_version` to be set first.
    #[error("min available version without min encryption version")]
    MinAvailableWithoutMinEncryption,
    /// Trimming needs `min_decryption_version` to be set first.
    #[error("min available version without min decryption version")]
    MinAvailableWithoutMinDecryption,
    /// `min_available_version` is above `min_encryption_version`.
    #[error("min available version is above min encryption version")]
    MinAvailableAboveMinEncryption,
    /// `min_available_version` is above `min_decryption_version`.
    #[error("min available version is above min decryption version")]
    MinAvailableAboveMinDecryption,
}

/// An envelope names a seal's master key in another vault than the seal's.
#[derive(Debug, thiserror::Error)]
#[error("the envelope names {kek}")]
pub struct OtherVault {
    /// What it names.
    pub kek: KekId,
    /// What the seal says of that.
    #[source]
    pub error: SealError,
}

impl TransitError {
    /// What is final of a newer version has Vault's words for one. A seal or a store in trouble may be
    /// well again.
    pub(super) fn of_newer_version(self) -> Self {
        match self {
            final_one @ (Self::Ciphertext(_)
            | Self::VersionSpelling
            | Self::Refused(_)
            | Self::Foreign
            | Self::NoUsableRecipient
            | Self::OtherVault(_)
            | Self::SealRevoked(_)
            | Self::UnwrapRejected) => Self::NewerVersion(Box::new(final_one)),
            other => other,
        }
    }
}

/// An outcome in one word, for metrics.
pub(super) const fn outcome<T>(done: &Result<T, TransitError>) -> &'static str {
    match done {
        Ok(_) => "ok",
        Err(TransitError::Seal(error)) => error.source.outcome(),
        Err(
            TransitError::Refused(_)
            | TransitError::Foreign
            | TransitError::NoUsableRecipient
            | TransitError::OtherVault(_)
            | TransitError::SealRevoked(_)
            | TransitError::UnwrapRejected
            | TransitError::OldServerRejected(_)
            | TransitError::VersionSpelling,
        ) => "refused",
        Err(_) => "invalid",
    }
}
