//! The table in the document, made from what was seen.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::case::Seen;
use super::{Answers, Row};

const BEGIN: &str = "<!-- fault matrix: begin -->";
const END: &str = "<!-- fault matrix: end -->";

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md")
}

/// Compares the table with the document's, or writes it there if `UPDATE_DOCS` is set.
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
        current == table,
        "docs/troubleshooting.md differs; run with UPDATE_DOCS=1 and read what changes:\n{table}"
    );
    Ok(())
}

fn table(rows: &[Row], seen: &[(&'static str, Seen)]) -> Result<String> {
    let mut table = "| what is wrong | encrypt | decrypt | the log says | what to do |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let (_, seen) =
            seen.iter().find(|(wrong, _)| *wrong == row.wrong).context("a row is missing")?;
        let Answers { encrypt, decrypt } = row.answers;
        let advice = match seen.advice.as_str() {
            "" if row.log.is_empty() => "nothing: no client notices",
            "" => "see the reason in the log",
            advice => advice,
        };
        table += &format!(
            "| {} | {encrypt} | {decrypt} | {} | {advice} |\n",
            row.wrong,
            row.log.join(": ")
        );
    }
    Ok(table)
}
