//! What `selkie doctor` finds on the way to a master key and back.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use selkie_crypto::Random;
use selkie_kms::{KekDescription, KmsError};
use tokio::time::timeout;

use super::connection::Connection;
use super::error::SealFault;
use super::known::{Known, days_left, fingerprint};
use super::learning::due;
use super::round_trip;
use crate::telemetry::WithCauses;

const PATIENCE: Duration = Duration::from_secs(15);
/// Rotations that need people take about this long.
pub(super) const SOON_DAYS: f64 = 30.0;

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where, in a word or two.
    pub hop: String,
    /// What was found there.
    pub finding: Finding,
}

/// What a step has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All is well, and what was seen.
    Passed(String),
    /// It works, and deserves a thought.
    Warned {
        /// The finding, in words.
        what: String,
        /// What to do.
        advice: String,
    },
    /// It does not work.
    Failed {
        /// The finding, in words.
        what: String,
        /// What mends it.
        advice: String,
    },
}

/// Takes the steps as they are made.
pub type Report<'r> = &'r mut (dyn FnMut(Step) + Send);

/// Whether all is well, once that is known.
pub type Examined<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Walks the hops that only a provider knows.
pub trait Examiner: Debug + Send + Sync {
    /// Walks them and reports each; what makes the rest meaningless ends the walk. Says whether
    /// the master key was reached and does its work. Only where `is_new`, which is to say that
    /// nothing was ever known of the seal, may it advise to make a key.
    fn examine<'a>(&'a self, random: &'a Random, is_new: bool, report: Report<'a>) -> Examined<'a>;
}

impl Connection {
    /// Walks to the master key and back, at `now`, and reports each step.
    pub async fn examine(&self, random: &Random, now: u64, report: Report<'_>) {
        if let Some(examiner) = &self.setup.examiner {
            if !examiner.examine(random, self.is_new(), report).await {
                return self.examine_pin(report);
            }
            // It has been to the KMS and back: only what the pin goes by is asked for.
            return match self.described().await {
                Ok(keks) => self.examine_keeping(keks, report),
                Err(error) => report(failed("describe", &SealFault::Kms(error))),
            };
        }
        if self.is_offline() {
            let what =
                "encrypted for, but never asked: test its key with \"selkie break-glass open\"";
            return report(Step { hop: "offline".into(), finding: Finding::Passed(what.into()) });
        }
        let keks = match self.described().await {
            Ok(keks) => keks,
            Err(error) => return report(failed("describe", &SealFault::Kms(error))),
        };
        let current = keks.current();
        let count = keks.versions().len();
        let versions = if count == 1 { "version" } else { "versions" };
        let seen = format!("{count} {versions}, current {}", current.id);
        report(Step { hop: "describe".into(), finding: Finding::Passed(seen) });
        if !self.is_fixed {
            warn_of(&keks, now, report);
        }
        match round_trip::confirm(self, current, random).await {
            Ok(_) => {
                let what = "a random secret came back unchanged".to_owned();
                report(Step { hop: "wrap, unwrap".into(), finding: Finding::Passed(what) });
            }
            Err(fault) => report(failed("wrap, unwrap", &fault)),
        }
        if !self.is_fixed {
            self.examine_keeping(keks, report);
        }
    }

    /// Whether nothing was ever known of it, as far as can be seen from here.
    fn is_new(&self) -> bool {
        self.known().is_none() && self.pin().is_none_or(|file| matches!(file.read(), Ok(None)))
    }

    /// With the version as the current one that servers use.
    async fn described(&self) -> Result<KekDescription, KmsError> {
        let described = timeout(PATIENCE, self.kms().describe()).await;
        let late = |late| Err(KmsError::TimedOut(Some(std::sync::Arc::new(late))));
        let keks = described.unwrap_or_else(late)?;
        Ok(due(self.known().as_deref(), &keks).unwrap_or(keks))
    }

    /// What outlasts a restart.
    fn examine_keeping(&self, keks: KekDescription, report: Report<'_>) {
        self.examine_pin(report);
        self.examine_trust(keks, report);
    }

    fn examine_pin(&self, report: Report<'_>) {
        let Some(file) = self.pin() else { return };
        let finding = match file.read() {
            Ok(None) => Finding::Passed("none yet".into()),
            Ok(Some(_)) => Finding::Passed(file.path().display().to_string()),
            Err(error) => Finding::Warned {
                what: format!("{}: {}", file.path().display(), WithCauses(&error)),
                advice: "the server sets it aside once the KMS has confirmed the key".into(),
            },
        };
        report(Step { hop: "pin file".into(), finding });
    }

    /// Whether the seal would encrypt after a restart while its KMS is away (invariant I2).
    fn examine_trust(&self, keks: KekDescription, report: Report<'_>) {
        let current = fingerprint(keks.current());
        let hop = "trust".to_owned();
        let Some(line) = Known::described(keks, None, &[]).fingerprint_line() else {
            let what = "every wrap is made in the KMS: while it is away nothing is encrypted";
            return report(Step { hop, finding: Finding::Passed(what.into()) });
        };
        let is_listed = current.is_none_or(|one| self.fingerprints().contains(&one));
        let finding = if !self.has_lasting_trust() {
            Finding::Warned {
                what: "a restart while the KMS is away cannot encrypt".into(),
                advice: self.lasting_trust_advice(&line),
            }
        } else if !self.fingerprints().is_empty() && !is_listed {
            Finding::Warned {
                what: "the current version is not in public_key_sha256".into(),
                advice: format!("add it: {line}"),
            }
        } else if self.is_pin_missed() {
            Finding::Warned {
                what: format!("a restart while the KMS is away {}", self.lasting_trust()),
                advice: "have the server run while the KMS answers: it writes the file anew".into(),
            }
        } else {
            Finding::Passed(format!("a restart while the KMS is away {}", self.lasting_trust()))
        };
        report(Step { hop, finding });
    }
}

fn failed(hop: &str, fault: &SealFault) -> Step {
    let finding =
        Finding::Failed { what: WithCauses(fault).to_string(), advice: fault.advice().to_owned() };
    Step { hop: hop.into(), finding }
}

fn warn_of(keks: &KekDescription, now: u64, report: Report<'_>) {
    let mut warn = |hop: &str, what: String, advice: &str| {
        let finding = Finding::Warned { what, advice: advice.into() };
        report(Step { hop: hop.into(), finding });
    };
    if keks.is_purgeable() == Some(true) {
        let what = "the master key can be destroyed for good".into();
        warn("purge protection", what, "enable purge protection in the KMS");
    }
    let disabled = keks.disabled().count();
    if disabled > 0 {
        let what = format!("{disabled} disabled: what they wrapped does not open");
        warn("versions", what, "enable them in the KMS, unless nothing they wrapped is left");
    }
    if let Some(days) = days_left(keks.current(), now).filter(|days| *days < SOON_DAYS) {
        let what = format!("the current version expires in {days:.0} days");
        warn("expiry", what, "rotate the master key in the KMS, or extend its expiry date");
    }
    if !keks.is_complete() {
        let what =
            "the versions cannot be listed, so keys whose version is counted cannot encrypt".into();
        warn("list", what, "grant the right to list, or declare version = N for each key");
    }
}
