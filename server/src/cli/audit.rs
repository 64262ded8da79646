//! `selkie audit verify`: whether audit files are what the server wrote.

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use selkie_config::{SystemSources, read_audit_key};
use selkie_crypto::AuditKey;

use super::{CommandError, print, read_config, read_text};
use crate::audit::End;
use crate::audit::verify::{Finding, Report, verify};

/// Check that audit files are whole: every change, swap and gap is told with its file and line.
///
/// Give all files of a rotation, in any order, uncompressed. That lines are missing at the very end
/// shows only by checkpoints that were kept elsewhere: the server's log tells one each minute.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("audit key").args(["config", "key"]).required(true))]
pub(super) struct Verify {
    /// The audit files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server's configuration file, which says where the audit key is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the audit key is: "file:///path" or "env://NAME", without a configuration.
    #[arg(long, value_name = "REFERENCE")]
    key: Option<String>,
    /// A text in which checkpoints stand, such as the server's log: all must be in the files.
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
}

pub(super) fn run(arguments: &Verify, output: &mut dyn Write) -> Result<(), CommandError> {
    let key = key(arguments)?;
    let checkpoints = match &arguments.checkpoints {
        Some(path) => checkpoints(&read_text(path)?),
        None => Vec::new(),
    };
    let sizes = arguments.files.iter().filter_map(|path| path.metadata().ok());
    let bar = bar(sizes.map(|metadata| metadata.len()).sum());
    let report = verify(&arguments.files, &key, &checkpoints, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let report = report.map_err(|(path, source)| CommandError::File { path, source })?;
    print(output, &text(&report, checkpoints.len()))?;
    if report.is_whole() { Ok(()) } else { Err(CommandError::AuditNotWhole) }
}

fn key(arguments: &Verify) -> Result<AuditKey, CommandError> {
    let key = match (&arguments.config, &arguments.key) {
        (Some(path), _) => read_config(path)?.audit.key,
        (None, Some(reference)) => {
            read_audit_key("--key", reference, &SystemSources).map_err(CommandError::Config)?
        }
        // Invariant: the command line asks for one of them.
        (None, None) => None,
    };
    key.ok_or(CommandError::NoAuditKey)
}

/// All `CHAIN:SEQUENCE:MAC` in a text, whatever stands around them.
fn checkpoints(text: &str) -> Vec<End> {
    let is_other = |c: char| !(c.is_ascii_hexdigit() || c == '-' || c == ':');
    text.split(is_other).filter_map(|word| word.trim_matches(':').parse().ok()).collect()
}

fn text(report: &Report, checkpoints: usize) -> String {
    let mut text = String::new();
    for finding in &report.notices {
        text.push_str(&format!("note: {}\n", place(finding)));
    }
    for (end, since) in &report.open_ends {
        let End { chain, sequence, .. } = end;
        text.push_str(&format!(
            "note: run {chain} ends at line {sequence} without a stop: it goes on, was killed, or was \
             cut; {since} lines since its last checkpoint\n"
        ));
    }
    for finding in &report.findings {
        text.push_str(&format!("{}\n", place(finding)));
    }
    if report.more_findings > 0 {
        text.push_str(&format!("and {} more\n", report.more_findings));
    }
    let Report { lines, runs, .. } = report;
    text.push_str(&match report.is_whole() {
        true => format!(
            "whole: {lines} lines of {runs} runs, {checkpoints} checkpoints from elsewhere\n"
        ),
        false => format!("NOT whole: {lines} lines of {runs} runs were read\n"),
    });
    text
}

fn place(Finding { file, line, fault }: &Finding) -> String {
    match line {
        0 => format!("{}: {fault}", file.display()),
        line => format!("{}:{line}: {fault}", file.display()),
    }
}

/// Drawn on a terminal only, and gone when done.
fn bar(bytes: u64) -> ProgressBar {
    let target = match stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {eta}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_found_in_a_log_of_either_form() {
        let end = format!("0f2b1a5e-0000-4000-8000-00000000000a:7:{}", "ab".repeat(32));
        for line in [
            format!("INFO audit checkpoint device=\"file\" checkpoint={end}"),
            format!("{{\"message\":\"audit checkpoint\",\"checkpoint\":\"{end}\"}}"),
            format!("x\n{end}\ny"),
        ] {
            assert_eq!(checkpoints(&line), [end.parse().unwrap()], "{line}");
        }
        assert_eq!(checkpoints("12:34:56 nothing"), []);
    }
}
