//! What a server says of its seals, for people.

mod certificates;
mod promises;

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

/// Rotations that need people take about this long.
const SOON_DAYS: f64 = 30.0;
/// From here on a token that nobody renews needs people, in seconds.
const LAST_DAYS: i64 = 7 * 24 * 60 * 60;

/// The text, and the seals that need attention.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) text: String,
    pub(super) in_need: Vec<String>,
}

/// A block of lines for each seal, `!` before what needs attention, and a last line for all.
pub(super) fn told(status: &Value) -> Told {
    let mut told = Told { text: String::new(), in_need: Vec::new() };
    told.tell_of_faults(status);
    let now = time(status, "time").unwrap_or_else(Timestamp::now);
    for backend in status.get("backends").and_then(Value::as_array).into_iter().flatten() {
        let block = Block::of(backend, now);
        if block.lines.iter().any(|line| line.is_marked) {
            told.in_need.push(word(backend, "name").unwrap_or_default());
        }
        // Writing to a String cannot fail.
        let _ = write!(told.text, "{block}");
    }
    told.text.push_str(&aged_decrypts(status, now));
    told.tell_of_tokens(status);
    told.tell_of_server(status, now);
    told.text.push_str(&match &told.in_need[..] {
        [] => "all well\n".to_owned(),
        names => format!("needs attention: {}\n", names.join(", ")),
    });
    told
}

impl Told {
    /// That this is a test bench.
    fn tell_of_faults(&mut self, status: &Value) {
        let Some(faults) = status.get("faults") else { return };
        let [rules, happened] = ["rules", "happened"]
            .map(|member| faults.get(member).and_then(Value::as_u64).unwrap_or(0));
        let mut block = Block { heading: "TEST BENCH".to_owned(), lines: Vec::new() };
        let text = format!("{happened} have happened so far, by {rules} rules of a script");
        block.add(true, "faults", Some(text));
        let advice = "start it without --faults if anyone depends on it";
        block.add(true, "what to do", Some(advice.to_owned()));
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{block}");
        self.in_need.push("test bench".to_owned());
    }

    /// The tokens that seals use and that run out soon.
    fn tell_of_tokens(&mut self, status: &Value) {
        let tokens = status.get("tokens_in_use").and_then(Value::as_array);
        let mut block = Block { heading: "tokens that seals use".to_owned(), lines: Vec::new() };
        for one in tokens.into_iter().flatten().filter(|one| flag(one, "expiring") == Some(true)) {
            let [name, accessor] =
                ["display_name", "accessor"].map(|member| word(one, member).unwrap_or_default());
            let left = one.get("ttl").and_then(Value::as_i64).unwrap_or(0);
            let left = span(left);
            let text = format!("{name} (accessor {accessor}) ends in {left}");
            block.add(true, "runs out", Some(text));
            self.in_need.push(format!("token {name}"));
        }
        if !block.lines.is_empty() {
            let advice = "see why its client does not renew it, or give it another token";
            block.add(true, "what to do", Some(advice.to_owned()));
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{block}");
        }
    }

    /// What was put out of use, and what is lost with it.
    fn tell_of_lost(&mut self, status: &Value, block: &mut Block, now: Timestamp) {
        let revoked = status.get("revoked_seals").and_then(Value::as_array);
        let revoked: Vec<_> =
            revoked.into_iter().flatten().filter_map(|seal| word(seal, "name")).collect();
        block.add(false, "revoked seals", (!revoked.is_empty()).then(|| revoked.join(", ")));
        let lost = status.get("lost_versions").and_then(Value::as_array);
        for one in lost.into_iter().flatten() {
            let [key, versions] = ["key", "versions"].map(|it| word(one, it).unwrap_or_default());
            let used = time(one, "last_use").map(|last| format!(", used {} ago", age(last, now)));
            let text = format!(
                "{key} version {versions} can no longer be decrypted: made for {} alone{}",
                names(one, "seals").join(", "),
                used.unwrap_or_default()
            );
            block.add(true, "lost versions", Some(text));
            self.in_need.push(format!("key {key}"));
        }
    }

