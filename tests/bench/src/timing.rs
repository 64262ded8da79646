//! Whether secrets can be told from the time that something takes: the crypto core natively, and the
//! answers of a server over TLS.

mod core;
mod server;
mod welch;

use std::io::{Write, stdout};

use anyhow::{Result, ensure};

use self::core::Core;
use self::server::Server;
use self::welch::{CALIBRATION, DIFFERENT, LEAST_NS, Verdict};

/// What a control must reach, so that nobody can say that it was noise.
const CONTROL: f64 = 50.0;

/// Fails if two classes of inputs can be told apart by time that must not be, or if a control, whose
/// classes can, goes unseen.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Timing {
    Core(Core),
    Server(Server),
}

impl Timing {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Core(core) => core.run(),
            Self::Server(server) => server.run(),
        }
    }
}

/// What the two classes of one row are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    MustLookEqual,
    /// Shows that a difference would have been seen.
    Control,
}

/// All rows, printed as they come.
#[derive(Default)]
struct Report {
    worst: f64,
    worst_ns: f64,
    weakest_control: f64,
    subjects: u32,
    failed: Vec<String>,
}

impl Report {
    fn new() -> Self {
        Self { weakest_control: f64::INFINITY, ..Self::default() }
    }

    fn row(&mut self, name: &str, row: Row, verdict: Verdict) -> Result<()> {
        let Verdict { samples, max_t, slower_ns, is_different } = verdict;
        ensure!(
            samples > 0,
            "{name}: nothing to compare: the first {CALIBRATION} samples only tell where to crop"
        );
        let t = max_t.abs();
        let holds = match row {
            Row::MustLookEqual => !is_different,
            Row::Control => t > CONTROL,
        };
        match row {
            Row::Control => self.weakest_control = self.weakest_control.min(t),
            Row::MustLookEqual => {
                self.subjects += 1;
                if t > self.worst {
                    (self.worst, self.worst_ns) = (t, slower_ns.abs());
                }
            }
        }
        let said = match (row, holds) {
            (Row::MustLookEqual, true) => "looks equal",
            (Row::MustLookEqual, false) => "DIFFERS",
            (Row::Control, true) => "control, seen",
            (Row::Control, false) => "control, NOT SEEN",
        };
        writeln!(
            stdout(),
            "timing: {name:<48} {samples:>9} samples  max t {max_t:+9.2}  {slower_ns:+9.2} ns  {said}"
        )?;
        if !holds {
            self.failed.push(name.to_owned());
        }
        Ok(())
    }

    /// Ends with the line for the table of `make proof`.
    fn finish(self, promise: &str, command: &str, samples: u32) -> Result<()> {
        ensure!(self.failed.is_empty(), "timing: {}", self.failed.join("; "));
        writeln!(
            stdout(),
            "evidence: {promise} | {command} | {} comparisons of {samples} samples each, greatest \
             t {:.1} either way, there {:.2} ns (Welch's t, cropped at ten percentiles; different \
             from {DIFFERENT} and {LEAST_NS} ns on) | a difference that is there: t {:.0}",
            self.subjects,
            self.worst,
            self.worst_ns,
            self.weakest_control,
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_samples_is_refused_whatever_it_must_show() {
        for row in [Row::MustLookEqual, Row::Control] {
            let none = Verdict { samples: 0, max_t: 0.0, slower_ns: 0.0, is_different: false };
            let mut report = Report::new();
            let refused = report.row("a row", row, none).unwrap_err().to_string();
            assert!(refused.starts_with("a row: nothing to compare"), "{refused}");
            assert_eq!(report.subjects, 0);
            report.row("a row", row, Verdict { samples: 1, ..none }).unwrap();
        }
    }
}
