use std::fmt;

use selkie_memory::with_scrubbed_stack;

use super::{Aad, Header, MAX_RECIPIENTS, Recipient, commitment, header, origin, wire};
use crate::aead::{self, NONCE_BYTES};
use crate::base64::encode_url;
use crate::{OriginKey, Plaintext, Random, RandomError, RecipientSecret, WrapAlgorithm};

/// An envelope in the making: its DEK exists, the recipients are still to be wrapped.
///
/// The DEK encrypts one message and is gone with the draft.
#[derive(Debug)]
pub struct Draft {
    dek: RecipientSecret,
    nonce: [u8; NONCE_BYTES],
}

/// Why nothing was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptError {
    /// No recipient: nobody could ever open it.
    NoRecipient,
    /// More than [`MAX_RECIPIENTS`](super::MAX_RECIPIENTS): nobody would read it.
    TooManyRecipients,
    /// Longer than AES-GCM allows.
    TooLong,
    /// A wrapped DEK has not the shape that its algorithm gives it: whoever wrapped it misbehaves.
    WrappedDekShape(WrapAlgorithm),
}

impl Draft {
    /// A draft with a fresh DEK and nonce.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn new(random: &Random) -> Result<Self, RandomError> {
        let (dek, nonce) = RecipientSecret::random_with_nonce(random)?;
        Ok(Self { dek, nonce })
    }

    /// What each recipient wraps.
    #[must_use]
    pub const fn secret(&self) -> &RecipientSecret {
        &self.dek
    }

    /// The finished envelope, as JSON.
    ///
    /// # Errors
    ///
    /// [`EncryptError`].
    pub fn encrypt(
        self,
        header: &Header<'_>,
        aad: Aad<'_>,
        plaintext: Plaintext,
        recipients: &[Recipient],
        origin_key: Option<&OriginKey>,
    ) -> Result<Vec<u8>, EncryptError> {
        if recipients.is_empty() {
            return Err(EncryptError::NoRecipient);
        }
        if recipients.len() > MAX_RECIPIENTS {
            return Err(EncryptError::TooManyRecipients);
        }
        let recipients_json =
            wire::print_recipients(recipients).map_err(EncryptError::WrappedDekShape)?;
        let (protected, encrypted) = with_scrubbed_stack(|| {
            let protected =
                header::print(header, &commitment(&self.dek, recipients_json.as_bytes()));
            let encrypted = aad.with_protected(&protected, |input| {
                aead::encrypt_unscrubbed(&self.dek, &self.nonce, input, plaintext)
            });
            (protected, encrypted)
        });
        let encrypted = encrypted.map_err(|aead::TooLong| EncryptError::TooLong)?;
        let mut envelope = wire::print_unsigned(
            &encode_url(&encrypted.ciphertext),
            &encode_url(&self.nonce),
            &protected,
            &recipients_json,
            &encode_url(&encrypted.tag),
        );
        let origin = origin_key.map(|key| encode_url(&origin(key, &envelope)));
        envelope.push_str(&wire::print_end(origin.as_deref()));
        Ok(envelope.into_bytes())
    }
}

impl fmt::Display for EncryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipient => f.write_str("no seal to encrypt for"),
            Self::TooManyRecipients => f.write_str("more than 16 seals to encrypt for"),
            Self::TooLong => f.write_str("the plaintext is too long for AES-GCM"),
            Self::WrappedDekShape(algorithm) => {
                write!(f, "a wrapped DEK that {} cannot have made", algorithm.jose_name())
            }
        }
    }
}

impl std::error::Error for EncryptError {}
