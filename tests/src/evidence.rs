//! What a proof came to, for the table that `make proof` prints and writes to `docs/assurance.md`.

use std::fmt::Display;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Where `tests/run` collects the lines; without it nobody asked for them.
const FILE: &str = "SELKIE_EVIDENCE";

/// Notes one row: a promise, what checked it, what was measured, and which control failed as it
/// should.
///
/// Call it at the end of a test, when everything asserted has held. Scripts print the same line
/// themselves: `evidence: PROMISE | COMMAND | FIGURE | CONTROL`.
///
/// # Errors
///
/// The file cannot be written.
pub fn evidence(promise: &str, command: &str, figure: impl Display, control: &str) -> Result<()> {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return Ok(()) };
    let line = format!("evidence: {promise} | {command} | {figure} | {control}\n");
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    // One write: several tests append at the same time.
    file.write_all(line.as_bytes()).with_context(|| path.display().to_string())
}
