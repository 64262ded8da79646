//! What a server says of one seal.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::Block;
use crate::cli::members::{age, flag, names, number, span, time, word};
use crate::cli::terminal::printable;

/// Rotations that need people take about this long.
const SOON_DAYS: f64 = 30.0;
/// From here on a token that nobody renews needs people, in seconds.
const LAST_DAYS: i64 = 7 * 24 * 60 * 60;
/// What to do about a seal that does not answer, before it is known why.
const WAIT: &str = "it is tried again by itself; if it lasts, the reason comes here with the next poll, \
                    and is in the log";

impl Block {
    /// Of one of the "backends", as Vault calls seals in this answer.
    pub(super) fn of_seal(backend: &Value, now: Timestamp) -> Self {
        let [name, kind] = ["name", "type"].map(|one| word(backend, one).unwrap_or_default());
        let is_healthy = flag(backend, "healthy") != Some(false);
        let since =
            time(backend, "unhealthy_since").map(|since| format!(" for {}", age(since, now)));
        let health = match is_healthy {
            true if flag(backend, "offline") == Some(true) => "offline",
            true if flag(backend, "asked_last") == Some(true) => "does not answer",
            true if is_held_back(backend) => "held back",
            true => "healthy",
            false => "unhealthy",
        };
        let heading = format!("{name} ({kind}): {health}{}", since.unwrap_or_default());
        let mut block = Self { heading, lines: Vec::new() };
        block.tell_of_health(backend, is_healthy);
        block.tell_of_absence(backend, now);
        block.tell_of_key(backend, now);
        block.tell_of_upstream_token(backend, now);
        block.tell_of_calls(backend, &kind);
        block
    }

    fn tell_of_health(&mut self, backend: &Value, is_healthy: bool) {
        let fault = word(backend, "last_fault");
        let fault = fault.or_else(|| (!is_healthy).then(|| "not described yet".to_owned()));
        self.add(true, "fault", fault);
        self.add(true, "reason", word(backend, "last_fault_reason"));
        self.add(true, "what to do", word(backend, "advice"));
        // What a call found out is known before anybody learns of it, and by no word of its own.
        if is_healthy && (is_held_back(backend) || flag(backend, "asked_last") == Some(true)) {
            self.add(true, "what to do", Some(WAIT.to_owned()));
        }
        let is_disabled = flag(backend, "disabled") == Some(true);
        match flag(backend, "encrypts") {
            _ if is_disabled => self.add(false, "encrypts", Some("no, it is disabled".into())),
            Some(encrypts) => self.add(!encrypts, "encrypts", word(backend, "encrypts")),
            None => {}
        }
    }

    /// What keeps it from its part in keys and decrypts.
    fn tell_of_absence(&mut self, backend: &Value, now: Timestamp) {
        let is_silent = flag(backend, "asked_last") == Some(true);
        let is_idle = flag(backend, "decrypts") == Some(false);
        let decrypts = match flag(backend, "offline") {
            Some(true) => None,
            _ if is_silent => Some("it did not answer; others are asked before it"),
            _ => is_idle.then_some("no"),
        };
        self.add(true, "decrypts", decrypts.map(str::to_owned));
        let keys = names(backend, "left_out_of");
        if !keys.is_empty() {
            let since = time(backend, "left_out_since").map(|since| age(since, now));
            let since = since.map(|age| format!(" for {age}")).unwrap_or_default();
            self.add(true, "left out of", Some(format!("{}{since}", keys.join(", "))));
            let advice = "see why it is away; the keys take it back when it is steadily there";
            self.add(true, "what to do", Some(advice.to_owned()));
        }
    }

    fn tell_of_key(&mut self, backend: &Value, now: Timestamp) {
        self.add(false, "current version", word(backend, "current_version"));
        let seconds = backend.get("current_version_age_seconds").and_then(Value::as_i64);
        self.add(false, "its age", seconds.map(span));
        if let Some(days) = backend.get("days_to_expiry").and_then(Value::as_f64) {
            let text = match days {
                ..0.0 => format!("{:.0} d ago", -days),
                _ => format!("in {days:.0} d"),
            };
            self.add(days < SOON_DAYS, "expires", Some(text));
        }
        let is_partial = flag(backend, "all_versions_listed") == Some(false);
        let partial = if is_partial { ", and those that we may not list" } else { "" };
        let versions = word(backend, "versions");
        self.add(false, "versions", versions.map(|count| format!("{count}{partial}")));
        let staged = word(backend, "staged_version");
        self.add(false, "staged version", staged.map(|kek| format!("{kek}, not valid yet")));
        let disabled = backend.get("versions_disabled").and_then(Value::as_u64);
        let disabled = disabled.filter(|count| *count > 0);
        let text = disabled.map(|count| format!("{count}: what they wrapped does not open"));
        self.add(true, "disabled versions", text);
        let described = time(backend, "last_described");
        let described = described.map(|time| format!("{} ago", age(time, now)));
        self.add(false, "last described", described);
        self.add(false, "known from", word(backend, "described_by"));
        self.add(false, "trusted because", word(backend, "trusted_by"));
        self.add(false, "restart, KMS away", word(backend, "trust_after_restart"));
        let protection = flag(backend, "purgeable").map(|is_purgeable| match is_purgeable {
            true => "off: a deleted key can be destroyed at once".to_owned(),
            false => "on".to_owned(),
        });
        self.add(false, "purge protection", protection);
    }

    /// The seal's token at another server, which needs attention when nobody renews it.
    fn tell_of_upstream_token(&mut self, backend: &Value, now: Timestamp) {
        let Some(token) = backend.get("upstream_token") else { return };
        let is_renewed = flag(token, "renewed") == Some(true);
        let renewed = if is_renewed { ", renewed before" } else { ", not renewed" };
        let left = time(token, "expires").map(|end| end.as_second() - now.as_second());
        let is_ending = left.is_some_and(|left| !is_renewed && left < LAST_DAYS);
        let expires = left.map(|left| format!("expires in {}{renewed}", span(left)));
        self.add(is_ending, "upstream token", expires);
        self.add(true, "token trouble", word(token, "trouble"));
        self.add(true, "what to do", word(token, "advice"));
    }

    fn tell_of_calls(&mut self, backend: &Value, kind: &str) {
        let Some(calls) = backend.get("kms_calls").filter(|calls| calls.is_object()) else {
            return;
        };
        let title = if kind == "azurekeyvault" { "Key Vault calls" } else { "KMS calls" };
        let is_held_back = is_held_back(backend);
        let mut text = if is_held_back { "held back, ".to_owned() } else { String::new() };
        let [in_flight, waiting, limit] =
            ["in_flight", "waiting", "limit"].map(|one| number(calls, one));
        let _ = write!(text, "{in_flight} in flight of {limit}, {waiting} waiting; ");
        let ended = calls.get("ended").and_then(Value::as_object);
        let ended = ended.into_iter().flatten().map(|(outcome, count)| (&**outcome, count));
        let others = ["shared", "refused", "overdue"].map(|one| (one, &calls[one]));
        let counts = ended.chain(others).filter_map(|(what, count)| {
            let count = count.as_u64().filter(|count| *count > 0)?;
            Some(format!("{count} {}", printable(what)))
        });
        let counts: Vec<_> = counts.collect();
        text.push_str(&if counts.is_empty() { "none yet".to_owned() } else { counts.join(", ") });
        self.add(is_held_back, title, Some(text));
    }
}

/// Whether its governor lets hardly any call through.
fn is_held_back(backend: &Value) -> bool {
    backend.get("kms_calls").and_then(|calls| flag(calls, "held_back")) == Some(true)
}
