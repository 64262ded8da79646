//! The key of the audit log. Where none is declared it is derived from another, one way, so that
//! whoever verifies logs can do nothing else with it.

use std::fmt;

use selkie_memory::{PageError, with_scrubbed_bytes};

use crate::mac::{Absorbed, hmac_sha256};
use crate::{OriginKey, PinKey};

/// One HMAC-SHA-256 keeps two states and a block: less than 2 KiB.
const STACK_BYTES: usize = 4096;

/// The key of the audit log (HMAC-SHA-256, 32 bytes): it hides values, so that equal ones can be
/// found without being told, and it chains the lines.
pub struct AuditKey(Absorbed);

impl AuditKey {
    /// A key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        Absorbed::init_with(fill).map(Self)
    }

    /// What stands for `value` in the log:
    /// `HMAC-SHA-256[key]("selkie audit value" ‖ 0x00 ‖ value)`.
    #[must_use]
    pub fn value_hash(&self, value: &[u8]) -> [u8; 32] {
        self.0.mac(b"selkie audit value", [value])
    }

    /// What chains `line` to the one before, whose MAC is `previous` (zeroes before the first):
    /// `HMAC-SHA-256[key]("selkie audit line" ‖ 0x00 ‖ previous ‖ line)`.
    #[must_use]
    pub fn line_mac(&self, previous: &[u8; 32], line: &[u8]) -> [u8; 32] {
        self.0.mac(b"selkie audit line", [previous, line])
    }

    /// Tells audit keys apart, and tells nothing else: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let mac = self.0.mac(b"selkie audit key id", []);
        base16ct::lower::encode_string(&mac[..8])
    }

    /// `HMAC-SHA-256[key]("selkie audit key" ‖ 0x00)`, written in place.
    fn derived(key: &[u8; 32]) -> Result<Self, PageError> {
        Self::init_with(|page| {
            with_scrubbed_bytes::<STACK_BYTES, _>(|| {
                *page = hmac_sha256(key, b"selkie audit key", []);
            });
        })
    }
}

impl OriginKey {
    /// The audit key of a deployment that declares none.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn audit_key(&self) -> Result<AuditKey, PageError> {
        AuditKey::derived(self.expose_for_mac())
    }
}

impl PinKey {
    /// The audit key of a machine whose deployment declares none.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn audit_key(&self) -> Result<AuditKey, PageError> {
        AuditKey::derived(self.expose_for_derivation())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey")
    }
}

#[cfg(test)]
mod tests {
    use base16ct::lower::encode_string as hex;
    use static_assertions::assert_not_impl_any;

    use super::*;

    assert_not_impl_any!(AuditKey: Clone, Copy, fmt::Display, AsRef<[u8]>, serde::Serialize);

    fn key(byte: u8) -> AuditKey {
        AuditKey::init_with(|page| page.fill(byte)).unwrap()
    }

    /// From Python: `hmac.new(bytes([1] * 32), b"selkie audit value\0x", "sha256")`, and
    /// `hmac.new(bytes([1] * 32), b"selkie audit line\0" + bytes(32) + b"x", "sha256")`.
    #[test]
    fn hashes_are_hmac_sha_256_under_labels_of_their_own() {
        assert_eq!(hex(&key(1).value_hash(b"x")), VALUE_HASH);
        assert_eq!(hex(&key(1).line_mac(&[0; 32], b"x")), LINE_MAC);
    }

    const VALUE_HASH: &str = "1cbc31b4b2ab91920e6539eb0554a87d80a2ef52ececd8e26ec9e1f8b0c7644a";
    const LINE_MAC: &str = "ba4037e68925664aaba7aa8c87065566fb9bbeb644b2b50300f5977f116c7017";

    #[test]
    fn a_mac_depends_on_key_line_and_the_one_before() {
        let mac = key(1).line_mac(&[0; 32], b"x");
        assert_ne!(mac, key(2).line_mac(&[0; 32], b"x"));
        assert_ne!(mac, key(1).line_mac(&[1; 32], b"x"));
        assert_ne!(mac, key(1).line_mac(&[0; 32], b"y"));
    }

    #[test]
    fn a_derived_key_is_neither_its_origin_nor_that_of_another() {
        let origin = |byte| OriginKey::init_with(|page| page.fill(byte)).unwrap();
        let id = origin(1).audit_key().unwrap().id();
        assert_eq!(id, origin(1).audit_key().unwrap().id());
        assert_ne!(id, origin(2).audit_key().unwrap().id());
        assert_ne!(id, key(1).id());
        let local = PinKey::init_with(|page| page.fill(1)).unwrap();
        assert_ne!(local.audit_key().unwrap().id(), key(1).id());
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", key(0xAB)), "AuditKey");
    }
}
