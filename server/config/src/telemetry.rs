//! `telemetry`: who may read the metrics without a token, and where traces go.

use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;

use selkie_hcl::{Located, Section};
use url::{Host, Url};

use crate::header::{SecretHeader, headers};
use crate::listener::Listener;
use crate::secret::Reading;
use crate::warning::WarningKind;

/// The `telemetry` stanza; without it nothing of this exists.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Where the metrics are told to whoever asks.
    pub metrics: Option<MetricsListener>,
    /// Where traces go.
    pub tracing: Option<Tracing>,
}

/// A listener of its own, plain HTTP and without tokens, that tells metrics and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsListener {
    /// `metrics_address`: loopback, unless `metrics_without_token = "public"`.
    pub address: SocketAddr,
}

/// Traces over OTLP (HTTP, protobuf).
#[derive(Debug)]
pub struct Tracing {
    /// `otlp_endpoint`: the URL that spans are posted to; `/v1/traces` if it was given without a path.
    pub endpoint: Url,
    /// `otlp_ca_file`: whom to trust; the system's roots without it.
    pub ca_file: Option<PathBuf>,
    /// `otlp_headers`: sent with every export.
    pub headers: Vec<SecretHeader>,
    /// `trace_sample_ratio`: the share of requests that are traced, from 0 to 1; all by default.
    pub sample_ratio: f64,
}

/// What is wrong with the stanza.
#[derive(Debug, thiserror::Error)]
enum TelemetryError {
    #[error("telemetry may stand once only")]
    Repeated,
    #[error("field \"metrics_address\": expected IP:PORT such as \"127.0.0.1:9102\"")]
    NotAnAddress {
        #[source]
        source: AddrParseError,
    },
    #[error(
        "field \"metrics_address\": others can reach this address, and metrics name clients and \
         keys: listen at 127.0.0.1, or say metrics_without_token = \"public\""
    )]
    OpenToOthers,
    #[error(
        "field \"metrics_address\": the listener at {listener} has this port: give the metrics another"
    )]
    Taken { listener: SocketAddr },
    #[error("field \"metrics_without_token\": there are \"loopback\" and \"public\"")]
    UnknownReach,
    #[error("{field:?} needs {needed:?}")]
    Alone { field: &'static str, needed: &'static str },
    #[error("field \"otlp_endpoint\": expected a URL such as \"https://collector:4318\"")]
    NotAUrl,
    #[error("\"otlp_ca_file\" belongs to TLS, and \"otlp_endpoint\" begins with http://")]
    TlsForPlain,
    #[error("field \"otlp_ca_file\": must be an absolute path")]
    RelativePath,
    #[error("field \"trace_sample_ratio\": must be from 0 to 1")]
    NotARatio,
    #[error("{field:?}: metrics go to nobody by themselves: let Prometheus ask for them")]
    NotSent { field: &'static str },
}

/// Fields of Vault's stanza that may stay, as nothing that they say is lost.
const WITHOUT_EFFECT: [(&str, &str); 12] = [
    ("add_lease_metrics_namespace_labels", "there are no leases"),
    ("add_mount_point_rollback_metrics", "there are no rollbacks"),
    ("disable_hostname", "no metric has the host in its name"),
    ("enable_hostname_label", "Prometheus knows whom it asked"),
    ("filter_default", "all metrics are told"),
    ("lease_metrics_epsilon", "there are no leases"),
    ("maximum_gauge_cardinality", "the number of gauges is bounded already"),
    ("metrics_prefix", "all metrics begin with \"selkie_\""),
    ("num_lease_metrics_buckets", "there are no leases"),
    ("prefix_filter", "all metrics are told"),
    ("prometheus_retention_time", "metrics are kept as long as the server runs"),
    ("usage_gauge_period", "gauges are of the moment they are asked for"),
];

/// Whoever wrote one of these believes that metrics arrive there.
const NOT_SENT: [&str; 7] = [
    "circonus_api_app",
    "circonus_api_token",
    "circonus_submission_url",
    "dogstatsd_addr",
    "stackdriver_project_id",
    "statsd_address",
    "statsite_address",
];

