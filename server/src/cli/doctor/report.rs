//! What the doctor has found, for people as it comes and for programs at the end.

use std::io::Write;

use selkie_config::Warning;
use serde_json::{Value, json};

use crate::cli::arguments::Format;
use crate::cli::{CommandError, print};
use crate::seal::{Finding, Step};

/// What the walks have come to.
pub(super) struct Report<'o> {
    format: Format,
    output: &'o mut dyn Write,
    /// What the steps are about.
    heading: String,
    tally: Tally,
    hardening: Vec<Value>,
    steps: Vec<Value>,
}

#[derive(Debug, Default)]
struct Tally {
    warnings: usize,
    /// Where something failed: the seal or what else it was, and the hop.
    failures: Vec<(String, String)>,
}

impl<'o> Report<'o> {
    pub(super) fn new(format: Format, output: &'o mut dyn Write) -> Self {
        let tally = Tally::default();
        let (hardening, steps) = (Vec::new(), Vec::new());
        Self { format, output, heading: String::new(), tally, hardening, steps }
    }

    /// What protects a server on this machine, and whether it is in force. It is told, and no failure:
    /// the operator may have chosen so.
    pub(super) fn hardening(
        &mut self,
        heading: &str,
        lines: Vec<(bool, String)>,
    ) -> Result<(), CommandError> {
        self.begin(heading)?;
        for (in_force, text) in lines {
            let word = if in_force { "ok     " } else { "not    " };
            self.print(&format!("  {word} {text}\n"))?;
            self.hardening.push(json!({ "in_force": in_force, "text": text }));
        }
        Ok(())
    }

    /// What `validate` warns of: a variable of this shell, for one, that the service does not have.
    pub(super) fn warn(&mut self, warnings: &[Warning]) -> Result<(), CommandError> {
        if !warnings.is_empty() {
            self.begin("configuration")?;
        }
        for Warning { file, position, kind } in warnings {
            self.tally.warnings = self.tally.warnings.saturating_add(1);
            self.print(&format!("  warning {file}:{position}: {kind}\n"))?;
            let place = format!("{file}:{position}");
            self.keep(&place, "warning", &kind.to_string(), None);
        }
        Ok(())
    }

    /// The steps that follow are about this.
    pub(super) fn begin(&mut self, heading: &str) -> Result<(), CommandError> {
        heading.clone_into(&mut self.heading);
        self.print(&format!("{heading}\n"))
    }

    /// One step; `place` is what its heading is called in the last line.
    pub(super) fn tell(&mut self, place: &str, step: &Step) -> Result<(), CommandError> {
        self.tally.count(place, step);
        let Step { hop, finding } = step;
        match finding {
            Finding::Passed(seen) => self.keep(hop, "ok", seen, None),
            Finding::Warned { what, advice } => self.keep(hop, "warning", what, Some(advice)),
            Finding::Failed { what, advice } => self.keep(hop, "failed", what, Some(advice)),
        }
        self.print(&line(step))
    }

    /// The end of it: what all has come to.
    pub(super) fn end(self) -> Result<(), CommandError> {
        let Self { format, output, tally, hardening, steps, .. } = self;
        let is_well = tally.failures.is_empty();
        let text = match format {
            Format::Table => tally.summary(),
            Format::Json => {
                let (failures, warnings) = (tally.failures.len(), tally.warnings);
                let report = json!({
                    "ok": is_well, "failures": failures, "warnings": warnings,
                    "hardening": hardening, "steps": steps,
                });
                format!("{report:#}\n")
            }
        };
        print(output, &text)?;
        if is_well { Ok(()) } else { Err(CommandError::Unwell) }
    }

    fn keep(&mut self, hop: &str, outcome: &str, text: &str, advice: Option<&str>) {
        let place = &self.heading;
        self.steps.push(json!({
            "place": place, "step": hop, "outcome": outcome, "text": text, "advice": advice,
        }));
    }

    /// For people, who see where it hangs.
    fn print(&mut self, text: &str) -> Result<(), CommandError> {
        match self.format {
            Format::Table => print(self.output, text),
            Format::Json => Ok(()),
        }
    }
}

impl Tally {
    fn count(&mut self, place: &str, step: &Step) {
        match step.finding {
            Finding::Passed(_) => {}
            Finding::Warned { .. } => self.warnings = self.warnings.saturating_add(1),
            Finding::Failed { .. } => self.failures.push((place.to_owned(), step.hop.clone())),
        }
    }

    /// The last line: all well, or what failed.
    fn summary(&self) -> String {
        let warnings = counted(self.warnings, "warning");
        let comma = if warnings.is_empty() { "" } else { ", " };
        if self.failures.is_empty() {
            return format!("all well{comma}{warnings}\n");
        }
        let mut places: Vec<_> =
            self.failures.iter().map(|(place, hop)| format!("{place}, {hop}")).collect();
        // One hop may fail in several ways, such as a promise that is broken to several keys.
        places.dedup();
        let failures = counted(self.failures.len(), "failure");
        format!("{failures}{comma}{warnings}: {}\n", places.join("; "))
    }
}

/// A number with its word; nothing for none.
fn counted(count: usize, word: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    }
}

fn line(Step { hop, finding }: &Step) -> String {
    match finding {
        Finding::Passed(seen) => format!("  ok      {hop}: {seen}\n"),
        Finding::Warned { what, advice } => {
            format!("  warning {hop}: {what}\n          -> {advice}\n")
        }
        Finding::Failed { what, advice } => {
            format!("  FAILED  {hop}: {what}\n          -> {advice}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(warnings: usize, failures: &[(&str, &str)]) -> String {
        let named = |(place, hop): &(&str, &str)| ((*place).to_owned(), (*hop).to_owned());
        Tally { warnings, failures: failures.iter().map(named).collect() }.summary()
    }

    #[test]
    fn the_last_line_says_whether_all_is_well_and_what_failed() {
        assert_eq!(tally(0, &[]), "all well\n");
        assert_eq!(tally(1, &[]), "all well, 1 warning\n");
        assert_eq!(tally(3, &[]), "all well, 3 warnings\n");
        assert_eq!(tally(0, &[("weu", "TCP")]), "1 failure: weu, TCP\n");
        let two = tally(2, &[("weu", "TCP"), ("neu", "TLS")]);
        assert_eq!(two, "2 failures, 2 warnings: weu, TCP; neu, TLS\n");
        let promises = ("promises", "ciphertexts");
        assert_eq!(tally(0, &[promises; 3]), "3 failures: promises, ciphertexts\n", "named once");
    }
}
