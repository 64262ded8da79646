//! How a DEK can be wrapped, and which shape that gives it: what has another shape is refused
//! before it stands in an envelope.

use crate::kek::WRAPPED_DEK_BYTES;

/// How a DEK is wrapped for one recipient, by its JOSE name (RFC 7518 §4.1), and what
/// [`Recipient::wrapped_dek`](crate::envelope::Recipient::wrapped_dek) then is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrapAlgorithm {
    /// AES key wrap (RFC 3394) under a 256-bit KEK: 40 bytes.
    A256Kw,
    /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256 (RFC 8017 §7.1), empty label: as many bytes as
    /// the modulus has, 256, 384 or 512.
    RsaOaep256,
    /// AES-256-GCM under a 256-bit KEK (RFC 7518 §4.7): 12 bytes of nonce, 32 of ciphertext, 16 of
    /// tag. In the envelope they are `iv`, `encrypted_key` and `tag`.
    A256GcmKw,
    /// Ephemeral Diffie-Hellman with Concat KDF and AES key wrap (RFC 7518 §4.6): the ephemeral
    /// public key (65 bytes, uncompressed, for P-256; 32 for X25519), then 40 bytes. In the envelope
    /// they are the JWK `epk` and `encrypted_key`.
    EcdhEsA256Kw,
    /// Another server's transit key: that server's own ciphertext, as visible ASCII
    /// (`vault:v1:…`), at most [`LONGEST_TRANSIT_CIPHERTEXT`] bytes. No JOSE tool knows it.
    Transit,
}

/// The longest ciphertext of another server's that stands in an envelope, in bytes: an envelope of
/// Selkie's own with all its recipients, and more than any Vault makes of 32 bytes.
pub const LONGEST_TRANSIT_CIPHERTEXT: usize = 65_536;

/// Length of A256GCMKW's nonce, ciphertext and tag, in bytes.
const GCM_WRAPPED_BYTES: usize = 12 + 32 + 16;
/// Length of an X25519 public key in bytes.
const X25519_BYTES: usize = 32;
/// Length of an uncompressed P-256 point in bytes (SEC 1 §2.3.3).
const P256_BYTES: usize = 65;
/// What such a point begins with.
const UNCOMPRESSED: u8 = 4;

/// A wrapped DEK in the parts that JOSE keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrappedParts<'a> {
    /// All of it is the `encrypted_key`.
    Whole(&'a [u8]),
    /// A256GCMKW.
    Gcm { nonce: &'a [u8], ciphertext: &'a [u8], tag: &'a [u8] },
    /// ECDH-ES+A256KW with P-256; the coordinates of the ephemeral key.
    P256 { x: &'a [u8], y: &'a [u8], wrapped: &'a [u8] },
    /// ECDH-ES+A256KW with X25519.
    X25519 { x: &'a [u8], wrapped: &'a [u8] },
}

impl WrapAlgorithm {
    /// The value of the JOSE header parameter `alg`.
    #[must_use]
    pub const fn jose_name(self) -> &'static str {
        match self {
            Self::A256Kw => "A256KW",
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::A256GcmKw => "A256GCMKW",
            Self::EcdhEsA256Kw => "ECDH-ES+A256KW",
            Self::Transit => "vault-transit",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn from_jose_name(name: &str) -> Option<Self> {
        [Self::A256Kw, Self::RsaOaep256, Self::A256GcmKw, Self::EcdhEsA256Kw, Self::Transit]
            .into_iter()
            .find(|algorithm| algorithm.jose_name() == name)
    }

    /// Whether `wrapped_dek` has the shape that this algorithm gives it. It says nothing of what is
    /// inside.
    #[must_use]
    pub fn fits(self, wrapped_dek: &[u8]) -> bool {
        self.parts(wrapped_dek).is_some()
    }

    /// `wrapped_dek` in its parts; `None` if it has not the shape that this algorithm gives it.
    pub(crate) fn parts(self, wrapped_dek: &[u8]) -> Option<WrappedParts<'_>> {
        let length = wrapped_dek.len();
        let whole = |fits: bool| fits.then_some(WrappedParts::Whole(wrapped_dek));
        match self {
            Self::A256Kw => whole(length == WRAPPED_DEK_BYTES),
            Self::RsaOaep256 => whole([256, 384, 512].contains(&length)),
            Self::Transit => whole(
                (1..=LONGEST_TRANSIT_CIPHERTEXT).contains(&length)
                    && wrapped_dek.iter().all(u8::is_ascii_graphic),
            ),
            Self::A256GcmKw => gcm_parts(wrapped_dek),
            Self::EcdhEsA256Kw => ecdh_parts(wrapped_dek),
        }
    }
}

fn gcm_parts(wrapped_dek: &[u8]) -> Option<WrappedParts<'_>> {
    if wrapped_dek.len() != GCM_WRAPPED_BYTES {
        return None;
    }
    let (nonce, rest) = wrapped_dek.split_at_checked(12)?;
    let (ciphertext, tag) = rest.split_at_checked(32)?;
    Some(WrappedParts::Gcm { nonce, ciphertext, tag })
}

fn ecdh_parts(wrapped_dek: &[u8]) -> Option<WrappedParts<'_>> {
    let at = wrapped_dek.len().checked_sub(WRAPPED_DEK_BYTES)?;
    let (ephemeral, wrapped) = wrapped_dek.split_at_checked(at)?;
    match ephemeral.len() {
        X25519_BYTES => Some(WrappedParts::X25519 { x: ephemeral, wrapped }),
        P256_BYTES => {
            let (form, point) = ephemeral.split_first()?;
            let (x, y) = point.split_at_checked(32)?;
            (*form == UNCOMPRESSED).then_some(WrappedParts::P256 { x, y, wrapped })
        }
        _ => None,
    }
}

