//! What is percent-encoded: the query of a URL and a form in a body, decoded as Go's `net/url`
//! does.

use std::borrow::Cow;

use selkie_memory::WipedVec;
use zeroize::Zeroizing;

use super::text::SecretText;

/// A `%` that two hex digits do not follow, bytes that are no UTF-8, a `;`, or too many fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEncoding;

/// The parameters of a URL's query, in their order.
///
/// As in Go, what cannot be decoded is left out.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<Pair<'a>>);

#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: SecretText<'a>,
}

impl<'a> Query<'a> {
    /// Takes a query apart; `None` is a URL without one.
    #[must_use]
    pub fn parse(query: Option<&'a str>) -> Self {
        Self(pairs(query.unwrap_or_default()).flatten().collect())
    }

    /// The first value given for `name`; empty where only the name is given.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|pair| pair.name == name)?;
        Some(pair.value.expose_to_decode())
    }

    pub(super) fn into_pairs(self) -> impl Iterator<Item = Pair<'a>> {
        self.0.into_iter()
    }
}

/// The fields of an `application/x-www-form-urlencoded` body.
pub(super) fn form(body: &str) -> Result<Vec<Pair<'_>>, BadEncoding> {
    // Vault has no such limit, but no endpoint of its knows a tenth of these.
    const MOST_FIELDS: usize = 1024;
    let fields: Vec<Pair<'_>> = pairs(body).take(MOST_FIELDS + 1).collect::<Result<_, _>>()?;
    if fields.len() > MOST_FIELDS {
        return Err(BadEncoding);
    }
    Ok(fields)
}

fn pairs(text: &str) -> impl Iterator<Item = Result<Pair<'_>, BadEncoding>> {
    text.split('&').filter(|part| !part.is_empty()).map(|part| {
        if part.contains(';') {
            return Err(BadEncoding);
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Ok(Pair {
            name: decode(name, Plus::Space)?.into_public(),
            value: decode(value, Plus::Space)?,
        })
    })
}

/// What `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// A space, in a query or form.
    Space,
    /// Itself, in a path.
    Plus,
}

pub(super) fn decode(text: &str, plus: Plus) -> Result<SecretText<'_>, BadEncoding> {
    let is_encoded = |byte| byte == b'%' || (byte == b'+' && plus == Plus::Space);
    if !text.bytes().any(is_encoded) {
        return Ok(SecretText::borrowed(text));
    }
    let mut decoded = WipedVec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next())? << 4 | hex_digit(bytes.next())?,
            b'+' if plus == Plus::Space => b' ',
            plain => plain,
        });
    }
    // The buffer changes its type, not its place, so that still one copy is wiped.
    match String::from_utf8(decoded.into_unwiped()) {
        Ok(text) => Ok(SecretText::decoded(Zeroizing::new(text))),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(BadEncoding)
        }
    }
}

fn hex_digit(byte: Option<u8>) -> Result<u8, BadEncoding> {
    let value = byte.and_then(|byte| char::from(byte).to_digit(16));
    value.and_then(|value| u8::try_from(value).ok()).ok_or(BadEncoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str, plus: Plus) -> Result<String, BadEncoding> {
        decode(text, plus).map(|text| text.expose_to_decode().to_owned())
    }

    #[test]
    fn plus_is_a_space_in_a_query_and_itself_in_a_path() {
        assert_eq!(decoded("a+b%2B%2f", Plus::Space), Ok("a b+/".to_owned()));
        assert_eq!(decoded("a+b%2B%2f", Plus::Plus), Ok("a+b+/".to_owned()));
    }

    #[test]
    fn broken_escapes_and_bytes_are_refused() {
        for text in ["%", "%1", "%zz", "%+1", "%ff", "%é9"] {
            assert_eq!(decoded(text, Plus::Space), Err(BadEncoding), "{text}");
        }
    }

    #[test]
    fn the_first_of_repeated_parameters_counts() {
        let query = Query::parse(Some("a=1&b&a=2&c=%zz&d=1;2&&=x"));
        assert_eq!(query.first("a"), Some("1"));
        assert_eq!(query.first("b"), Some(""));
        assert_eq!(query.first("c"), None);
        assert_eq!(query.first("d"), None);
        assert_eq!(query.first(""), Some("x"));
        assert_eq!(Query::parse(None).first("a"), None);
    }

    #[test]
    fn a_form_with_a_semicolon_is_refused() {
        assert_eq!(form("a=1;b=2").err(), Some(BadEncoding));
        assert_eq!(form("a=1&b=2").map(|pairs| pairs.len()), Ok(2));
    }

    #[test]
    fn a_form_with_too_many_fields_is_refused() {
        assert_eq!(form(&"a&".repeat(1024)).map(|pairs| pairs.len()), Ok(1024));
        assert_eq!(form(&"a&".repeat(1025)).err(), Some(BadEncoding));
    }
}
