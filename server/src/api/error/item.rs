use std::fmt;

use selkie_crypto::CiphertextError;

use crate::api::base64::IllegalByte;

/// Why one item could not be encrypted, decrypted or rewrapped: the error of a single request, and
/// the `error` member of an item in a batch. Its display is Vault's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemError {
    /// Plaintext, context or nonce is not base64.
    IllegalBase64(IllegalByte),
    /// `associated_data` is not base64, which Vault takes for its own fault.
    IllegalAssociatedData(IllegalByte),
    /// The item has no ciphertext.
    MissingCiphertext,
    /// The ciphertext has not the form `vault:v<N>:<base64>`.
    Ciphertext(CiphertextError),
    /// Its version is above the key's latest.
    VersionTooNew,
    /// Its version is below `min_decryption_version`.
    VersionTooOld,
    /// Its version is no longer, or was never, there.
    NoSuchVersion,
    /// Whatever is wrong inside the envelope (invariant I4: one answer for all of it).
    Authentication,
    /// `key_version` is below 0.
    WantedVersionNegative,
    /// `key_version` is above the latest.
    WantedVersionTooHigh,
    /// `key_version` is below `min_encryption_version`.
    WantedVersionTooLow,
    /// The key is derived and there is no context.
    MissingContext,
    /// The key has no use for the nonce that was sent.
    NonceNotAllowed,
    /// No master key that could do it answers at present; it may be tried again.
    MasterKeyUnavailable,
    /// The master key will not do it until an operator has mended something.
    MasterKeyRefuses(MasterKeyFault),
    /// Selkie's own fault; the log knows more.
    Internal,
}

/// What an operator has to mend; the log says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterKeyFault {
    /// The KMS does not let us use it.
    Denied,
    /// The KMS does not have it, or no longer.
    Missing,
    /// It is disabled, expired, not yet valid, or not meant for the operation.
    NotUsable,
    /// Its versions cannot be listed, so that the key's version cannot be counted.
    Unlisted,
    /// It is not what it was.
    Changed,
    /// The configuration has no such seal, or switches it off.
    NotConfigured,
}

/// Whose fault it is; decides the status of a single request and of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client's: to try again is useless.
    Client,
    /// A master key's that cannot be reached: try again.
    MasterKey,
    /// An operator's: to try again is useless until the master key is mended.
    Operator,
    /// Ours, or what Vault takes for its own.
    Server,
}

impl ItemError {
    /// Whose fault it is.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::IllegalBase64(_)
            | Self::MissingCiphertext
            | Self::Ciphertext(_)
            | Self::VersionTooNew
            | Self::VersionTooOld
            | Self::NoSuchVersion
            | Self::Authentication
            | Self::WantedVersionNegative
            | Self::WantedVersionTooHigh
            | Self::WantedVersionTooLow
            | Self::MissingContext
            | Self::NonceNotAllowed => Blame::Client,
            Self::MasterKeyUnavailable => Blame::MasterKey,
            Self::MasterKeyRefuses(_) => Blame::Operator,
            Self::IllegalAssociatedData(_) | Self::Internal => Blame::Server,
        }
    }
}

impl From<CiphertextError> for ItemError {
    fn from(error: CiphertextError) -> Self {
        Self::Ciphertext(error)
    }
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IllegalBase64(byte) => return byte.fmt(f),
            Self::IllegalAssociatedData(byte) => {
                return write!(
                    f,
                    "unable to get associated_data/additional_data from factory[0]: {byte}"
                );
            }
            Self::Ciphertext(error) => return error.fmt(f),
            Self::MissingCiphertext => "missing ciphertext to decrypt",
            Self::VersionTooNew => "invalid ciphertext: version is too new",
            Self::VersionTooOld => {
                "ciphertext or signature version is disallowed by policy (too old)"
            }
            Self::NoSuchVersion => "no such key version",
            Self::Authentication => "cipher: message authentication failed",
            Self::WantedVersionNegative => "requested version for encryption is negative",
            Self::WantedVersionTooHigh => {
                "requested version for encryption is higher than the latest key version"
            }
            Self::WantedVersionTooLow => {
                "requested version for encryption is less than the minimum encryption key version"
            }
            Self::MissingContext => {
                "missing 'context' for key derivation; the key was created using a derived key, \
                 which means additional, per-request information must be included in order to \
                 perform operations with the key"
            }
            Self::NonceNotAllowed => "provided nonce not allowed for this key",
            Self::MasterKeyUnavailable => "no master key of this key can be reached",
            Self::MasterKeyRefuses(fault) => return fault.fmt(f),
            Self::Internal => "internal error",
        })
    }
}

impl fmt::Display for MasterKeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "the master key cannot be used: its KMS denies access",
            Self::Missing => "the master key cannot be used: it does not exist in its KMS",
            Self::NotUsable => "the master key cannot be used: it is disabled or expired",
            Self::Unlisted => {
                "the version of this key is unknown: grant the right to list the master key's \
                 versions, or declare version = N for the key"
            }
            Self::Changed => "the master key cannot be used: it is not the one that it was",
            Self::NotConfigured => {
                "the master key cannot be used: its seal is not configured for it"
            }
        })
    }
}

impl std::error::Error for ItemError {}
