//! What was asked and answered: counts, and the last requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::real_ms;
use crate::operation::{Operation, Service};

/// How many requests are remembered.
const REMEMBERED: usize = 1000;

type ByStatus = BTreeMap<u16, u64>;

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    inner: Mutex<Inner>,
    pub(crate) throttled: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) open_connections: AtomicU64,
    pub(crate) tls_failures: AtomicU64,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    requests: u64,
    challenges: u64,
    faults: u64,
    empty_bodies: u64,
    unfinished: u64,
    by: BTreeMap<Service, BTreeMap<Operation, ByStatus>>,
    vaults: BTreeMap<String, BTreeMap<Operation, ByStatus>>,
    lines: VecDeque<Line>,
}

/// One request, as the control API shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) at_ms: i64,
    pub(crate) service: Service,
    pub(crate) operation: Operation,
    pub(crate) vault: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authenticated: bool,
    pub(crate) status: u16,
    pub(crate) ms: f64,
    pub(crate) fault: bool,
    pub(crate) request_id: String,
    pub(crate) client_request_id: Option<String>,
    pub(crate) user_agent: Option<String>,
}

/// A request that is being served; dropped without an answer, it counts as unfinished.
#[derive(Debug)]
pub(crate) struct Served {
    stats: Arc<Stats>,
    line: Option<Line>,
    since: Instant,
    counts_as_flight: bool,
    pub(crate) empty_body: bool,
}

/// The figures of the progress line and the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests, those to the control API not counted.
    pub requests: u64,
    /// Refused by a limiter.
    pub throttled: u64,
    /// Touched by a fault rule that did more than wait.
    pub faults: u64,
}

impl Stats {
    pub(crate) fn begin(self: &Arc<Self>, mut line: Line) -> Served {
        line.at_ms = real_ms();
        let counts_as_flight = line.service == Service::Keyvault;
        if counts_as_flight {
            let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
            self.max_in_flight.fetch_max(now, Ordering::Relaxed);
        }
        Served {
            stats: Arc::clone(self),
            line: Some(line),
            since: Instant::now(),
            counts_as_flight,
            empty_body: false,
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let inner = self.lock();
        Totals {
            requests: inner.requests,
            throttled: self.throttled.load(Ordering::Relaxed),
            faults: inner.faults,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let inner = self.lock();
        let number = |n: &AtomicU64| n.load(Ordering::Relaxed);
        json!({
            "requests": inner.requests, "challenges": inner.challenges,
            "throttled": number(&self.throttled), "faults": inner.faults,
            "empty_bodies": inner.empty_bodies, "unfinished": inner.unfinished,
            "in_flight": number(&self.in_flight), "max_in_flight": number(&self.max_in_flight),
            "connections": number(&self.connections),
            "open_connections": number(&self.open_connections),
            "tls_failures": number(&self.tls_failures),
            "by": named(&inner.by), "vaults": named(&inner.vaults),
        })
    }

    /// The last requests, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<Line> {
        let inner = self.lock();
        inner.lines.iter().skip(inner.lines.len().saturating_sub(count)).cloned().collect()
    }

    /// Starts counting anew; what is open stays counted as open.
    pub(crate) fn reset(&self) {
        *self.lock() = Inner::default();
        for n in [&self.throttled, &self.connections, &self.tls_failures] {
            n.store(0, Ordering::Relaxed);
        }
        self.max_in_flight.store(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// Counts the answer; status 0 for none, `challenge` for a 401 that asks for a token.
    pub(crate) fn finish(&mut self, status: u16, challenge: bool) {
        let Some(line) = self.line.take() else { return };
        let mut inner = self.stats.lock();
        inner.challenges += u64::from(challenge);
        inner.empty_bodies += u64::from(self.empty_body);
        inner.count(Line { status, ms: self.since.elapsed().as_secs_f64() * 1000.0, ..line });
    }

    pub(crate) fn mark_fault(&mut self) {
        if let Some(line) = &mut self.line {
            line.fault = true;
        }
    }
}

impl Inner {
    fn count(&mut self, line: Line) {
        self.requests += 1;
        self.faults += u64::from(line.fault);
        let by = self.by.entry(line.service).or_default();
        *by.entry(line.operation).or_default().entry(line.status).or_default() += 1;
        if let Some(vault) = &line.vault {
            let by = self.vaults.entry(vault.clone()).or_default();
            *by.entry(line.operation).or_default().entry(line.status).or_default() += 1;
        }
        if self.lines.len() >= REMEMBERED {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.line.is_some() {
            self.stats.lock().unfinished += 1;
            self.finish(0, false);
        }
        if self.counts_as_flight {
            self.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Status 0 is shown as "none".
fn named<K: Serialize + Ord>(counts: &BTreeMap<K, BTreeMap<Operation, ByStatus>>) -> Value {
    let mut value = serde_json::to_value(counts).unwrap_or_default();
    let operations = value.as_object_mut().into_iter().flat_map(|map| map.values_mut());
    let statuses = operations.filter_map(Value::as_object_mut).flat_map(|map| map.values_mut());
    for map in statuses.filter_map(Value::as_object_mut) {
        if let Some(none) = map.remove("0") {
            map.insert("none".into(), none);
        }
    }
    value
}
