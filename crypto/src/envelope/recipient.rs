//! One wrapped DEK with its header, in the one spelling that both we and ordinary JOSE tools read.

use super::cursor::Cursor;
use super::quorum::{self, ShareMark};
use crate::base64::{decode_url, decode_url_array, encode_url, push_url};
use crate::wrap_algorithm::WrappedParts;
use crate::{KekId, SealName, WrapAlgorithm};

/// One wrapped DEK inside an envelope, for one seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The seal's name in the configuration.
    pub seal: SealName,
    /// The KMS's own id of the KEK version that wrapped.
    pub kek: KekId,
    /// How it was wrapped.
    pub algorithm: WrapAlgorithm,
    /// The wrapped DEK, in the shape that [`WrapAlgorithm`] tells.
    pub wrapped_dek: Vec<u8>,
    /// If it is a share that was wrapped, and not the DEK: which.
    pub share: Option<ShareMark>,
}

/// What begins a JWK of each curve (RFC 7518 §6.2.1, RFC 8037 §2), up to its first coordinate.
const P256_EPK: &str = r#","epk":{"crv":"P-256","kty":"EC","x":""#;
const X25519_EPK: &str = r#","epk":{"crv":"X25519","kty":"OKP","x":""#;

impl Recipient {
    /// Appends the recipient's one spelling, its members in alphabetical order; `None` if its
    /// wrapped DEK has not the shape of its algorithm.
    ///
    /// Names have no character that JSON would escape.
    pub(super) fn print(&self, text: &mut Vec<u8>) -> Option<()> {
        let parts = self.algorithm.parts(&self.wrapped_dek)?;
        let (encrypted_key, before, after) = spell(parts);
        text.extend_from_slice(br#"{"encrypted_key":""#);
        push_url(encrypted_key, text);
        for part in [
            br#"","header":{"alg":""#.as_slice(),
            self.algorithm.jose_name().as_bytes(),
            b"\"",
            &before,
            br#","kid":""#,
            self.kek.as_str().as_bytes(),
            br#"","seal":""#,
            self.seal.as_str().as_bytes(),
            b"\"",
            &self.share.as_ref().map(spell_share).unwrap_or_default(),
            &after,
            b"}}",
        ] {
            text.extend_from_slice(part);
        }
        Some(())
    }

    /// The inverse of [`Recipient::print`]; `None` for anything that it does not write.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Self> {
        let encrypted_key = decode_url(cursor.value(r#"{"encrypted_key":""#)?).ok()?;
        let algorithm = WrapAlgorithm::from_jose_name(cursor.value(r#","header":{"alg":""#)?)?;
        let before = HeaderParts::parse(algorithm, cursor)?;
        let kek = KekId::new(cursor.value(r#","kid":""#)?).ok()?;
        let seal = SealName::new(cursor.value(r#","seal":""#)?).ok()?;
        let share = parse_share(cursor)?;
        let wrapped_dek = before.join(algorithm, &encrypted_key, cursor)?;
        cursor.literal("}}")?;
        Some(Self { seal, kek, algorithm, wrapped_dek, share })
    }
}

const SHARE: &str = r#","share":{"index":"#;

fn spell_share(share: &ShareMark) -> Vec<u8> {
    let index = share.index.to_string();
    let parts =
        [SHARE.as_bytes(), index.as_bytes(), br#","mac":""#, &encode_url(&share.mac), b"\"}"];
    parts.concat()
}

/// The share that the header tells of, if any; `None` if it is misspelled.
fn parse_share(cursor: &mut Cursor<'_>) -> Option<Option<ShareMark>> {
    if !cursor.rest().starts_with(SHARE) {
        return Some(None);
    }
    let index = quorum::checked_index(cursor.number(SHARE)?)?;
    let mac = decoded(cursor, r#","mac":""#)?;
    cursor.literal("}")?;
    Some(Some(ShareMark { index, mac }))
}

/// The `encrypted_key`, and which members of the header stand before `kid` and after `seal`.
fn spell(parts: WrappedParts<'_>) -> (&[u8], Vec<u8>, Vec<u8>) {
    match parts {
        WrappedParts::Whole(wrapped) => (wrapped, Vec::new(), Vec::new()),
        WrappedParts::Gcm { nonce, ciphertext, tag } => {
            let iv = [br#","iv":""#, &*encode_url(nonce), b"\""].concat();
            (ciphertext, iv, [br#","tag":""#, &*encode_url(tag), b"\""].concat())
        }
        WrappedParts::P256 { x, y, wrapped } => {
            let (x, y) = (encode_url(x), encode_url(y));
            let epk = [P256_EPK.as_bytes(), &x, br#"","y":""#, &y, b"\"}"];
            (wrapped, epk.concat(), Vec::new())
        }
        WrappedParts::X25519 { x, wrapped } => {
            (wrapped, [X25519_EPK.as_bytes(), &encode_url(x), b"\"}"].concat(), Vec::new())
        }
    }
}

/// What the header says of the wrapped DEK before `kid`.
enum HeaderParts {
    Nothing,
    Nonce([u8; 12]),
    P256([u8; 32], [u8; 32]),
    X25519([u8; 32]),
}

impl HeaderParts {
    fn parse(algorithm: WrapAlgorithm, cursor: &mut Cursor<'_>) -> Option<Self> {
        match algorithm {
            WrapAlgorithm::A256Kw | WrapAlgorithm::RsaOaep256 | WrapAlgorithm::Transit => {
                Some(Self::Nothing)
            }
            WrapAlgorithm::A256GcmKw => decoded(cursor, r#","iv":""#).map(Self::Nonce),
            WrapAlgorithm::EcdhEsA256Kw if cursor.rest().starts_with(X25519_EPK) => {
                let x = decoded(cursor, X25519_EPK)?;
                cursor.literal("}")?;
                Some(Self::X25519(x))
            }
            WrapAlgorithm::EcdhEsA256Kw => {
                let (x, y) = (decoded(cursor, P256_EPK)?, decoded(cursor, r#","y":""#)?);
                cursor.literal("}")?;
                Some(Self::P256(x, y))
            }
        }
    }

    /// The wrapped DEK, with what stands after `seal`; `None` if the parts are not those into which
    /// it would be printed.
    fn join(
        &self,
        algorithm: WrapAlgorithm,
        encrypted_key: &[u8],
        cursor: &mut Cursor<'_>,
    ) -> Option<Vec<u8>> {
        let tag: [u8; 16];
        let parts = match self {
            Self::Nothing => WrappedParts::Whole(encrypted_key),
            Self::Nonce(nonce) => {
                tag = decoded(cursor, r#","tag":""#)?;
                WrappedParts::Gcm { nonce, ciphertext: encrypted_key, tag: &tag }
            }
            Self::P256(x, y) => WrappedParts::P256 { x, y, wrapped: encrypted_key },
            Self::X25519(x) => WrappedParts::X25519 { x, wrapped: encrypted_key },
        };
        let joined = parts.joined();
        (algorithm.parts(&joined) == Some(parts)).then_some(joined)
    }
}

/// The bytes in the member that `start` begins.
fn decoded<const N: usize>(cursor: &mut Cursor<'_>, start: &str) -> Option<[u8; N]> {
    decode_url_array(cursor.value(start)?).ok()
}
