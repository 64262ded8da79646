//! A request's fields, decoded as Vault's framework does: weakly typed, each with Vault's text
//! when it cannot be converted, and a warning for those that nobody asked for.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use super::{
    ApiError,
    duration::parse_seconds,
    members::{Members, Value},
    query::{self, Query},
    quote::Quoted,
    text::{SecretText, bracketed, quotable},
};

/// The fields of one request that have not been taken yet.
///
/// An endpoint takes what it knows; [`Fields::into_warnings`] names the rest.
#[derive(Debug)]
pub struct Fields<'a>(Members<'a>);

/// The warnings of a reply, in order; `null` on the wire when there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(pub(super) Vec<String>);

/// A field's value does not have, and cannot be made to have, the type asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    field: &'static str,
    /// What was sent, if it is short and no secret.
    value: Option<Box<str>>,
    problem: FieldProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldProblem {
    Unconvertible {
        wanted: &'static str,
        got: &'static str,
    },
    UnconvertibleElement {
        index: usize,
        got: &'static str,
    },
    NotAnInt,
    IntOutOfRange,
    NotABool,
    NotADuration,
    NoDurationType,
    NegativeDuration {
        seconds: i64,
    },
    TooManyElements,
}

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
        Members::parse(body)
            .map(Self)
            .or(Err(ApiError::MalformedJson))
    }

    /// The query parameters of a request without a body. `help` is Vault's own word, and `list` is
    /// when it turned a read into a list; neither counts as a field then.
    #[must_use]
    pub fn from_query(query: Query<'a>, listed: bool) -> Self {
        let mut members = Members::default();
        for pair in query.into_pairs() {
            if pair.name == "help" || (listed && pair.name == "list") {
                continue;
            }
            members
                .0
                .entry(pair.name)
                .and_modify(|value| *value = Value::Repeated)
                .or_insert(Value::Text(pair.value));
        }
        Self(members)
    }

    /// Vault joins the values of a field that is given several times with commas.
    fn from_form(body: &'a [u8]) -> Option<Self> {
        let mut values: BTreeMap<Cow<'a, str>, Vec<SecretText<'a>>> = BTreeMap::new();
        for pair in query::form(str::from_utf8(body).ok()?).ok()? {
            values.entry(pair.name).or_default().push(pair.value);
        }
        let members = values
            .into_iter()
            .map(|(name, values)| (name, Value::Text(SecretText::join(values))));
        Some(Self(Members(members.collect())))
    }

    /// The warnings about what is left: fields that the endpoint does not know, and those that the
    /// path (`captured`) has given already.
    #[must_use]
    pub fn into_warnings(mut self, captured: &[&str]) -> Warnings {
        let replaced: Vec<&str> = captured
            .iter()
            .copied()
            .filter(|name| matches!(self.0.take(name), Some(value) if !value.is_null()))
            .collect();
        let mut warnings = Warnings::default();
        if !self.0.0.is_empty() {
            let names = bracketed(self.0.0.keys().map(AsRef::as_ref));
            warnings.add(format!(
                "Endpoint ignored these unrecognized parameters: {names}"
            ));
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

    pub(super) fn secret(
        &mut self,
        field: &'static str,
    ) -> Result<Option<SecretText<'a>>, FieldError> {
        self.0
            .take(field)
            .map(|value| text(field, value))
            .transpose()
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<Option<Cow<'a, str>>, FieldError> {
        Ok(self.secret(field)?.map(SecretText::into_public))
    }

    pub(super) fn int(&mut self, field: &'static str) -> Result<Option<i64>, FieldError> {
        self.0
            .take(field)
            .map(|value| int(field, &value))
            .transpose()
    }

    pub(super) fn bool(&mut self, field: &'static str) -> Result<Option<bool>, FieldError> {
        self.0
            .take(field)
            .map(|value| bool(field, &value))
            .transpose()
    }

    pub(super) fn seconds(&mut self, field: &'static str) -> Result<Option<i64>, FieldError> {
        match self.0.take(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => seconds(field, &value).map(Some),
        }
    }

    pub(super) fn list(&mut self, field: &'static str) -> Result<Vec<String>, FieldError> {
        self.0
            .take(field)
            .map_or(Ok(Vec::new()), |value| list(field, value))
    }

    /// The raw value of `batch_input`, which counts as absent when `null`.
    pub(super) fn batch(&mut self) -> Option<Value<'a>> {
        self.0.take("batch_input").filter(|value| !value.is_null())
    }
}

