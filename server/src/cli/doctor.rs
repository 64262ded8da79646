//! `selkie doctor`: walks the way to each master key and back, and tells each step as it is made.

use std::io::Write;
use std::path::PathBuf;

use selkie_config::SandboxMode;
use selkie_crypto::{SealName, os_random};
use tokio::sync::mpsc::unbounded_channel;

use super::{CommandError, print, read_config};
use crate::clock::{Clock, SystemClock};
use crate::deployment::Deployment;
use crate::hardening::InForce;
use crate::seal::{Finding, Seal, Step};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file.
    config: PathBuf,
}

/// What the walks have come to.
#[derive(Debug, Default)]
struct Tally {
    warnings: usize,
    /// Where something failed: seal and hop.
    failures: Vec<(SealName, String)>,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let config = read_config(&arguments.config)?;
    let sandbox = match config.sandbox {
        SandboxMode::Auto => "sandbox \"auto\"",
        SandboxMode::Required => "sandbox \"required\"",
        SandboxMode::Off => "sandbox \"off\": what a server would have without that",
    };
    let hardening = hardening(&InForce::of_this_machine(config.lock_all_memory));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let deployment = runtime.block_on(Deployment::connect(config))?;
    let mut tally = Tally::default();
    print(output, &format!("hardening ({sandbox})\n{hardening}"))?;
    for seal in deployment.seals.iter() {
        let heading = format!("seal \"{}\" ({})\n", seal.name(), seal.connection.kind());
        print(output, &heading)?;
        runtime.block_on(walk(seal, &mut tally, output))?;
    }
    print(output, &tally.summary())?;
    if tally.failures.is_empty() { Ok(()) } else { Err(CommandError::Unwell) }
}

/// What protects a server on this machine. It is told, and no failure: the operator may have chosen so.
fn hardening(machine: &InForce) -> String {
    let line = |(is_well, text): (bool, String)| {
        let word = if is_well { "ok     " } else { "not    " };
        format!("  {word} {text}\n")
    };
    machine.lines().into_iter().map(line).collect()
}

/// Nothing is kept back until the end: a step may take its time, and the last one told is where.
async fn walk(seal: &Seal, tally: &mut Tally, output: &mut dyn Write) -> Result<(), CommandError> {
    let (sender, mut steps) = unbounded_channel();
    let walk = async move {
        // The receiver goes only when the output is closed, and then the walk is dropped too.
        let mut report = |step| drop(sender.send(step));
        let now = SystemClock.unix_seconds();
        seal.connection.examine(&os_random, now, &mut report).await;
        Ok(())
    };
    let tell = async {
        while let Some(step) = steps.recv().await {
            tally.count(seal.name(), &step);
            print(output, &line(&step))?;
        }
        Ok(())
    };
    tokio::try_join!(walk, tell).map(|((), ())| ())
}

impl Tally {
    fn count(&mut self, seal: &SealName, step: &Step) {
        match step.finding {
            Finding::Passed(_) => {}
            Finding::Warned { .. } => self.warnings += 1,
            Finding::Failed { .. } => self.failures.push((seal.clone(), step.hop.clone())),
        }
    }

    /// The last line: all well, or what failed.
    fn summary(&self) -> String {
        let warnings = counted(self.warnings, "warning");
        let comma = if warnings.is_empty() { "" } else { ", " };
        if self.failures.is_empty() {
            return format!("all well{comma}{warnings}\n");
        }
        let places = self.failures.iter().map(|(seal, hop)| format!("{seal}, {hop}"));
        let places: Vec<_> = places.collect();
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
        let named = |(seal, hop): &(&str, &str)| (SealName::new(seal).unwrap(), (*hop).to_owned());
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
    }
}
