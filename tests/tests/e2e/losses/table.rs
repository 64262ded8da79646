//! The table in the document, made from what was seen.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Row;
use super::seen::Seen;

const BEGIN: &str = "<!-- losses: begin -->";
const END: &str = "<!-- losses: end -->";

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/losses.md")
}

/// Compares the table with the document's, or writes it there if `UPDATE_DOCS` is set. The times are
/// those of the run that wrote it: a machine that is slower today has lost nothing.
pub(super) fn check(rows: &[Row], seen: &[(&'static str, Seen)]) -> Result<()> {
    let text = fs::read_to_string(document())?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("no {BEGIN}"))?;
    let (current, after) = rest.split_once(END).with_context(|| format!("no {END}"))?;
    let table = format!("\n{}", table(rows, seen)?);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(document(), format!("{before}{BEGIN}{table}{END}{after}"))?;
        return Ok(());
    }
    ensure!(
        without_times(current) == without_times(&table),
        "docs/losses.md differs; run with UPDATE_DOCS=1 and read what changes:\n{table}"
    );
    Ok(())
}

fn table(rows: &[Row], seen: &[(&'static str, Seen)]) -> Result<String> {
    let mut table = "| lost | there was | a running Vault | one that restarts meanwhile | what mends it | then it | measured |\n\
                     |---|---|---|---|---|---|---|\n"
        .to_owned();
    for Row { lost, with, cure, .. } in rows {
        let (_, seen) = seen.iter().find(|(name, _)| name == lost).context("a row is missing")?;
        table += &format!(
            "| {lost} | {with} | goes on | {} | {cure} | {} | {} |\n",
            seen.fate.told(),
            seen.fate.return_told(),
            seen.took(),
        );
    }
    Ok(table)
}

/// All columns but the last.
fn without_times(table: &str) -> Vec<&str> {
    let cut = |line| str::rsplit_once(str::trim_end_matches(line, " |"), " | ");
    table.lines().map(|line| cut(line).map_or(line, |(kept, _)| kept)).collect()
}
