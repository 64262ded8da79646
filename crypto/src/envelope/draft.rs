use std::fmt;

use selkie_memory::with_scrubbed_stack;

use super::{Aad, Header, Recipient, commitment, header, origin, recipient, wire};
use crate::aead::{self, NONCE_BYTES};
use crate::base64::encode_url;
use crate::{OriginKey, Plaintext, Random, RandomError, RecipientSecret};

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
    /// Longer than AES-GCM allows.
    TooLong,
}

impl Draft {
    /// A draft with a fresh DEK and nonce.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn new(random: &Random) -> Result<Self, RandomError> {
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce)?;
        Ok(Self { dek: RecipientSecret::random(random)?, nonce })
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
        let owned = recipient::print_all(recipients);
        let recipients: Vec<_> = owned.iter().map(recipient::OwnedWire::as_wire).collect();
        let recipients_json = wire::print(&recipients);
        let (protected, encrypted) = with_scrubbed_stack(|| {
            let protected = header::print(header, &commitment(&self.dek, &recipients_json));
            let input = aad.with_protected(&protected);
            let encrypted = aead::encrypt_unscrubbed(&self.dek, &self.nonce, &input, plaintext);
            (protected, encrypted)
        });
        let encrypted = encrypted.map_err(|aead::TooLong| EncryptError::TooLong)?;
        let mut jwe = wire::Jwe {
            ciphertext: &encode_url(&encrypted.ciphertext),
            iv: &encode_url(&self.nonce),
            protected: &protected,
            recipients,
            tag: &encode_url(&encrypted.tag),
            unprotected: None,
        };
        let unsigned = wire::print(&jwe);
        let Some(key) = origin_key else {
            return Ok(unsigned);
        };
        let origin = encode_url(&origin(key, &unsigned));
        jwe.unprotected = Some(wire::Unprotected { origin: &origin });
        Ok(wire::print(&jwe))
    }
}

impl fmt::Display for EncryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRecipient => "no seal to encrypt for",
            Self::TooLong => "the plaintext is too long for AES-GCM",
        })
    }
}

impl std::error::Error for EncryptError {}
