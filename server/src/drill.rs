//! Drills: which steps prove that each seal opens by itself, and what they came to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use selkie_access::{KeyName, MountPath};
use selkie_crypto::SealName;

use crate::node::Node;
use crate::transit::{SealDrill, Transit};

/// How many keys a drill tries: the first by name. All keys of the same seals stand or fall
/// together, but for mistakes in their declarations.
pub const SAMPLE_KEYS: usize = 32;

/// One step of a drill, by its name in the URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrillStep {
    /// `key/<mount>/<name>`: an envelope of this key.
    Key(MountPath, KeyName),
    /// `state`: the envelope of the state key. It fails while the state is sealed.
    State,
}

/// A text names no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither \"state\" nor \"key/<mount>/<name>\"")]
pub struct NotAStep;

impl FromStr for DrillStep {
    type Err = NotAStep;

    fn from_str(text: &str) -> Result<Self, NotAStep> {
        if text == "state" {
            return Ok(Self::State);
        }
        let place = text.strip_prefix("key/").ok_or(NotAStep)?;
        let (mount, name) = place.rsplit_once('/').ok_or(NotAStep)?;
        match (mount.parse(), name.parse()) {
            (Ok(mount), Ok(name)) => Ok(Self::Key(mount, name)),
            _ => Err(NotAStep),
        }
    }
}

impl fmt::Display for DrillStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(mount, name) => write!(f, "key/{mount}/{name}"),
            Self::State => f.write_str("state"),
        }
    }
}

/// What a drill consists of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillPlan {
    /// In the order in which to take them.
    pub steps: Vec<DrillStep>,
    /// How many keys are not in the sample.
    pub keys_left_out: usize,
    /// Seals for which no key of the sample, nor the state, is wrapped, or that nobody can ask: a
    /// drill says nothing of them.
    pub untried_seals: Vec<SealName>,
}

impl DrillPlan {
    /// The plan for `transit` on `node`.
    #[must_use]
    pub fn of(node: &Node, transit: &Transit) -> Self {
        let places = transit.places();
        let keys_left_out = places.len().saturating_sub(SAMPLE_KEYS);
        let sample: Vec<_> = places.into_iter().take(SAMPLE_KEYS).collect();
        let has_state = node.state_status().is_some();
        let tried: BTreeSet<_> =
            sample.iter().flat_map(|(mount, name)| transit.seals_of(mount, name)).collect();
        let seals = transit.deployment.seals.iter();
        let is_untried = |seal: &&crate::seal::Seal| {
            let is_offline = seal.connection.is_offline();
            !tried.contains(seal.name()) && (seal.disabled || is_offline || !has_state)
        };
        let untried_seals = seals.filter(is_untried).map(|seal| seal.name().clone()).collect();
        let state = has_state.then_some(DrillStep::State);
        let keys = sample.into_iter().map(|(mount, name)| DrillStep::Key(mount, name));
        Self { steps: state.into_iter().chain(keys).collect(), keys_left_out, untried_seals }
    }
}

/// What the steps came to when each was last taken, since the start.
#[derive(Debug, Default)]
pub struct DrillLog(Mutex<BTreeMap<DrillStep, StepResult>>);

#[derive(Debug)]
struct StepResult {
    at: u64,
    failed: BTreeSet<SealName>,
    /// Nothing could be tried.
    is_broken: bool,
}

/// What a whole drill came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drilled {
    /// When its oldest step was taken, in seconds since 1970.
    pub at: u64,
    /// Whether every seal opened everything.
    pub is_ok: bool,
    /// The seals that did not open everything by themselves.
    pub failed: BTreeSet<SealName>,
}

impl DrillLog {
    /// Notes what `step` came to at `now`; `None` if nothing could be tried.
    pub fn note(&self, step: DrillStep, seals: Option<&[SealDrill]>, now: u64) {
        let drilled = seals.unwrap_or_default().iter();
        let failed = drilled.filter(|one| one.outcome.is_err()).map(|one| one.seal.clone());
        let is_broken = seals.is_none_or(<[_]>::is_empty);
        let result = StepResult { at: now, failed: failed.collect(), is_broken };
        self.results().insert(step, result);
    }

    /// What the steps of `plan` came to; `None` while one has never been taken. It is as old as its
    /// oldest step. What is no longer in the plan is forgotten.
    #[must_use]
    pub fn whole(&self, plan: &DrillPlan) -> Option<Drilled> {
        let mut results = self.results();
        results.retain(|step, _| plan.steps.contains(step));
        if results.len() < plan.steps.len() {
            return None;
        }
        let at = results.values().map(|result| result.at).min()?;
        let failed: BTreeSet<_> =
            results.values().flat_map(|result| result.failed.iter().cloned()).collect();
        let is_ok = failed.is_empty() && !results.values().any(|result| result.is_broken);
        Some(Drilled { at, is_ok, failed })
    }

    fn results(&self) -> MutexGuard<'_, BTreeMap<DrillStep, StepResult>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
