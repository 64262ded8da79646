//! What a proof came to, for the table that `make proof` prints and writes to `docs/assurance.md`.

use std::fmt::Display;
use std::io::Write as _;

/// Where `tests/run` collects the lines.
const FILE: &str = "SELKIE_EVIDENCE";

/// One row: a promise, what checked it, what was measured, and which control failed as it should.
///
/// Call it at the end of a test, when everything asserted has held. Scripts print the same line
/// themselves: `evidence: PROMISE | COMMAND | FIGURE | CONTROL`.
pub fn evidence(promise: &str, command: &str, figure: impl Display, control: &str) {
    let line = format!("evidence: {promise} | {command} | {figure} | {control}\n");
    print!("{line}");
    let Some(path) = std::env::var_os(FILE) else { return };
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{FILE} names {}: {error}", path.display()));
    // One write: several tests append at the same time.
    file.write_all(line.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
