//! Names one certificate, by all of its bytes.

use std::fmt;
use std::str::FromStr;

use base16ct::HexDisplay;
use selkie_crypto::sha256;

/// The SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, with or without colons")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// That of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// As `openssl x509 -fingerprint -sha256` prints it, or without the colons, in either case.
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let mut bytes = [0; 32];
        let mut pairs: Vec<&str> = text.split(':').collect();
        if let [whole] = pairs[..] {
            pairs = (0..whole.len()).step_by(2).filter_map(|at| whole.get(at..at + 2)).collect();
            if whole.len() != 64 {
                return Err(InvalidFingerprint);
            }
        }
        if pairs.len() != bytes.len() {
            return Err(InvalidFingerprint);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            let value = is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten();
            *byte = value.ok_or(InvalidFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", HexDisplay(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_with_and_without_colons_in_either_case() {
        let fingerprint = Fingerprint::of(b"x");
        let plain = fingerprint.to_string();
        let pairs: Vec<_> = (0..64).step_by(2).map(|at| &plain[at..at + 2]).collect();
        let colons = pairs.join(":").to_uppercase();
        assert_eq!(plain.parse(), Ok(fingerprint));
        assert_eq!(colons.parse(), Ok(fingerprint));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let plain = Fingerprint::of(b"x").to_string();
        for text in ["", "ab", &plain[1..], &format!("{plain}0"), &plain.replace('a', "+"), "é"] {
            if text != plain {
                assert_eq!(text.parse::<Fingerprint>(), Err(InvalidFingerprint), "{text}");
            }
        }
        let odd = format!("{}é", &plain[2..]);
        assert_eq!(odd.parse::<Fingerprint>(), Err(InvalidFingerprint));
    }

    #[test]
    fn pairs_between_colons_are_two_digits_each_and_32() {
        let pairs: Vec<_> = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let read: Fingerprint = pairs.join(":").parse().unwrap();
        assert!(read.as_bytes().iter().copied().eq(0..32));
        let one_wrong = |pair: &str| [&pairs[1..], &[pair.to_owned()]].concat().join(":");
        for pair in ["1", "001", "", "+1", "0g", "é"] {
            assert_eq!(one_wrong(pair).parse::<Fingerprint>(), Err(InvalidFingerprint), "{pair}");
        }
        for wrong in [&pairs[1..], &[&pairs[..], &pairs[..1]].concat()] {
            assert_eq!(wrong.join(":").parse::<Fingerprint>(), Err(InvalidFingerprint));
        }
    }
}
