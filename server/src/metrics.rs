//! What is counted, and how it is told to Prometheus (OpenMetrics text).

mod aged;
mod audit;
mod governed;
mod hot;
mod seals;
mod state;
mod takeover;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use selkie_crypto::SealName;
use selkie_listener::Validity;

use self::aged::AgedDecrypts;
pub(crate) use self::aged::Decrypted;
pub(crate) use self::governed::by_outcome;
use self::hot::Hot;
pub(crate) use self::hot::HotCalls;
use self::seals::SealGauges;
use self::state::Reported;
pub use self::state::StoreFigures;
use crate::alerts::AlertFigures;
use crate::audit::Audit;
use crate::auth::tokens::TokenInUse;
use crate::auth::{End, LastSeen};
use crate::deployment::Deployment;
use crate::faults::Bench;
use crate::last_reload::ReloadStanding;
use crate::seal::Seals;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from a fast HSM to the patience of a client.
const LATENCIES: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// What was counted since the start.
pub struct Metrics {
    operations: Family<Operation, Counter>,
    operations_ok: Hot<Counter>,
    kms_calls: Family<KmsCall, Counter>,
    kms_seconds: Family<KmsOperation, Histogram, fn() -> Histogram>,
    request_seconds: Family<Request, Histogram, fn() -> Histogram>,
    hot_request_seconds: Hot<Histogram>,
    requests_in_flight: Gauge,
    hedges: Family<OfSeal, Counter>,
    overtaken: Family<OfSeal, Counter>,
    aged: AgedDecrypts,
    alerts: Arc<AlertFigures>,
    certificates: Family<OfClient, Gauge>,
    revocation_lists: Family<OfListener, Gauge>,
    own_certificates: [Family<OfListener, Gauge>; 2],
    losses: Gauge,
    reported: Reported,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgedDecrypt {
    client: String,
    key: String,
    version: u64,
}

/// The last decrypt of what was older than an hour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LastAgedDecrypt {
    /// The client's name.
    pub(crate) client: String,
    /// `mount/key`.
    pub(crate) key: String,
    pub(crate) version: u64,
    /// Unix seconds.
    pub(crate) last: u64,
}

