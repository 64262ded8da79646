//! Base64 (RFC 4648). Of what may be secret it is encoded and decoded in constant time for the
//! length given, eight characters at a time: no table look-up, no branch on a character; padding is
//! judged apart, because it says no more than the length does. What an envelope shows to everyone
//! is decoded by a faster library, and encoded by it once all of it is public.

mod word;

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::{NO_PAD, PAD};
use selkie_memory::ByteBuffer;
use zeroize::Zeroize;

use self::word::Alphabet;
use crate::Plaintext;

/// For what is no secret: with vector instructions where there are some.
static STANDARD: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));
static URL_SAFE_NO_PAD: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));

/// The text is not base64 of the form asked for; says nothing more, the text may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base64Error;

/// Decodes standard, padded base64 (RFC 4648 §4) into a secret.
///
/// # Errors
///
/// [`Base64Error`] for other characters, white space, wrong padding or unused bits that are set.
pub fn decode_secret(text: &[u8]) -> Result<Plaintext, Base64Error> {
    let unpadded = strip_padding(text)?;
    let mut plaintext = Plaintext::new(vec![0; decoded_len(unpadded)]);
    let (words, rest) = unpadded.as_chunks();
    let (places, last_place) = plaintext.expose_for_cipher().as_chunks_mut();
    let mut wrong = 0;
    for (place, word) in places.iter_mut().zip(words) {
        let (bytes, is_wrong) = word::decode(*word);
        *place = bytes;
        wrong |= is_wrong;
    }
    let mut last = [b'A'; word::CHARACTERS];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let (mut bytes, is_wrong) = word::decode(last);
    wrong |= is_wrong;
    last_place.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    // Bits that no byte has room for are those of no byte.
    wrong |= bytes.iter().skip(last_place.len()).fold(0, |all, byte| all | u64::from(*byte));
    // A secret of a few bytes would lie here whole.
    last.zeroize();
    bytes.zeroize();
    if wrong == 0 { Ok(plaintext) } else { Err(Base64Error) }
}

/// Decodes standard, padded base64 that is no secret.
#[expect(clippy::map_err_ignore, reason = "one failure, no detail")]
pub(crate) fn decode_public(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    STANDARD.decode(text).map_err(|_| Base64Error)
}

/// Standard, padded base64 of `bytes` that are no secret.
pub(crate) fn encode_public(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Appends standard, padded base64 of `bytes` that are no secret to `text`.
pub(crate) fn push_public(bytes: &[u8], text: &mut String) {
    STANDARD.encode_string(bytes, text);
}

/// Appends standard, padded base64 of `bytes` to `text`, which wipes itself if they are secret.
pub fn encode_into(bytes: &[u8], text: &mut impl ByteBuffer) {
    let place = text.append_filled(encoded_len(bytes.len()), b'=');
    encode_words(bytes, word::STANDARD, place);
}

/// Writes the characters of `bytes` into `place`, and nothing behind them. Text is made of bytes
/// here: to check that it is ASCII would be a look at each.
fn encode_words(bytes: &[u8], alphabet: Alphabet, place: &mut [u8]) {
    let (places, _) = place.as_chunks_mut();
    let words = bytes.windows(8).step_by(word::BYTES);
    let done = words.len();
    for (place, eight) in places.iter_mut().zip(words) {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        *place = word::encode(word, alphabet);
    }
    // At most seven.
    let rest = bytes.get(done.saturating_mul(word::BYTES)..).unwrap_or_default();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let [a, b, c, d, e, f, g, _] = last;
    let bytes = [[a, b, c, d, e, f, 0, 0], [g, 0, 0, 0, 0, 0, 0, 0]];
    let mut characters = bytes.map(|bytes| word::encode(bytes, alphabet));
    let behind = place.iter_mut().skip(done.saturating_mul(word::CHARACTERS));
    let used = unpadded_len(rest.len());
    let ends = characters.as_flattened().iter().take(used);
    behind.zip(ends).for_each(|(to, from)| *to = *from);
    // As above.
    last.zeroize();
    characters.zeroize();
}

/// Length of the unpadded base64 of `bytes` bytes.
const fn unpadded_len(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

/// Length of the standard, padded base64 of `bytes` bytes.
#[must_use]
pub const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Decodes unpadded base64url (RFC 4648 §5) that is no secret.
#[expect(clippy::map_err_ignore, reason = "one failure, no detail")]
pub(crate) fn decode_url(text: &str) -> Result<Vec<u8>, Base64Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Base64Error)
}

/// Decodes unpadded base64url of exactly `N` bytes that are no secret.
pub(crate) fn decode_url_array<const N: usize>(text: &str) -> Result<[u8; N], Base64Error> {
    let mut array = [0; N];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut array) {
        Ok(length) if length == N => Ok(array),
        Ok(_) | Err(_) => Err(Base64Error),
    }
}

