//! Tells two keys apart where neither is at hand, such as in a file that remembers a configuration.

use std::fmt;

use base16ct::HexDisplay;
use selkie_memory::with_scrubbed_stack;
use subtle::ConstantTimeEq;

use crate::mac::hmac_sha256;
use crate::{Kek, OriginKey};

const LABEL: &[u8] = b"selkie key fingerprint";

/// Tells a key from another one, and tells nothing else of it: it may be kept in a file.
///
/// `HMAC-SHA-256[key]("selkie key fingerprint" ‖ 0x00)` (RFC 2104). It confirms a guess, so the key
/// must be one that cannot be guessed.
#[derive(Clone, Debug)]
pub struct KeyFingerprint([u8; 32]);

impl KeyFingerprint {
    fn of(key: &[u8; 32]) -> Self {
        Self(with_scrubbed_stack(|| hmac_sha256(key, LABEL, [])))
    }

    /// The one that was printed, in hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        base16ct::lower::decode(text, &mut [0; 32]).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", HexDisplay(&self.0))
    }
}

impl PartialEq for KeyFingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyFingerprint {}

impl Kek {
    /// What tells it from another key.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(self.expose_for_fingerprint())
    }
}

impl OriginKey {
    /// What tells it from another key.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(self.expose_for_mac())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kek(byte: u8) -> KeyFingerprint {
        Kek::init_with(|page| page.fill(byte)).unwrap().fingerprint()
    }

    /// From Python: `hmac.new(bytes([1] * 32), b"selkie key fingerprint\0", "sha256")`.
    #[test]
    fn a_fingerprint_is_hmac_sha_256_under_its_own_label() {
        let text = kek(1).to_string();
        assert_eq!(text, "1d6dd19bf85b4b07b3a692d70c35f77770dc682527a3a0046bbba23be956b837");
    }

    #[test]
    fn a_fingerprint_is_of_one_key_and_reads_as_printed() {
        assert_eq!(kek(1), kek(1));
        assert_ne!(kek(1), kek(2));
        let origin = OriginKey::init_with(|page| page.fill(2)).unwrap().fingerprint();
        assert_ne!(kek(1), origin);
        let text = kek(1).to_string();
        assert_eq!(KeyFingerprint::from_hex(&text), Some(kek(1)));
        for wrong in ["", "00", &text[2..], &format!("{text}00"), &format!("+{}", &text[1..])] {
            assert_ne!(KeyFingerprint::from_hex(wrong), Some(kek(1)), "{wrong}");
        }
    }
}
