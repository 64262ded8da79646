//! The members of what a server answers in JSON, as people read them.

use jiff::Timestamp;
use serde_json::Value;

use super::terminal::printable;

pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.as_second().saturating_sub(since.as_second()))
}

/// A length of time in the unit that people would take.
pub(super) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

pub(super) fn time(of: &Value, member: &str) -> Option<Timestamp> {
    of.get(member)?.as_str()?.parse().ok()
}

pub(super) fn flag(of: &Value, member: &str) -> Option<bool> {
    of.get(member)?.as_bool()
}

pub(super) fn number(of: &Value, member: &str) -> u64 {
    of.get(member).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn names(of: &Value, member: &str) -> Vec<String> {
    let names = of.get(member).and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(printable).collect()
}

pub(super) fn word(of: &Value, member: &str) -> Option<String> {
    match of.get(member)? {
        Value::Null => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Bool(false) => Some("no".to_owned()),
        Value::String(text) => Some(printable(text)),
        other => Some(printable(&other.to_string())),
    }
}
