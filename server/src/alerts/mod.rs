//! Alerts that people act on: a decrypt by a client, with a key or from a network that was not seen
//! before, and too many at once; and what others raise. Each is a line in the log, a count in the
//! metrics, and a post to the webhook of the operator. No request waits for any of it.

mod alert;
mod burst;
mod figures;
mod identity;
mod memory;
mod memory_file;
mod quiet;
mod record;
mod shelf;
mod watcher;
mod webhook;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use selkie_crypto::Random;
use selkie_kms::http::HttpSetupError;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

pub use self::alert::{Alert, AlertKind, Detail};
use self::burst::Bursts;
pub(crate) use self::figures::AlertFigures;
use self::figures::Loss;
pub(crate) use self::identity::identity;
use self::memory::Memory;
pub use self::memory::{Subject, What};
use self::quiet::Quiet;
pub use self::record::{Learning, Remembered};
use self::shelf::Shelf;
use self::watcher::Watcher;
use self::webhook::{Courier, Surroundings, Teller, ToldAlert};
use crate::audit::Audit;
use crate::auth::Auth;
use crate::clock::Clock;
use crate::seal::Keeping;

/// Where alerts are raised.
pub struct Alerts {
    quiet: Mutex<Quiet>,
    figures: Arc<AlertFigures>,
    /// `None` if they are posted nowhere.
    webhook: ArcSwapOption<Queued>,
}

/// Where alerts wait for their courier, who goes when nothing more can come.
struct Queued {
    sender: Sender<ToldAlert>,
}

/// A webhook that is ready, and has no alerts yet.
pub(crate) struct PreparedWebhook {
    queued: Queued,
    courier: Courier,
}

/// Why the `alerts` stanza cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// The authorities cannot be read.
    #[error("ca_file {}: no certificates in PEM there", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The error behind it.
        source: rustls_pki_types::pem::Error,
    },
    /// The client cannot be made.
    #[error("the connection for alerts cannot be prepared")]
    Setup(#[from] HttpSetupError),
    /// A header cannot be sent.
    #[error("header {name:?} of the webhook cannot be sent")]
    Header {
        /// Its name.
        name: String,
    },
    /// The URL cannot be sent.
    #[error("the url of the webhook does not fit into a request")]
    Url(#[source] http::uri::InvalidUri),
}

/// What alerts take from the server around them.
pub(crate) struct Around<'n> {
    pub(crate) realm: &'n str,
    /// `cluster_name`
    pub(crate) cluster: Option<&'n str>,
    pub(crate) clock: &'n Arc<dyn Clock>,
    pub(crate) random: &'n Arc<Random>,
    pub(crate) figures: &'n Arc<AlertFigures>,
}

/// Alerts that are ready, and nobody watches yet.
pub(crate) struct Prepared {
    pub(crate) alerts: Arc<Alerts>,
    settings: (u64, (u8, u8), selkie_config::Burst),
    webhook: Option<PreparedWebhook>,
    clock: Arc<dyn Clock>,
}

impl Prepared {
    /// What `declared` says. Files are read now.
    pub(crate) fn new(
        declared: selkie_config::Alerts,
        around: &Around<'_>,
    ) -> Result<Self, AlertsError> {
        let webhook = declared.webhook.map(|webhook| PreparedWebhook::new(webhook, around));
        let webhook = webhook.transpose()?;
        let figures = Arc::clone(around.figures);
        let alerts = Alerts { quiet: Mutex::default(), figures, webhook: ArcSwapOption::empty() };
        let prefixes = (declared.prefix_v4, declared.prefix_v6);
        Ok(Self {
            alerts: Arc::new(alerts),
            settings: (declared.learning.as_secs(), prefixes, declared.burst),
            webhook,
            clock: Arc::clone(around.clock),
        })
    }

