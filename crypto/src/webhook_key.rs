//! Signs alerts, and nothing else: whoever receives them has this key too.

use std::fmt;

use selkie_memory::{PageError, SecretPage, with_scrubbed_bytes};

use crate::mac::bare_hmac_sha256;

/// One HMAC-SHA-256 keeps two states and a block: less than 2 KiB.
const STACK_BYTES: usize = 4096;

/// The key that alerts are signed under (HMAC-SHA-256, 32 bytes), so that who receives one knows
/// whose it is. It has no other use.
pub struct WebhookKey(SecretPage<32>);

impl WebhookKey {
    /// A key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        SecretPage::new(fill).map(Self)
    }

    /// `HMAC-SHA-256[key](body)` (RFC 2104), without a label, because receivers of webhooks compute
    /// just that.
    #[must_use]
    pub fn signature(&self, body: &[u8]) -> [u8; 32] {
        with_scrubbed_bytes::<STACK_BYTES, _>(|| bare_hmac_sha256(self.0.expose(), body))
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey")
    }
}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::*;

    assert_not_impl_any!(WebhookKey: Clone, Copy, fmt::Display, AsRef<[u8]>, serde::Serialize);

    /// From Python: `hmac.new(bytes([7] * 32), b'{"alerts":[]}', "sha256").hexdigest()`.
    #[test]
    fn a_signature_is_what_every_receiver_computes() {
        let key = WebhookKey::init_with(|page| page.fill(7)).unwrap();
        let hex = base16ct::lower::encode_string(&key.signature(b"{\"alerts\":[]}"));
        assert_eq!(hex, EXPECTED);
        assert_eq!(format!("{key:?}"), "WebhookKey");
    }

    const EXPECTED: &str = "3d8f568b7b03711c78ab159d669acd51951b2f1b40b3452aad46bb20eb953907";
}
