//! The server that figures are compared with: it does what nobody could leave out.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use hyper_util::service::TowerToHyperService;
use selkie::api::body::{self, BodyLimits};
use selkie_listener::{
    ClientCertificates, Drain, InFlight, Limits, Listener, ListenerSettings, ProxyProtocol,
    TlsFiles, TlsMaterial, TlsSource, TlsVersion,
};
use selkie_memory::WipedVec;

/// Selkie's own settings, see `selkie_config::ListenerLimits` and `selkie::serve`.
const IN_FLIGHT: usize = 1024;
const QUEUE_PATIENCE: Duration = Duration::from_millis(250);

/// An echo on Selkie's stack: its accept loop, admission, TLS, body reader and reply buffer, with
/// one copy in place of everything that Selkie does in between.
#[derive(Debug, clap::Args)]
pub(crate) struct Echo {
    /// Where it listens; port 0 is any free one, and the address is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// The length of every reply's body.
    #[arg(long)]
    reply_bytes: usize,
    /// A directory with `cert.pem` and `key.pem`; without it, plain HTTP.
    #[arg(long)]
    tls: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Service {
    reply_bytes: usize,
    in_flight: InFlight,
}

impl Echo {
    /// Serves until the process ends.
    pub(crate) async fn serve(self) -> Result<()> {
        let settings = ListenerSettings {
            name: "echo".to_owned(),
            limits: Limits::default(),
            tls: self.tls.as_deref().map(load).transpose()?,
            proxy_protocol: ProxyProtocol::Off,
            forwarded_for: None,
        };
        let listener = Listener::bind(self.address, settings)?;
        writeln!(stdout(), "{}", listener.local_address()?)?;
        let router = Router::new().fallback(echo).with_state(Service::new(self.reply_bytes));
        listener.serve(TowerToHyperService::new(router), Drain::new()).await;
        Ok(())
    }
}

fn load(directory: &Path) -> Result<TlsSource> {
    let files = TlsFiles {
        certificate: directory.join("cert.pem"),
        key: directory.join("key.pem"),
        client_certificates: ClientCertificates::NotAsked,
        min_version: TlsVersion::Tls13,
        max_version: TlsVersion::Tls13,
    };
    Ok(TlsSource::new(TlsMaterial::load(&files)?))
}

impl Service {
    fn new(reply_bytes: usize) -> Self {
        Self { reply_bytes, in_flight: InFlight::new(IN_FLIGHT, QUEUE_PATIENCE) }
    }
}

async fn echo(State(service): State<Service>, request: Request<Body>) -> Response {
    let Ok(_admitted) = service.in_flight.admit().await else {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    };
    match body::read(request.into_body(), BodyLimits::default()).await {
        Ok(asked) => reply(&asked, service.reply_bytes),
        Err(_) => status(StatusCode::BAD_REQUEST),
    }
}

/// As `selkie::api::reply` makes it: exact length, wiped once sent, the headers of every reply.
fn reply(asked: &[u8], length: usize) -> Response {
    let mut echoed = WipedVec::with_capacity(length);
    while !asked.is_empty() && echoed.len() < length {
        let missing = length.saturating_sub(echoed.len());
        echoed.extend_from_slice(asked.get(..missing).unwrap_or(asked));
    }
    let mut response = Response::new(Body::from(Bytes::from_owner(echoed)));
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echoed(asked: &str, length: usize) -> Vec<u8> {
        let request = Request::new(Body::from(asked.to_owned()));
        let response = echo(State(Service::new(length)), request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = body::read(response.into_body(), BodyLimits::default()).await.unwrap();
        body.to_vec()
    }

    #[tokio::test]
    async fn a_reply_repeats_or_cuts_its_request_to_the_length_asked_for() {
        assert_eq!(echoed("abc", 8).await, b"abcabcab");
        assert_eq!(echoed("abc", 3).await, b"abc");
        assert_eq!(echoed("abc", 2).await, b"ab");
    }

    #[tokio::test]
    async fn an_empty_request_is_not_waited_for() {
        assert_eq!(echoed("", 8).await, b"");
    }
}
