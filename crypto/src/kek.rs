//! A master key in our own memory, which the static seal alone has.

use std::fmt;

use aes_kw::cipher::consts::U32;
use aes_kw::{KeyInit, KwAes256};
use selkie_memory::{PageError, SecretPage, with_scrubbed_bytes};
use subtle::ConstantTimeEq;

use crate::RecipientSecret;

/// Length of a DEK that AES key wrap has wrapped, in bytes.
pub const WRAPPED_DEK_BYTES: usize = 40;

/// Key wrap keeps 15 round keys, at most 64 bytes wide each, and a block: less than 2 KiB; and what
/// is moved may leave copies.
const STACK_BYTES: usize = 8192;

/// A master key in our own memory: that of the static seal, 32 bytes for AES key wrap (RFC 3394).
///
/// It is kept in a page that no dump shows; its key schedule exists only during an operation.
pub struct Kek(SecretPage<32>);

/// The wrapped DEK was not made by this key, or was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnwrapFailed;

impl fmt::Display for UnwrapFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wrapped DEK does not open under this key")
    }
}

impl std::error::Error for UnwrapFailed {}

impl Kek {
    /// A key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        SecretPage::new(fill).map(Self)
    }

    /// `A256KW[kek](secret)` (RFC 3394 §2.2.1).
    #[must_use]
    pub fn wrap_dek(&self, secret: &RecipientSecret) -> [u8; WRAPPED_DEK_BYTES] {
        wrap_key(self.0.expose(), secret)
    }

    /// The inverse of [`Kek::wrap_dek`] (RFC 3394 §2.2.2), integrity check included.
    ///
    /// # Errors
    ///
    /// [`UnwrapFailed`] for any other length, another key or a changed byte.
    pub fn unwrap_dek(&self, wrapped: &[u8]) -> Result<RecipientSecret, UnwrapFailed> {
        unwrap_key(self.0.expose(), wrapped)
    }

    pub(crate) fn expose_for_fingerprint(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Whether both are the same key, in constant time; the configuration refuses one key under
    /// two ids.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.0.expose().ct_eq(other.0.expose()).into()
    }
}

/// `A256KW[kek](secret)` (RFC 3394 §2.2.1).
pub(crate) fn wrap_key(kek: &[u8; 32], secret: &RecipientSecret) -> [u8; WRAPPED_DEK_BYTES] {
    with_scrubbed_bytes::<STACK_BYTES, _>(|| {
        let cipher = KwAes256::new(kek.into());
        cipher.wrap_fixed_key::<U32>(secret.expose_for_wrap().into()).into()
    })
}

/// The inverse of [`wrap_key`] (RFC 3394 §2.2.2), integrity check included.
#[expect(clippy::map_err_ignore, reason = "one failure, no detail")]
pub(crate) fn unwrap_key(kek: &[u8; 32], wrapped: &[u8]) -> Result<RecipientSecret, UnwrapFailed> {
    let wrapped: &[u8; WRAPPED_DEK_BYTES] = wrapped.try_into().map_err(|_| UnwrapFailed)?;
    RecipientSecret::try_init_with(|bytes| {
        with_scrubbed_bytes::<STACK_BYTES, _>(|| {
            let cipher = KwAes256::new(kek.into());
            cipher.unwrap_key(wrapped, bytes).map(drop).map_err(|_| UnwrapFailed)
        })
    })
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek")
    }
}