    /// A storage that is not followed, or does not take what is written.
    fn tell_of_store(&mut self, status: &Value, block: &mut Block, now: Timestamp) {
        let Some(store) = status.get("store").filter(|store| store.is_object()) else { return };
        let lag = store.get("lag_seconds").and_then(Value::as_i64).filter(|lag| *lag > 0);
        if let Some(lag) = lag {
            let is_up = flag(store, "up") == Some(true);
            let word = if is_up { "is not followed" } else { "does not answer" };
            let text = format!("{word}: keys are as they were {} ago", span(lag));
            block.add(true, "storage", Some(text));
            let advice = "keys go on to be used; see why it is away, it is tried again by itself";
            block.add(true, "what to do", Some(advice.to_owned()));
        }
        let are_failing = flag(store, "writes_failing") == Some(true);
        if are_failing {
            let [made, failed] = ["writes_made", "writes_failed"].map(|one| number(store, one));
            let all = made.saturating_add(failed);
            let last = time(store, "last_write_failed").map(|last| age(last, now));
            let last = last.map(|age| format!(", the last {age} ago")).unwrap_or_default();
            block.add(true, "writes", Some(format!("{failed} of {all} failed{last}")));
            let advice = "see whether its disk is full; the log says why; the next write tells";
            block.add(true, "what to do", Some(advice.to_owned()));
        }
        if lag.is_some() || are_failing {
            self.in_need.push("storage".to_owned());
        }
    }

    /// Audit devices that do not take their lines.
    fn tell_of_audit(&mut self, status: &Value, block: &mut Block) {
        let devices = status.get("audit").and_then(Value::as_array).into_iter().flatten();
        let devices: Vec<_> = devices.collect();
        let failing = devices.iter().filter(|device| flag(device, "up") == Some(false));
        let failing: Vec<_> = failing.filter_map(|device| word(device, "device")).collect();
        for device in &failing {
            let text = format!("{device} does not take its lines");
            block.add(true, "audit device", Some(text));
            self.in_need.push(format!("audit device {device}"));
        }
        if !failing.is_empty() {
            let working = devices.len().saturating_sub(failing.len());
            let advice = format!(
                "see to its disk or collector; {working} of {} work, and with none every request \
                 is refused",
                devices.len()
            );
            block.add(true, "what to do", Some(advice));
        }
    }

    /// What concerns the server as a whole: its state and storage, audit, and the last drill.
    fn tell_of_server(&mut self, status: &Value, now: Timestamp) {
        let state = status.get("state").unwrap_or(&Value::Null);
        let mut block = Block { heading: "server".to_owned(), lines: Vec::new() };
        if let Some(reason) = word(state, "reason") {
            block.add(true, "state", Some(reason));
            block.add(true, "what to do", word(state, "advice"));
            self.in_need.push("state".to_owned());
        }
        if let Some(launches) = status.get("hsm_launches") {
            block.add(true, "HSM processes", word(launches, "reason"));
            block.add(true, "what to do", word(launches, "advice"));
            self.in_need.push("HSM processes".to_owned());
        }
        self.tell_of_store(status, &mut block, now);
        self.tell_of_audit(status, &mut block);
        if let Some(hardening) = status.get("hardening") {
            let told = |member| word(hardening, member).unwrap_or_default();
            let text = format!("landlock {}, system calls {}", told("landlock"), told("seccomp"));
            block.add(false, "hardening", Some(text));
        }
        self.tell_of_certificates(status, &mut block);
        self.tell_of_lost(status, &mut block, now);
        self.tell_of_promises(status, &mut block);
        let drill = status.get("drill").unwrap_or(&Value::Null);
        if let Some(is_ok) = flag(drill, "ok") {
            let when = time(drill, "time").map(|time| format!(", {} ago", age(time, now)));
            let word = if is_ok { "all seals opened by themselves" } else { "FAILED" };
            block.add(!is_ok, "drill", Some(format!("{word}{}", when.unwrap_or_default())));
            if !is_ok {
                self.in_need.push("drill".to_owned());
            }
        }
        if !block.lines.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{block}");
        }
    }
}

