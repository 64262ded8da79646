//! What a client is told of one item: the same for whatever is wrong inside an envelope (invariant
//! I4).

use selkie_crypto::CiphertextError;

use crate::api::base64::IllegalByte;

/// Why one item could not be encrypted, decrypted or rewrapped: the error of a single request, and
/// the `error` member of an item in a batch. Its display is Vault's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Plaintext, context or nonce is not base64.
    #[error("{0}")]
    IllegalBase64(IllegalByte),
    /// `associated_data` is not base64, which Vault takes for its own fault.
    #[error("unable to get associated_data/additional_data from factory[0]: {0}")]
    IllegalAssociatedData(IllegalByte),
    /// The item has no ciphertext.
    #[error("missing ciphertext to decrypt")]
    MissingCiphertext,
    /// The ciphertext has not the form `vault:v<N>:<base64>`.
    #[error(transparent)]
    Ciphertext(#[from] CiphertextError),
    /// Its version is above the key's latest.
    #[error("invalid ciphertext: version is too new")]
    VersionTooNew,
    /// Its version is below `min_decryption_version`.
    #[error("ciphertext or signature version is disallowed by policy (too old)")]
    VersionTooOld,
    /// Whatever is wrong inside the envelope (invariant I4: one answer for all of it).
    #[error("cipher: message authentication failed")]
    Authentication,
    /// `key_version` is below 0.
    #[error("requested version for encryption is negative")]
    WantedVersionNegative,
    /// `key_version` is above the latest.
    #[error("requested version for encryption is higher than the latest key version")]
    WantedVersionTooHigh,
    /// `key_version` is below `min_encryption_version`.
    #[error("requested version for encryption is less than the minimum encryption key version")]
    WantedVersionTooLow,
    /// The key is derived and there is no context.
    #[error(
        "missing 'context' for key derivation; the key was created using a derived key, which \
         means additional, per-request information must be included in order to perform operations with \
         the key"
    )]
    MissingContext,
    /// The key has no use for the nonce that was sent.
    #[error("provided nonce not allowed for this key")]
    NonceNotAllowed,
    /// No master key that could do it answers at present; it may be tried again.
    #[error("no master key of this key can be reached")]
    MasterKeyUnavailable,
    /// The master key will not do it until an operator has mended something.
    #[error(transparent)]
    MasterKeyRefuses(MasterKeyFault),
    /// Selkie's own fault; the log knows more.
    #[error("internal error")]
    Internal,
}

/// What an operator has to mend; the log says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyFault {
    /// The KMS does not let us use it.
    #[error("the master key cannot be used: its KMS denies access")]
    Denied,
    /// The KMS does not have it, or no longer.
    #[error("the master key cannot be used: it does not exist in its KMS")]
    Missing,
    /// It is disabled, expired, not yet valid, or not meant for the operation.
    #[error("the master key cannot be used: it is disabled or expired")]
    NotUsable,
    /// Its versions cannot be listed, so that the key's version cannot be counted.
    #[error(
        "the version of this key is unknown: grant the right to list the master key's versions, or \
         declare version = N for the key"
    )]
    Unlisted,
    /// It is not what it was.
    #[error("the master key cannot be used: it is not the one that it was")]
    Changed,
    /// The configuration has no such seal, or switches it off.
    #[error("the master key cannot be used: its seal is not configured for it")]
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
