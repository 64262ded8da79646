//! `listener "tcp"`: where requests come in, and what a peer may cost.

mod proxy;
mod tls;

use std::net::{AddrParseError, Ipv4Addr, SocketAddr};
use std::time::Duration;

use selkie_hcl::{Located, Section, StringOrUnsigned};

pub use self::proxy::{ForwardedFor, ProxyProtocol};
pub use self::tls::{ClientCertificates, Tls, TlsVersion};
use crate::quantity::{duration, limited, number};
use crate::secret::Reading;
use crate::warning::WarningKind;

/// A `listener "tcp"` stanza.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Whether `X-Forwarded-For` says where a request comes from.
    pub forwarded_for: Option<ForwardedFor>,
    /// What its peers may use.
    pub limits: ListenerLimits,
}

impl Listener {
    /// Whether a client can show a certificate here.
    pub(crate) fn asks_clients(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::asks_clients)
    }

    /// The address of this one if nothing else can listen at `other` beside it. Whether all addresses
    /// of IPv6 are those of IPv4 too is the machine's to say.
    pub(crate) fn overlaps(&self, other: SocketAddr) -> Option<SocketAddr> {
        let Endpoint::Address(one) = self.endpoint else {
            return None;
        };
        let is_for_all = one.ip().is_unspecified() || other.ip().is_unspecified();
        let is_one_port = one.port() == other.port() && one.port() != 0;
        let is_one_host = one.ip() == other.ip() || is_for_all && one.is_ipv4() == other.is_ipv4();
        (is_one_port && is_one_host).then_some(one)
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `address`: an IP address and port that the server binds; port 0 lets the system choose.
    Address(SocketAddr),
    /// `activated_socket = "NAME"`: the socket that systemd passes under this name.
    ActivatedName(String),
    /// `activated_socket = 0`: the socket that systemd passes at this place, from 0.
    ActivatedIndex(u32),
}

/// What the peers of one listener may use (I10). The defaults are Vault's where Vault has the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `max_request_size`: bytes of a request's body.
    pub max_request_size: usize,
    /// `max_connections`: open connections.
    pub max_connections: usize,
    /// `max_in_flight_requests`: requests that are worked on at once; further ones wait a moment
    /// and then get 503.
    pub max_in_flight_requests: usize,
    /// `http_read_header_timeout`: for a request's head to arrive.
    pub read_header_timeout: Duration,
    /// `http_read_timeout`: for a whole request to arrive.
    pub read_timeout: Duration,
    /// `http_idle_timeout`: for the next request on an open connection.
    pub idle_timeout: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            max_request_size: 32 << 20,
            max_connections: 10_000,
            max_in_flight_requests: 1_024,
            read_header_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

/// What is wrong with a listener.
#[derive(Debug, thiserror::Error)]
enum ListenerError {
    #[error("no listener is declared: write listener \"tcp\" {{ ... }}")]
    NoListener,
    #[error("listener type {found:?} does not exist here: there is \"tcp\"")]
    UnknownType { found: String },
    #[error("field \"address\": expected IP:PORT such as \"127.0.0.1:8200\" or \"[::]:8200\"")]
    NotAnAddress {
        #[source]
        source: AddrParseError,
    },
    #[error("fields \"address\" and \"activated_socket\" exclude each other")]
    AddressAndSocket,
    #[error("field \"activated_socket\": the name is empty")]
    EmptySocketName,
    #[error("another listener has this address or socket already")]
    RepeatedEndpoint,
    #[error(
        "the listener at {other} has this port too, and one of the two takes it on all addresses: \
         leave one out, or give it another port"
    )]
    Overlap { other: SocketAddr },
    #[error("field {field:?} is not used by Selkie: remove it")]
    NotUsed { field: &'static str },
}

/// Fields of Vault's that have no meaning here.
const NOT_USED: [&str; 9] = [
    "cluster_address",
    "custom_response_headers",
    "disable_request_limiter",
    "profiling",
    "telemetry",
    "tls_cipher_suites",
    "tls_prefer_server_cipher_suites",
    "unauthenticated_metrics_access",
    "inflight_requests_logging",
];

const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

