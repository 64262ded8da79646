//! Whether a parameter is what is denied, however it is written: a list for a text or the other way
//! round, in upper case, with blanks, a number or a time in other words. Vault's endpoints take them
//! for one another; what an endpoint would not is denied here too, for a rule knows no endpoint.

use std::fmt;

use selkie_hcl::{parse_int, parse_seconds};
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Value, is_same_number, matches_glob};
use crate::request::Parameter;

/// A list of more is denied unseen. No endpoint takes so many.
const MOST_ELEMENTS: usize = 10_000;

impl Value {
    /// Whether this, which is denied, keeps `value` out. What cannot be looked into is kept out.
    pub(super) fn denies(&self, value: Parameter<'_>) -> bool {
        match value {
            Parameter::Compound => true,
            Parameter::List(json) => !self.spares_list(json),
            Parameter::Null => *self == Self::Null || self.denies_text(""),
            // A field that is a text has them as Go's numbers.
            Parameter::Boolean(true) => self.denies_text("true") || self.denies_text("1"),
            Parameter::Boolean(false) => self.denies_text("false") || self.denies_text("0"),
            Parameter::Number(digits) => self.denies_text(digits),
            Parameter::Text(text) => self.denies_text(text) || self.denies_part(text),
        }
    }

    fn denies_text(&self, text: &str) -> bool {
        let is_whole = matches!(self, Self::Text(own) if matches_glob(own, text));
        is_whole || self.is_like(text)
    }

    /// What the text is as a list. An element of a list is not split again.
    fn denies_part(&self, text: &str) -> bool {
        let mut parts = text.split(',').enumerate();
        parts.any(|(at, part)| at == MOST_ELEMENTS || self.is_like(part))
    }

    fn is_like(&self, text: &str) -> bool {
        let text = text.trim();
        match self {
            Self::Text(own) => is_like_glob(own.trim(), text) || is_read_alike(own.trim(), text),
            Self::Number(own) => is_read_alike(own, text),
            Self::Boolean(own) => truth(text) == Some(*own),
            Self::Template(_) | Self::Null => false,
        }
    }

    fn spares_list(&self, json: &str) -> bool {
        let mut reader = serde_json::Deserializer::from_str(json);
        reader.deserialize_seq(Spared { denied: self }).is_ok()
    }

    fn denies_element(&self, json: &str) -> bool {
        match json.as_bytes().first() {
            Some(b'n') => self.denies(Parameter::Null),
            Some(b't') => self.denies(Parameter::Boolean(true)),
            Some(b'f') => self.denies(Parameter::Boolean(false)),
            Some(b'-' | b'0'..=b'9') => self.denies(Parameter::Number(json)),
            Some(b'"') => match serde_json::from_str(json).map(Zeroizing::<String>::new) {
                Ok(text) => self.denies_text(&text),
                Err(_unreadable) => true,
            },
            _ => true,
        }
    }
}

/// Reads a list that has nothing of what is denied in it; another one is an error.
struct Spared<'v> {
    denied: &'v Value,
}

impl<'de> Visitor<'de> for Spared<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list without what is denied")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let refused = || A::Error::custom("denied");
        let mut count = 0;
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            count += 1;
            if count > MOST_ELEMENTS || self.denied.denies_element(element.get()) {
                return Err(refused());
            }
        }
        // An endpoint takes an empty list for no text at all.
        if count == 0 && self.denied.denies(Parameter::Null) { Err(refused()) } else { Ok(()) }
    }
}

/// As [`matches_glob`], in upper or lower case.
fn is_like_glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let begins = |begin: &[u8]| text.get(..begin.len()).is_some_and(|it| is_same(it, begin));
    let ends = |end: &[u8]| {
        let at = text.len().checked_sub(end.len());
        at.and_then(|at| text.get(at..)).is_some_and(|it| is_same(it, end))
    };
    match pattern {
        [] | [_] => is_same(pattern, text),
        [b'*', inner @ .., b'*'] => {
            inner.is_empty() || text.windows(inner.len()).any(|it| is_same(it, inner))
        }
        [b'*', end @ ..] => ends(end),
        [begin @ .., b'*'] => begins(begin),
        _ => is_same(pattern, text),
    }
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether some type of a field has one value for both.
fn is_read_alike(own: &str, text: &str) -> bool {
    let alike = |one: Option<i64>, other| one.is_some() && one == other;
    !own.is_empty()
        && (is_same_number(own, text)
            || alike(parse_int(own).ok(), parse_int(text).ok())
            || alike(parse_seconds(own).ok(), parse_seconds(text).ok())
            || truth(own).is_some() && truth(own) == truth(text))
}

/// As fields of truth values read it.
fn truth(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match text {
        _ if is_one_of(&["1", "t", "true"]) => Some(true),
        _ if is_one_of(&["", "0", "f", "false"]) => Some(false),
        _ => None,
    }
}