/// A table of the old versions that were in use, by whom.
fn aged_decrypts(status: &Value, now: Timestamp) -> String {
    let Some(evidence) = status.get("aged_decrypts") else { return String::new() };
    let Some(evidence) = evidence.as_array() else {
        return "last use of stored ciphertexts: not kept, as no origin_key is declared\n"
            .to_owned();
    };
    if evidence.is_empty() {
        return "last use of stored ciphertexts: none seen since the start\n".to_owned();
    }
    let rows = evidence.iter().map(|one| {
        let [client, key, version] =
            ["client", "key", "version"].map(|member| word(one, member).unwrap_or_default());
        let last = time(one, "last").map(|last| format!("{} ago", age(last, now)));
        format!("  {client:<17} {key} v{version}, {}\n", last.unwrap_or_default())
    });
    let title = "last use of stored ciphertexts, which proves no version unused:\n";
    std::iter::once(title.to_owned()).chain(rows).collect()
}

struct Block {
    heading: String,
    lines: Vec<Line>,
}

struct Line {
    is_marked: bool,
    title: &'static str,
    text: String,
}

impl Block {
    fn of(backend: &Value, now: Timestamp) -> Self {
        let [name, kind] = ["name", "type"].map(|one| word(backend, one).unwrap_or_default());
        let is_healthy = flag(backend, "healthy") != Some(false);
        let since =
            time(backend, "unhealthy_since").map(|since| format!(" for {}", age(since, now)));
        let is_offline = flag(backend, "offline") == Some(true);
        let health = match is_healthy {
            true if is_offline => "offline",
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

    fn add(&mut self, is_marked: bool, title: &'static str, text: Option<String>) {
        self.lines.extend(text.map(|text| Line { is_marked, title, text }));
    }

    fn tell_of_health(&mut self, backend: &Value, is_healthy: bool) {
        let fault = word(backend, "last_fault");
        let fault = fault.or_else(|| (!is_healthy).then(|| "not described yet".to_owned()));
        self.add(true, "fault", fault);
        self.add(true, "what to do", word(backend, "advice"));
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
        let silent = "it did not answer; others are asked before it".to_owned();
        self.add(true, "decrypts", is_silent.then_some(silent));
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
        let is_held_back = flag(calls, "held_back") == Some(true);
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

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.heading)?;
        self.lines.iter().try_for_each(|Line { is_marked, title, text }| {
            let mark = if *is_marked { '!' } else { ' ' };
            writeln!(f, "{mark} {title:<17} {text}")
        })
    }
}

pub(in crate::cli) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.as_second().saturating_sub(since.as_second()))
}

/// A length of time in the unit that people would take.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

pub(in crate::cli) fn time(of: &Value, member: &str) -> Option<Timestamp> {
    of.get(member)?.as_str()?.parse().ok()
}

pub(in crate::cli) fn flag(of: &Value, member: &str) -> Option<bool> {
    of.get(member)?.as_bool()
}

pub(in crate::cli) fn number(of: &Value, member: &str) -> u64 {
    of.get(member).and_then(Value::as_u64).unwrap_or(0)
}

fn names(of: &Value, member: &str) -> Vec<String> {
    let names = of.get(member).and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(printable).collect()
}

pub(in crate::cli) fn word(of: &Value, member: &str) -> Option<String> {
    match of.get(member)? {
        Value::Null => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Bool(false) => Some("no".to_owned()),
        Value::String(text) => Some(printable(text)),
        other => Some(printable(&other.to_string())),
    }
}

