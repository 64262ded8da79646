//! The uses of the local key, each under a label of its own, so that what is signed for one is
//! nothing to another.

use std::fmt;

use selkie_memory::{PageError, SecretPage, with_scrubbed_stack};
use subtle::ConstantTimeEq;

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::mac::hmac_sha256;
use crate::{Plaintext, Random, RandomError, RecipientSecret, StateKey};

/// Keeps the uses of one local key apart.
const LABEL: &[u8] = b"selkie pin file";
const STATE_LABEL: &[u8] = b"selkie local state key";
const SALT_BYTES: usize = 16;

/// The local key in its use for pin files (HMAC-SHA-256, 32 bytes): what it signed was written by
/// this deployment, so its pins are trusted while the KMS is away (invariant I2).
pub struct PinKey(SecretPage<32>);

impl PinKey {
    /// A key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        SecretPage::new(fill).map(Self)
    }

    /// `HMAC-SHA-256[key]("selkie pin file" ‖ 0x00 ‖ content)` (RFC 2104).
    #[must_use]
    pub fn mac(&self, content: &[u8]) -> [u8; 32] {
        with_scrubbed_stack(|| hmac_sha256(self.0.expose(), LABEL, [content]))
    }

    pub(crate) fn expose_for_derivation(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Whether `mac` is the one of `content`, in constant time.
    #[must_use]
    pub fn verify(&self, content: &[u8], mac: &[u8; 32]) -> bool {
        self.mac(content).ct_eq(mac).into()
    }
}

/// The state key under a local key: `salt (16) ‖ nonce (12) ‖ ciphertext (32) ‖ tag (16)`.
///
/// ```text
/// key               = HMAC-SHA-256[local key]("selkie local state key" ‖ 0x00 ‖ salt)
/// (ciphertext, tag) = AES-256-GCM[key](nonce, "selkie local state key" ‖ 0x00 ‖ store, state key)
/// ```
impl PinKey {
    /// Tells local keys apart, and tells nothing else: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let mac = with_scrubbed_stack(|| hmac_sha256(self.0.expose(), b"selkie local key id", []));
        base16ct::lower::encode_string(&mac[..8])
    }

    /// The state key of the store `store` under this key.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn wrap_state_key(
        &self,
        store: &str,
        state_key: &StateKey,
        random: &Random,
    ) -> Result<Vec<u8>, RandomError> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        random(&mut salt)?;
        random(&mut nonce)?;
        let key = self.state_key_key(&salt);
        let wrapped = aead::encrypt(&key, &nonce, &aad(store), state_key.to_plaintext());
        // 32 bytes are never too long.
        let wrapped = wrapped.map_err(|aead::TooLong| RandomError)?;
        Ok([&salt[..], &nonce, &wrapped.ciphertext, &wrapped.tag].concat())
    }

    /// The inverse of [`PinKey::wrap_state_key`]; `None` for what was changed, or is of another
    /// store or local key.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn unwrap_state_key(
        &self,
        store: &str,
        wrapped: &[u8],
    ) -> Result<Option<StateKey>, PageError> {
        let Some(plaintext) = self.unwrapped(store, wrapped) else { return Ok(None) };
        StateKey::from_plaintext(&plaintext)
    }

    fn unwrapped(&self, store: &str, wrapped: &[u8]) -> Option<Plaintext> {
        let (salt, rest) = wrapped.split_first_chunk::<SALT_BYTES>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let key = self.state_key_key(salt);
        aead::decrypt(&key, nonce, &aad(store), ciphertext, tag).ok()
    }

    fn state_key_key(&self, salt: &[u8; SALT_BYTES]) -> RecipientSecret {
        with_scrubbed_stack(|| {
            RecipientSecret::init_with(|key| {
                *key = hmac_sha256(self.0.expose(), STATE_LABEL, [salt]);
            })
        })
    }
}

fn aad(store: &str) -> Vec<u8> {
    [STATE_LABEL, &[0], store.as_bytes()].concat()
}

impl fmt::Debug for PinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinKey")
    }
}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::*;

    assert_not_impl_any!(PinKey: Clone, Copy, fmt::Display, AsRef<[u8]>, serde::Serialize);

    fn key(byte: u8) -> PinKey {
        PinKey::init_with(|page| page.fill(byte)).unwrap()
    }

    #[test]
    fn a_mac_is_of_one_key_and_one_content() {
        let mac = key(1).mac(b"pins");
        assert!(key(1).verify(b"pins", &mac));
        assert!(!key(2).verify(b"pins", &mac));
        assert!(!key(1).verify(b"pinz", &mac));
        assert!(!key(1).verify(b"", &mac));
    }

    #[test]
    fn one_flipped_bit_of_a_mac_is_refused() {
        let mac = key(1).mac(b"pins");
        for bit in 0..256 {
            let mut flipped = mac;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!key(1).verify(b"pins", &flipped), "{bit}");
        }
    }

    /// From Python: `hmac.new(bytes([1] * 32), b"selkie pin file\0pins", "sha256")`.
    #[test]
    fn the_mac_is_hmac_sha_256_under_its_own_label() {
        let hex = base16ct::lower::encode_string(&key(1).mac(b"pins"));
        assert_eq!(hex, "fd5a6e1ec061b43be8b24e992c23b549f9deb9bbcce55c58775029fd5c6e60cd");
    }

    #[test]
    fn a_state_key_opens_under_its_own_local_key_for_its_own_store_alone() {
        let state = || StateKey::init_with(|page| page.fill(9)).unwrap();
        let wrapped = key(1).wrap_state_key("s", &state(), &crate::os_random).unwrap();
        let opened = key(1).unwrap_state_key("s", &wrapped).unwrap().unwrap();
        assert!(opened.is_same_key(&state()));
        assert!(key(1).unwrap_state_key("t", &wrapped).unwrap().is_none(), "another store");
        assert!(key(2).unwrap_state_key("s", &wrapped).unwrap().is_none(), "another local key");
        for bit in 0..wrapped.len() * 8 {
            let mut flipped = wrapped.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key(1).unwrap_state_key("s", &flipped).unwrap().is_none(), "{bit}");
        }
        for length in 0..wrapped.len() {
            assert!(key(1).unwrap_state_key("s", &wrapped[..length]).unwrap().is_none());
        }
    }

    #[test]
    fn local_keys_have_ids_of_their_own() {
        assert_eq!(key(1).id().len(), 16);
        assert_eq!(key(1).id(), key(1).id());
        assert_ne!(key(1).id(), key(2).id());
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", key(0xAB)), "PinKey");
    }
}
