use std::fmt;

use selkie_memory::{PageError, SecretPage, with_scrubbed_stack};
use subtle::ConstantTimeEq;

use crate::mac::hmac_sha256;

/// Keeps the uses of one local key apart.
const LABEL: &[u8] = b"selkie pin file";

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

    /// Whether `mac` is the one of `content`, in constant time.
    #[must_use]
    pub fn verify(&self, content: &[u8], mac: &[u8; 32]) -> bool {
        self.mac(content).ct_eq(mac).into()
    }
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
        let hex: String = key(1).mac(b"pins").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "fd5a6e1ec061b43be8b24e992c23b549f9deb9bbcce55c58775029fd5c6e60cd");
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", key(0xAB)), "PinKey");
    }
}
