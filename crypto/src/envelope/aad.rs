use selkie_memory::WipedVec;
use serde::Serialize;

use crate::base64::encode_url;

/// What a client binds a ciphertext to without storing it there; an empty part is no part.
///
/// It enters the envelope as JWE `aad` in this JSON form, absent parts left out:
/// `{"associated_data":"<base64url>","context":"<base64url>"}`.
#[derive(Clone, Copy, Default)]
pub struct Aad<'a> {
    /// Vault's `associated_data`, decoded.
    pub associated_data: &'a [u8],
    /// Vault's key-derivation `context`, decoded.
    pub context: &'a [u8],
}

#[derive(Serialize)]
struct Wire {
    #[serde(skip_serializing_if = "String::is_empty")]
    associated_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    context: String,
}

impl Aad<'_> {
    /// The AAD of the cipher: `protected` or `protected ‖ "." ‖ base64url(aad)` (RFC 7516 §5.1),
    /// handed to `cipher`.
    pub(super) fn with_protected<R>(&self, protected: &str, cipher: impl FnOnce(&[u8]) -> R) -> R {
        if self.associated_data.is_empty() && self.context.is_empty() {
            return cipher(protected.as_bytes());
        }
        let wire = Wire {
            associated_data: encode_url(self.associated_data),
            context: encode_url(self.context),
        };
        // Invariant: a struct of strings always serialises.
        let json = WipedVec::new(serde_json::to_vec(&wire).unwrap_or_default());
        let encoded = WipedVec::new(encode_url(&json).into_bytes());
        cipher(&WipedVec::new([protected.as_bytes(), b".", &encoded].concat()))
    }
}

impl std::fmt::Debug for Aad<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aad")
    }
}
