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
    /// Selkie's own fault; the log knows more.
    Internal,
}

/// Whose fault it is; decides the status of a single request and of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client's: to try again is useless.
    Client,
    /// A master key's that cannot be reached: try again.
    MasterKey,
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
            Self::Internal => "internal error",
        })
    }
}

impl std::error::Error for ItemError {}
