//! A JSON object without types, its texts still where the body has them, for they may be secret.

use std::borrow::Cow;
use std::fmt;

use selkie_access::Parameter;
use serde::{
    Deserialize, Serialize,
    de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
    ser::Serializer,
};
use serde_json::value::RawValue;

use super::text::{SecretText, quotable};

/// Members of one object; Vault has no such limit, but no endpoint of its knows a tenth of these.
const MOST_MEMBERS: usize = 1024;

/// A field's value as it was sent, typed only when an endpoint asks for it.
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// The digits, as they stand in the body.
    Number(&'a str),
    Text(SecretText<'a>),
    Array(&'a RawValue),
    Object(&'a RawValue),
    /// A query parameter that is given more than once.
    Repeated,
}

/// The members of a JSON object, or of what stands for one (a form, a query), by name.
///
/// As in Go, the last one of duplicates wins.
#[derive(Default)]
pub(super) struct Members<'a>(
    /// In order of their names. Most requests have one: a tree would cost more.
    Vec<(Cow<'a, str>, Value<'a>)>,
);

/// It is not a JSON object, or one with too many members; why is not told, it may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAnObject;

impl<'a> Members<'a> {
    /// Reads the first JSON value of `json`, which must be an object or `null`; nothing at all is
    /// the same as an empty object. As in Vault, what follows that value is not looked at.
    ///
    /// Nesting costs no stack: a nested value is skipped without recursion, and kept as text.
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, NotAnObject> {
        if json.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            return Ok(Self::default());
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        Self::deserialize(&mut reader).or(Err(NotAnObject))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let found = self.0.binary_search_by(|(one, _)| (**one).cmp(name)).ok()?;
        Some(self.0.remove(found).1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        self.0.into_iter()
    }

    /// All of them, in order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    fn require_few<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.0.len() > MOST_MEMBERS { Err(E::custom("too many members")) } else { Ok(()) }
    }

    /// Puts them in order, and drops all but the last of those with one name.
    fn settle(&mut self) {
        self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.0.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                std::mem::swap(later, kept);
            }
            is_same
        });
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Members<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(all: I) -> Self {
        let mut members = Self(all.into_iter().collect());
        members.settle();
        members
    }
}

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> Value<'a> {
    pub(super) fn from_json(raw: &'a RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{') => Self::Object(raw),
            Some(b'[') => Self::Array(raw),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            Some(b'"') => Self::Text(SecretText::from_json(between_quotes(text))),
            _ => Self::Number(text),
        }
    }

    /// The elements of an array; `None` if there are more than `most`.
    pub(super) fn elements(array: &'a RawValue, most: usize) -> Option<Vec<Self>> {
        let mut reader = serde_json::Deserializer::from_str(array.get());
        let elements = reader.deserialize_seq(Elements { most }).ok()?;
        Some(elements.into_iter().map(Self::from_json).collect())
    }

    /// As policies see it.
    pub(super) fn as_parameter(&self) -> Parameter<'_> {
        match self {
            Self::Null => Parameter::Null,
            Self::Bool(truth) => Parameter::Boolean(*truth),
            Self::Number(digits) => Parameter::Number(digits),
            Self::Text(text) => Parameter::Text(text.expose_to_decode()),
            Self::Array(raw) => Parameter::List(raw.get()),
            Self::Object(_) | Self::Repeated => Parameter::Compound,
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A scalar as an error text may quote it.
    pub(super) fn quotable(&self) -> Option<Box<str>> {
        match self {
            Self::Null | Self::Array(_) | Self::Object(_) | Self::Repeated => None,
            Self::Bool(truth) => quotable(if *truth { "true" } else { "false" }),
            Self::Number(digits) => quotable(digits),
            Self::Text(text) => quotable(text.expose_to_decode()),
        }
    }

    /// The type's name in Go, which Vault's error texts quote.
    pub(super) const fn go_type(&self) -> &'static str {
        match self {
            Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Number(_) => "json.Number",
            Self::Text(_) => "string",
            Self::Array(_) => "[]interface {}",
            Self::Object(_) => "map[string]interface {}",
            Self::Repeated => "[]string",
        }
    }

    /// The kind's name in Go's reflection, which other error texts quote.
    pub(super) const fn go_kind(&self) -> &'static str {
        match self {
            Self::Null => "invalid",
            Self::Bool(_) => "bool",
            Self::Number(_) | Self::Text(_) => "string",
            Self::Array(_) | Self::Repeated => "slice",
            Self::Object(_) => "map",
        }
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null | Self::Repeated => serializer.serialize_none(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Number(digits) => {
                let number: &RawValue = serde_json::from_str(digits)
                    .map_err(<S::Error as serde::ser::Error>::custom)?;
                number.serialize(serializer)
            }
            Self::Text(text) => serializer.serialize_str(text.expose_to_decode()),
            Self::Array(raw) | Self::Object(raw) => raw.serialize(serializer),
        }
    }
}