/// All `listener` stanzas but those of an unknown type.
pub(crate) fn decode(root: &mut Section<'_>, reading: &Reading<'_>) -> Vec<Listener> {
    let stanzas = root.labelled("listener");
    if stanzas.is_empty() {
        root.place().report(ListenerError::NoListener);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for (label, section) in stanzas {
        let place = label.place;
        let Some(listener) = listener(label, section, reading) else {
            continue;
        };
        let is_chosen_by_system =
            matches!(listener.endpoint, Endpoint::Address(address) if address.port() == 0);
        let is_taken = listeners.iter().any(|other| other.endpoint == listener.endpoint);
        if is_taken && !is_chosen_by_system {
            place.report(ListenerError::RepeatedEndpoint);
        } else if let Some(other) = listeners.iter().find_map(|one| overlap(one, &listener)) {
            place.report(ListenerError::Overlap { other });
        }
        listeners.push(listener);
    }
    listeners
}

/// The address of `one` if `other` cannot listen beside it.
fn overlap(one: &Listener, other: &Listener) -> Option<SocketAddr> {
    match other.endpoint {
        Endpoint::Address(other) => one.overlaps(other),
        Endpoint::ActivatedName(_) | Endpoint::ActivatedIndex(_) => None,
    }
}

fn listener(
    label: Located<'_, String>,
    mut section: Section<'_>,
    reading: &Reading<'_>,
) -> Option<Listener> {
    if label.value != "tcp" {
        label.place.report(ListenerError::UnknownType { found: label.value });
        return None;
    }
    let endpoint = endpoint(&mut section);
    let tls = tls::decode(&mut section, reading);
    if let Endpoint::Address(address) = endpoint
        && tls.is_none()
        && !address.ip().is_loopback()
    {
        reading.warn(section.place(), WarningKind::PlainHttp);
    }
    let listener = Listener {
        endpoint,
        tls,
        proxy_protocol: proxy::proxy_protocol(&mut section, reading),
        forwarded_for: proxy::forwarded_for(&mut section),
        limits: limits(&mut section),
    };
    for field in NOT_USED {
        section.refuse(field, || ListenerError::NotUsed { field });
    }
    section.finish();
    Some(listener)
}

fn endpoint(section: &mut Section<'_>) -> Endpoint {
    let address = section.field("address").string();
    let socket = section.field("activated_socket");
    if let (Some(_), Some(place)) = (&address, socket.place()) {
        place.report(ListenerError::AddressAndSocket);
    }
    let socket = socket.string_or_unsigned().and_then(activated_socket);
    let address = address.and_then(|text| {
        text.try_map(|text| text.parse().map_err(|source| ListenerError::NotAnAddress { source }))
    });
    let address = address.map(|address| Endpoint::Address(address.value));
    let default = || Endpoint::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 8200)));
    socket.or(address).unwrap_or_else(default)
}

fn activated_socket(socket: Located<'_, StringOrUnsigned>) -> Option<Endpoint> {
    let Located { value, place } = socket;
    match value {
        StringOrUnsigned::String(name) if name.is_empty() => {
            place.report(ListenerError::EmptySocketName);
            None
        }
        StringOrUnsigned::String(name) => Some(Endpoint::ActivatedName(name)),
        StringOrUnsigned::Unsigned(value) => {
            let index = limited(Located { value, place }, "activated_socket", 0..=1023)?;
            Some(Endpoint::ActivatedIndex(index.value))
        }
    }
}

fn limits(section: &mut Section<'_>) -> ListenerLimits {
    let mut limits = ListenerLimits::default();
    for (field, most, limit) in [
        ("max_request_size", 1 << 30, &mut limits.max_request_size),
        ("max_connections", 1_000_000, &mut limits.max_connections),
        ("max_in_flight_requests", 1_000_000, &mut limits.max_in_flight_requests),
    ] {
        if let Some(declared) = number(section, field, 1..=most) {
            *limit = declared.value;
        }
    }
    for (field, limit) in [
        ("http_read_header_timeout", &mut limits.read_header_timeout),
        ("http_read_timeout", &mut limits.read_timeout),
        ("http_idle_timeout", &mut limits.idle_timeout),
    ] {
        if let Some(declared) = duration(section, field, LONGEST_TIMEOUT) {
            *limit = declared;
        }
    }
    limits
}