/// Unpadded base64url of `bytes`.
pub(crate) fn encode_url(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(encoded_len(bytes.len()));
    push_url(bytes, &mut text);
    text
}

/// The same of `bytes` that everybody may see, faster.
pub(crate) fn encode_public_url(bytes: &[u8]) -> Vec<u8> {
    /// What vector instructions leave over is looked up in a table: let that be nothing of `bytes`.
    const LEFT_OVER: usize = 32;
    let mut padded = Vec::with_capacity(bytes.len().saturating_add(LEFT_OVER));
    padded.extend_from_slice(bytes);
    padded.resize(bytes.len().saturating_add(LEFT_OVER), 0);
    let mut text = vec![0; encoded_len(padded.len())];
    if URL_SAFE_NO_PAD.encode_slice(&padded, &mut text).is_err() {
        // It has room, so this is not reached; a text of zeros would be an envelope that never opens.
        encode_words(&padded, word::URL_SAFE, &mut text);
    }
    text.truncate(unpadded_len(bytes.len()));
    text
}

/// Appends unpadded base64url of `bytes` to `text`.
pub(crate) fn push_url(bytes: &[u8], text: &mut impl ByteBuffer) {
    let place = text.append_filled(unpadded_len(bytes.len()), 0);
    encode_words(bytes, word::URL_SAFE, place);
}

fn strip_padding(text: &[u8]) -> Result<&[u8], Base64Error> {
    if !text.len().is_multiple_of(4) {
        return Err(Base64Error);
    }
    Ok(match text {
        [unpadded @ .., b'=', b'='] | [unpadded @ .., b'='] => unpadded,
        unpadded => unpadded,
    })
}

const fn decoded_len(unpadded: &[u8]) -> usize {
    let rest = match unpadded.len() % 4 {
        2 => 1,
        3 => 2,
        _ => 0,
    };
    (unpadded.len() / 4).saturating_mul(3).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Base64UrlUnpadded, Encoding};
    use proptest::prelude::*;

    use super::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(encoded_len(bytes.len()));
        encode_into(bytes, &mut text);
        text
    }

    #[test]
    fn the_vectors_of_rfc_4648_hold_both_ways() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encoded(plain.as_bytes()), text.as_bytes());
            let decoded = decode_secret(text.as_bytes()).unwrap();
            assert_eq!(decoded.expose_for_reply(), plain.as_bytes());
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for bad in ["Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v\n", "Zm-v", "====", "=m9v"] {
            assert!(decode_secret(bad.as_bytes()).is_err(), "{bad:?}");
            assert!(decode_public(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_public_is_encoded_like_what_is_secret(bytes: Vec<u8>) {
            let mut text = String::new();
            push_public(&bytes, &mut text);
            prop_assert_eq!(text.as_bytes(), encoded(&bytes));
        }

        #[test]
        fn url_decode_inverts_url_encode(bytes: Vec<u8>, array: [u8; 32]) {
            prop_assert_eq!(decode_url(str::from_utf8(&encode_url(&bytes)).unwrap()).unwrap(), bytes);
            let text = String::from_utf8(encode_url(&array)).unwrap();
            prop_assert_eq!(decode_url_array(&text), Ok(array));
            prop_assert_eq!(decode_url_array::<31>(&text), Err(Base64Error));
            prop_assert_eq!(decode_url_array::<33>(&text), Err(Base64Error));
        }

        #[test]
        fn what_is_secret_is_coded_as_another_library_does(
            bytes: Vec<u8>,
            text in "[A-Za-z0-9+/=_.-]{0,30}|[^a]{0,12}",
        ) {
            prop_assert_eq!(encoded(&bytes), Base64::encode_string(&bytes).into_bytes());
            let url = Base64UrlUnpadded::encode_string(&bytes);
            prop_assert_eq!(encode_url(&bytes), url.as_bytes());
            prop_assert_eq!(encode_public_url(&bytes), url.as_bytes());
            let decoded = decode_secret(text.as_bytes()).ok();
            let decoded = decoded.map(|plaintext| plaintext.expose_for_reply().to_vec());
            prop_assert_eq!(decoded, Base64::decode_vec(&text).ok());
        }

        #[test]
        fn decode_inverts_encode(bytes: Vec<u8>) {
            let text = encoded(&bytes);
            prop_assert_eq!(text.len(), encoded_len(bytes.len()));
            prop_assert_eq!(decode_public(&text).unwrap(), bytes);
        }

        #[test]
        fn encode_inverts_decode(text in "[A-Za-z0-9+/=]{0,40}") {
            if let Ok(bytes) = decode_public(text.as_bytes()) {
                prop_assert_eq!(encoded(&bytes), text.as_bytes());
            }
        }
    }
}
