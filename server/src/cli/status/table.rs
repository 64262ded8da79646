//! What a server says of its seals, for people.

mod certificates;
mod promises;
mod reload;
mod seal;

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::members::{age, flag, names, number, span, time, word};

/// The text, and the seals that need attention.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) text: String,
    pub(super) in_need: Vec<String>,
}

/// A block of lines for each seal, `!` before what needs attention, and a last line for all.
pub(super) fn told(status: &Value) -> Report {
    let mut told = Report { text: String::new(), in_need: Vec::new() };
    told.tell_of_faults(status);
    let now = time(status, "time").unwrap_or_else(Timestamp::now);
    for backend in status.get("backends").and_then(Value::as_array).into_iter().flatten() {
        let block = Block::of_seal(backend, now);
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

impl Report {
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
            let ends = match left {
                ..=0 => "has ended".to_owned(),
                left => format!("ends in {}", span(left)),
            };
            let text = format!("{name} (accessor {accessor}) {ends}");
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
            block.add(true, "what to do", word(one, "advice"));
            self.in_need.push(format!("key {key}"));
        }
    }

    /// A storage that is not followed, or does not take what is written.
    fn tell_of_store(&mut self, status: &Value, block: &mut Block, now: Timestamp) {
        let Some(store) = status.get("store").filter(|store| store.is_object()) else { return };
        let lag = store.get("lag_seconds").and_then(Value::as_i64).filter(|lag| *lag > 0);
        if let Some(lag) = lag {
            let is_up = flag(store, "up") == Some(true);
            let how = if is_up { "is not followed" } else { "does not answer" };
            let text = format!("{how}: keys are as they were {} ago", span(lag));
            block.add(true, "storage", Some(text));
            let advice = "keys go on to be used; see why it is away, it is tried again by itself";
            let advice = word(store, "advice").unwrap_or_else(|| advice.to_owned());
            let is_said = block.lines.iter().any(|line| line.text == advice);
            block.add(true, "what to do", (!is_said).then_some(advice));
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
        if let Some(behind) = state.get("key_behind").filter(|behind| behind.is_object()) {
            let [lacking, waits_for] =
                ["lacking", "waits_for"].map(|member| names(behind, member).join(", "));
            let text = format!("not made for {lacking} as it is now: waits for {waits_for}");
            block.add(true, "state key", Some(text));
            block.add(true, "what to do", word(behind, "advice"));
            self.in_need.push("state key".to_owned());
        }
        if let Some(launches) = status.get("hsm_launches") {
            block.add(true, "HSM processes", word(launches, "reason"));
            block.add(true, "what to do", word(launches, "advice"));
            self.in_need.push("HSM processes".to_owned());
        }
        self.tell_of_reload(status, &mut block, now);
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
    fn add(&mut self, is_marked: bool, title: &'static str, text: Option<String>) {
        self.lines.extend(text.map(|text| Line { is_marked, title, text }));
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

#[cfg(test)]
mod tests;
