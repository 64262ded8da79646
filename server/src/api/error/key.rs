use std::fmt;

/// Why a key could not be created, configured, rotated, trimmed or deleted. Its display is Vault's
/// text, or ours where Vault has no such case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// `auto_rotate_period` is between 0 and an hour.
    AutoRotatePeriodTooShort,
    /// Convergent without derived.
    ConvergentWithoutDerivation,
    /// No such type of key in Vault.
    UnknownType(Box<str>),
    /// `key_size` with another type than hmac.
    SizeNotValidFor(Box<str>),
    /// `config` of a key that does not exist.
    NothingToConfigure(Box<str>),
    /// Why the minimum versions were not set.
    Version(VersionError),
    /// `deletion_allowed` is false.
    DeletionNotAllowed(Box<str>),
    /// Deletion of a key that does not exist.
    NothingToDelete(Box<str>),
    /// Rotation of a key that does not exist.
    NothingToRotate,
    /// Why a key was not trimmed.
    Trim(TrimError),
    /// Ours: the key stands in the configuration (invariant I6).
    Declared(Box<str>),
    /// Ours: a type of key that Vault has and Selkie does not have yet.
    TypeNotSupported(Box<str>),
    /// Ours: an option of keys that Vault has and Selkie does not have yet.
    OptionNotSupported(&'static str),
    /// Ours: there is no `storage` to keep a key in that is made through the API.
    NoStorage,
}

/// Why `config` did not set the minimum versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionError {
    /// `min_decryption_version` is below 0.
    MinDecryptionNegative,
    /// `min_encryption_version` is below 0.
    MinEncryptionNegative,
    /// `min_decryption_version` is above the latest.
    MinDecryptionAboveLatest {
        /// What was asked for.
        wanted: i64,
        /// What there is.
        latest: u32,
    },
    /// `min_encryption_version` is above the latest.
    MinEncryptionAboveLatest {
        /// What was asked for.
        wanted: i64,
        /// What there is.
        latest: u32,
    },
    /// The two minima would contradict each other.
    MinEncryptionBelowMinDecryption {
        /// `min_encryption_version` as it would be.
        encryption: i64,
        /// `min_decryption_version` as it would be.
        decryption: i64,
    },
    /// `min_encryption_version` lies in what has been trimmed.
    MinEncryptionBelowAvailable,
    /// `min_decryption_version` lies in what has been trimmed.
    MinDecryptionBelowAvailable,
}

/// Why a key was not trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimError {
    /// The key does not exist.
    NoKey,
    /// No `min_available_version`.
    MissingVersion,
    /// It would go back.
    Decremented,
    /// `min_encryption_version` is 0.
    MinEncryptionUnset,
    /// `min_decryption_version` is 0.
    MinDecryptionUnset,
    /// It is above `min_encryption_version`.
    AboveMinEncryption,
    /// It is above `min_decryption_version`.
    AboveMinDecryption,
    /// It is below 0.
    Negative,
    /// It is 0.
    Zero,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType(name) => return write!(f, "unknown key type {name}"),
            Self::SizeNotValidFor(name) => {
                return write!(f, "key_size is not valid for algorithm {name}");
            }
            Self::NothingToConfigure(name) => {
                return write!(f, "no existing key named {name} could be found");
            }
            Self::DeletionNotAllowed(name) => {
                return write!(
                    f,
                    "error deleting policy {name}: deletion is not allowed for \
                     this key"
                );
            }
            Self::NothingToDelete(name) => {
                return write!(f, "error deleting policy {name}: could not delete key; not found");
            }
            Self::Declared(name) => {
                return write!(
                    f,
                    "key {name} is declared in the configuration and cannot be changed \
                     through the API"
                );
            }
            Self::TypeNotSupported(name) => return write!(f, "key type {name} is not supported"),
            Self::OptionNotSupported(option) => return write!(f, "{option} is not supported"),
            Self::Version(error) => return error.fmt(f),
            Self::Trim(error) => return error.fmt(f),
            Self::AutoRotatePeriodTooShort => {
                "auto rotate period must be 0 to disable or at least an hour"
            }
            Self::ConvergentWithoutDerivation => {
                "convergent encryption requires derivation to be enabled"
            }
            Self::NothingToRotate => "key not found",
            Self::NoStorage => {
                "there is no storage to keep keys in; declare the key in the configuration"
            }
        })
    }
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinDecryptionAboveLatest { wanted, latest } => {
                return write!(
                    f,
                    "cannot set min decryption version of {wanted}, latest key version \
                     is {latest}"
                );
            }
            Self::MinEncryptionAboveLatest { wanted, latest } => {
                return write!(
                    f,
                    "cannot set min encryption version of {wanted}, latest key version \
                     is {latest}"
                );
            }
            Self::MinEncryptionBelowMinDecryption { encryption, decryption } => {
                return write!(
                    f,
                    "cannot set min encryption/decryption values; min encryption version of \
                     {encryption} must be greater than or equal to min decryption version of \
                     {decryption}"
                );
            }
            Self::MinDecryptionNegative => "min decryption version cannot be negative",
            Self::MinEncryptionNegative => "min encryption version cannot be negative",
            Self::MinEncryptionBelowAvailable => {
                "min encryption version should not be less than min available version"
            }
            Self::MinDecryptionBelowAvailable => {
                "min decryption version should not be less then min available version"
            }
        })
    }
}

impl fmt::Display for TrimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "invalid key name",
            Self::MissingVersion => "missing min_available_version",
            Self::Decremented => "minimum available version cannot be decremented",
            Self::MinEncryptionUnset => {
                "minimum available version cannot be set when minimum encryption version is not set"
            }
            Self::MinDecryptionUnset => {
                "minimum available version cannot be set when minimum decryption version is not set"
            }
            Self::AboveMinEncryption => {
                "minimum available version cannot be greater than minmum encryption version"
            }
            Self::AboveMinDecryption => {
                "minimum available version cannot be greater than minimum decryption version"
            }
            Self::Negative => "minimum available version cannot be negative",
            Self::Zero => "minimum available version should be positive",
        })
    }
}

impl std::error::Error for KeyError {}
impl std::error::Error for VersionError {}
impl std::error::Error for TrimError {}
