//! What a drill came to, for people and for programs.

use std::collections::BTreeSet;
use std::fmt::Write;

use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::terminal::printable;

/// One seal in one step.
#[derive(Debug)]
pub(super) struct Row {
    step: String,
    seal: String,
    outcome: String,
    milliseconds: u64,
    reason: Option<String>,
    advice: Option<String>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    untried_seals: Vec<String>,
    keys_left_out: u64,
}

impl Row {
    pub(super) fn of(step: &str, result: &Value) -> Self {
        let text = |member: &str| result[member].as_str().map(printable);
        Self {
            step: printable(step),
            seal: text("seal").unwrap_or_default(),
            outcome: text("outcome").unwrap_or_default(),
            milliseconds: result["milliseconds"].as_u64().unwrap_or(0),
            reason: text("reason"),
            advice: text("advice"),
        }
    }

    /// The server could not take the step at all.
    pub(super) fn refused(step: &str, status: StatusCode) -> Self {
        Self {
            step: printable(step),
            seal: "-".into(),
            outcome: "not_taken".into(),
            milliseconds: 0,
            reason: Some(format!("the server answers {status}; its log says why")),
            advice: None,
        }
    }

    fn is_ok(&self) -> bool {
        self.outcome == "ok"
    }
}

impl Report {
    /// What the plan says; no step is taken yet.
    pub(super) fn of(plan: &Value) -> Self {
        let untried = plan["untried_seals"].as_array().into_iter().flatten();
        Self {
            rows: Vec::new(),
            untried_seals: untried.filter_map(Value::as_str).map(printable).collect(),
            keys_left_out: plan["keys_left_out"].as_u64().unwrap_or(0),
        }
    }

    /// Whether every seal opened everything; nothing tried proves nothing.
    pub(super) fn is_ok(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(Row::is_ok)
    }

    fn failed_seals(&self) -> BTreeSet<&str> {
        let failed = self.rows.iter().filter(|row| !row.is_ok());
        failed.map(|row| row.seal.as_str()).collect()
    }

    pub(super) fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            json!({
                "step": row.step, "seal": row.seal, "outcome": row.outcome,
                "milliseconds": row.milliseconds, "reason": row.reason, "advice": row.advice,
            })
        });
        let report = json!({
            "ok": self.is_ok(), "failed_seals": self.failed_seals(),
            "untried_seals": self.untried_seals, "keys_left_out": self.keys_left_out,
            "results": rows.collect::<Vec<_>>(),
        });
        format!("{report}\n")
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let width = |of: fn(&Row) -> &str| {
            self.rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0)
        };
        let (steps, seals) = (width(|row| &row.step), width(|row| &row.seal));
        for Row { step, seal, outcome, milliseconds, reason, advice } in &self.rows {
            let word = if outcome == "ok" { "ok    " } else { "FAILED" };
            let reason = reason.as_ref().map(|reason| format!("  {outcome}: {reason}"));
            let reason = reason.unwrap_or_default();
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "{word} {seal:seals$}  {step:steps$}  {milliseconds:>6} ms{reason}");
            if let Some(advice) = advice {
                let _ = writeln!(text, "       -> {advice}");
            }
        }
        if !self.untried_seals.is_empty() {
            let names = self.untried_seals.join(", ");
            let _ = writeln!(
                text,
                "not tried, as nothing here is wrapped for it or its key is offline: {names}"
            );
        }
        if self.keys_left_out > 0 {
            let _ = writeln!(text, "keys that are not in the sample: {}", self.keys_left_out);
        }
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        if self.rows.is_empty() {
            return "nothing to drill: there is no key and no state\n".to_owned();
        }
        if self.is_ok() {
            return "all well: each seal opens by itself\n".to_owned();
        }
        let failed: Vec<_> = self.failed_seals().into_iter().collect();
        format!("FAILED: {}\n", failed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(results: &[Value]) -> Report {
        let rows = results.iter().map(|result| Row::of("key/transit/unseal", result)).collect();
        Report { rows, untried_seals: Vec::new(), keys_left_out: 0 }
    }

    fn well(seal: &str) -> Value {
        json!({ "seal": seal, "outcome": "ok", "milliseconds": 12 })
    }

    fn away() -> Value {
        json!({ "seal": "neu", "outcome": "unavailable", "milliseconds": 15_000,
                "reason": "it is\u{1b} away", "advice": "mend it" })
    }

    #[test]
    fn a_seal_that_fails_is_told_with_its_advice_and_at_the_end() {
        let report = report(&[well("weu"), away()]);
        assert!(!report.is_ok());
        assert_eq!(
            report.text(),
            "ok     weu  key/transit/unseal      12 ms\n\
             FAILED neu  key/transit/unseal   15000 ms  unavailable: it is away\n       \
             -> mend it\n\
             FAILED: neu\n"
        );
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["ok"], &json["failed_seals"]), (&json!(false), &json!(["neu"])));
        assert_eq!(json["results"][0]["outcome"], "ok");
    }

    #[test]
    fn all_well_only_if_something_was_tried() {
        assert!(report(&[well("weu")]).is_ok());
        assert!(report(&[well("weu")]).text().ends_with("all well: each seal opens by itself\n"));
        assert!(!report(&[]).is_ok());
    }

    #[test]
    fn what_was_not_tried_is_told() {
        let plan = json!({ "untried_seals": ["o\u{1b}ld"], "keys_left_out": 3 });
        let report = Report { rows: report(&[well("weu")]).rows, ..Report::of(&plan) };
        assert!(report.text().contains("its key is offline: old\n"), "{}", report.text());
        assert!(report.text().contains("not in the sample: 3\n"));
    }
}
