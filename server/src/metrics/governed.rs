//! How the use of each KMS is governed, as of now.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use selkie_kms::{CallOutcomes, GovernorFigures};

use super::OfSeal;
use crate::seal::Seals;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    seal: String,
    outcome: &'static str,
}

#[derive(Default)]
struct Governed {
    in_flight: Family<OfSeal, Gauge>,
    waiting: Family<OfSeal, Gauge>,
    limit: Family<OfSeal, Gauge>,
    held_back: Family<OfSeal, Gauge>,
    calls: Family<Outcome, Counter>,
    shared: Family<OfSeal, Counter>,
    refused: Family<OfSeal, Counter>,
    overdue: Family<OfSeal, Counter>,
}

/// Registers the figures of all governors of `seals`; those of none, if there is none.
pub(super) fn register(registry: &mut Registry, seals: &Seals) {
    let governed = Governed::default();
    for seal in seals.iter() {
        if let Some(figures) = seal.connection.governor_figures() {
            governed.take(seal.name().as_str(), &figures);
        }
    }
    governed.register(registry);
}

/// Those of one made-up governor.
#[cfg(test)]
pub(super) fn register_example(registry: &mut Registry) {
    let governed = Governed::default();
    governed.take("weu", &tests::FIGURES);
    governed.register(registry);
}

impl Governed {
    fn take(&self, seal: &str, figures: &GovernorFigures) {
        let label = OfSeal { seal: seal.to_owned() };
        for (gauge, value) in [
            (&self.in_flight, figures.in_flight),
            (&self.waiting, figures.waiting),
            (&self.limit, figures.limit),
            (&self.held_back, usize::from(figures.is_closed)),
        ] {
            gauge.get_or_create(&label).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        for (counter, total) in [
            (&self.shared, figures.shared_flights_total),
            (&self.refused, figures.refused_total),
            (&self.overdue, figures.overdue_total),
        ] {
            counter.get_or_create(&label).inc_by(total);
        }
        for (outcome, total) in by_outcome(&figures.calls_total) {
            let label = Outcome { seal: seal.to_owned(), outcome };
            self.calls.get_or_create(&label).inc_by(total);
        }
    }

    fn register(self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, gauge| registry.register(name, help, gauge);
        gauge("governor_in_flight", "Calls that the KMS is working on", self.in_flight);
        gauge("governor_waiting", "Operations that wait for their turn", self.waiting);
        gauge("governor_limit", "How many calls may run at once now", self.limit);
        let help = "1 while calls are held back because the KMS throttles or fails";
        gauge("governor_held_back", help, self.held_back);
        registry.register("governor_calls", "Calls that reached the KMS, by outcome", self.calls);
        let mut counter = |name: &str, help: &str, counter| registry.register(name, help, counter);
        counter("governor_shared", "Callers that shared another one's call", self.shared);
        counter("governor_refused", "Callers refused as too many were there", self.refused);
        counter("governor_overdue", "Callers whose time was over too soon", self.overdue);
    }
}

/// The counts with the words that metrics and `status` have for them.
pub(crate) const fn by_outcome(calls: &CallOutcomes) -> [(&'static str, u64); 10] {
    let CallOutcomes {
        ok,
        denied,
        rejected,
        unknown_kek,
        disabled,
        throttled,
        unavailable,
        timed_out,
        misbehaved,
        abandoned,
    } = *calls;
    [
        ("ok", ok),
        ("denied", denied),
        ("rejected", rejected),
        ("unknown_kek", unknown_kek),
        ("disabled", disabled),
        ("throttled", throttled),
        ("unavailable", unavailable),
        ("timed_out", timed_out),
        ("misbehaved", misbehaved),
        ("abandoned", abandoned),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in crate::metrics) const FIGURES: GovernorFigures = GovernorFigures {
        in_flight: 3,
        waiting: 4,
        callers: 7,
        limit: 0,
        is_closed: true,
        calls_total: CallOutcomes {
            ok: 5,
            denied: 0,
            rejected: 0,
            unknown_kek: 0,
            disabled: 0,
            throttled: 2,
            unavailable: 0,
            timed_out: 0,
            misbehaved: 0,
            abandoned: 0,
        },
        shared_flights_total: 8,
        refused_total: 9,
        overdue_total: 10,
    };

    #[test]
    fn figures_are_told_for_each_seal_and_outcome() {
        let governed = Governed::default();
        governed.take("weu", &FIGURES);
        let mut registry = Registry::with_prefix("selkie");
        governed.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"selkie_governor_in_flight{seal="weu"} 3"#,
            r#"selkie_governor_waiting{seal="weu"} 4"#,
            r#"selkie_governor_limit{seal="weu"} 0"#,
            r#"selkie_governor_held_back{seal="weu"} 1"#,
            r#"selkie_governor_calls_total{seal="weu",outcome="ok"} 5"#,
            r#"selkie_governor_calls_total{seal="weu",outcome="throttled"} 2"#,
            r#"selkie_governor_shared_total{seal="weu"} 8"#,
            r#"selkie_governor_refused_total{seal="weu"} 9"#,
            r#"selkie_governor_overdue_total{seal="weu"} 10"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
        assert_eq!(by_outcome(&FIGURES.calls_total).iter().map(|(_, count)| count).sum::<u64>(), 7);
    }
}
