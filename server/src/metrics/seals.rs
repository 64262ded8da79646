//! What is known of each seal, for Prometheus.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use selkie_kms::KekState;

use super::OfSeal;
use crate::seal::{Seal, Seals, days_left, state_at};

type OfSeals<N, A> = Family<OfSeal, Gauge<N, A>>;

/// What is known of each seal, as of now.
#[derive(Default)]
pub(super) struct SealGauges {
    up: OfSeals<i64, AtomicI64>,
    silent: OfSeals<i64, AtomicI64>,
    trusted: OfSeals<i64, AtomicI64>,
    pub(super) age: OfSeals<i64, AtomicI64>,
    versions: OfSeals<i64, AtomicI64>,
    pub(super) protected: OfSeals<i64, AtomicI64>,
    pub(super) days: OfSeals<f64, AtomicU64>,
}

impl SealGauges {
    pub(super) fn of(seals: &Seals, now: u64) -> Self {
        let gauges = Self::default();
        seals.iter().for_each(|seal| gauges.take(seal, now));
        gauges
    }

    fn take(&self, seal: &Seal, now: u64) {
        let label = OfSeal { seal: seal.name().as_str().to_owned() };
        let health = seal.connection.health();
        let is_up = health.fault.is_none() && seal.known.is_some();
        self.up.get_or_create(&label).set(i64::from(is_up));
        self.silent.get_or_create(&label).set(i64::from(seal.connection.is_silenced()));
        if let Some(described) = health.described {
            let seconds = i64::try_from(now.saturating_sub(described)).unwrap_or(i64::MAX);
            self.age.get_or_create(&label).set(seconds);
        }
        let Some(known) = &seal.known else { return };
        let current = known.keks.current();
        let is_usable = state_at(current, now) == KekState::Enabled;
        let is_trusted = is_usable && known.current_trust().is_some();
        let is_trusted = is_trusted && known.contradiction.is_none();
        self.trusted.get_or_create(&label).set(i64::from(is_trusted));
        let versions = i64::try_from(known.keks.versions().len()).unwrap_or(i64::MAX);
        self.versions.get_or_create(&label).set(versions);
        if let Some(is_purgeable) = known.keks.is_purgeable() {
            self.protected.get_or_create(&label).set(i64::from(!is_purgeable));
        }
        if let Some(left) = days_left(current, now) {
            self.days.get_or_create(&label).set(left);
        }
    }

    pub(super) fn register(self, to: &mut Registry) {
        let help = "1 if it was described, and refused nothing of ours, when it was last asked";
        to.register("seal_up", help, self.up);
        let help = "1 while others are asked before it, as it did not answer";
        to.register("seal_silent", help, self.silent);
        to.register("seal_trusted", "1 if its current version is encrypted under", self.trusted);
        to.register("seal_described_age_seconds", "Since its KMS last described it", self.age);
        to.register("seal_versions", "Versions of its master key", self.versions);
        let help = "1 if its key cannot be destroyed early";
        to.register("seal_purge_protected", help, self.protected);
        to.register("seal_days_to_expiry", "Until its current version expires", self.days);
    }
}
