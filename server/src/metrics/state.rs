//! The store, the last drill and the build.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// What is known of the store at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFigures {
    /// Whether the store answered last time.
    pub is_up: bool,
    /// Whether the state is open; sealed, no managed key can be used.
    pub is_open: bool,
    /// The sequence of the state's root, once it is open.
    pub sequence: Option<u64>,
    /// How long ago the keys in memory were last known to be those of the store.
    pub lag: Duration,
}

/// When somebody last tried whether the key can be recovered.
#[derive(Clone, Copy, Debug)]
struct Drill {
    at: u64,
    is_ok: bool,
}

/// What others report; nothing of it is told before they did.
#[derive(Debug, Default)]
pub(super) struct Reported(Mutex<(Option<StoreFigures>, Option<Drill>)>);

impl Reported {
    pub(super) fn store(&self, figures: StoreFigures) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(figures);
    }

    pub(super) fn drill(&self, at: u64, is_ok: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(Drill { at, is_ok });
    }

    pub(super) fn register(&self, registry: &mut Registry, now: u64) {
        let (store, drill) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What is running", Info::new(version));
        let mut gauge = |name, help, value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        if let Some(store) = store {
            gauge("store_up", "1 if the store answered last time", store.is_up.into());
            gauge(
                "store_lag_seconds",
                "Since the keys were known to be current",
                store.lag.as_secs(),
            );
            gauge("state_open", "1 if the state is open", store.is_open.into());
            if let Some(sequence) = store.sequence {
                gauge("state_sequence", "How often the state has changed", sequence);
            }
        }
        if let Some(drill) = drill {
            let age = now.saturating_sub(drill.at);
            gauge("drill_age_seconds", "Since the last recovery drill", age);
            gauge("drill_ok", "1 if the last recovery drill succeeded", drill.is_ok.into());
        }
    }
}
