//! `selkie doctor`: walks the way to each master key and back, and tells each step as it is made.

mod others;
mod places;
mod report;

use std::io::Write;

use selkie_config::{Config, Listener, SandboxMode};
use selkie_crypto::os_random;
use tokio::sync::mpsc::unbounded_channel;

use self::report::Report;
use super::arguments::{ConfigFile, Format};
use super::{CommandError, read_config, single_threaded};
use crate::clock::{Clock, SystemClock};
use crate::deployment::Deployment;
use crate::hardening::InForce;
use crate::listener_certificates::{At, Notice};
use crate::promises::{self, Outlook, PromiseFile};
use crate::seal::{Finding, Seal, Step};
use crate::serve::{EndpointName, load_tls};
use crate::telemetry::WithCauses;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// How the report is printed: as it comes, or at the end.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let mut config = read_config(arguments.file.path())?;
    let sandbox = match config.sandbox {
        SandboxMode::Auto => "sandbox \"auto\"",
        SandboxMode::Required => "sandbox \"required\"",
        SandboxMode::Off => "sandbox \"off\": what a server would have otherwise",
    };
    let hardening = InForce::of_this_machine(config.lock_all_memory).lines();
    let runtime = single_threaded()?;
    let listeners = std::mem::take(&mut config.listeners);
    let places = places::of(&config);
    let others = runtime.block_on(others(&config));
    let warnings = std::mem::take(&mut config.warnings);
    let deployment = runtime.block_on(Deployment::connect(config))?;
    let mut report = Report::new(arguments.format, output);
    report.hardening(&format!("hardening ({sandbox})"), hardening)?;
    report.warn(&warnings)?;
    for listener in listeners.iter().filter(|listener| listener.tls.is_some()) {
        let endpoint = format!("listener {}", EndpointName::from(listener.endpoint.clone()));
        report.begin(&endpoint)?;
        report.tell(&endpoint, &certificate(listener))?;
    }
    for place in places {
        let name = place.to_string();
        report.begin(&name)?;
        place.examine().iter().try_for_each(|step| report.tell(&name, step))?;
    }
    for (place, step) in others {
        report.begin(&place)?;
        report.tell(&place, &step)?;
    }
    if let Some(file) = PromiseFile::of(&deployment.keeping) {
        report.begin(&format!("promises ({})", file.path().display()))?;
        let steps = promises(&file, &deployment);
        steps.iter().try_for_each(|step| report.tell("promises", step))?;
    }
    for seal in deployment.seals.iter() {
        report.begin(&format!("seal \"{}\" ({})", seal.name(), seal.connection.kind()))?;
        runtime.block_on(walk(seal, &mut report))?;
    }
    for old in deployment.takeovers.iter() {
        let key = format!("takeover of {}/{}", old.mount, old.name);
        report.begin(&format!("{key} ({})", old.address))?;
        let steps = runtime.block_on(old.examine(&deployment, &SystemClock));
        steps.iter().try_for_each(|step| report.tell(&key, step))?;
    }
    report.end()
}

/// What else a server needs, and whether it is there.
async fn others(config: &Config) -> Vec<(String, Step)> {
    let mut told: Vec<_> = config.audit.devices.iter().filter_map(others::audit).collect();
    if let Some(storage) = &config.storage {
        told.extend(others::etcd(storage).await);
    }
    told
}

/// Whether the configuration keeps what those before it promised to ciphertexts.
fn promises(file: &PromiseFile, deployment: &Deployment) -> Vec<Step> {
    let remembered = file.read().map(|read| read.map(|read| read.promises));
    let told = |finding| Step { hop: "ciphertexts".to_owned(), finding };
    let Ok(Some(remembered)) = &remembered else {
        return vec![told(match remembered {
            Ok(_) => Finding::Passed("nothing is recorded yet".to_owned()),
            Err(error) => Finding::Warned {
                what: format!("cannot tell what was promised: {}", WithCauses(&error)),
                advice:
                    "run doctor as the service's user; a damaged file is replaced at the next start"
                        .to_owned(),
            },
        })];
    };
    let losses = Outlook::of(&deployment.promises, remembered.clone()).losses;
    if losses.is_empty() {
        return vec![told(Finding::Passed("every promise is kept".to_owned()))];
    }
    let lost = losses.iter().map(|loss| {
        told(Finding::Failed { what: loss.to_string(), advice: promises::advice(loss) })
    });
    lost.collect()
}

/// What clients will think of the certificate of `listener`.
fn certificate(listener: &Listener) -> Step {
    let failed = |what, advice: &str| Finding::Failed { what, advice: advice.to_owned() };
    let now = SystemClock.unix_seconds();
    let finding = match load_tls(listener).map(|tls| tls.and_then(|tls| tls.validity())) {
        Err(error) => failed(
            WithCauses(&error).to_string(),
            "check the certificate and key files of the listener",
        ),
        Ok(None) => Finding::Passed("read".to_owned()),
        Ok(Some(validity)) => match Notice::of(validity, now) {
            None => Finding::Passed(format!("valid until {}", At(validity.end()))),
            Some(notice) if notice.is_refused() => failed(notice.to_string(), notice.advice()),
            Some(notice) => {
                Finding::Warned { what: notice.to_string(), advice: notice.advice().to_owned() }
            }
        },
    };
    Step { hop: "certificate".to_owned(), finding }
}

/// Nothing is kept back until the end: a step may take its time, and the last one told is where.
async fn walk(seal: &Seal, report: &mut Report<'_>) -> Result<(), CommandError> {
    let (sender, mut steps) = unbounded_channel();
    let walk = async move {
        // The receiver goes only when the output is closed, and then the walk is dropped too.
        let mut send = |step| drop(sender.send(step));
        let now = SystemClock.unix_seconds();
        seal.connection.examine(&os_random, now, &mut send).await;
        Ok(())
    };
    let tell = async {
        while let Some(step) = steps.recv().await {
            report.tell(seal.name().as_str(), &step)?;
        }
        Ok(())
    };
    tokio::try_join!(walk, tell).map(|((), ())| ())
}
