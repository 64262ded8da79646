//! What can be alerted of, with what to do about it. There is no secret in it, for it leaves for a
//! third party.

use std::sync::Arc;

use ipnet::IpNet;

use crate::audit::KeyEvent;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// A client that never decrypted anything has decrypted.
    NewClient,
    /// A known client has decrypted with a key that nobody decrypted with before.
    NewKey,
    /// A known client has decrypted with a known key, and never with that one before.
    NewPair,
    /// A known client has decrypted from a network that it never did so from.
    NewNetwork,
    /// A client decrypts more than is declared to be usual.
    ClientBurst,
    /// With a key more is decrypted than is declared to be usual.
    KeyBurst,
    /// A token that a seal uses runs out soon.
    TokenExpires,
    /// A certificate runs out soon, or a revocation list is out of date.
    CertificateExpires,
    /// An audit device does not take its lines.
    AuditFails,
    /// The learning period is over.
    Learned,
    /// There were more alerts of a kind than are told in an hour.
    HeldBack,
}

impl AlertKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::NewClient,
        Self::NewKey,
        Self::NewPair,
        Self::NewNetwork,
        Self::ClientBurst,
        Self::KeyBurst,
        Self::TokenExpires,
        Self::CertificateExpires,
        Self::AuditFails,
        Self::Learned,
        Self::HeldBack,
    ];

    /// Its name in metrics, in the log and in the body of a webhook.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewClient => "new_client",
            Self::NewKey => "new_key",
            Self::NewPair => "new_pair",
            Self::NewNetwork => "new_network",
            Self::ClientBurst => "client_burst",
            Self::KeyBurst => "key_burst",
            Self::TokenExpires => "token_expires",
            Self::CertificateExpires => "certificate_expires",
            Self::AuditFails => "audit_fails",
            Self::Learned => "learned",
            Self::HeldBack => "held_back",
        }
    }

    /// What it says, without whom.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NewClient => "a client that was not seen before has decrypted",
            Self::NewKey => "a key was decrypted with for the first time",
            Self::NewPair => "a client has decrypted with a key that it did not use before",
            Self::NewNetwork => {
                "a client has decrypted from a network that it was not seen in before"
            }
            Self::ClientBurst => "a client decrypts more than usual",
            Self::KeyBurst => "with a key more is decrypted than usual",
            Self::TokenExpires => "a token that a seal uses runs out soon",
            Self::CertificateExpires => {
                "a certificate runs out soon, or a revocation list is out of date"
            }
            Self::AuditFails => "an audit device does not take its lines",
            Self::Learned => "the learning period is over: what is new from now on raises an alert",
            Self::HeldBack => "there were more alerts of a kind than are told in an hour",
        }
    }

    /// What to do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NewClient | Self::NewKey | Self::NewPair => {
                "if nobody has set this up: revoke the token or remove the client, and look up \
                 request_id in the audit log"
            }
            Self::NewNetwork => {
                "if the client has not moved: its credential was copied; replace it, bind it with \
                 token_bound_cidrs, and look up request_id in the audit log"
            }
            Self::ClientBurst | Self::KeyBurst => {
                "many Vaults that restart at once look like this, and so does a thief; see whose \
                 requests they are in the audit log"
            }
            Self::TokenExpires => "see why its client does not renew it, or give it another token",
            Self::CertificateExpires => "renew it; of a list fetch a new one and reload (SIGHUP)",
            Self::AuditFails => {
                "mend the device: if no other one takes the lines, no request is answered"
            }
            Self::Learned => "see whether all of it was meant to be there",
            Self::HeldBack => "see the metric selkie_alerts_held_total and the audit log",
        }
    }

    /// Within how many seconds the same one is told once: an hour, and a day for what has weeks.
    #[must_use]
    pub const fn quiet_seconds(self) -> u64 {
        if matches!(self, Self::CertificateExpires) { 86_400 } else { 3_600 }
    }

    /// How urgent it is, in Prometheus's words.
    #[must_use]
    pub const fn severity(self) -> &'static str {
        match self {
            Self::Learned => "info",
            Self::TokenExpires | Self::AuditFails => "critical",
            _ => "warning",
        }
    }
}

/// What an alert tells beside its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// How many decrypts there were within how many seconds, at most.
    Burst {
        /// Decrypts, each item of a batch counted.
        decrypts: u64,
        /// Seconds.
        window: u64,
    },
    /// How long something lives still, in seconds.
    SecondsLeft(u64),
    /// How much was learned.
    Learned {
        /// Clients.
        clients: usize,
        /// Keys.
        keys: usize,
        /// Pairs of a client and a network.
        networks: usize,
    },
    /// How many alerts were not told, and of which kind.
    HeldBack {
        /// The kind.
        kind: AlertKind,
        /// How many.
        alerts: u64,
    },
}

/// Something that somebody should look at. It has no secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// In seconds since 1970.
    pub time: u64,
    /// What tells it from others of its kind: of two alerts with the same subject within an hour
    /// the second is only counted.
    pub subject: String,
    /// The client's name; empty where it is about none.
    pub client: String,
    /// The accessor of the client's token; empty where there is none.
    pub accessor: String,
    /// The decrypt that raised it.
    pub event: Option<Arc<KeyEvent>>,
    /// The network that the client was in.
    pub network: Option<IpNet>,
    /// What else there is to tell.
    pub detail: Detail,
}

impl Alert {
    /// One about `subject` alone, at `time`.
    #[must_use]
    pub fn new(kind: AlertKind, time: u64, subject: impl Into<String>) -> Self {
        Self {
            kind,
            time,
            subject: subject.into(),
            client: String::new(),
            accessor: String::new(),
            event: None,
            network: None,
            detail: Detail::None,
        }
    }

    /// One that `event` raised.
    pub(super) fn of(kind: AlertKind, event: &Arc<KeyEvent>, subject: String) -> Self {
        Self {
            client: event.client.to_string(),
            accessor: event.accessor.to_string(),
            event: Some(Arc::clone(event)),
            ..Self::new(kind, event.time, subject)
        }
    }

    /// A token that a seal uses, by its accessor and display name, lives for `seconds_left` only.
    #[must_use]
    pub fn token_expires(time: u64, accessor: &str, client: &str, seconds_left: u64) -> Self {
        Self {
            client: client.to_owned(),
            accessor: accessor.to_owned(),
            detail: Detail::SecondsLeft(seconds_left),
            ..Self::new(AlertKind::TokenExpires, time, accessor)
        }
    }

    /// A certificate, by what tells it from others, is valid for `seconds_left` only; `client` is
    /// whose it is, empty for one of our own.
    #[must_use]
    pub fn certificate_expires(time: u64, subject: &str, client: &str, seconds_left: u64) -> Self {
        Self {
            client: client.to_owned(),
            detail: Detail::SecondsLeft(seconds_left),
            ..Self::new(AlertKind::CertificateExpires, time, subject)
        }
    }

    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.event.as_ref().map(|event| event.used.key.as_str())
    }

    /// One line for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.kind.message().to_owned();
        let key = self.key().unwrap_or_default();
        let address = self.event.as_ref().map(|event| event.address.to_string());
        let parts = [
            ("client", self.client.as_str()),
            ("key", key),
            ("address", address.as_deref().unwrap_or_default()),
            ("about", if self.event.is_none() { self.subject.as_str() } else { "" }),
        ];
        let mut separator = ": ";
        for (name, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
            text.extend([separator, name, " ", value]);
            separator = ", ";
        }
        text
    }
}
