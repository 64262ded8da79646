//! What is opened with keys that are taken over, as the evidence has it: of all replicas that share a
//! storage, and since before the start where it is kept.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::deployment::Deployment;
use crate::takeover::{Evidence, OldKey, Usage};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKey {
    key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whose {
    key: String,
    whose: &'static str,
}

#[derive(Default)]
struct Figures {
    opened: Family<Whose, Gauge>,
    clients: Family<Whose, Gauge>,
    last_foreign: Family<OfKey, Gauge>,
    up: Family<OfKey, Gauge>,
    conflict: Family<OfKey, Gauge>,
}

/// Registers the figures of each old key of `deployment`; of none, if there is none.
pub(super) fn register(registry: &mut Registry, deployment: &Deployment, evidence: &Evidence) {
    let figures = Figures::default();
    let all = evidence.all();
    for old in deployment.takeovers.iter() {
        let key = format!("{}/{}", old.mount, old.name);
        let usages: Vec<_> =
            all.iter().filter(|(pair, _)| *pair.key == *key).map(|(_, usage)| *usage).collect();
        figures.take(&key, old, &usages);
        let has_conflict = old.conflict(deployment).is_some();
        figures.conflict.get_or_create(&OfKey { key }).set(i64::from(has_conflict));
    }
    figures.register(registry);
}

impl Figures {
    fn take(&self, key: &str, old: &OldKey, usages: &[Usage]) {
        let key = || key.to_owned();
        let sum = usages.iter().fold(Usage::default(), |sum, usage| sum.with(*usage));
        let on_own = usages.iter().filter(|usage| usage.speaks_for_us()).count();
        for (whose, opened, clients) in
            [("old", sum.foreign, usages.len().saturating_sub(on_own)), ("own", sum.own, on_own)]
        {
            let label = Whose { key: key(), whose };
            let opened = i64::try_from(opened).unwrap_or(i64::MAX);
            self.opened.get_or_create(&label).set(opened);
            let clients = i64::try_from(clients).unwrap_or(i64::MAX);
            self.clients.get_or_create(&label).set(clients);
        }
        if let Some(last) = sum.last_foreign {
            let time = i64::try_from(last.time).unwrap_or(i64::MAX);
            self.last_foreign.get_or_create(&OfKey { key: key() }).set(time);
        }
        let is_up = old.health().fault.is_none();
        self.up.get_or_create(&OfKey { key: key() }).set(i64::from(is_up));
    }

    fn register(self, to: &mut Registry) {
        let help = "Ciphertexts opened with a key that is taken over: the old server's, our own";
        to.register("takeover_opened", help, self.opened);
        let help = "Clients by what they had stored when they last opened it, as far as is proven";
        to.register("takeover_clients", help, self.clients);
        let help = "When a ciphertext of the old server was last opened, in Unix seconds";
        to.register("takeover_last_foreign_timestamp_seconds", help, self.last_foreign);
        let help = "1 unless the old server failed to do what it was last asked to";
        to.register("takeover_old_server_up", help, self.up);
        let help = "1 if our version is not above the old key's, so that no Vault re-encrypts";
        to.register("takeover_version_conflict", help, self.conflict);
    }
}
