//! `public_key_sha256`: which public keys may be used.

use std::fmt;

use base16ct::HexDisplay;
use selkie_crypto::base64;
use selkie_hcl::Field;

/// SHA-256 of a public key's DER `SubjectPublicKeyInfo`, 32 bytes; prints as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKeyFingerprint([u8; 32]);

/// A text is no fingerprint.
#[derive(Debug, thiserror::Error)]
#[error(
    "field \"public_key_sha256\": expected the SHA-256 of the public key (SubjectPublicKeyInfo in \
     DER) as 64 characters of hex or 44 of base64"
)]
struct NotAFingerprint;

impl PublicKeyFingerprint {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        match text.len() {
            64 => {
                let mut bytes = [0; 32];
                base16ct::mixed::decode(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }
            44 => {
                let decoded = base64::decode_secret(text.as_bytes()).ok()?;
                Some(Self(decoded.expose_for_own_use().try_into().ok()?))
            }
            _ => None,
        }
    }
}

impl fmt::Display for PublicKeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", HexDisplay(&self.0))
    }
}

impl fmt::Debug for PublicKeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One fingerprint or several; `None` if one was reported to be none.
pub(in crate::seal) fn decode(field: Field<'_>) -> Option<Vec<PublicKeyFingerprint>> {
    if field.place().is_none() {
        return Some(Vec::new());
    }
    let listed = field.string_or_strings()?.value.into_iter();
    let parsed = listed.map(|text| {
        let parsed = text.try_map(|text| PublicKeyFingerprint::parse(&text).ok_or(NotAFingerprint));
        parsed.map(|fingerprint| fingerprint.value)
    });
    let all: Vec<_> = parsed.collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_the_same_as_hex_and_as_base64() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8 + 3).unwrap());
        let mut base64_text = Vec::new();
        base64::encode_into(&bytes, &mut base64_text);
        let of_base64 = PublicKeyFingerprint::parse(str::from_utf8(&base64_text).unwrap()).unwrap();
        let hex = of_base64.to_string();
        assert_eq!(*of_base64.as_bytes(), bytes);
        assert_eq!(PublicKeyFingerprint::parse(&hex), Some(of_base64));
        assert_eq!(PublicKeyFingerprint::parse(&hex.to_uppercase()), Some(of_base64));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        assert_eq!(PublicKeyFingerprint::parse(&"g".repeat(64)), None);
        assert_eq!(PublicKeyFingerprint::parse(&"+1".repeat(32)), None);
        assert_eq!(PublicKeyFingerprint::parse(&"A".repeat(44)), None, "33 bytes");
        assert_eq!(PublicKeyFingerprint::parse(&"ab".repeat(31)), None);
    }
}
