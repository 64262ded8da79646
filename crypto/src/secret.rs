//! Secrets that live for one operation. They are filled in place, cannot be cloned or printed, and
//! are read by a method that says what for.

use std::fmt;

use secrecy::{ExposeSecret, SecretBox};
use selkie_memory::{PageError, SecretPage, WipedVec};
use subtle::ConstantTimeEq;

use crate::aead::NONCE_BYTES;
use crate::{Random, RandomError};

/// What is wrapped for one recipient, 32 bytes: a DEK, or (for a quorum) a share of one.
///
/// It lives for one operation, on the heap, and is wiped when dropped.
pub struct RecipientSecret(SecretBox<[u8; 32]>);

impl RecipientSecret {
    /// A secret that `fill` writes in place.
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        Self(SecretBox::init_with_mut(fill))
    }

    /// A secret that `fill` writes in place, or its error.
    ///
    /// # Errors
    ///
    /// Whatever `fill` returns; what it had written is wiped.
    pub fn try_init_with<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut filled = Ok(());
        let secret = Self::init_with(|bytes| filled = fill(bytes));
        filled.map(|()| secret)
    }

    /// A fresh random secret and a nonce, in one draw: each is a call of the operating system's.
    pub(crate) fn random_with_nonce(
        random: &Random,
    ) -> Result<(Self, [u8; NONCE_BYTES]), RandomError> {
        let mut drawn = WipedVec::new(vec![0; 32 + NONCE_BYTES]);
        random(&mut drawn)?;
        let (secret, rest) = drawn.split_at(32);
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(rest);
        Ok((Self::init_with(|bytes| bytes.copy_from_slice(secret)), nonce))
    }

    /// The bytes, for the KMS or the cipher that wraps them.
    #[must_use]
    pub fn expose_for_wrap(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// The bytes as the key of one envelope.
    pub(crate) fn expose_as_dek(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for RecipientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientSecret")
    }
}

/// What a client encrypts or gets back: any bytes, any length, wiped when dropped.
pub struct Plaintext(WipedVec);

impl Plaintext {
    /// Takes over `bytes`; spare capacity is wiped with the rest.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(WipedVec::new(bytes))
    }

    /// The bytes, for the reply to the client who may have them.
    #[must_use]
    pub fn expose_for_reply(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, where they are for us to read: a key, a record of our own, a name that was encoded.
    #[must_use]
    pub fn expose_for_own_use(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be encrypted or decrypted in place.
    pub(crate) fn expose_for_cipher(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Takes the bytes out once the cipher has turned them into ciphertext.
    pub(crate) fn into_ciphertext(self) -> Vec<u8> {
        self.0.into_unwiped()
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext")
    }
}

/// The key that proves which deployment made an envelope (HMAC-SHA-256, 32 bytes).
///
/// A public-key recipient lets anyone make an envelope; only a holder of this key makes one that
/// counts as ours.
pub struct OriginKey(SecretPage<32>);

impl OriginKey {
    /// A key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        SecretPage::new(fill).map(Self)
    }

    /// Whether both are the same key, in constant time.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.0.expose().ct_eq(other.0.expose()).into()
    }

    pub(crate) fn expose_for_mac(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl fmt::Debug for OriginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OriginKey")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use static_assertions::{assert_impl_all, assert_not_impl_any};

    use super::*;
    use crate::Kek;

    assert_not_impl_any!(RecipientSecret: Clone, Copy, Display, AsRef<[u8]>, serde::Serialize);
    assert_not_impl_any!(Plaintext: Clone, Copy, Display, AsRef<[u8]>, serde::Serialize);
    assert_not_impl_any!(OriginKey: Clone, Copy, Display, AsRef<[u8]>, serde::Serialize);
    assert_not_impl_any!(Kek: Clone, Copy, Display, AsRef<[u8]>, serde::Serialize);
    assert_impl_all!(RecipientSecret: Send, Sync, Debug);
    assert_impl_all!(Kek: Send, Sync, Debug);

    #[test]
    fn debug_shows_no_byte() {
        let secret = RecipientSecret::init_with(|bytes| bytes.fill(0xAB));
        assert_eq!(format!("{secret:?}"), "RecipientSecret");
        assert_eq!(format!("{:?}", Plaintext::new(b"abc".to_vec())), "Plaintext");
        let key = OriginKey::init_with(|bytes| bytes.fill(1)).unwrap();
        assert_eq!(format!("{key:?}"), "OriginKey");
    }

    #[test]
    fn a_failed_fill_gives_no_secret() {
        assert!(RecipientSecret::try_init_with(|_| Err(RandomError)).is_err());
    }
}
