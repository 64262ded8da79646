//! What is counted, and how it is told to Prometheus (OpenMetrics text).

mod governed;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use selkie_crypto::SealName;

pub(crate) use self::governed::by_outcome;
use crate::seal::{Seals, state_at};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from a fast HSM to the patience of a client.
const LATENCIES: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// What was counted since the start.
pub struct Metrics {
    operations: Family<Operation, Counter>,
    kms_calls: Family<KmsCall, Counter>,
    kms_seconds: Family<KmsOperation, Histogram, fn() -> Histogram>,
    /// When the last whole drill was, in seconds since 1970, and whether all was well.
    drill: Mutex<Option<(u64, bool)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KmsCall {
    seal: String,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KmsOperation {
    seal: String,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSeal {
    seal: String,
}

type OfSeals<N, A> = Family<OfSeal, Gauge<N, A>>;

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let kms_seconds = Family::new_with_constructor(latencies as fn() -> Histogram);
        Arc::new(Self {
            operations: Family::default(),
            kms_calls: Family::default(),
            kms_seconds,
            drill: Mutex::default(),
        })
    }

    /// Counts an encrypt or decrypt.
    pub(crate) fn operation(&self, operation: &'static str, outcome: &'static str) {
        self.operations.get_or_create(&Operation { operation, outcome }).inc();
    }

    /// Counts a call of a KMS that took `time`.
    pub(crate) fn kms_call(
        &self,
        seal: &SealName,
        operation: &'static str,
        outcome: &'static str,
        time: Duration,
    ) {
        let seal = seal.as_str().to_owned();
        let call = KmsCall { seal: seal.clone(), operation, outcome };
        self.kms_calls.get_or_create(&call).inc();
        let seconds = self.kms_seconds.get_or_create(&KmsOperation { seal, operation });
        seconds.observe(time.as_secs_f64());
    }

    /// Notes that a whole drill ended at `at_unix`, and whether every seal opened everything.
    pub(crate) fn drill(&self, at_unix: u64, ok: bool) {
        *self.drill.lock().unwrap_or_else(PoisonError::into_inner) = Some((at_unix, ok));
    }

    fn register_drill(&self, registry: &mut Registry, now: u64) {
        let drill = *self.drill.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, ok)) = drill else { return };
        let age = Gauge::<i64, AtomicI64>::default();
        age.set(i64::try_from(now.saturating_sub(at)).unwrap_or(i64::MAX));
        registry.register("drill_age_seconds", "Since the last whole drill", age);
        let failed = Gauge::<i64, AtomicI64>::default();
        failed.set(i64::from(!ok));
        registry.register("drill_failed", "1 if a seal did not open everything then", failed);
    }

    /// All figures, with those of `seals` at `now`.
    ///
    /// # Errors
    ///
    /// None in practice: writing to a string does not fail.
    pub fn text(&self, seals: &Seals, now: u64) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("selkie");
        registry.register(
            "operations",
            "Encrypts and decrypts, by outcome",
            self.operations.clone(),
        );
        registry.register("kms_calls", "Calls of a KMS, by outcome", self.kms_calls.clone());
        registry.register(
            "kms_call_seconds",
            "How long a KMS took to answer",
            self.kms_seconds.clone(),
        );
        register_seals(&mut registry, seals, now);
        governed::register(&mut registry, seals);
        self.register_drill(&mut registry, now);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn latencies() -> Histogram {
    Histogram::new(LATENCIES)
}

fn register_seals(registry: &mut Registry, seals: &Seals, now: u64) {
    let up = OfSeals::<i64, AtomicI64>::default();
    let trusted = OfSeals::<i64, AtomicI64>::default();
    let age = OfSeals::<i64, AtomicI64>::default();
    let versions = OfSeals::<i64, AtomicI64>::default();
    let protected = OfSeals::<i64, AtomicI64>::default();
    let days = OfSeals::<f64, AtomicU64>::default();
    for seal in seals.iter() {
        let label = OfSeal { seal: seal.name().as_str().to_owned() };
        let health = seal.connection.health();
        up.get_or_create(&label).set(i64::from(health.fault.is_none() && seal.known.is_some()));
        if let Some(described) = health.described {
            let seconds = i64::try_from(now.saturating_sub(described)).unwrap_or(i64::MAX);
            age.get_or_create(&label).set(seconds);
        }
        let Some(known) = &seal.known else { continue };
        let current = known.keks.current();
        let is_usable = state_at(current, now) == selkie_kms::KekState::Enabled;
        let is_trusted = is_usable && known.current_trust().is_some();
        trusted.get_or_create(&label).set(i64::from(is_trusted && known.contradiction.is_none()));
        versions
            .get_or_create(&label)
            .set(i64::try_from(known.keks.versions().len()).unwrap_or(i64::MAX));
        if let Some(is_purgeable) = known.keks.is_purgeable() {
            protected.get_or_create(&label).set(i64::from(!is_purgeable));
        }
        if let Some(left) = crate::seal::days_left(current, now) {
            days.get_or_create(&label).set(left);
        }
    }
    registry.register("seal_up", "1 if the last attempt to learn of it succeeded", up);
    registry.register("seal_trusted", "1 if its current version is encrypted under", trusted);
    registry.register("seal_described_age_seconds", "Since its KMS last described it", age);
    registry.register("seal_versions", "Versions of its master key", versions);
    registry.register("seal_purge_protected", "1 if its key cannot be destroyed early", protected);
    registry.register("seal_days_to_expiry", "Until its current version expires", days);
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
