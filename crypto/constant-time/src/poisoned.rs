//! Secrets of constant bytes, poisoned.

use selkie_crypto::{Kek, OriginKey, PageError, Plaintext, RecipientSecret};

use crate::memcheck::poison;

pub(crate) fn dek(fill: u8) -> RecipientSecret {
    RecipientSecret::init_with(|bytes| {
        bytes.fill(fill);
        poison(bytes);
    })
}

pub(crate) fn kek(fill: u8) -> Result<Kek, PageError> {
    Kek::init_with(|bytes| {
        bytes.fill(fill);
        poison(bytes);
    })
}

pub(crate) fn origin_key(fill: u8) -> Result<OriginKey, PageError> {
    OriginKey::init_with(|bytes| {
        bytes.fill(fill);
        poison(bytes);
    })
}

pub(crate) fn plaintext(length: usize) -> Plaintext {
    Plaintext::new(bytes(length))
}

/// Bytes of all values, so that a shortcut for equal ones does not hide a leak.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
    poison(&mut bytes);
    bytes
}
