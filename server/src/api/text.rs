//! Text of a request that may be secret: it is borrowed from the body or wiped, never copied.

use std::{borrow::Cow, fmt, fmt::Write as _};

use zeroize::Zeroizing;

/// Text from a request that may be secret: borrowed where it stands in the body unescaped, else
/// decoded into a buffer that is wiped.
///
/// It cannot be cloned or printed; the body it borrows from is wiped by its owner.
pub struct SecretText<'a>(Source<'a>);

enum Source<'a> {
    Borrowed(&'a str),
    Decoded(Zeroizing<String>),
}

impl<'a> SecretText<'a> {
    /// The text, for the decoder (base64, ciphertext form) that makes a typed secret of it.
    #[must_use]
    pub fn expose_to_decode(&self) -> &str {
        match &self.0 {
            Source::Borrowed(text) => text,
            Source::Decoded(text) => text,
        }
    }

    /// Whether there is no text; Vault takes an empty field for an absent one in many places.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expose_to_decode().is_empty()
    }

    /// The text of a field that is no secret.
    pub(super) fn into_public(self) -> Cow<'a, str> {
        match self.0 {
            Source::Borrowed(text) => Cow::Borrowed(text),
            Source::Decoded(text) => Cow::Owned(text.as_str().to_owned()),
        }
    }

    pub(super) const fn borrowed(text: &'a str) -> Self {
        Self(Source::Borrowed(text))
    }

    pub(super) const fn decoded(text: Zeroizing<String>) -> Self {
        Self(Source::Decoded(text))
    }

    /// Decodes what stands between the quotes of a JSON string that a parser has accepted.
    ///
    /// As in Go, half a surrogate pair becomes U+FFFD.
    pub(super) fn from_json(inner: &'a str) -> Self {
        if inner.contains('\\') { Self::decoded(unescape(inner)) } else { Self::borrowed(inner) }
    }

    /// Joins texts with commas; a single one stays where it is.
    pub(super) fn join(mut texts: Vec<Self>) -> Self {
        match (texts.pop(), texts.is_empty()) {
            (Some(only), true) => return only,
            (Some(last), false) => texts.push(last),
            (None, _) => {}
        }
        let length = texts.iter().map(|text| text.expose_to_decode().len());
        let length = length.fold(texts.len(), usize::saturating_add);
        let mut joined = Zeroizing::new(String::with_capacity(length));
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                joined.push(',');
            }
            joined.push_str(text.expose_to_decode());
        }
        Self::decoded(joined)
    }
}

impl fmt::Debug for SecretText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// No escape decodes to more bytes than it is written with, so the buffer never grows and no copy
/// of the secret is left behind.
fn unescape(escaped: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(escaped.len()));
    let mut rest = escaped;
    while let Some((plain, after)) = rest.split_once('\\') {
        let (character, after) = escape(after);
        text.push_str(plain);
        text.push(character);
        rest = after;
    }
    text.push_str(rest);
    text
}

fn escape(text: &str) -> (char, &str) {
    let mut characters = text.chars();
    let letter = characters.next();
    let after = characters.as_str();
    match letter {
        Some('b') => ('\u{8}', after),
        Some('f') => ('\u{c}', after),
        Some('n') => ('\n', after),
        Some('r') => ('\r', after),
        Some('t') => ('\t', after),
        Some('u') => unicode_escape(after),
        Some(itself) => (itself, after),
        None => (char::REPLACEMENT_CHARACTER, after),
    }
}

fn unicode_escape(text: &str) -> (char, &str) {
    let (unit, after) = utf16_unit(text);
    if let Some(character) = char::from_u32(u32::from(unit)) {
        return (character, after);
    }
    if let Some(second) = after.strip_prefix("\\u") {
        let (low, after_pair) = utf16_unit(second);
        if let Some(Ok(character)) = char::decode_utf16([unit, low]).next() {
            return (character, after_pair);
        }
    }
    (char::REPLACEMENT_CHARACTER, after)
}

fn utf16_unit(text: &str) -> (u16, &str) {
    const REPLACEMENT: u16 = 0xfffd;
    text.split_at_checked(4).map_or((REPLACEMENT, ""), |(digits, after)| {
        (u16::from_str_radix(digits, 16).unwrap_or(REPLACEMENT), after)
    })
}

/// A value as an error text may quote it: short, or not at all.
pub(super) fn quotable(value: &str) -> Option<Box<str>> {
    const LONGEST_BYTES: usize = 64;
    (value.len() <= LONGEST_BYTES).then(|| value.into())
}

/// Writes a Go slice of strings as Go's `%v` does: `[a b]`.
pub(super) fn bracketed<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut list = String::from("[");
    for (index, text) in texts.enumerate() {
        let space = if index == 0 { "" } else { " " };
        // Writing into a String cannot fail.
        let _ = write!(list, "{space}{text}");
    }
    list.push(']');
    list
}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::*;

    assert_not_impl_any!(SecretText<'static>: Clone, Copy, fmt::Display, AsRef<str>);

    #[test]
    fn text_without_escapes_is_borrowed() {
        let body = String::from("c2VjcmV0");
        let text = SecretText::from_json(&body);
        assert_eq!(text.expose_to_decode().as_ptr(), body.as_ptr());
    }

    #[test]
    fn escapes_decode_as_in_go() {
        for (escaped, expected) in [
            (r"a\/b", "a/b"),
            (r#"\"\\\b\f\n\r\t"#, "\"\\\u{8}\u{c}\n\r\t"),
            (r"\u0041\u00e9\u2028", "Aé\u{2028}"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud800", "\u{fffd}"),
            (r"\ud800x", "\u{fffd}x"),
            (r"\ud800\u0041", "\u{fffd}A"),
            (r"\udc00\ud800", "\u{fffd}\u{fffd}"),
        ] {
            let text = SecretText::from_json(escaped);
            assert_eq!(text.expose_to_decode(), expected, "{escaped}");
        }
    }

    #[test]
    fn the_buffer_of_decoded_text_never_grows() {
        for escaped in [r"\/a", r"\ud800\ud800", r"\u2028", r"\n\n"] {
            assert_eq!(unescape(escaped).capacity(), escaped.len(), "{escaped}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_text() {
        assert_eq!(format!("{:?}", SecretText::borrowed("c2VjcmV0")), "SecretText");
    }
}
