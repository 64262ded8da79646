//! What a client binds to its ciphertext. It has one spelling, so that equal data always
//! authenticate alike.

use selkie_memory::WipedVec;

use crate::base64::{encode_url, encoded_len, push_url};

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

/// Room for what stands beside the parts.
const FIXED_BYTES: usize = 64;

impl Aad<'_> {
    /// The AAD of the cipher: `protected` or `protected ‖ "." ‖ base64url(aad)` (RFC 7516 §5.1),
    /// handed to `cipher`.
    pub(super) fn with_protected<R>(&self, protected: &[u8], cipher: impl FnOnce(&[u8]) -> R) -> R {
        if self.associated_data.is_empty() && self.context.is_empty() {
            return cipher(protected);
        }
        let encoded = WipedVec::new(encode_url(&self.json()));
        cipher(&WipedVec::new([protected, b".", &encoded].concat()))
    }

    fn json(&self) -> WipedVec {
        let parts = [self.associated_data, self.context];
        let length = parts.iter().map(|part| encoded_len(part.len()));
        let mut json = WipedVec::with_capacity(length.fold(FIXED_BYTES, usize::saturating_add));
        let mut begin: &[u8] = b"{";
        for (name, part) in ["associated_data", "context"].into_iter().zip(parts) {
            if part.is_empty() {
                continue;
            }
            json.extend_from_slice(begin);
            json.push(b'"');
            json.extend_from_slice(name.as_bytes());
            json.extend_from_slice(b"\":\"");
            push_url(part, &mut json);
            json.push(b'"');
            begin = b",";
        }
        json.push(b'}');
        json
    }
}

impl std::fmt::Debug for Aad<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aad")
    }
}
