//! Whether a parameter is what is denied, however it is written: a list for a text or the other way
//! round, in upper case, with blanks, a number or a time in other words. Vault's endpoints take them
//! for one another; what an endpoint would not is denied here too, for a rule knows no endpoint.

use std::fmt;

use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::reading::Reading;
use super::{Value, matches_glob};
use crate::request::Parameter;

/// How many elements of lists, parts of texts and other values of one request are looked at. A request
/// with more is denied: no endpoint takes so many, and to look at them takes time.
const MOST_ELEMENTS: usize = 10_000;

/// How many may still be looked at.
pub(super) struct Budget(usize);

/// A look at one parameter, whose `values` are denied.
pub(super) struct Look<'l> {
    pub(super) values: &'l [Value],
    pub(super) budget: &'l mut Budget,
}

impl Budget {
    pub(super) const fn of_a_request() -> Self {
        Self(MOST_ELEMENTS)
    }

    /// Takes one; whether there is none.
    fn is_spent(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_none()
    }
}

impl Look<'_> {
    /// Whether one of the values keeps `value` out. What cannot be looked into is kept out.
    pub(super) fn denies(&mut self, value: Parameter<'_>) -> bool {
        match value {
            Parameter::Compound => true,
            Parameter::List(json) => !self.spares_list(json),
            Parameter::Text(text) => self.denies_text(text) || self.denies_part(text),
            Parameter::Null | Parameter::Boolean(_) | Parameter::Number(_) => {
                self.budget.is_spent() || self.denies_scalar(value)
            }
        }
    }

    fn denies_scalar(&self, value: Parameter<'_>) -> bool {
        match value {
            Parameter::Compound | Parameter::List(_) => true,
            Parameter::Null => self.values.contains(&Value::Null) || self.denies_text(""),
            // A field that is a text has them as Go's numbers.
            Parameter::Boolean(true) => self.denies_text("true") || self.denies_text("1"),
            Parameter::Boolean(false) => self.denies_text("false") || self.denies_text("0"),
            Parameter::Number(digits) => self.denies_text(digits),
            Parameter::Text(text) => self.denies_text(text),
        }
    }

    fn denies_text(&self, text: &str) -> bool {
        let is_whole =
            |value: &Value| matches!(value, Value::Text(own) if matches_glob(&own.text, text));
        self.values.iter().any(is_whole) || self.denies_like(text)
    }

    /// What the text is as a list. An element of a list is not split again.
    fn denies_part(&mut self, text: &str) -> bool {
        text.split(',').any(|part| self.budget.is_spent() || self.denies_like(part))
    }

    fn denies_like(&self, text: &str) -> bool {
        let text = text.trim();
        // Most values are words, for which no text needs to be read.
        let reading = match self.values.iter().any(Value::is_read) {
            true => Reading::of(text),
            false => Reading::default(),
        };
        self.values.iter().any(|value| value.is_like(text, &reading))
    }

    fn spares_list(&mut self, json: &str) -> bool {
        let mut reader = serde_json::Deserializer::from_str(json);
        reader.deserialize_seq(Spared(self)).is_ok()
    }

    fn denies_element(&self, json: &str) -> bool {
        match json.as_bytes().first() {
            Some(b'n') => self.denies_scalar(Parameter::Null),
            Some(b't') => self.denies_scalar(Parameter::Boolean(true)),
            Some(b'f') => self.denies_scalar(Parameter::Boolean(false)),
            Some(b'-' | b'0'..=b'9') => self.denies_scalar(Parameter::Number(json)),
            Some(b'"') => match serde_json::from_str(json).map(Zeroizing::<String>::new) {
                Ok(text) => self.denies_text(&text),
                Err(_unreadable) => true,
            },
            _ => true,
        }
    }
}

impl Value {
    /// Whether texts are compared with it by what they are to types of fields.
    fn is_read(&self) -> bool {
        match self {
            Self::Text(own) | Self::Number(own) => !own.reading.is_none(),
            Self::Boolean(_) => true,
            Self::Template(_) | Self::Null => false,
        }
    }

    fn is_like(&self, text: &str, reading: &Reading) -> bool {
        match self {
            Self::Text(own) => is_like_glob(own.text.trim(), text) || own.reading.is_alike(reading),
            Self::Number(own) => *own.text == *text || own.reading.is_alike(reading),
            Self::Boolean(own) => reading.truth() == Some(*own),
            Self::Template(_) | Self::Null => false,
        }
    }
}

/// Reads a list that has nothing of what is denied in it; another one is an error.
struct Spared<'a, 'l>(&'a mut Look<'l>);

impl<'de> Visitor<'de> for Spared<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list without what is denied")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self(look) = self;
        let refused = || A::Error::custom("denied");
        let mut is_empty = true;
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            is_empty = false;
            if look.budget.is_spent() || look.denies_element(element.get()) {
                return Err(refused());
            }
        }
        // An endpoint takes an empty list for no text at all.
        if is_empty && look.denies(Parameter::Null) { Err(refused()) } else { Ok(()) }
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
