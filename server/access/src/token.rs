//! Bearer tokens: the secret text, and the public hash by which it is known here.

use std::fmt;
use std::str::FromStr;

use base16ct::HexDisplay;
use zeroize::Zeroizing;

/// The text of a token as a client sent it. It cannot be cloned, printed or compared, and is wiped
/// when dropped; a server keeps only its [`TokenHash`].
pub struct TokenText(Zeroizing<Box<str>>);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// Nothing there, which is the same as no token.
    #[error("empty token")]
    Empty,
    /// Longer than any token is.
    #[error("token too long")]
    TooLong,
    /// Something else than printable ASCII, or a space at either end, which HTTP would have
    /// dropped.
    #[error("token with characters that no token has")]
    Character,
}

impl TokenText {
    /// The longest text that is taken for a token, in bytes.
    pub const LONGEST: usize = 8192;

    /// A token that nobody has seen: `prefix`, and 24 random characters of base62, which are 142
    /// bits. `fill` fills a buffer with randomness.
    ///
    /// # Errors
    ///
    /// What `fill` answers.
    pub fn draw<E>(prefix: &str, fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + DRAWN_CHARACTERS));
        text.push_str(prefix);
        push_base62(&mut text, fill)?;
        // The text is as long as its buffer, so this moves it nowhere.
        Ok(Self(Zeroizing::new(std::mem::take(&mut *text).into_boxed_str())))
    }

    /// Takes a copy of the value of `X-Vault-Token`. Wiping the original is the caller's duty.
    pub fn from_header(value: &[u8]) -> Result<Self, TokenTextError> {
        match value.len() {
            0 => return Err(TokenTextError::Empty),
            1..=Self::LONGEST => {}
            _ => return Err(TokenTextError::TooLong),
        }
        let is_printable = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let has_outer_space = value.first() == Some(&b' ') || value.last() == Some(&b' ');
        match str::from_utf8(value) {
            Ok(text) if is_printable && !has_outer_space => Ok(Self(Zeroizing::new(text.into()))),
            _ => Err(TokenTextError::Character),
        }
    }

    /// Takes a copy of the token in a value of `Authorization`; `None` if that is of another
    /// scheme.
    pub fn from_authorization(value: &[u8]) -> Option<Result<Self, TokenTextError>> {
        value.strip_prefix(b"Bearer ").map(|rest| Self::from_header(rest.trim_ascii()))
    }

    /// The bytes that the token's hash is made of.
    #[must_use]
    pub fn expose_for_hash(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text for a reply that must repeat it to the client who sent it.
    #[must_use]
    pub fn expose_for_reply(&self) -> &str {
        &self.0
    }

    /// The text, to find out what kind of token it is and to read what a batch token holds.
    #[must_use]
    pub fn expose_for_own_use(&self) -> &str {
        &self.0
    }
}

/// What follows the prefix of a token, and the whole of an accessor.
const DRAWN_CHARACTERS: usize = 24;

/// An accessor that no token has: 24 random characters of base62. It is no secret.
///
/// # Errors
///
/// What `fill` answers.
pub fn draw_accessor<E>(fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<String, E> {
    let mut text = String::with_capacity(DRAWN_CHARACTERS);
    push_base62(&mut text, fill)?;
    Ok(text)
}

fn push_base62<E>(
    text: &mut String,
    mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    /// The greatest multiple of 62 that a byte holds: what is above would favour some characters.
    const FAIR: u8 = 248;
    let end = text.len() + DRAWN_CHARACTERS;
    let mut drawn = Zeroizing::new([0; 32]);
    while text.len() < end {
        fill(&mut *drawn)?;
        let fair = drawn.iter().filter(|byte| **byte < FAIR);
        let missing = end - text.len();
        let digits = fair.take(missing).map(|byte| usize::from(*byte) % ALPHABET.len());
        text.extend(digits.map(|digit| char::from(ALPHABET[digit])));
    }
    Ok(())
}

impl fmt::Debug for TokenText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenText")
    }
}

/// The SHA-256 of a token's text, by which the token is declared and looked up. It is public: a
/// token is random enough that its hash says nothing about it, so an ordinary comparison will do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Takes the hash, which `crypto` computes.
    #[must_use]
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct InvalidTokenHash;

impl FromStr for TokenHash {
    type Err = InvalidTokenHash;

    fn from_str(text: &str) -> Result<Self, InvalidTokenHash> {
        let mut hash = [0; 32];
        let hash = base16ct::mixed::decode(text, &mut hash).ok();
        hash.and_then(|hash| hash.try_into().ok()).map(Self).ok_or(InvalidTokenHash)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}", HexDisplay(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TokenHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    use super::*;

