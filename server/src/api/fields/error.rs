//! What a client is told of a field that has the wrong type. What it sent is quoted only where it
//! cannot be a secret.

use std::fmt;

use crate::api::{
    duration::{fault_text, parse_seconds},
    members::Value,
    quote::Quoted,
    text::quotable,
};

/// A field's value does not have, and cannot be made to have, the type asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub(super) field: &'static str,
    /// What was sent, if it is short and no secret.
    pub(super) value: Option<Box<str>>,
    pub(super) problem: FieldProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldProblem {
    Unconvertible { wanted: &'static str, got: &'static str },
    NotAMap { got: &'static str },
    NotAPair,
    UnconvertibleElement { index: usize, got: &'static str },
    NotAnInt,
    IntOutOfRange,
    NotABool,
    NotADuration,
    NoDurationType,
    NegativeDuration { seconds: i64 },
    TooManyElements,
    TooLarge,
}

impl FieldError {
    pub(super) fn about(field: &'static str, value: &str, problem: FieldProblem) -> Self {
        Self { field, value: quotable(value), problem }
    }

    /// A list that is longer than it may be.
    pub(in crate::api) const fn too_many(field: &'static str) -> Self {
        Self { field, value: None, problem: FieldProblem::TooManyElements }
    }

    /// Whether it is that.
    pub(in crate::api) fn is_too_many(&self) -> bool {
        self.problem == FieldProblem::TooManyElements
    }

    /// A value that is longer than what is taken apart.
    pub(super) const fn too_large(field: &'static str) -> Self {
        Self { field, value: None, problem: FieldProblem::TooLarge }
    }

    /// A value that should have been an object of what is no secret.
    pub(super) fn no_map(field: &'static str, value: &Value<'_>) -> Self {
        // Go's kinds, and to it a number of JSON is a text.
        let got = match value {
            Value::Bool(_) => "bool",
            Value::Array(_) | Value::Repeated => "slice",
            _ => "string",
        };
        Self { field, value: value.quotable(), problem: FieldProblem::NotAMap { got } }
    }

    /// A value of a type that has no scalar text is never quoted: it may hold a secret.
    pub(super) fn unconvertible(
        field: &'static str,
        wanted: &'static str,
        value: &Value<'_>,
    ) -> Self {
        Self {
            field,
            value: None,
            problem: FieldProblem::Unconvertible { wanted, got: value.go_type() },
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
        let field_value = Quoted(value);
        let parsing = match &self.value {
            Some(value) => format!(" parsing {}:", Quoted(value)),
            None => String::new(),
        };
        match self.problem {
            FieldProblem::Unconvertible { wanted, got } => {
                write!(f, "'' expected type '{wanted}', got unconvertible type '{got}'")
            }
            FieldProblem::NotAMap { got } => write!(f, "'' expected a map, got '{got}'"),
            FieldProblem::NotAPair => write!(f, "invalid key pair {field_value}"),
            FieldProblem::UnconvertibleElement { index, got } => write!(
                f,
                "1 error(s) decoding:\n\n* '[{index}]' expected type 'string', got unconvertible \
                 type '{got}'"
            ),
            FieldProblem::NotAnInt => {
                write!(f, "cannot parse '' as int: strconv.ParseInt:{parsing} invalid syntax")
            }
            FieldProblem::IntOutOfRange => {
                write!(f, "cannot parse '' as int: strconv.ParseInt:{parsing} value out of range")
            }
            FieldProblem::NotABool => {
                write!(f, "cannot parse '' as bool: strconv.ParseBool:{parsing} invalid syntax")
            }
            FieldProblem::NotADuration => match parse_seconds(value) {
                Err(problem) => f.write_str(&fault_text(problem, value)),
                Ok(_) => f.write_str("time: invalid duration"),
            },
            FieldProblem::NoDurationType => f.write_str("could not parse duration from input"),
            FieldProblem::NegativeDuration { seconds } => {
                write!(f, "cannot provide negative value '{seconds}'")
            }
            FieldProblem::TooManyElements => f.write_str("too many elements"),
            FieldProblem::TooLarge => f.write_str("too large"),
        }
    }
}

impl std::error::Error for FieldError {}