impl WrappedParts<'_> {
    /// The inverse of [`WrapAlgorithm::parts`].
    pub(crate) fn joined(self) -> Vec<u8> {
        match self {
            Self::Whole(wrapped_dek) => wrapped_dek.to_vec(),
            Self::Gcm { nonce, ciphertext, tag } => [nonce, ciphertext, tag].concat(),
            Self::P256 { x, y, wrapped } => [&[UNCOMPRESSED], x, y, wrapped].concat(),
            Self::X25519 { x, wrapped } => [x, wrapped].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_takes_its_own_lengths_alone() {
        for (algorithm, lengths) in [
            (WrapAlgorithm::A256Kw, &[40][..]),
            (WrapAlgorithm::RsaOaep256, &[256, 384, 512]),
            (WrapAlgorithm::A256GcmKw, &[60]),
            (WrapAlgorithm::EcdhEsA256Kw, &[72, 105]),
        ] {
            for length in 0..600 {
                // 4 also marks an uncompressed point.
                let fits = algorithm.fits(&vec![4; length]);
                assert_eq!(fits, lengths.contains(&length), "{algorithm:?} {length}");
            }
        }
    }

    #[test]
    fn a_compressed_point_is_refused() {
        for form in (0..=u8::MAX).filter(|form| *form != 4) {
            let wrapped = [&[form][..], &[7; 104]].concat();
            assert!(!WrapAlgorithm::EcdhEsA256Kw.fits(&wrapped), "{form}");
        }
    }

    #[test]
    fn an_upstreams_text_is_visible_ascii_of_bounded_length() {
        let fits = |text: &[u8]| WrapAlgorithm::Transit.fits(text);
        assert!(fits(b"vault:v1:AAAA"));
        assert!(fits(&vec![b'A'; LONGEST_TRANSIT_CIPHERTEXT]));
        assert!(!fits(&vec![b'A'; LONGEST_TRANSIT_CIPHERTEXT + 1]));
        for bad in [&b""[..], b"vault:v1:A A", b"vault:v1:\n", b"vault:\xC3\xA4", b"\0", b"\x7f"] {
            assert!(!fits(bad), "{bad:?}");
        }
    }

    #[test]
    fn parts_join_to_what_they_were() {
        for (algorithm, length) in [
            (WrapAlgorithm::A256Kw, 40),
            (WrapAlgorithm::RsaOaep256, 256),
            (WrapAlgorithm::A256GcmKw, 60),
            (WrapAlgorithm::EcdhEsA256Kw, 72),
            (WrapAlgorithm::EcdhEsA256Kw, 105),
        ] {
            let mut wrapped: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            wrapped[0] = 4;
            assert_eq!(algorithm.parts(&wrapped).unwrap().joined(), wrapped);
        }
    }
}
