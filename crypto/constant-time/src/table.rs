//! What memcheck reported of each call, beside what it may report. A control that goes unseen fails
//! like a leak.

use std::io::{self, Write};

use crate::memcheck;

/// A call that is looked at, with what is known of it.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    /// Length of the secret that is poisoned.
    pub(crate) bytes: usize,
    pub(crate) expected: Expected,
    pub(crate) reason: &'static str,
}

/// How many reports a call may make.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    Exactly(usize),
    /// One decision that is branched on again by a caller: the compiler joins the two where it
    /// inlines one into the other, which changes from build to build.
    Between(usize, usize),
    /// A control: a call that leaks, and must be seen to.
    AtLeastOne,
}

impl Expected {
    const fn is(self, reports: usize) -> bool {
        match self {
            Self::Exactly(expected) => reports == expected,
            Self::Between(least, most) => least <= reports && reports <= most,
            Self::AtLeastOne => reports > 0,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(expected) => expected.fmt(f),
            Self::Between(least, most) => f.pad(&format!("{least} - {most}")),
            Self::AtLeastOne => f.pad("> 0"),
        }
    }
}

/// What was seen of every call.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<(Call, usize)>,
    /// Calls whose result did not depend on the secret, so that their row proves nothing.
    vacuous: Vec<&'static str>,
}

impl Table {
    /// Runs `operation` and notes the reports that it made.
    pub(crate) fn observe<R>(&mut self, call: Call, operation: impl FnOnce() -> R) -> R {
        let before = memcheck::reports();
        let result = std::hint::black_box(operation());
        self.rows.push((call, memcheck::reports() - before));
        result
    }

    /// Demands of the last call that `result` depends on the secret: so the poison was there, and
    /// the call's reports were all that it caused on its whole way.
    pub(crate) fn must_carry_secret(&mut self, result: &[u8]) {
        if memcheck::poisoned_bytes(result) == 0 {
            self.vacuous.extend(self.rows.last().map(|(call, _)| call.name));
        }
    }

    /// As [`Table::must_carry_secret`], then makes `result` public, because its owner publishes it.
    pub(crate) fn publish(&mut self, result: &mut [u8]) {
        self.must_carry_secret(result);
        memcheck::declassify(result);
    }

    /// Whether everything was as expected.
    pub(crate) fn holds(&self) -> bool {
        let as_expected = |(call, reports): &(Call, usize)| call.expected.is(*reports);
        self.vacuous.is_empty() && !self.rows.is_empty() && self.rows.iter().all(as_expected)
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:6} {:<44} {:>5} {:>7} {:>8}  reason",
            "", "call", "bytes", "reports", "expected"
        )?;
        for (call, reports) in &self.rows {
            let verdict = if call.expected.is(*reports) { "ok" } else { "WRONG" };
            let Call { name, bytes, expected, reason } = call;
            writeln!(
                out,
                "{verdict:6} {name:<44} {bytes:>5} {reports:>7} {expected:>8}  {reason}"
            )?;
        }
        for name in &self.vacuous {
            writeln!(
                out,
                "WRONG  {name}: the secret did not reach the result; the row proves nothing"
            )?;
        }
        Ok(())
    }
}
