//! `selkie doctor`: walks the way to each master key and back.

use std::io::Write;
use std::path::PathBuf;

use selkie_crypto::os_random;

use super::{CommandError, print, read_config};
use crate::clock::{Clock, SystemClock};
use crate::deployment::Deployment;
use crate::seal::{Finding, Seal, Step};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file.
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let config = read_config(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let deployment = runtime.block_on(Deployment::connect(config))?;
    let mut failures = 0;
    for seal in deployment.seals.iter() {
        let heading = format!("seal \"{}\" ({})\n", seal.name(), seal.connection.kind());
        print(output, &heading)?;
        for step in runtime.block_on(walk(seal)) {
            failures += usize::from(matches!(step.finding, Finding::Failed { .. }));
            print(output, &line(&step))?;
        }
    }
    if failures == 0 { Ok(()) } else { Err(CommandError::Unwell { failures }) }
}

async fn walk(seal: &Seal) -> Vec<Step> {
    let mut steps = Vec::new();
    let now = SystemClock.unix_seconds();
    seal.connection.examine(&os_random, now, &mut |step| steps.push(step)).await;
    steps
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
