//! The store, the last drill, the last reload and the build.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use selkie_crypto::SealName;

use crate::auth::tokens::TokenInUse;
use crate::state::writes::WriteFigures;
use crate::state::{Missing, StateStatus};
use crate::transit::ManagedKeys;

/// What is known of the store at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFigures {
    /// Whether the store answered last time, and made what was written of late; `None` before
    /// anybody asked it.
    pub is_up: Option<bool>,
    /// Whether the state is open; sealed, no managed key can be used.
    pub is_open: bool,
    /// The sequence of the state's root, once it is open.
    pub sequence: Option<u64>,
    /// How long ago the keys in memory were last known to be those of the store, once they were.
    pub lag: Option<Duration>,
    /// What came of the writes to it.
    pub writes: WriteFigures,
}

impl StoreFigures {
    /// Those of a state that does as `status` says, whose keys are `keys`, to whose store was written
    /// as `writes` tells, and of which nothing was heard for as long as `unheard` though it should
    /// have been.
    #[must_use]
    pub fn of(
        status: &StateStatus,
        keys: &ManagedKeys,
        writes: WriteFigures,
        unheard: Duration,
    ) -> Self {
        let sequence = match status {
            StateStatus::Open { sequence } => Some(*sequence),
            _ => None,
        };
        let is_attached = keys.has_store() && !keys.is_awaiting_store();
        let lost = keys.lost();
        let lost = lost.as_ref();
        let is_up = match status {
            _ if is_attached => Some(lost.is_none_or(|lost| lost.is_up)),
            StateStatus::Opening | StateStatus::Open { .. } => None,
            StateStatus::Sealed { missing: Missing::Seals(_) } => Some(true),
            StateStatus::Sealed { .. } => Some(false),
            StateStatus::Refused { why } => why.has_store_answered().then_some(true),
        };
        let is_up = is_up.map(|is_up| is_up && !writes.have_failed_lately());
        let lost_for = lost.map_or(Duration::ZERO, |lost| lost.since.elapsed());
        let lag = is_attached.then(|| lost_for.max(unheard));
        Self { is_up, is_open: sequence.is_some(), sequence, lag, writes }
    }

    fn register(&self, registry: &mut Registry) {
        if let Some(is_up) = self.is_up {
            let help = "1 if the store answered last time, and made what was written of late";
            gauge(registry, "store_up", help, is_up.into());
            let is_written = !self.writes.is_last_failed;
            gauge(
                registry,
                "store_writable",
                "0 if the last write to it failed",
                is_written.into(),
            );
        }
        if let Some(lag) = self.lag {
            let help = "Since the keys were known to be current";
            gauge(registry, "store_lag_seconds", help, lag.as_secs());
        }
        gauge(registry, "state_open", "1 if the state is open", self.is_open.into());
        if let Some(sequence) = self.sequence {
            gauge(registry, "state_sequence", "How often the state has changed", sequence);
        }
        let family = Family::<OfWrites, Counter>::default();
        for (outcome, count) in [("made", self.writes.made), ("failed", self.writes.failed)] {
            family.get_or_create(&OfWrites { outcome }).inc_by(count);
        }
        registry.register("store_writes", "Commits to the store, by outcome", family);
    }
}

/// When the last whole drill was, as old as its oldest step.
#[derive(Clone, Copy, Debug)]
struct Drill {
    at: u64,
    is_ok: bool,
}

/// The last reload.
#[derive(Clone, Copy, Debug)]
struct Reload {
    is_taken: bool,
    /// Of the last that was taken.
    at: u64,
}

/// How many tokens are told of: those that end soonest.
const MOST_TOKENS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfToken {
    client: String,
    accessor: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWrites {
    outcome: &'static str,
}

/// What others report; nothing of it is told before they did.
#[derive(Debug, Default)]
pub(super) struct Reported {
    reports: Mutex<Reports>,
    tokens: Mutex<Vec<TokenInUse>>,
    left_out: Mutex<BTreeMap<String, i64>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reports {
    store: Option<StoreFigures>,
    drill: Option<Drill>,
    started: Option<u64>,
    reload: Option<Reload>,
}

impl Reported {
    pub(super) fn store(&self, figures: StoreFigures) {
        self.reports().store = Some(figures);
    }

    pub(super) fn tokens(&self, mut in_use: Vec<TokenInUse>) {
        in_use.truncate(MOST_TOKENS);
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) = in_use;
    }

    pub(super) fn left_out(&self, seals: impl Iterator<Item = SealName>) {
        let mut counts = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clear();
        for seal in seals {
            *counts.entry(seal.to_string()).or_default() += 1;
        }
    }

    /// How many keys wrap without the seal.
    pub(super) fn left_out_of(&self, seal: &SealName) -> i64 {
        let counts = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(seal.as_str()).copied().unwrap_or(0)
    }

    pub(super) fn drill(&self, at: u64, is_ok: bool) {
        self.reports().drill = Some(Drill { at, is_ok });
    }

    pub(super) fn started(&self, at: u64) {
        self.reports().started = Some(at);
    }

    pub(super) fn last_reload(&self, is_taken: bool, at: u64) {
        self.reports().reload = Some(Reload { is_taken, at });
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, registry: &mut Registry, now: u64) {
        let Reports { store, drill, started, reload } = *self.reports();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What is running", Info::new(version));
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if !tokens.is_empty() {
            let family = Family::<OfToken, Gauge>::default();
            for one in &*tokens {
                let (client, accessor) = (one.display_name.clone(), one.accessor.clone());
                let left = i64::try_from(one.seconds_left).unwrap_or(i64::MAX);
                family.get_or_create(&OfToken { client, accessor }).set(left);
            }
            let help = "Until a token ends that keys were used with, of those that end soonest";
            registry.register("token_expiry_seconds", help, family);
        }
        if let Some(store) = store {
            store.register(registry);
        }
        if let Some(Reload { is_taken, at }) = reload {
            let help = "1 if the last reload of the configuration was taken, or there was none";
            gauge(registry, "config_last_reload_successful", help, is_taken.into());
            let help = "When a configuration was last put to work, in Unix seconds";
            gauge(registry, "config_last_reload_success_timestamp_seconds", help, at);
        }
        // Told from the start, or a server without any drill would alarm nobody.
        if let Some(since) = drill.map(|drill| drill.at).or(started) {
            let help = "Since the last whole drill, or the start if there was none";
            gauge(registry, "drill_age_seconds", help, now.saturating_sub(since));
        }
        if let Some(drill) = drill {
            gauge(
                registry,
                "drill_ok",
                "1 if every seal opened everything then",
                drill.is_ok.into(),
            );
        }
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}