    /// Watches what `audit` tells, for as long as `tasks` live.
    pub(crate) fn begin(
        self,
        audit: &Audit,
        auth: &Arc<Auth>,
        keeping: &Keeping,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Alerts> {
        let shelf = Shelf::new(Arc::clone(auth.records()), Arc::clone(auth.history()), keeping);
        let (learning_period, prefixes, burst) = self.settings;
        self.alerts.figures.switch_on();
        let watcher = Watcher {
            alerts: Arc::clone(&self.alerts),
            watch: audit.events().watch(),
            clock: self.clock,
            shelf: Arc::new(shelf),
            auth: Arc::clone(auth),
            learning_period,
            prefixes,
            bursts: Bursts::new(burst),
            devices: Box::new(audit.watch_devices()),
            failed_lines: Vec::new(),
            memory: Memory::default(),
            learning: None,
            kept_learning: None,
            postponed: HashMap::new(),
            missed: audit.events().missed(),
            is_keeping_told: false,
        };
        tasks.spawn(watcher.run());
        self.alerts.post_to(self.webhook, tasks);
        self.alerts
    }
}

impl PreparedWebhook {
    /// What `declared` says. Files are read now.
    fn new(declared: selkie_config::Webhook, around: &Around<'_>) -> Result<Self, AlertsError> {
        let teller = Teller {
            realm: around.realm.to_owned(),
            cluster: around.cluster.map(str::to_owned),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        let surroundings = Surroundings {
            teller,
            clock: Arc::clone(around.clock),
            random: Arc::clone(around.random),
            figures: Arc::clone(around.figures),
        };
        let (sender, courier) = webhook::prepare(declared, surroundings)?;
        Ok(Self { queued: Queued { sender }, courier })
    }
}

impl Alerts {
    /// Tells `alert`, unless the same one was told within the hour: then it is counted. Never waits.
    pub fn raise(&self, alert: Alert) {
        self.raise_events(alert, 1);
    }

    /// The same for what was found when somebody looked: so many events since the last look, or
    /// none where it merely lasts.
    fn raise_events(&self, alert: Alert, events: u64) {
        let admitted = self.quiet().admits(&alert, events);
        match admitted {
            true => self.tell(alert, events.saturating_sub(1)),
            false => self.figures.held(alert.kind, events),
        }
    }

    /// Tells what was held back, where its hour is over at `now`.
    fn tell_due(&self, now: u64) {
        let due = self.quiet().due(now);
        for (alert, repeated) in due {
            self.tell(alert, repeated);
        }
    }

    fn tell(&self, alert: Alert, repeated: u64) {
        self.figures.raised(alert.kind);
        log(&alert, repeated);
        let Some(webhook) = &*self.webhook.load() else { return };
        if webhook.sender.try_send(ToldAlert { alert, repeated }).is_err() {
            self.figures.lost(Loss::QueueFull, 1);
        }
    }

    /// The webhook after a reload. It is made anew also where nothing was declared otherwise: the
    /// authorities in its files may be others.
    ///
    /// # Errors
    ///
    /// [`AlertsError`].
    pub(crate) fn prepare_webhook(
        &self,
        declared: Option<selkie_config::Webhook>,
        around: &Around<'_>,
    ) -> Result<Option<PreparedWebhook>, AlertsError> {
        declared.map(|webhook| PreparedWebhook::new(webhook, around)).transpose()
    }

    /// Posts there from now on. What waits already still goes to where it was to go.
    pub(crate) fn post_to(&self, webhook: Option<PreparedWebhook>, tasks: &mut JoinSet<()>) {
        let (queued, courier) = webhook.map(|one| (Arc::new(one.queued), one.courier)).unzip();
        self.webhook.store(queued);
        if let Some(courier) = courier {
            tasks.spawn(courier.run());
        }
    }

    pub(crate) fn figures(&self) -> &AlertFigures {
        &self.figures
    }

    fn quiet(&self) -> std::sync::MutexGuard<'_, Quiet> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line; what an alert is not about is absent.
fn log(alert: &Alert, repeated: u64) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let event = alert.event.as_deref();
    let (mut decrypts, mut seconds_left, mut held_alerts, mut held_kind) = (None, None, None, None);
    match alert.detail {
        Detail::Burst { decrypts: count, .. } => decrypts = Some(count),
        Detail::SecondsLeft(seconds) => seconds_left = Some(seconds),
        Detail::HeldBack { kind, alerts } => {
            (held_kind, held_alerts) = (Some(kind.as_str()), Some(alerts));
        }
        Detail::Learned { .. } | Detail::None => {}
    }
    let subject = if event.is_none() { some(&alert.subject) } else { None };
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                kind = alert.kind.as_str(),
                subject,
                client = some(&alert.client),
                accessor = some(&alert.accessor),
                key = event.map(|event| event.used.key.as_str()),
                versions = event.map(|event| joined(&event.used.versions)),
                seals = event.map(|event| joined(&event.used.seals)),
                operation = event.map(|event| event.operation),
                address = event.map(|event| event.address.to_string()),
                network = alert.network.map(|network| network.to_string()),
                request_id = event.map(|event| event.request_id.as_str()),
                decrypts,
                seconds_left,
                held_kind,
                held_alerts,
                repeated = (repeated > 0).then_some(repeated),
                advice = alert.kind.advice(),
                "{}",
                alert.kind.message()
            )
        };
    }
    match alert.kind {
        AlertKind::Learned => line!(info),
        _ => line!(warn),
    }
}

fn joined<T: fmt::Display>(all: &std::collections::BTreeSet<T>) -> String {
    all.iter().take(16).map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
