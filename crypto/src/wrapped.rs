//! Responses that are kept for whoever has their wrapping token: AES-256-GCM under a key that follows
//! from the token's text alone, so that the store and the state key together do not open them.

use selkie_memory::with_scrubbed_stack;
use zeroize::Zeroizing;

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::digest::sha256;
use crate::mac::hmac_sha256;
use crate::state::{RecordRefused, SealRecordError};
use crate::{Plaintext, Random, RecipientSecret};

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + SALT_BYTES + NONCE_BYTES;

/// `response`, sealed for whoever has `token`:
/// `1 ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`, where
///
/// ```text
/// token key         = SHA-256("selkie wrapping token" ‖ 0x00 ‖ token)
/// response key      = HMAC-SHA-256[token key]("selkie wrapped response" ‖ 0x00 ‖ salt)
/// (ciphertext, tag) = AES-256-GCM[response key](nonce, "selkie wrapped response" ‖ 0x00 ‖ 1, response)
/// ```
///
/// The token must be random: nothing here slows down who guesses it.
///
/// # Errors
///
/// [`SealRecordError`].
pub fn wrap_response(
    token: &[u8],
    response: Plaintext,
    random: &Random,
) -> Result<Vec<u8>, SealRecordError> {
    let mut sealed = vec![0; HEAD_BYTES];
    let (format, drawn) = sealed.split_at_mut(1);
    format.copy_from_slice(&[FORMAT]);
    random(drawn).map_err(SealRecordError::Random)?;
    let (salt, nonce) = split_drawn(drawn).ok_or(SealRecordError::TooLong)?;
    let encrypted = aead::encrypt(&response_key(token, &salt), &nonce, AAD, response);
    let encrypted = encrypted.map_err(|aead::TooLong| SealRecordError::TooLong)?;
    sealed.extend_from_slice(&encrypted.ciphertext);
    sealed.extend_from_slice(&encrypted.tag);
    Ok(sealed)
}

/// The inverse of [`wrap_response`].
///
/// # Errors
///
/// [`RecordRefused`].
pub fn unwrap_response(token: &[u8], sealed: &[u8]) -> Result<Plaintext, RecordRefused> {
    let (head, rest) = sealed.split_at_checked(HEAD_BYTES).ok_or(RecordRefused)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(RecordRefused)?;
    let (format, drawn) = head.split_first().ok_or(RecordRefused)?;
    let (salt, nonce) = split_drawn(drawn).ok_or(RecordRefused)?;
    if *format != FORMAT {
        return Err(RecordRefused);
    }
    let opened = aead::decrypt(&response_key(token, &salt), &nonce, AAD, ciphertext, tag);
    opened.map_err(|aead::TagMismatch| RecordRefused)
}

const LABEL: &[u8] = b"selkie wrapped response";
const AAD: &[u8] = b"selkie wrapped response\0\x01";

fn split_drawn(drawn: &[u8]) -> Option<([u8; SALT_BYTES], [u8; NONCE_BYTES])> {
    let (salt, nonce) = drawn.split_first_chunk::<SALT_BYTES>()?;
    Some((*salt, nonce.try_into().ok()?))
}

fn response_key(token: &[u8], salt: &[u8; SALT_BYTES]) -> RecipientSecret {
    with_scrubbed_stack(|| {
        let labelled = Zeroizing::new([b"selkie wrapping token\0", token].concat());
        let token_key = Zeroizing::new(sha256(&labelled));
        RecipientSecret::init_with(|key| *key = hmac_sha256(&token_key, LABEL, [salt]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os_random;

    fn sealed(token: &[u8]) -> Vec<u8> {
        wrap_response(token, Plaintext::new(b"response".to_vec()), &os_random).unwrap()
    }

    #[test]
    fn a_response_opens_with_its_own_token_alone() {
        let wrapped = sealed(b"hvs.one");
        let opened = unwrap_response(b"hvs.one", &wrapped).unwrap();
        assert_eq!(opened.expose_for_reply(), b"response");
        for other in [b"hvs.two".as_slice(), b"hvs.one ", b"", b"hvs.on"] {
            assert_eq!(unwrap_response(other, &wrapped).unwrap_err(), RecordRefused);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let wrapped = sealed(b"t");
        for bit in 0..8 * wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unwrap_response(b"t", &flipped).is_err(), "bit {bit}");
        }
        for length in 0..wrapped.len() {
            assert!(unwrap_response(b"t", &wrapped[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_same_response_is_sealed_otherwise_each_time() {
        assert_ne!(sealed(b"t"), sealed(b"t"));
    }
}
