//! Vault's weak typing of fields, value by value, as clients rely on it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use selkie_hcl::{IntProblem, parse_int};
use serde_json::value::RawValue;

use super::error::{FieldError, FieldProblem};
use crate::api::{
    SecretText,
    duration::parse_seconds,
    members::{Members, Value},
};

/// Any scalar is text in Vault: a number by its digits, a truth value as `1` or `0`.
pub(in crate::api) fn text<'a>(
    field: &'static str,
    value: Value<'a>,
) -> Result<SecretText<'a>, FieldError> {
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

pub(in crate::api) fn int(field: &'static str, value: &Value<'_>) -> Result<i64, FieldError> {
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

fn go_int(text: &str) -> Result<i64, FieldProblem> {
    parse_int(text).map_err(|problem| match problem {
        IntProblem::Invalid => FieldProblem::NotAnInt,
        IntProblem::OutOfRange => FieldProblem::IntOutOfRange,
    })
}

pub(in crate::api) fn bool(field: &'static str, value: &Value<'_>) -> Result<bool, FieldError> {
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
pub(in crate::api) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

pub(in crate::api) fn seconds(field: &'static str, value: &Value<'_>) -> Result<i64, FieldError> {
    let seconds = signed_seconds(field, value)?;
    if seconds < 0 {
        let text = match value {
            Value::Text(text) => text.expose_to_decode(),
            Value::Number(digits) => digits,
            _ => "",
        };
        let problem = FieldProblem::NegativeDuration { seconds };
        return Err(FieldError::about(field, text, problem));
    }
    Ok(seconds)
}

/// Below zero is something of its own, as in the leeways of the `jwt` method.
pub(in crate::api) fn signed_seconds(
    field: &'static str,
    value: &Value<'_>,
) -> Result<i64, FieldError> {
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
    parse_seconds(text).or(Err(FieldError::about(field, text, FieldProblem::NotADuration)))
}

/// The most of a list, each of whose elements takes more room than the comma that it came with.
const MOST_ELEMENTS: usize = 10_000;

/// A list may be sent as text with commas, and a single value stands for a list of it.
pub(in crate::api) fn list(
    field: &'static str,
    value: Value<'_>,
) -> Result<Vec<String>, FieldError> {
    let elements = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Text(text) => return split_list(field, text.expose_to_decode()),
        Value::Object(object) if is_empty_object(object) => return Ok(Vec::new()),
        Value::Array(array) => {
            Value::elements(array, MOST_ELEMENTS).ok_or(FieldError::too_many(field))?
        }
        single => vec![single],
    };
    let texts = elements.into_iter().enumerate().map(|(index, element)| {
        let text = scalar_text(element).map_err(|element| FieldError {
            field,
            value: None,
            problem: FieldProblem::UnconvertibleElement { index, got: element.go_type() },
        })?;
        Ok(text.into_public().trim().to_owned())
    });
    texts.collect()
}

/// Texts by name, as Vault's `TypeKVPairs` has them.
pub(in crate::api) fn pairs(
    field: &'static str,
    value: Value<'_>,
) -> Result<BTreeMap<String, String>, FieldError> {
    if let Value::Object(raw) = &value {
        // What is an object already has too many members, if anything is wrong with it.
        let members = Members::parse(raw.get().as_bytes()).or(Err(FieldError::too_many(field)))?;
        let one = |(name, value): (Cow<'_, str>, Value<'_>)| {
            Ok((name.into_owned(), text(field, value)?.into_public().into_owned()))
        };
        return members.into_pairs().map(one).collect();
    }
    let texts = match value {
        // Commas are part of a text here.
        Value::Text(text) => vec![text.into_public().into_owned()],
        other => list(field, other)?,
    };
    let one = |text: String| {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) =
            pair.ok_or_else(|| FieldError::about(field, &text, FieldProblem::NotAPair))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.into_iter().map(one).collect()
}

fn is_empty_object(object: &RawValue) -> bool {
    let json = object.get();
    let members = json.get(1..json.len().saturating_sub(1));
    members.is_some_and(|members| members.trim_ascii().is_empty())
}

fn split_list(field: &'static str, text: &str) -> Result<Vec<String>, FieldError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.bytes().filter(|byte| *byte == b',').count() >= MOST_ELEMENTS {
        return Err(FieldError::too_many(field));
    }
    Ok(text.split(',').map(|part| part.trim().to_owned()).collect())
}
