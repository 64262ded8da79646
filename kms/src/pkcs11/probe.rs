//! Tells a wrong ciphertext from a token that fails, as libraries confuse the two; only the former
//! is the client's fault.

use selkie_crypto::{PublicKey, RecipientSecret};
use selkie_pkcs11_protocol::{KeyName, Mechanism, Request};

/// No secret.
const BYTE: u8 = 0x5e;

/// What tells a wrong ciphertext from a token that fails: something wrapped here, under the public
/// key of the pair, that the token must be able to unwrap. The standard has results for a wrong
/// ciphertext, and libraries that do not use them.
pub(super) struct Probe {
    pub(super) key: KeyName,
    pub(super) public: PublicKey,
}

impl Probe {
    /// The unwrap that has to succeed; `None` if nothing can be wrapped here.
    pub(super) fn request(&self) -> Option<Request> {
        let dek = RecipientSecret::init_with(|bytes| bytes.fill(BYTE));
        let wrapped = self.public.wrap_dek(&dek).ok()?;
        let (key, mechanism) = (self.key.clone(), Mechanism::RsaOaepSha256);
        Some(Request::Unwrap { key, mechanism, wrapped, witness: None })
    }

    /// Whether `dek` is what was wrapped.
    pub(super) fn is(&self, dek: &[u8]) -> bool {
        dek == [BYTE; 32]
    }
}
