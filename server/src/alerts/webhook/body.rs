//! The body of a post; its members are documented in docs/monitoring.md.

use serde::Serialize;

use super::{Teller, ToldAlert};
use crate::alerts::alert::Detail;
use crate::clock::rfc3339;

/// The number of this form.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize)]
pub(super) struct Post<'a> {
    format: u32,
    id: &'a str,
    sent: Option<String>,
    realm: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    host: &'a str,
    version: &'static str,
    /// For chat programs.
    text: String,
    alerts: Vec<One<'a>>,
}

#[derive(Debug, Serialize)]
struct One<'a> {
    kind: &'static str,
    severity: &'static str,
    time: Option<String>,
    message: &'static str,
    advice: &'static str,
    subject: &'a str,
    repeated: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    client: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    accessor: &'a str,
    #[serde(flatten)]
    decrypt: Option<Decrypt<'a>>,
    #[serde(flatten)]
    detail: Numbers,
}

#[derive(Debug, Serialize)]
struct Decrypt<'a> {
    identity: &'a str,
    operation: &'static str,
    key: &'a str,
    key_versions: Vec<u32>,
    seals: Vec<&'a str>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_envelope_age_seconds: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
struct Numbers {
    #[serde(skip_serializing_if = "Option::is_none")]
    decrypts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_alerts: Option<u64>,
}

impl<'a> Post<'a> {
    pub(super) fn new(id: &'a str, now: u64, teller: &'a Teller, alerts: &'a [ToldAlert]) -> Self {
        let lines: Vec<_> = alerts.iter().take(10).map(|told| told.alert.text()).collect();
        let more = alerts.len().saturating_sub(lines.len());
        let mut text = lines.join("\n");
        if more > 0 {
            text.push_str(&format!("\nand {more} more"));
        }
        Self {
            format: FORMAT,
            id,
            sent: rfc3339(now),
            realm: &teller.realm,
            cluster: teller.cluster.as_deref(),
            host: &teller.host,
            version: env!("CARGO_PKG_VERSION"),
            text: format!("Selkie {} ({}):\n{text}", teller.host, teller.realm),
            alerts: alerts.iter().map(One::of).collect(),
        }
    }
}

impl<'a> One<'a> {
    fn of(told: &'a ToldAlert) -> Self {
        let ToldAlert { alert, repeated } = told;
        let decrypt = alert.event.as_deref().map(|event| Decrypt {
            identity: &event.identity,
            operation: event.operation,
            key: &event.used.key,
            key_versions: event
                .used
                .versions
                .iter()
                .take(16)
                .map(|version| version.get())
                .collect(),
            seals: event.used.seals.iter().map(|seal| seal.as_str()).collect(),
            address: event.address.to_string(),
            network: alert.network.map(|network| network.to_string()),
            request_id: &event.request_id,
            oldest_envelope_age_seconds: event.used.oldest_age,
        });
        Self {
            kind: alert.kind.as_str(),
            severity: alert.kind.severity(),
            time: rfc3339(alert.time),
            message: alert.kind.message(),
            advice: alert.kind.advice(),
            subject: &alert.subject,
            repeated: *repeated,
            client: &alert.client,
            accessor: &alert.accessor,
            decrypt,
            detail: Numbers::of(&alert.detail),
        }
    }
}

impl Numbers {
    fn of(detail: &Detail) -> Self {
        let none = Self::default();
        match *detail {
            Detail::None => none,
            Detail::Burst { decrypts, window } => {
                Self { decrypts: Some(decrypts), window_seconds: Some(window), ..none }
            }
            Detail::SecondsLeft(seconds) => Self { seconds_left: Some(seconds), ..none },
            Detail::Learned { clients, keys, networks } => {
                Self { clients: Some(clients), keys: Some(keys), networks: Some(networks), ..none }
            }
            Detail::HeldBack { kind, alerts } => {
                Self { held_kind: Some(kind.as_str()), held_alerts: Some(alerts), ..none }
            }
        }
    }
}
