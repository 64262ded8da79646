//! A request's fields, decoded as Vault's framework does: weakly typed, each with Vault's text
//! when it cannot be converted, and a warning for those that nobody asked for.

mod conversion;
mod error;

use std::{borrow::Cow, collections::BTreeMap};

use selkie_access::Parameter;
use serde_json::Value as Json;

pub(super) use self::conversion::go_bool;
pub use self::error::FieldError;
use super::{
    ApiError,
    members::{Members, Value},
    query::{self, Query},
    text::{SecretText, bracketed},
};

/// The fields of one request that have not been taken yet.
///
/// An endpoint takes what it knows; [`Fields::into_warnings`] names the rest.
#[derive(Debug)]
pub struct Fields<'a> {
    members: Members<'a>,
    /// Whether nothing has been taken yet.
    is_whole: bool,
}

/// The warnings of a reply, in order; `null` on the wire when there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(pub(super) Vec<String>);

impl<'a> Fields<'a> {
    /// Reads a body: JSON, whatever the content type says, unless that says it is a form and the
    /// first byte does not contradict it.
    ///
    /// # Errors
    ///
    /// [`ApiError::MalformedJson`], [`ApiError::MalformedForm`].
    pub fn parse(body: &'a [u8], content_type: Option<&str>) -> Result<Self, ApiError> {
        if is_form(body, content_type) {
            return Self::from_form(body).ok_or(ApiError::MalformedForm);
        }
        Members::parse(body).map(Self::new).or(Err(ApiError::MalformedJson))
    }

    /// The query parameters of a request without a body. `help` is Vault's own word, and `list` is
    /// when it turned a read into a list; neither counts as a field then.
    #[must_use]
    pub fn from_query(query: Query<'a>, listed: bool) -> Self {
        let mut members: BTreeMap<Cow<'a, str>, Value<'a>> = BTreeMap::new();
        for pair in query.into_pairs() {
            if pair.name == "help" || (listed && pair.name == "list") {
                continue;
            }
            members
                .entry(pair.name)
                .and_modify(|value| *value = Value::Repeated)
                .or_insert(Value::Text(pair.value));
        }
        Self::new(members.into_iter().collect())
    }

    /// Vault joins the values of a field that is given several times with commas.
    fn from_form(body: &'a [u8]) -> Option<Self> {
        let mut values: BTreeMap<Cow<'a, str>, Vec<SecretText<'a>>> = BTreeMap::new();
        for pair in query::form(str::from_utf8(body).ok()?).ok()? {
            values.entry(pair.name).or_default().push(pair.value);
        }
        let members =
            values.into_iter().map(|(name, values)| (name, Value::Text(SecretText::join(values))));
        Some(Self::new(members.collect()))
    }

    /// The warnings about what is left: fields that the endpoint does not know, and those that the
    /// path (`captured`) has given already.
    #[must_use]
    pub fn into_warnings(mut self, captured: &[&str]) -> Warnings {
        let replaced: Vec<&str> = captured
            .iter()
            .copied()
            .filter(|name| matches!(self.take(name), Some(value) if !value.is_null()))
            .collect();
        let mut warnings = Warnings::default();
        if !self.members.is_empty() {
            let names = bracketed(self.members.iter().map(|(name, _)| name));
            warnings.add(format!("Endpoint ignored these unrecognized parameters: {names}"));
        }
        if !replaced.is_empty() {
            let names = bracketed(replaced.into_iter());
            warnings.add(format!(
                "Endpoint replaced the value of these parameters with the values captured from \
                 the endpoint's path: {names}"
            ));
        }
        warnings
    }

    const fn new(members: Members<'a>) -> Self {
        Self { members, is_whole: true }
    }

