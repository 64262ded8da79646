//! What a server says of a configuration that it did not take.

use jiff::Timestamp;
use serde_json::Value;

use super::{Block, Report};
use crate::cli::members::{age, flag, time, word};

impl Report {
    pub(super) fn tell_of_reload(&mut self, status: &Value, block: &mut Block, now: Timestamp) {
        let reload = status.get("last_reload").unwrap_or(&Value::Null);
        if flag(reload, "successful") != Some(false) {
            return;
        }
        let when = time(reload, "refused").map(|time| format!(" {} ago", age(time, now)));
        let reason = word(reload, "reason").unwrap_or_default();
        let text = format!("the last was refused{}: {reason}", when.unwrap_or_default());
        block.add(true, "reload", Some(text));
        block.add(true, "what to do", word(reload, "advice"));
        self.in_need.push("configuration".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::told;

    #[test]
    fn a_refused_reload_needs_attention_and_one_that_was_taken_does_not() {
        assert_eq!(told(&json!({"last_reload": {"successful": true}})).in_need, [""; 0]);
        let told = told(&json!({"time": "2026-11-27T03:00:12Z", "last_reload": {
            "successful": false, "refused": "2026-11-27T03:00:00Z", "reason": "x:1:1: no",
            "advice": "correct it",
        }}));
        assert_eq!(told.in_need, ["configuration"]);
        let line = "! reload            the last was refused 12 s ago: x:1:1: no\n";
        assert!(told.text.contains(line), "{}", told.text);
        assert!(told.text.contains("! what to do        correct it\n"), "{}", told.text);
    }
}
