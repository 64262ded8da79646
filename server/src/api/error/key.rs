//! What a client is told of a key that it wants to change.

/// Why a key could not be created, configured, rotated, trimmed or deleted. Its display is Vault's
/// text, or ours where Vault has no such case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// `auto_rotate_period` is between 0 and an hour.
    #[error("auto rotate period must be 0 to disable or at least an hour")]
    AutoRotatePeriodTooShort,
    /// Convergent without derived.
    #[error("convergent encryption requires derivation to be enabled")]
    ConvergentWithoutDerivation,
    /// No such type of key in Vault.
    #[error("unknown key type {0}")]
    UnknownType(Box<str>),
    /// `key_size` with another type than hmac.
    #[error("key_size is not valid for algorithm {0}")]
    SizeNotValidFor(Box<str>),
    /// `config` of a key that does not exist.
    #[error("no existing key named {0} could be found")]
    NothingToConfigure(Box<str>),
    /// Why the minimum versions were not set.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// `deletion_allowed` is false.
    #[error("error deleting policy {0}: deletion is not allowed for this key")]
    DeletionNotAllowed(Box<str>),
    /// Deletion of a key that does not exist.
    #[error("error deleting policy {0}: could not delete key; not found")]
    NothingToDelete(Box<str>),
    /// Rotation of a key that does not exist.
    #[error("key not found")]
    NothingToRotate,
    /// Why a key was not trimmed.
    #[error(transparent)]
    Trim(#[from] TrimError),
    /// Ours: the key stands in the configuration (invariant I6).
    #[error("key {0} is declared in the configuration and cannot be changed through the API")]
    Declared(Box<str>),
    /// Ours: the same, where the file has a way to it.
    #[error(
        "key {0} is declared in the configuration and cannot be changed through the API; raise its \
         \"generation\" (or the \"version\" that it has there) and reload"
    )]
    DeclaredRotation(Box<str>),
    /// Ours: a type of key that Vault has and Selkie does not have yet.
    #[error("key type {0} is not supported")]
    TypeNotSupported(Box<str>),
    /// Ours: an option of keys that Vault has and Selkie does not have yet.
    #[error("{0} is not supported")]
    OptionNotSupported(&'static str),
    /// Ours: there is no `storage` to keep a key in that is made through the API.
    #[error("there is no storage to keep keys in; declare the key in the configuration")]
    NoStorage,
}

/// Why `config` did not set the minimum versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// `min_decryption_version` is below 0.
    #[error("min decryption version cannot be negative")]
    MinDecryptionNegative,
    /// `min_encryption_version` is below 0.
    #[error("min encryption version cannot be negative")]
    MinEncryptionNegative,
    /// `min_decryption_version` is above the latest.
    #[error("cannot set min decryption version of {wanted}, latest key version is {latest}")]
    MinDecryptionAboveLatest {
        /// What was asked for.
        wanted: i64,
        /// What there is.
        latest: u32,
    },
    /// `min_encryption_version` is above the latest.
    #[error("cannot set min encryption version of {wanted}, latest key version is {latest}")]
    MinEncryptionAboveLatest {
        /// What was asked for.
        wanted: i64,
        /// What there is.
        latest: u32,
    },
    /// The two minima would contradict each other.
    #[error(
        "cannot set min encryption/decryption values; min encryption version of {encryption} must \
         be greater than or equal to min decryption version of {decryption}"
    )]
    MinEncryptionBelowMinDecryption {
        /// `min_encryption_version` as it would be.
        encryption: i64,
        /// `min_decryption_version` as it would be.
        decryption: i64,
    },
    /// `min_encryption_version` lies in what has been trimmed.
    #[error("min encryption version should not be less than min available version")]
    MinEncryptionBelowAvailable,
    /// `min_decryption_version` lies in what has been trimmed.
    #[error("min decryption version should not be less then min available version")]
    MinDecryptionBelowAvailable,
}

/// Why a key was not trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrimError {
    /// The key does not exist.
    #[error("invalid key name")]
    NoKey,
    /// No `min_available_version`.
    #[error("missing min_available_version")]
    MissingVersion,
    /// It would go back.
    #[error("minimum available version cannot be decremented")]
    Decremented,
    /// `min_encryption_version` is 0.
    #[error("minimum available version cannot be set when minimum encryption version is not set")]
    MinEncryptionUnset,
    /// `min_decryption_version` is 0.
    #[error("minimum available version cannot be set when minimum decryption version is not set")]
    MinDecryptionUnset,
    /// It is above `min_encryption_version`.
    #[error("minimum available version cannot be greater than minmum encryption version")]
    AboveMinEncryption,
    /// It is above `min_decryption_version`.
    #[error("minimum available version cannot be greater than minimum decryption version")]
    AboveMinDecryption,
    /// It is below 0.
    #[error("minimum available version cannot be negative")]
    Negative,
    /// It is 0.
    #[error("minimum available version should be positive")]
    Zero,
}