/// A request that is worked on; it counts as such until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlightRequest(Gauge);

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.dec();
    }
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClient {
    client: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfListener {
    listener: String,
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let kms_seconds = Family::new_with_constructor(latencies as fn() -> Histogram);
        let request_seconds = Family::new_with_constructor(latencies as fn() -> Histogram);
        Arc::new(Self {
            operations: Family::default(),
            operations_ok: Hot::default(),
            kms_calls: Family::default(),
            kms_seconds,
            request_seconds,
            hot_request_seconds: Hot::default(),
            requests_in_flight: Gauge::default(),
            hedges: Family::default(),
            overtaken: Family::default(),
            aged: AgedDecrypts::default(),
            alerts: Arc::default(),
            certificates: Family::default(),
            revocation_lists: Family::default(),
            own_certificates: <[_; 2]>::default(),
            losses: Gauge::default(),
            reported: Reported::default(),
        })
    }

    /// What the store and the state in it look like now; told from the first call on.
    pub fn store(&self, figures: StoreFigures) {
        self.reported.store(figures);
    }

    /// A whole drill, whose oldest step was taken `at`, in Unix seconds; told from the first call on.
    pub fn drill(&self, at: u64, is_ok: bool) {
        self.reported.drill(at, is_ok);
    }

    /// When the certificates of clients and the lists that revoke them run out, as last seen.
    pub fn certificates(&self, seen: LastSeen) {
        let seconds = |end: End| i64::try_from(end.at).unwrap_or(i64::MAX);
        for (client, end) in seen.certificates {
            self.certificates.get_or_create(&OfClient { client }).set(seconds(end));
        }
        self.revocation_lists.clear();
        for (listener, end) in seen.lists {
            self.revocation_lists.get_or_create(&OfListener { listener }).set(seconds(end));
        }
    }

    /// From when and until when the listeners' own certificates are good.
    pub fn listener_certificates(&self, all: BTreeMap<String, Validity>) {
        let [from, until] = &self.own_certificates;
        from.clear();
        until.clear();
        for (listener, validity) in all {
            for (family, at) in [(from, validity.from), (until, validity.end())] {
                let label = OfListener { listener: listener.clone() };
                family.get_or_create(&label).set(i64::try_from(at).unwrap_or(i64::MAX));
            }
        }
    }

    /// How much of what was promised to ciphertexts is not kept.
    pub(crate) fn losses(&self, count: usize) {
        self.losses.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The start, in Unix seconds, from which the age of a drill counts until there is one.
    pub fn undrilled_since(&self, started: u64) {
        self.reported.started(started);
    }

    /// What became of the last reload; told from the first call on.
    pub(crate) fn last_reload(&self, standing: &ReloadStanding) {
        self.reported.last_reload(standing.refused.is_none(), standing.succeeded);
    }

    /// What is counted of alerts.
    pub(crate) const fn alerts(&self) -> &Arc<AlertFigures> {
        &self.alerts
    }

    /// The tokens that keys are used with, soonest to end first.
    pub(crate) fn tokens(&self, in_use: Vec<TokenInUse>) {
        self.reported.tokens(in_use);
    }

    /// A request begins.
    pub(crate) fn request_begins(&self) -> InFlightRequest {
        self.requests_in_flight.inc();
        InFlightRequest(self.requests_in_flight.clone())
    }

    /// A request took `time`.
    pub(crate) fn request(&self, operation: &'static str, time: Duration) {
        let find = || self.request_seconds.get_or_create(&Request { operation }).clone();
        match self.hot_request_seconds.of(operation) {
            Some(hot) => hot.get_or_init(find).observe(time.as_secs_f64()),
            None => find().observe(time.as_secs_f64()),
        }
    }

    /// A decrypt at `now` of an envelope made at `created`, which its origin key vouches for.
    pub(crate) fn decrypted(&self, created: u64, now: u64, what: impl FnOnce() -> Decrypted) {
        self.aged.note(created, now, what);
    }

    /// Which old versions were in use, in order; `None` without an origin key, as then anyone can
    /// say when an envelope was made. Of clients that are declared alone.
    pub(crate) fn last_aged_decrypts(
        &self,
        deployment: &Deployment,
    ) -> Option<Vec<LastAgedDecrypt>> {
        deployment.origin_key.as_ref()?;
        let told = |(what, last): (Decrypted, u64)| {
            Some(LastAgedDecrypt {
                client: deployment.clients.name_of(what.client)?.to_owned(),
                key: format!("{}/{}", what.mount, what.key),
                version: u64::from(what.version.get()),
                last,
            })
        };
        let mut all: Vec<_> = self.aged.all().into_iter().filter_map(told).collect();
        all.sort();
        Some(all)
    }

    /// Counts an encrypt or decrypt.
    pub(crate) fn operation(&self, operation: &'static str, outcome: &'static str) {
        let find = || self.operations.get_or_create(&Operation { operation, outcome }).clone();
        match self.operations_ok.of(operation).filter(|_| outcome == "ok") {
            Some(hot) => hot.get_or_init(find).inc(),
            None => find().inc(),
        };
    }

    /// Counts a call of a KMS that took `time`; `hot` is the seal's own.
    pub(crate) fn kms_call(
        &self,
        seal: &SealName,
        hot: &HotCalls,
        operation: &'static str,
        outcome: &'static str,
        time: Duration,
    ) {
        let find = || {
            let seal = seal.as_str().to_owned();
            let call = KmsCall { seal: seal.clone(), operation, outcome };
            let of_seal = KmsOperation { seal, operation };
            let seconds = self.kms_seconds.get_or_create(&of_seal).clone();
            (self.kms_calls.get_or_create(&call).clone(), seconds)
        };
        let count = |(calls, seconds): &(Counter, Histogram)| {
            calls.inc();
            seconds.observe(time.as_secs_f64());
        };
        match hot.of(operation).filter(|_| outcome == "ok") {
            Some(hot) => count(hot.get_or_init(find)),
            None => count(&find()),
        }
    }

    /// The seals that managed keys are left without, one for each key.
    pub(crate) fn left_out(&self, seals: impl Iterator<Item = SealName>) {
        self.reported.left_out(seals);
    }

    /// `seal` is asked although one before it has not failed.
    pub(crate) fn hedged(&self, seal: &SealName) {
        self.hedges.get_or_create(&OfSeal { seal: seal.as_str().to_owned() }).inc();
    }

    /// `seal` had the time to answer, and another one did.
    pub(crate) fn overtaken(&self, seal: &SealName) {
        self.overtaken.get_or_create(&OfSeal { seal: seal.as_str().to_owned() }).inc();
    }

    /// All figures, with those of the seals of `deployment` at `now`, and of the test bench if this
    /// is one.
    ///
    /// # Errors
    ///
    /// None in practice: writing to a string does not fail.
    pub fn text(
        &self,
        deployment: &Deployment,
        audit: &Audit,
        opened: &crate::takeover::Evidence,
        bench: Option<&Bench>,
        now: u64,
    ) -> Result<String, fmt::Error> {
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
        registry.register(
            "request_seconds",
            "How long a request took, from its head to its reply",
            self.request_seconds.clone(),
        );
        let help = "Decrypts that asked the seal as well since one before it was silent";
        registry.register("seal_hedges", help, self.hedges.clone());
        let help = "Decrypts that another seal answered while this one was silent";
        registry.register("seal_overtaken", help, self.overtaken.clone());
        let in_flight = self.requests_in_flight.clone();
        registry.register("requests_in_flight", "Requests that are worked on", in_flight);
        let help = "When the certificate that a client came with last runs out, in Unix seconds";
        let ends = self.certificates.clone();
        registry.register("client_certificate_not_after_timestamp_seconds", help, ends);
        let help = "When the first revocation list of a listener or a client ends, in Unix seconds";
        let ends = self.revocation_lists.clone();
        registry.register("client_crl_next_update_timestamp_seconds", help, ends);
        let [from, until] = self.own_certificates.clone();
        let help = "From when a listener's own certificate is good, in Unix seconds";
        registry.register("listener_certificate_not_before_timestamp_seconds", help, from);
        let help = "When a listener's own certificate runs out, in Unix seconds";
        registry.register("listener_certificate_not_after_timestamp_seconds", help, until);
        let help = "What the configuration loses of what earlier ones promised to ciphertexts";
        registry.register("promises_broken", help, self.losses.clone());
        self.register_aged_decrypts(&mut registry, deployment);
        self.reported.register(&mut registry, now);
        self.alerts.register(&mut registry);
        self.register_left_out(&mut registry, &deployment.seals);
        SealGauges::of(&deployment.seals, now).register(&mut registry);
        governed::register(&mut registry, &deployment.seals);
        upstream::register(&mut registry, &deployment.seals, now);
        audit::register(&mut registry, audit);
        takeover::register(&mut registry, deployment, opened);
        bench.iter().for_each(|bench| bench.register(&mut registry));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register_left_out(&self, registry: &mut Registry, seals: &Seals) {
        let family = Family::<OfSeal, Gauge>::default();
        for seal in seals.iter() {
            let label = OfSeal { seal: seal.name().as_str().to_owned() };
            family.get_or_create(&label).set(self.reported.left_out_of(seal.name()));
        }
        let help = "How many managed keys wrap without it, as it was away";
        registry.register("seal_left_out_keys", help, family);
    }

    fn register_aged_decrypts(&self, registry: &mut Registry, deployment: &Deployment) {
        let last = Family::<AgedDecrypt, Gauge>::default();
        for one in self.last_aged_decrypts(deployment).unwrap_or_default() {
            let LastAgedDecrypt { client, key, version, last: time } = one;
            let gauge = last.get_or_create(&AgedDecrypt { client, key, version });
            gauge.set(i64::try_from(time).unwrap_or(i64::MAX));
        }
        let help = "When an envelope older than an hour was last decrypted, in Unix seconds";
        registry.register("last_aged_decrypt_timestamp_seconds", help, last);
    }
}

fn latencies() -> Histogram {
    Histogram::new(LATENCIES)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