impl Warnings {
    /// Adds one; they are shown in the order in which they were added.
    pub fn add(&mut self, warning: String) {
        self.0.push(warning);
    }

    /// Adds those of `later` behind these.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

fn is_form(body: &[u8], content_type: Option<&str>) -> bool {
    const FORM: &str = "application/x-www-form-urlencoded";
    let media_type = content_type.and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|value| value.trim().eq_ignore_ascii_case(FORM)) {
        return false;
    }
    let first = body
        .iter()
        .find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    !matches!(first, Some(b'{' | b'['))
}

/// Any scalar is text in Vault: a number by its digits, a truth value as `1` or `0`.
fn text<'a>(field: &'static str, value: Value<'a>) -> Result<SecretText<'a>, FieldError> {
    scalar_text(value).map_err(|value| FieldError::unconvertible(field, "string", &value))
}

fn scalar_text(value: Value<'_>) -> Result<SecretText<'_>, Value<'_>> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Number(digits) => Ok(SecretText::borrowed(digits)),
        Value::Bool(true) => Ok(SecretText::borrowed("1")),
        Value::Bool(false) => Ok(SecretText::borrowed("0")),
        Value::Null => Ok(SecretText::borrowed("")),
        Value::Array(_) | Value::Object(_) | Value::Repeated => Err(value),
    }
}

fn int(field: &'static str, value: &Value<'_>) -> Result<i64, FieldError> {
    match value {
        Value::Null => Ok(0),
        Value::Bool(truth) => Ok(i64::from(*truth)),
        Value::Number(digits) => {
            go_int(digits).map_err(|problem| FieldError::about(field, digits, problem))
        }
        Value::Text(text) => {
            let digits = text.expose_to_decode();
            go_int(digits).map_err(|problem| FieldError::about(field, digits, problem))
        }
        Value::Array(_) | Value::Object(_) | Value::Repeated => {
            Err(FieldError::unconvertible(field, "int", value))
        }
    }
}

/// Go's `strconv.ParseInt` with base 0: the prefix says the base; no text at all is 0.
fn go_int(text: &str) -> Result<i64, FieldProblem> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    if text.is_empty() {
        return Ok(0);
    }
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match magnitude.split_at_checked(2) {
        Some(("0x" | "0X", digits)) => (digits, 16),
        Some(("0o" | "0O", digits)) => (digits, 8),
        Some(("0b" | "0B", digits)) => (digits, 2),
        Some(_) if magnitude.starts_with('0') => (magnitude, 8),
        _ => (magnitude, 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return Err(FieldProblem::NotAnInt);
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|error| match error.kind() {
        NegOverflow | PosOverflow => FieldProblem::IntOutOfRange,
        _ => FieldProblem::NotAnInt,
    })
}

fn bool(field: &'static str, value: &Value<'_>) -> Result<bool, FieldError> {
    let text = match value {
        Value::Bool(truth) => return Ok(*truth),
        Value::Null => return Ok(false),
        Value::Number(digits) => digits,
        Value::Text(text) => text.expose_to_decode(),
        Value::Array(_) | Value::Object(_) | Value::Repeated => {
            return Err(FieldError::unconvertible(field, "bool", value));
        }
    };
    go_bool(text).ok_or_else(|| FieldError::about(field, text, FieldProblem::NotABool))
}

