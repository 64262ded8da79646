//! What is counted of alerts. The labels are names of ours, so that nobody else makes any.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::AlertKind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCause {
    cause: &'static str,
}

/// Why something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The watcher was too slow for decrypts.
    Missed,
    /// The state did not open, and no more decrypts could wait for it.
    Postponed,
    /// Too many alerts waited for the webhook.
    QueueFull,
    /// The webhook took no alert for too long.
    GivenUp,
}

impl Loss {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Postponed => "postponed",
            Self::QueueFull => "queue_full",
            Self::GivenUp => "given_up",
        }
    }
}

/// The figures; nothing is told of them before somebody watches.
#[derive(Debug, Default)]
pub(crate) struct AlertFigures {
    is_on: AtomicBool,
    raised: Family<OfKind, Counter>,
    held: Family<OfKind, Counter>,
    posts: Family<OfOutcome, Counter>,
    lost: Family<OfCause, Counter>,
    learning: Gauge,
}

impl AlertFigures {
    /// From now on they are told, each kind from 0 on, so that the first alert is an increase.
    pub(super) fn switch_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
        for kind in AlertKind::ALL {
            self.raised.get_or_create(&OfKind { kind: kind.as_str() }).inc_by(0);
        }
        for loss in [Loss::Missed, Loss::Postponed, Loss::QueueFull, Loss::GivenUp] {
            self.lost.get_or_create(&OfCause { cause: loss.as_str() }).inc_by(0);
        }
    }

    pub(super) fn raised(&self, kind: AlertKind) {
        self.raised.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    pub(super) fn held(&self, kind: AlertKind, events: u64) {
        if events > 0 {
            self.held.get_or_create(&OfKind { kind: kind.as_str() }).inc_by(events);
        }
    }

    pub(super) fn posted(&self, outcome: &'static str) {
        self.posts.get_or_create(&OfOutcome { outcome }).inc();
    }

    pub(super) fn lost(&self, cause: Loss, how_many: u64) {
        self.lost.get_or_create(&OfCause { cause: cause.as_str() }).inc_by(how_many);
    }

    pub(super) fn learning(&self, is_learning: bool) {
        self.learning.set(i64::from(is_learning));
    }

    pub(crate) fn register(&self, to: &mut Registry) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        to.register("alerts", "Alerts that were raised", self.raised.clone());
        let help = "Alerts that were counted and not told: repeated within an hour, or too many";
        to.register("alerts_held", help, self.held.clone());
        to.register(
            "alerts_lost",
            "What no alert was told of, or was not delivered",
            self.lost.clone(),
        );
        to.register("alert_posts", "Posts to the webhook, by outcome", self.posts.clone());
        let help = "1 while all that is new is taken for usual";
        to.register("alerts_learning", help, self.learning.clone());
    }

    #[cfg(test)]
    pub(crate) fn example(&self) {
        self.switch_on();
        self.held(AlertKind::NewNetwork, 1);
        self.posted("ok");
    }

    #[cfg(test)]
    pub(super) fn counts(&self, kind: AlertKind) -> (u64, u64) {
        let label = OfKind { kind: kind.as_str() };
        (self.raised.get_or_create(&label).get(), self.held.get_or_create(&label).get())
    }

    #[cfg(test)]
    pub(super) fn losses(&self, cause: Loss) -> u64 {
        self.lost.get_or_create(&OfCause { cause: cause.as_str() }).get()
    }

    #[cfg(test)]
    pub(super) fn posts(&self, outcome: &'static str) -> u64 {
        self.posts.get_or_create(&OfOutcome { outcome }).get()
    }
}