/// The `telemetry` stanza.
pub(crate) fn decode(
    root: &mut Section<'_>,
    listeners: &[Listener],
    reading: &Reading<'_>,
) -> Telemetry {
    let mut found = Telemetry::default();
    for (index, mut section) in root.blocks("telemetry").into_iter().enumerate() {
        if index > 0 {
            section.place().report(TelemetryError::Repeated);
        }
        found = Telemetry {
            metrics: metrics(&mut section, listeners, reading),
            tracing: tracing(&mut section, reading),
        };
        for (field, reason) in WITHOUT_EFFECT {
            if let Some(place) = section.field(field).place() {
                reading.warn(place, WarningKind::WithoutEffect { field, reason });
            }
        }
        for field in NOT_SENT {
            section.refuse(field, || TelemetryError::NotSent { field });
        }
        section.finish();
    }
    found
}

fn metrics(
    section: &mut Section<'_>,
    listeners: &[Listener],
    reading: &Reading<'_>,
) -> Option<MetricsListener> {
    let is_public = section.field("metrics_without_token").string().and_then(|reach| {
        reach.try_map(|text| match text.as_str() {
            "loopback" => Ok(false),
            "public" => Ok(true),
            _ => Err(TelemetryError::UnknownReach),
        })
    });
    let field = section.field("metrics_address");
    if let (None, Some(reach)) = (field.place(), &is_public) {
        let (field, needed) = ("metrics_without_token", "metrics_address");
        reach.place.report(TelemetryError::Alone { field, needed });
    }
    let address = field.string()?.try_map(|text| {
        text.parse::<SocketAddr>().map_err(|source| TelemetryError::NotAnAddress { source })
    })?;
    let Located { value: address, place } = address;
    if let Some(listener) = listeners.iter().find_map(|listener| listener.overlaps(address)) {
        place.report(TelemetryError::Taken { listener });
        return None;
    }
    if !address.ip().is_loopback() {
        match is_public.is_some_and(|reach| reach.value) {
            true => reading.warn(place, WarningKind::PublicMetrics { address }),
            false => place.report(TelemetryError::OpenToOthers),
        }
    }
    Some(MetricsListener { address })
}

fn tracing(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Tracing> {
    let ca_file = section.field("otlp_ca_file").string();
    let headers = headers(section, "otlp_headers", reading);
    let ratio = section.field("trace_sample_ratio").number().and_then(|ratio| {
        let fits = |ratio| {
            if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err(TelemetryError::NotARatio) }
        };
        ratio.try_map(fits)
    });
    let field = section.field("otlp_endpoint");
    if field.place().is_none() {
        let others = ["otlp_ca_file", "otlp_headers", "trace_sample_ratio"];
        for (field, place) in others.map(|field| (field, section.field(field).place())) {
            let needed = "otlp_endpoint";
            place
                .into_iter()
                .for_each(|place| place.report(TelemetryError::Alone { field, needed }));
        }
        return None;
    }
    let Located { value: endpoint, place } = field.string()?.try_map(|text| endpoint(&text))?;
    let host = endpoint.host().map(|host| host.to_owned());
    if endpoint.scheme() == "http" {
        if let Some(host) = host.filter(|host| !is_this_machine(host)) {
            reading.warn(place, WarningKind::TracesInClear { host: host.to_string() });
        }
        if let Some(file) = &ca_file {
            file.place.report(TelemetryError::TlsForPlain);
        }
    }
    let ca_file = ca_file.and_then(|file| {
        let path = file.try_map(|text| {
            let path = PathBuf::from(text);
            if path.is_absolute() { Ok(path) } else { Err(TelemetryError::RelativePath) }
        });
        path.map(|path| path.value)
    });
    let sample_ratio = ratio.map_or(1.0, |ratio| ratio.value);
    Some(Tracing { endpoint, ca_file, headers, sample_ratio })
}

pub(crate) fn is_this_machine(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn endpoint(text: &str) -> Result<Url, TelemetryError> {
    let mut url: Url = text.parse().map_err(|_unfit: url::ParseError| TelemetryError::NotAUrl)?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !is_bare {
        return Err(TelemetryError::NotAUrl);
    }
    if url.path() == "/" {
        url.set_path("/v1/traces");
    }
    Ok(url)
}