/// Control characters of whoever answers never reach the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn well() -> Value {
        json!({
            "name": "weu", "type": "azurekeyvault", "healthy": true, "disabled": false,
            "encrypts": true, "described_by": "kms", "last_described": "2026-11-27T03:00:00Z",
            "last_fault": null, "advice": null, "trust_after_restart": "encrypts, by x",
            "current_version": "k/\u{1b}[2J1", "current_version_age_seconds": 400_000,
            "versions": 2, "all_versions_listed": true, "trusted_by": "confirmed by the KMS",
            "days_to_expiry": 90.0, "purgeable": false,
            "kms_calls": { "in_flight": 1, "waiting": 0, "limit": 64, "held_back": false,
                           "ended": { "ok": 12, "throttled": 0 }, "shared": 3 },
        })
    }

    fn told_of(backend: &Value) -> Told {
        told(&json!({ "time": "2026-11-27T03:00:12Z", "backends": [backend] }))
    }

    #[test]
    fn a_seal_that_is_well_is_a_block_without_marks() {
        let expected = "weu (azurekeyvault): healthy\n  \
                        encrypts          yes\n  \
                        current version   k/[2J1\n  \
                        its age           4 d\n  \
                        expires           in 90 d\n  \
                        versions          2\n  \
                        last described    12 s ago\n  \
                        known from        kms\n  \
                        trusted because   confirmed by the KMS\n  \
                        restart, KMS away encrypts, by x\n  \
                        purge protection  on\n  \
                        Key Vault calls   1 in flight of 64, 0 waiting; 12 ok, 3 shared\n\
                        all well\n";
        let told = told_of(&well());
        assert_eq!((told.text.as_str(), told.in_need.len()), (expected, 0));
    }

    #[test]
    fn what_needs_attention_is_marked_and_named_at_the_end() {
        for (member, value, line) in [
            ("last_fault", json!("unavailable"), "! fault             unavailable"),
            ("advice", json!("mend it"), "! what to do        mend it"),
            ("encrypts", json!(false), "! encrypts          no"),
            (
                "versions_disabled",
                json!(1),
                "! disabled versions 1: what they wrapped does not open",
            ),
            ("days_to_expiry", json!(7.0), "! expires           in 7 d"),
            ("days_to_expiry", json!(-3.0), "! expires           3 d ago"),
            ("healthy", json!(false), "! fault             not described yet"),
            (
                "kms_calls",
                json!({ "held_back": true, "limit": 0 }),
                "! Key Vault calls   held back, 0 in flight of 0, 0 waiting; none yet",
            ),
        ] {
            let mut backend = well();
            backend[member] = value;
            let Told { text, in_need } = told_of(&backend);
            assert_eq!(in_need, ["weu"], "{text}");
            let marked: Vec<_> = text.lines().filter(|line| line.starts_with('!')).collect();
            assert_eq!(marked, [line]);
            assert!(text.ends_with("needs attention: weu\n"), "{text}");
        }
    }

    #[test]
    fn a_seal_that_is_silent_or_left_out_needs_attention() {
        let mut backend = well();
        backend["asked_last"] = json!(true);
        backend["left_out_of"] = json!(["transit/a", "transit/b"]);
        backend["left_out_since"] = json!("2026-11-27T02:00:12Z");
        let Told { text, in_need } = told_of(&backend);
        assert_eq!(in_need, ["weu"]);
        let marked: Vec<_> = text.lines().filter(|line| line.starts_with('!')).collect();
        assert_eq!(
            marked,
            [
                "! decrypts          it did not answer; others are asked before it",
                "! left out of       transit/a, transit/b for 60 min",
                "! what to do        see why it is away; the keys take it back when it is steadily \
                 there",
            ]
        );
    }

    #[test]
    fn what_is_revoked_is_told_and_what_opens_no_more_needs_attention() {
        let status = json!({
            "time": "2026-11-27T03:00:12Z",
            "backends": [well()],
            "revoked_seals": [{ "name": "old", "type": "static" }],
            "lost_versions": [{
                "key": "transit/k", "versions": "1 to 3", "seals": ["old"],
                "last_use": "2026-11-26T03:00:12Z",
            }],
        });
        let Told { text, in_need } = told(&status);
        assert_eq!(in_need, ["key transit/k"]);
        for line in [
            "  revoked seals     old",
            "! lost versions     transit/k version 1 to 3 can no longer be decrypted: made for old \
             alone, used 24 h ago",
        ] {
            assert!(text.lines().any(|other| other == line), "{text}");
        }
    }

    #[test]
    fn a_seal_that_is_disabled_need_not_encrypt() {
        let mut backend = well();
        (backend["disabled"], backend["encrypts"]) = (json!(true), json!(false));
        let Told { text, in_need } = told_of(&backend);
        assert!(in_need.is_empty() && text.contains("  encrypts          no, it is disabled\n"));
    }

    #[test]
    fn a_state_that_is_missing_and_a_drill_that_failed_need_attention() {
        let status = json!({
            "time": "2026-11-27T03:00:12Z", "backends": [],
            "state": { "status": "sealed", "reason": "no seal opens", "advice": "mend it" },
            "drill": { "ok": false, "time": "2026-11-27T02:50:12Z", "failed_seals": ["weu"] },
        });
        let Told { text, in_need } = told(&status);
        assert_eq!(in_need, ["state", "drill"]);
        let expected = "server\n\
                        ! state             no seal opens\n\
                        ! what to do        mend it\n\
                        ! drill             FAILED, 10 min ago\n\
                        needs attention: state, drill\n";
        assert_eq!(text, expected);
    }

    fn server_of(member: &str, value: &Value) -> Told {
        told(&json!({ "time": "2026-11-27T03:00:12Z", "backends": [], member: value }))
    }

    #[test]
    fn a_storage_that_is_away_or_does_not_take_writes_needs_attention() {
        let away = json!({ "up": false, "lag_seconds": 25, "writes_failing": false });
        let Told { text, in_need } = server_of("store", &away);
        assert_eq!(in_need, ["storage"]);
        assert!(text.contains("! storage           does not answer: keys are as they were 25 s"));
        let full = json!({
            "up": false, "lag_seconds": 0, "writes_made": 6, "writes_failed": 54,
            "writes_failing": true, "last_write_failed": "2026-11-27T03:00:02Z",
        });
        let Told { text, in_need } = server_of("store", &full);
        assert_eq!(in_need, ["storage"]);
        assert!(
            text.contains("! writes            54 of 60 failed, the last 10 s ago\n"),
            "{text}"
        );
        let well = json!({ "up": true, "lag_seconds": 0, "writes_failing": false });
        assert_eq!(server_of("store", &well).text, "all well\n");
    }

    #[test]
    fn an_audit_device_that_is_down_needs_attention() {
        let devices = json!([{ "device": "full", "up": false }, { "device": "disk", "up": true }]);
        let Told { text, in_need } = server_of("audit", &devices);
        assert_eq!(in_need, ["audit device full"]);
        assert!(text.contains("! audit device      full does not take its lines\n"), "{text}");
        assert!(text.contains("1 of 2 work") && !text.contains("disk does not"), "{text}");
        assert_eq!(server_of("audit", &json!([{ "device": "x", "up": true }])).text, "all well\n");
    }

    #[test]
    fn a_launch_process_that_has_ended_needs_attention() {
        let ended = json!({ "reason": "it has ended", "advice": "restart Selkie" });
        let Told { text, in_need } = server_of("hsm_launches", &ended);
        assert_eq!(in_need, ["HSM processes"]);
        assert!(text.contains("! HSM processes     it has ended\n"), "{text}");
        assert!(text.contains("! what to do        restart Selkie\n"), "{text}");
    }

    #[test]
    fn versions_in_use_are_told_by_client_or_why_they_are_not() {
        let with = |evidence: Value| {
            let now = "2026-11-27T03:00:00Z";
            told(&json!({ "time": now, "backends": [], "aged_decrypts": evidence })).text
        };
        let one = json!({ "client": "vault-eu", "key": "transit/unseal", "version": 2,
                          "last": "2026-11-27T02:00:00Z" });
        let table = "last use of stored ciphertexts, which proves no version unused:\n  \
                     vault-eu          transit/unseal v2, 60 min ago\nall well\n";
        assert_eq!(with(json!([one])), table);
        assert!(with(json!([])).starts_with("last use of stored ciphertexts: none seen"));
        assert!(with(Value::Null).contains("not kept, as no origin_key is declared"));
    }

    #[test]
    fn ages_are_by_the_servers_clock_and_in_the_unit_that_fits() {
        let mut backend = well();
        backend["healthy"] = json!(false);
        backend["unhealthy_since"] = json!("2026-11-27T02:50:00Z");
        let text = told_of(&backend).text;
        assert!(text.starts_with("weu (azurekeyvault): unhealthy for 10 min\n"), "{text}");
        let spans = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, -5].map(span);
        assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "0 s"]);
    }
}