/// The type alone: the value may be, or hold, a secret.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.go_type())
    }
}

fn between_quotes(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default()
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectOrNull;
        impl<'de> Visitor<'de> for ObjectOrNull {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }

            fn visit_unit<E>(self) -> Result<Members<'de>, E> {
                Ok(Members::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.0.push((name, Value::from_json(raw)));
                    // Names that come again and again take no more room than so many.
                    if members.0.len() > 2 * MOST_MEMBERS {
                        members.settle();
                        members.require_few::<A::Error>()?;
                    }
                }
                members.settle();
                members.require_few::<A::Error>()?;
                Ok(members)
            }
        }
        deserializer.deserialize_any(ObjectOrNull)
    }
}

struct Elements {
    most: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element::<&'de RawValue>()? {
            if elements.len() == self.most {
                return Err(A::Error::custom("too many elements"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> Result<Vec<String>, NotAnObject> {
        let members = Members::parse(json.as_bytes())?;
        Ok(members.iter().map(|(name, _)| name.to_owned()).collect())
    }

    #[test]
    fn nothing_null_and_an_empty_object_are_no_fields() {
        for json in ["", " \n", "null", "{}", " { } "] {
            assert_eq!(names(json), Ok(vec![]), "{json:?}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for json in [
            "[1]",
            "1",
            "\"x\"",
            "true",
            "{",
            "{\"a\"",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":'b'}",
            "nul",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":01}",
            "{a:1}",
        ] {
            assert_eq!(names(json), Err(NotAnObject), "{json:?}");
        }
        assert!(Members::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn what_follows_the_object_is_not_read() {
        assert_eq!(names("{\"a\":1}x"), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn the_last_of_duplicate_members_wins() {
        let mut members = Members::parse(br#"{"a":1,"\u0061":"two"}"#).unwrap();
        let Some(Value::Text(text)) = members.take("a") else {
            panic!("not text");
        };
        assert_eq!(text.expose_to_decode(), "two");
    }

    #[test]
    fn debug_shows_names_and_types_only() {
        let body = br#"{"a":"s3cret","b":["s3cret"],"c":{"d":"s3cret"},"e":537}"#;
        let shown = format!("{:?}", Members::parse(body).unwrap());
        assert!(shown.contains("\"b\": []interface {}"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("537"), "{shown}");
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let depth = 1_000_000;
        let json = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(names(&json), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn too_many_members_are_refused() {
        let object = |count: usize| {
            let members: Vec<String> = (0..count).map(|i| format!("\"{i}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(names(&object(MOST_MEMBERS)).is_ok());
        assert_eq!(names(&object(MOST_MEMBERS + 1)), Err(NotAnObject));
        assert_eq!(names(&object(3 * MOST_MEMBERS)), Err(NotAnObject));
        let same = format!("{{{}\"b\":1}}", "\"a\":1,".repeat(5 * MOST_MEMBERS));
        assert_eq!(names(&same), Ok(vec!["a".to_owned(), "b".to_owned()]));
    }
}