    assert_not_impl_any!(TokenText: Clone, Copy, fmt::Display, AsRef<[u8]>, AsRef<str>, PartialEq);
    assert_impl_all!(TokenHash: Copy, Eq, std::hash::Hash);

    fn text(value: &[u8]) -> Result<String, TokenTextError> {
        TokenText::from_header(value).map(|token| token.expose_for_reply().to_owned())
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let token = TokenText::from_header(b"hvs.secret");
        assert_eq!(format!("{token:?}"), "Ok(TokenText)");
    }

    #[test]
    fn token_is_printable_ascii() {
        assert_eq!(text(b"hvs.CAESIJ-_x").as_deref(), Ok("hvs.CAESIJ-_x"));
        assert_eq!(text(b"two words").as_deref(), Ok("two words"));
        assert_eq!(text(b""), Err(TokenTextError::Empty));
        for value in [&b"a\nb"[..], b"a\x7f", b"\x00", b"caf\xc3\xa9", b"\xff", b" a", b"a ", b" "]
        {
            assert_eq!(text(value), Err(TokenTextError::Character), "{value:?}");
        }
    }

    #[test]
    fn token_is_bounded() {
        assert!(text(&[b'a'; TokenText::LONGEST]).is_ok());
        assert_eq!(text(&[b'a'; TokenText::LONGEST + 1]), Err(TokenTextError::TooLong));
    }

    #[test]
    fn authorization_counts_only_as_bearer() {
        let bearer = |value: &[u8]| {
            TokenText::from_authorization(value)
                .map(|token| token.map(|token| token.expose_for_reply().to_owned()))
        };
        assert_eq!(bearer(b"Bearer hvs.a"), Some(Ok("hvs.a".into())));
        assert_eq!(bearer(b"Bearer   hvs.a "), Some(Ok("hvs.a".into())));
        assert_eq!(bearer(b"Bearer "), Some(Err(TokenTextError::Empty)));
        assert_eq!(bearer(b"bearer hvs.a"), None);
        assert_eq!(bearer(b"Basic aGk6aGk="), None);
    }

    #[test]
    fn a_drawn_token_has_24_characters_that_any_byte_can_give() {
        let mut next = 0_u8;
        let mut count = |buffer: &mut [u8]| {
            for byte in buffer {
                *byte = next;
                next = next.wrapping_mul(5).wrapping_add(97);
            }
            Ok::<(), ()>(())
        };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let token = TokenText::draw("hvs.", &mut count).unwrap();
            let drawn = token.expose_for_reply().strip_prefix("hvs.").unwrap().to_owned();
            assert_eq!(drawn.len(), 24);
            seen.extend(drawn.bytes());
        }
        assert_eq!(seen.len(), 62);
        assert!(seen.iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(draw_accessor(&mut count).unwrap().len(), 24);
        assert_eq!(draw_accessor(|_| Err("none")), Err("none"));
    }

    #[test]
    fn hash_is_written_as_it_is_read() {
        let text = "00ff10".to_owned() + &"ab".repeat(29);
        let hash: TokenHash = text.parse().expect("64 digits");
        assert_eq!(hash.as_bytes()[..4], [0x00, 0xff, 0x10, 0xab]);
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
    }

    #[test]
    fn hash_takes_exactly_64_digits() {
        for text in ["", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64), &"\u{e9}".repeat(32)] {
            assert_eq!(text.parse::<TokenHash>(), Err(InvalidTokenHash), "{text:?}");
        }
    }

    #[test]
    fn what_is_hashed_is_the_whole_text() {
        let token = TokenText::from_header(b"hvs.secret").unwrap();
        assert_eq!(token.expose_for_hash(), b"hvs.secret");
    }

    #[test]
    fn no_character_is_likelier_than_another() {
        // 248 is four times 62: what lies above would favour the first eight characters.
        let mut next = [248, 249, 255].into_iter();
        let fill = |buffer: &mut [u8]| {
            buffer.fill(next.next().unwrap_or(61));
            Ok::<(), ()>(())
        };
        assert_eq!(draw_accessor(fill).unwrap(), "z".repeat(24));
        let highest = |buffer: &mut [u8]| {
            buffer.fill(247);
            Ok::<(), ()>(())
        };
        assert_eq!(draw_accessor(highest).unwrap(), "z".repeat(24), "247 is as good as 61");
    }
}
