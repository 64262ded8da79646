//! `selkie doctor`: walks the way to each master key and back, and tells each step as it is made.

mod others;
mod places;

use std::io::Write;

use selkie_config::{Config, Listener, SandboxMode, Warning};
use selkie_crypto::os_random;
use tokio::sync::mpsc::unbounded_channel;

use super::arguments::ConfigFile;
use super::{CommandError, print, read_config};
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
}

/// What the walks have come to.
#[derive(Debug, Default)]
struct Tally {
    warnings: usize,
    /// Where something failed: the seal or what else it was, and the hop.
    failures: Vec<(String, String)>,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let mut config = read_config(arguments.file.path())?;
    let sandbox = match config.sandbox {
        SandboxMode::Auto => "sandbox \"auto\"",
        SandboxMode::Required => "sandbox \"required\"",
        SandboxMode::Off => "sandbox \"off\": what a server would have otherwise",
    };
    let hardening = hardening(&InForce::of_this_machine(config.lock_all_memory));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let listeners = std::mem::take(&mut config.listeners);
    let places = places::of(&config);
    let others = runtime.block_on(others(&config));
    let warnings = std::mem::take(&mut config.warnings);
    let deployment = runtime.block_on(Deployment::connect(config))?;
    let mut tally = Tally::default();
    print(output, &format!("hardening ({sandbox})\n{hardening}"))?;
    tally.warn(&warnings, output)?;
    for listener in listeners.iter().filter(|listener| listener.tls.is_some()) {
        let endpoint = EndpointName::from(listener.endpoint.clone());
        print(output, &format!("listener {endpoint}\n"))?;
        tally.tell(&format!("listener {endpoint}"), &certificate(listener), output)?;
    }
    for place in places {
        print(output, &format!("{place}\n"))?;
        for step in place.examine() {
            tally.tell(&place.to_string(), &step, output)?;
        }
    }
    for (place, step) in others {
        print(output, &format!("{place}\n"))?;
        tally.tell(&place, &step, output)?;
    }
    if let Some(file) = PromiseFile::of(&deployment.keeping) {
        print(output, &format!("promises ({})\n", file.path().display()))?;
        for step in promises(&file, &deployment) {
            tally.tell("promises", &step, output)?;
        }
    }
    for seal in deployment.seals.iter() {
        let heading = format!("seal \"{}\" ({})\n", seal.name(), seal.connection.kind());
        print(output, &heading)?;
        runtime.block_on(walk(seal, &mut tally, output))?;
    }
    for old in deployment.takeovers.iter() {
        let key = format!("takeover of {}/{}", old.mount, old.name);
        print(output, &format!("{key} ({})\n", old.address))?;
        for step in runtime.block_on(old.examine(&deployment, &SystemClock)) {
            tally.tell(&key, &step, output)?;
        }
    }
    print(output, &tally.summary())?;
    if tally.failures.is_empty() { Ok(()) } else { Err(CommandError::Unwell) }
}

/// What else a server needs, and whether it is there.
async fn others(config: &Config) -> Vec<(String, Step)> {
    let mut told: Vec<_> = config.audit.devices.iter().filter_map(others::audit).collect();
    if let Some(storage) = &config.storage {
        told.extend(others::etcd(storage).await);
    }
    told
}

/// What protects a server on this machine. It is told, and no failure: the operator may have chosen so.
fn hardening(machine: &InForce) -> String {
    let line = |(is_well, text): (bool, String)| {
        let word = if is_well { "ok     " } else { "not    " };
        format!("  {word} {text}\n")
    };
    machine.lines().into_iter().map(line).collect()
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
            tally.tell(seal.name().as_str(), &step, output)?;
        }
        Ok(())
    };
    tokio::try_join!(walk, tell).map(|((), ())| ())
}

impl Tally {
    /// What `validate` warns of: a variable of this shell, for one, that the service does not have.
    fn warn(&mut self, warnings: &[Warning], output: &mut dyn Write) -> Result<(), CommandError> {
        if !warnings.is_empty() {
            print(output, "configuration\n")?;
        }
        for Warning { file, position, kind } in warnings {
            self.warnings += 1;
            print(output, &format!("  warning {file}:{position}: {kind}\n"))?;
        }
        Ok(())
    }

    fn tell(
        &mut self,
        place: &str,
        step: &Step,
        output: &mut dyn Write,
    ) -> Result<(), CommandError> {
        self.count(place, step);
        print(output, &line(step))
    }

    fn count(&mut self, place: &str, step: &Step) {
        match step.finding {
            Finding::Passed(_) => {}
            Finding::Warned { .. } => self.warnings += 1,
            Finding::Failed { .. } => self.failures.push((place.to_owned(), step.hop.clone())),
        }
    }

    /// The last line: all well, or what failed.
    fn summary(&self) -> String {
        let warnings = counted(self.warnings, "warning");
        let comma = if warnings.is_empty() { "" } else { ", " };
        if self.failures.is_empty() {
            return format!("all well{comma}{warnings}\n");
        }
        let mut places: Vec<_> =
            self.failures.iter().map(|(place, hop)| format!("{place}, {hop}")).collect();
        // One hop may fail in several ways, such as a promise that is broken to several keys.
        places.dedup();
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
        let named = |(place, hop): &(&str, &str)| ((*place).to_owned(), (*hop).to_owned());
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
        let promises = ("promises", "ciphertexts");
        assert_eq!(tally(0, &[promises; 3]), "3 failures: promises, ciphertexts\n", "named once");
    }
}