    fn take(&mut self, field: &str) -> Option<Value<'a>> {
        self.is_whole = false;
        self.members.take(field)
    }

    /// All fields; `None` once one has been taken, because then they are no longer what was sent.
    pub(super) fn as_sent(&self) -> Option<Vec<(&str, Parameter<'_>)>> {
        let all = self.members.iter();
        let all = all.map(|(name, value)| (name, value.as_parameter()));
        self.is_whole.then(|| all.collect())
    }

    /// Those that have not been taken, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.members.iter()
    }

    pub(crate) fn secret(
        &mut self,
        field: &'static str,
    ) -> Result<Option<SecretText<'a>>, FieldError> {
        self.take(field).map(|value| conversion::text(field, value)).transpose()
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<Option<Cow<'a, str>>, FieldError> {
        Ok(self.secret(field)?.map(SecretText::into_public))
    }

    pub(crate) fn int(&mut self, field: &'static str) -> Result<Option<i64>, FieldError> {
        self.take(field).map(|value| conversion::int(field, &value)).transpose()
    }

    pub(crate) fn bool(&mut self, field: &'static str) -> Result<Option<bool>, FieldError> {
        self.take(field).map(|value| conversion::bool(field, &value)).transpose()
    }

    pub(crate) fn seconds(&mut self, field: &'static str) -> Result<Option<i64>, FieldError> {
        match self.take(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => conversion::seconds(field, &value).map(Some),
        }
    }

    /// The same, of which a negative one is taken too.
    pub(crate) fn signed_seconds(
        &mut self,
        field: &'static str,
    ) -> Result<Option<i64>, FieldError> {
        match self.take(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => conversion::signed_seconds(field, &value).map(Some),
        }
    }

    /// A list, of which an empty one is told from none.
    pub(crate) fn list(&mut self, field: &'static str) -> Result<Option<Vec<String>>, FieldError> {
        self.take(field).map(|value| conversion::list(field, value)).transpose()
    }

    /// Texts by name, which hold no secret: an object, or a list of `name=text`.
    pub(crate) fn pairs(
        &mut self,
        field: &'static str,
    ) -> Result<Option<BTreeMap<String, String>>, FieldError> {
        match self.take(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => conversion::pairs(field, value).map(Some),
        }
    }

    /// The members of an object, none of which is secret.
    pub(crate) fn object(&mut self, field: &'static str) -> Result<Option<Self>, FieldError> {
        match self.take(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(raw)) => {
                Ok(Members::parse(raw.get().as_bytes()).ok().map(Self::new))
            }
            Some(other) => Err(FieldError::no_map(field, &other)),
        }
    }

    /// A value of any form, which holds no secret. Each element of a list takes more than ten times the
    /// room that it came in, so that a long one is not taken apart.
    pub(crate) fn json(&mut self, field: &'static str) -> Result<Option<Json>, FieldError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        require_small(field, &value)?;
        Ok(Some(match value {
            Value::Null => Json::Null,
            Value::Bool(truth) => Json::Bool(truth),
            Value::Number(digits) => serde_json::from_str(digits).unwrap_or_default(),
            Value::Text(text) => Json::String(text.into_public().into_owned()),
            // Deep nesting is what else could fail.
            Value::Array(raw) | Value::Object(raw) => {
                serde_json::from_str(raw.get()).or(Err(FieldError::no_map(field, &value)))?
            }
            Value::Repeated => return Err(FieldError::no_map(field, &value)),
        }))
    }

    /// The same, which must be an object.
    pub(crate) fn json_object(
        &mut self,
        field: &'static str,
    ) -> Result<Option<serde_json::Map<String, Json>>, FieldError> {
        match self.take(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value @ Value::Object(raw)) => {
                require_small(field, &value)?;
                serde_json::from_str(raw.get()).map(Some).or(Err(FieldError::no_map(field, &value)))
            }
            Some(other) => Err(FieldError::no_map(field, &other)),
        }
    }

    /// All that has not been taken.
    pub(super) fn into_members(self) -> Members<'a> {
        self.members
    }

    /// The raw value of `batch_input`, which counts as absent when `null`.
    pub(super) fn batch(&mut self) -> Option<Value<'a>> {
        self.take("batch_input").filter(|value| !value.is_null())
    }
}

impl Warnings {
    /// Adds one; they are shown in the order in which they were added.
    pub fn add(&mut self, warning: String) {
        self.0.push(warning);
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of `later` behind these.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

fn require_small(field: &'static str, value: &Value<'_>) -> Result<(), FieldError> {
    const MOST_BYTES: usize = 128 << 10;
    let bytes = match value {
        Value::Text(text) => text.expose_to_decode().len(),
        Value::Array(raw) | Value::Object(raw) => raw.get().len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Repeated => 0,
    };
    if bytes <= MOST_BYTES { Ok(()) } else { Err(FieldError::too_large(field)) }
}

fn is_form(body: &[u8], content_type: Option<&str>) -> bool {
    const FORM: &str = "application/x-www-form-urlencoded";
    let media_type = content_type.and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|value| value.trim().eq_ignore_ascii_case(FORM)) {
        return false;
    }
    let first = body.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    !matches!(first, Some(b'{' | b'['))
}

#[cfg(test)]
mod tests;
