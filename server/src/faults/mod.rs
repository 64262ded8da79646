//! The test bench: what goes wrong by script (`selkie server --faults`), so that people see what
//! their Vault does when its unsealer misbehaves. It decides and counts; what a client then meets
//! is made in `api`, and what we meet at a master key by `selkie_kms::Faulty`. Without a script
//! none of this exists in a server.

mod script;
mod seals;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use selkie_config::{Faults, FaultyOperation, RequestOutcome};
use tracing::warn;

use self::script::Script;
pub(crate) use self::seals::scripted;

/// The faults of a server: the script of the moment, and what has happened so far.
pub struct Bench {
    script: ArcSwap<Script>,
    happened: AtomicU64,
    counted: Family<OfFault, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFault {
    fault: String,
}

/// What a script needs to know of a request.
#[derive(Clone, Copy, Debug)]
pub struct BenchRequest<'a> {
    /// What is asked for, if a script has a word for it.
    pub operation: Option<FaultyOperation>,
    /// The name of the transit key.
    pub key: Option<&'a str>,
    /// The name of the client, and the accessor of its token.
    pub client: Option<(&'a str, &'a str)>,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Before all else.
    pub delay: Duration,
    /// After that.
    pub outcome: RequestOutcome,
}

impl Bench {
    /// A bench that plays `faults` from now on.
    #[must_use]
    pub fn new(faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            script: ArcSwap::from_pointee(Script::new(faults)),
            happened: AtomicU64::new(0),
            counted: Family::default(),
        })
    }

    /// Plays `faults` from now on, from their beginning.
    pub fn replace(&self, faults: Faults) {
        self.script.store(Arc::new(Script::new(faults)));
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.script.load().rules()
    }

    /// How many faults have happened since the start.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.happened.load(Ordering::Relaxed)
    }

    /// Whether a rule asks who the client is.
    #[must_use]
    pub fn asks_for_clients(&self) -> bool {
        self.script.load().asks_for_clients()
    }

    /// What happens to this request; counts it.
    #[must_use]
    pub fn befalls(&self, asked: BenchRequest<'_>) -> Option<Happening> {
        let (name, happening) = self.script.load().request(asked)?;
        let client = asked.client.map(|(client, _)| client);
        warn!(
            fault = name,
            operation = asked.operation.map(operation_name),
            key = asked.key,
            client,
            delay_ms = u64::try_from(happening.delay.as_millis()).unwrap_or(u64::MAX),
            outcome = outcome_name(&happening.outcome),
            "a scripted fault happens to a request"
        );
        self.count(name);
        Some(happening)
    }

    /// Puts what was counted into `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("faults", "Scripted faults that have happened", self.counted.clone());
    }

    fn count(&self, name: String) {
        self.happened.fetch_add(1, Ordering::Relaxed);
        self.counted.get_or_create(&OfFault { fault: name }).inc();
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("happened", &self.happened).finish_non_exhaustive()
    }
}

const fn operation_name(operation: FaultyOperation) -> &'static str {
    match operation {
        FaultyOperation::Encrypt => "encrypt",
        FaultyOperation::Decrypt => "decrypt",
        FaultyOperation::Rewrap => "rewrap",
        FaultyOperation::RenewSelf => "renew-self",
        FaultyOperation::LookupSelf => "lookup-self",
        FaultyOperation::Health => "health",
    }
}

const fn outcome_name(outcome: &RequestOutcome) -> &'static str {
    match outcome {
        RequestOutcome::Answer => "the true answer",
        RequestOutcome::Status { .. } => "another status",
        RequestOutcome::Sealed => "sealed",
        RequestOutcome::Close => "no answer",
        RequestOutcome::Hang => "no answer and no end",
        RequestOutcome::Truncated => "half an answer",
        RequestOutcome::Garbage => "garbage",
        RequestOutcome::Empty => "nothing",
        RequestOutcome::WrongPlaintext => "another plaintext",
        RequestOutcome::Version(_) => "another version",
    }
}

#[cfg(test)]
mod tests;