/// Go's `strconv.ParseBool`; no text at all is false.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn seconds(field: &'static str, value: &Value<'_>) -> Result<i64, FieldError> {
    let text = match value {
        Value::Number(digits) => digits,
        Value::Text(text) => text.expose_to_decode(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Repeated => {
            return Err(FieldError {
                field,
                value: value.quotable(),
                problem: FieldProblem::NoDurationType,
            });
        }
    };
    match parse_seconds(text) {
        Ok(seconds) if seconds < 0 => {
            let problem = FieldProblem::NegativeDuration { seconds };
            Err(FieldError::about(field, text, problem))
        }
        Ok(seconds) => Ok(seconds),
        Err(_) => Err(FieldError::about(field, text, FieldProblem::NotADuration)),
    }
}

/// A list may be sent as text with commas, and a single value stands for a list of it.
fn list(field: &'static str, value: Value<'_>) -> Result<Vec<String>, FieldError> {
    const MOST_ELEMENTS: usize = 10_000;
    let elements = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Text(text) => return Ok(split_list(text.expose_to_decode())),
        Value::Object(object) if object.get().len() == 2 => return Ok(Vec::new()),
        Value::Array(array) => Value::elements(array, MOST_ELEMENTS).ok_or(FieldError {
            field,
            value: None,
            problem: FieldProblem::TooManyElements,
        })?,
        single => vec![single],
    };
    let texts = elements.into_iter().enumerate().map(|(index, element)| {
        let text = scalar_text(element).map_err(|element| FieldError {
            field,
            value: None,
            problem: FieldProblem::UnconvertibleElement {
                index,
                got: element.go_type(),
            },
        })?;
        Ok(text.into_public().trim().to_owned())
    });
    texts.collect()
}

fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

impl FieldError {
    fn about(field: &'static str, value: &str, problem: FieldProblem) -> Self {
        Self {
            field,
            value: quotable(value),
            problem,
        }
    }

    /// A value of a type that has no scalar text is never quoted: it may hold a secret.
    fn unconvertible(field: &'static str, wanted: &'static str, value: &Value<'_>) -> Self {
        Self {
            field,
            value: None,
            problem: FieldProblem::Unconvertible {
                wanted,
                got: value.go_type(),
            },
        }
    }
}

/// Vault's text, as its framework writes it; a value that is not quoted is left out of it.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = Quoted(self.field);
        let value = self.value.as_deref().unwrap_or_default();
        match &self.value {
            Some(value) => write!(f, "error converting input {value} for field {field}: ")?,
            None => write!(f, "error converting input for field {field}: ")?,
        }
        let parsing = match &self.value {
            Some(value) => format!(" parsing {}:", Quoted(value)),
            None => String::new(),
        };
        match self.problem {
            FieldProblem::Unconvertible { wanted, got } => {
                write!(
                    f,
                    "'' expected type '{wanted}', got unconvertible type '{got}'"
                )
            }
            FieldProblem::UnconvertibleElement { index, got } => write!(
                f,
                "1 error(s) decoding:\n\n* '[{index}]' expected type 'string', got unconvertible \
                 type '{got}'"
            ),
            FieldProblem::NotAnInt => {
                write!(
                    f,
                    "cannot parse '' as int: strconv.ParseInt:{parsing} invalid syntax"
                )
            }
            FieldProblem::IntOutOfRange => {
                write!(
                    f,
                    "cannot parse '' as int: strconv.ParseInt:{parsing} value out of range"
                )
            }
            FieldProblem::NotABool => {
                write!(
                    f,
                    "cannot parse '' as bool: strconv.ParseBool:{parsing} invalid syntax"
                )
            }
            FieldProblem::NotADuration => match parse_seconds(value) {
                Err(problem) => f.write_str(&problem.text(value)),
                Ok(_) => f.write_str("time: invalid duration"),
            },
            FieldProblem::NoDurationType => f.write_str("could not parse duration from input"),
            FieldProblem::NegativeDuration { seconds } => {
                write!(f, "cannot provide negative value '{seconds}'")
            }
            FieldProblem::TooManyElements => f.write_str("too many elements"),
        }
    }
}

impl std::error::Error for FieldError {}

#[cfg(test)]
mod tests;
