//! AES-256-GCM (NIST SP 800-38D), 96-bit nonce, 128-bit tag, detached and in place.
//!
//! Every key here encrypts one message only, so the limit on random nonces does not arise.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit};
use selkie_memory::with_scrubbed_stack;

use crate::{Plaintext, RecipientSecret};

/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 12;
/// Length of an authentication tag in bytes.
pub const TAG_BYTES: usize = 16;

/// The tag does not belong to this ciphertext, nonce, associated data and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagMismatch;

/// The message is longer than AES-GCM allows (2^36 - 32 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Ciphertext and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// As long as the plaintext was.
    pub ciphertext: Vec<u8>,
    /// Over ciphertext and associated data.
    pub tag: [u8; TAG_BYTES],
}

/// `(ciphertext, tag) = AES-256-GCM[dek](nonce, aad, plaintext)`, in the plaintext's own memory.
///
/// # Errors
///
/// [`TooLong`].
pub fn encrypt(
    dek: &RecipientSecret,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    plaintext: Plaintext,
) -> Result<Encrypted, TooLong> {
    with_scrubbed_stack(|| encrypt_unscrubbed(dek, nonce, aad, plaintext))
}

/// The inverse of [`encrypt`]; a wrong tag gives no byte of the message.
///
/// # Errors
///
/// [`TagMismatch`].
pub fn decrypt(
    dek: &RecipientSecret,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_BYTES],
) -> Result<Plaintext, TagMismatch> {
    with_scrubbed_stack(|| decrypt_unscrubbed(dek, nonce, aad, ciphertext, tag))
}

/// [`encrypt`] for a caller who scrubs the stack after more than this.
#[expect(clippy::map_err_ignore, reason = "the library's error has no content")]
pub(crate) fn encrypt_unscrubbed(
    dek: &RecipientSecret,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    mut plaintext: Plaintext,
) -> Result<Encrypted, TooLong> {
    let cipher = Aes256Gcm::new(dek.expose_as_dek().into());
    let buffer = InOutBuf::from(plaintext.expose_for_cipher());
    let tag = cipher.encrypt_inout_detached(nonce.into(), aad, buffer);
    let tag = tag.map_err(|_| TooLong)?.into();
    Ok(Encrypted { ciphertext: plaintext.into_ciphertext(), tag })
}

/// [`decrypt`] for a caller who scrubs the stack after more than this.
#[expect(clippy::map_err_ignore, reason = "the library's error has no content")]
pub(crate) fn decrypt_unscrubbed(
    dek: &RecipientSecret,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_BYTES],
) -> Result<Plaintext, TagMismatch> {
    let cipher = Aes256Gcm::new(dek.expose_as_dek().into());
    let mut plaintext = Plaintext::new(ciphertext.to_vec());
    let buffer = InOutBuf::from(plaintext.expose_for_cipher());
    let opened = cipher.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into());
    opened.map(|()| plaintext).map_err(|_| TagMismatch)
}
