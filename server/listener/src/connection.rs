//! One connection from its first byte to its end, every step within its time.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{
    HeaderValue, Request, Response,
    header::{CONNECTION, TRANSFER_ENCODING},
};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use rustls::{ProtocolVersion, server::Acceptor};
use selkie_memory::WipeIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tracing::{debug, warn};

use crate::{
    forwarded::ForwardedFor,
    limits::{Limits, MOST_AT_ONCE},
    log_budget::LogBudget,
    patience::{HURRY, PatientIo},
    phase::{Dismissal, Kind, Phase},
    preread::Preread,
    proxy_protocol::{ProxyError, ProxyProtocol},
    tls::{ShownCertificate, TlsMaterial, TlsSource, TlsVersion, of_handshake},
};

/// What is known of a connection; every request carries it as an extension of type
/// `Arc<ConnectionInfo>`.
///
/// IPv4 addresses are always that, also when they came in over an IPv6 socket.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// Who is at the other end: the PROXY header's word if it is believed, else the socket's.
    /// Behind a proxy that speaks HTTP the client is somebody else, see
    /// [`client_address`](crate::client_address).
    pub peer: SocketAddr,
    /// The other end of the socket.
    pub socket: SocketAddr,
    /// None on a plain connection.
    pub tls: Option<TlsInfo>,
    /// The listener's policy on `X-Forwarded-For`, if it has one.
    pub forwarded_for: Option<Arc<ForwardedFor>>,
    phase: Phase,
}

/// What the handshake came to.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// As negotiated.
    pub version: TlsVersion,
    /// What the client showed, verified; none if it showed nothing.
    pub client: Option<Arc<ShownCertificate>>,
}

impl ConnectionInfo {
    /// A plain connection without a proxy; for tests of services.
    #[must_use]
    pub fn plain(listener: &str, peer: SocketAddr) -> Self {
        let (listener, phase) = (listener.into(), Phase::default());
        Self { listener, peer, socket: peer, tls: None, forwarded_for: None, phase }
    }

    /// Waits for what must be there before the service works on the request of somebody unknown.
    /// Meanwhile the connection may be closed for others who wait, as one whose head is slow: then
    /// this future is dropped.
    pub async fn as_stranger<T>(&self, waits: impl Future<Output = T>) -> T {
        self.phase.stranger_waits();
        let there = waits.await;
        self.phase.request_begins();
        there
    }
}

/// What the connections of one listener have in common.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) listener: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<TlsSource>,
    pub(crate) proxy_protocol: ProxyProtocol,
    pub(crate) forwarded_for: Option<Arc<ForwardedFor>>,
    pub(crate) http: http1::Builder,
    pub(crate) refusals: Refusals,
}

impl Terms {
    pub(crate) fn http(limits: &Limits) -> http1::Builder {
        let mut http = http1::Builder::new();
        http.max_header_size(limits.header_bytes)
            .max_buf_size(limits.buffer_bytes())
            .header_read_timeout(None::<Duration>);
        http
    }
}

/// Why a connection never came to HTTP.
#[derive(Debug, thiserror::Error)]
enum PrefaceError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("no PROXY header in time")]
    ProxyTimeout,
    #[error("TLS handshake failed{}", of_handshake(.0))]
    Handshake(#[source] io::Error),
    #[error("TLS handshake took too long")]
    HandshakeTimeout,
}

/// Refused connections a second that are logged for each listener.
const REFUSALS_PER_SECOND: u32 = 5;

/// The log of connections that never came to HTTP.
#[derive(Debug)]
pub(crate) struct Refusals {
    budget: LogBudget,
    began: Instant,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { budget: LogBudget::new(REFUSALS_PER_SECOND), began: Instant::now() }
    }
}

impl Refusals {
    fn log(&self, listener: &str, socket: SocketAddr, error: &PrefaceError) {
        let Some(suppressed) = self.budget.spend(self.began.elapsed().as_secs()) else { return };
        if suppressed > 0 {
            warn!(%listener, suppressed, "connections were refused too fast for the log");
        }
        let cause = std::error::Error::source(error).map(tracing::field::display);
        warn!(%listener, %socket, %error, cause, "connection refused");
    }
}

/// An accepted socket, before anything was read from it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) socket: SocketAddr,
    pub(crate) terms: Arc<Terms>,
    pub(crate) phase: Phase,
}

impl Connection {
    /// Serves the connection to its end.
    pub(crate) async fn serve<S, B>(self, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let socket = SocketAddr::new(self.socket.ip().to_canonical(), self.socket.port());
        let Self { stream, terms, phase, .. } = self;
        let greeted = tokio::select! {
            biased;
            greeted = greet(stream, socket, &terms, &phase) => greeted,
            // Nobody waits for an answer yet.
            _ = phase.is_asked_to_end() => return,
        };
        match greeted {
            Ok((Greeted::Plain(stream), info)) => {
                converse(stream, info, &terms, phase, service).await;
            }
            Ok((Greeted::Tls(stream), info)) => {
                converse(*stream, info, &terms, phase, service).await;
            }
            Err(error) => terms.refusals.log(&terms.listener, socket, &error),
        }
    }
}

enum Greeted {
    Plain(Preread),
    Tls(Box<TlsStream<WipeIo<Preread>>>),
}

/// PROXY header, then TLS, each within the handshake time.
async fn greet(
    stream: TcpStream,
    socket: SocketAddr,
    terms: &Terms,
    phase: &Phase,
) -> Result<(Greeted, ConnectionInfo), PrefaceError> {
    let patience = terms.limits.handshake;
    let header = terms.proxy_protocol.accept(stream, socket);
    let Ok(accepted) = timeout(patience, header).await else {
        return Err(PrefaceError::ProxyTimeout);
    };
    let (stream, peer) = accepted?;
    if !matches!(terms.proxy_protocol, ProxyProtocol::Off) {
        phase.greeting_goes_on();
    }
    let info = |tls| ConnectionInfo {
        listener: Arc::clone(&terms.listener),
        peer,
        socket,
        tls,
        forwarded_for: terms.forwarded_for.clone(),
        phase: phase.clone(),
    };
    let Some(source) = &terms.tls else {
        return Ok((Greeted::Plain(stream), info(None)));
    };
    let material = source.current();
    // In two halves, so that it shows which of them the peer owes.
    let handshake = async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), WipeIo::new(stream)).await?;
        phase.greeting_goes_on();
        hello.into_stream(material.server_config()).await
    };
    let Ok(shaken) = timeout(patience, handshake).await else {
        return Err(PrefaceError::HandshakeTimeout);
    };
    let stream = shaken.map_err(PrefaceError::Handshake)?;
    phase.greeting_goes_on();
    let tls = tls_info(&stream, source, &material);
    Ok((Greeted::Tls(Box::new(stream)), info(Some(tls))))
}

fn tls_info(
    stream: &TlsStream<WipeIo<Preread>>,
    source: &TlsSource,
    material: &TlsMaterial,
) -> TlsInfo {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    };
    let certificates = session.peer_certificates().unwrap_or_default();
    let chain = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
    TlsInfo { version, client: ShownCertificate::of_handshake(chain, source, material) }
}

/// HTTP/1 until either side has enough.
async fn converse<T, S, B>(stream: T, info: ConnectionInfo, terms: &Terms, phase: Phase, service: S)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let wiped = WipeIo::new(stream).at_most(MOST_AT_ONCE);
    let io = PatientIo::new(wiped, phase.clone(), &terms.limits);
    let info = Arc::new(info);
    let tracked = service_fn(|mut request: Request<Incoming>| {
        let is_last = begin(&mut request, &info, &phase);
        let reply = service.call(request);
        let phase = phase.clone();
        async move {
            let mut response = reply.await;
            if let Ok(response) = &mut response {
                end(response, &phase, is_last);
            }
            phase.request_ends();
            response
        }
    });
    let mut http = pin!(terms.http.serve_connection(TokioIo::new(io), tracked));
    let ended = tokio::select! {
        biased;
        ended = http.as_mut() => ended,
        asked = phase.is_asked_to_end() => {
            if asked == Dismissal::Leave && phase.word().kind() != Kind::Idle {
                return;
            }
            http.as_mut().graceful_shutdown();
            match asked {
                Dismissal::Finish => http.await,
                Dismissal::Leave => timeout(HURRY, http).await.unwrap_or(Ok(())),
            }
        }
    };
    if let Err(error) = ended {
        let ConnectionInfo { listener, peer, .. } = &*info;
        debug!(%listener, %peer, %error, "connection ended");
    }
}

/// A request on its way to the service, and whether it is the last of its connection.
fn begin(request: &mut Request<Incoming>, info: &Arc<ConnectionInfo>, phase: &Phase) -> bool {
    phase.request_begins();
    request.extensions_mut().insert(Arc::clone(info));
    // A length said beside a coding is dropped before we could see it, and whoever stands before
    // us may have believed the length: what follows is nobody's request (RFC 9112 section 6.1).
    request.headers().contains_key(TRANSFER_ENCODING)
}

/// A response on its way to the client.
fn end<B>(response: &mut Response<B>, phase: &Phase, is_last: bool) {
    // A buffer that has grown goes with the connection.
    if is_last || phase.has_grown() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::logged::logged;

    #[tokio::test(start_paused = true)]
    async fn refused_connections_are_warned_of_five_a_second_and_the_rest_is_counted() {
        let socket = "192.0.2.1:4711".parse().unwrap();
        let refusals = Refusals::default();
        let refuse = |count| {
            logged(|| {
                (0..count).for_each(|_| refusals.log("a", socket, &PrefaceError::ProxyTimeout))
            })
        };
        let text = refuse(8);
        assert_eq!(text.matches("WARN").count(), 5, "{text}");
        assert!(text.contains("socket=192.0.2.1:4711"), "{text}");
        assert!(text.contains("no PROXY header in time"), "{text}");
        tokio::time::advance(Duration::from_secs(1)).await;
        let text = refuse(1);
        assert!(text.contains("suppressed=3"), "{text}");
    }

    /// Whether a plain connection that sends `bytes` counts as one step further.
    async fn goes_on(proxy_protocol: ProxyProtocol, bytes: &[u8]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, socket) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut peer, bytes).await.unwrap();
        let limits = Limits::default();
        let terms = Terms {
            listener: "a".into(),
            http: Terms::http(&limits),
            limits,
            tls: None,
            proxy_protocol,
            forwarded_for: None,
            refusals: Refusals::default(),
        };
        let phase = Phase::default();
        let before = phase.word();
        greet(stream, socket, &terms, &phase).await.unwrap();
        phase.word() != before
    }

    /// Else a proxy that took its time would leave its client none.
    #[tokio::test]
    async fn a_proxy_header_is_a_step_of_the_greeting_also_without_tls() {
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8200\r\n";
        assert!(goes_on(ProxyProtocol::UseAlways, header).await);
        assert!(!goes_on(ProxyProtocol::Off, header).await, "nothing was read");
    }

    #[tokio::test]
    async fn a_failed_handshake_is_logged_with_its_cause() {
        let error = PrefaceError::Handshake(io::Error::other("alert: bad certificate"));
        let text = logged(|| {
            Refusals::default().log("a", "192.0.2.1:1".parse().unwrap(), &error);
        });
        assert!(text.contains("bad certificate"), "{text}");
        let message = rustls::InvalidMessage::InvalidContentType;
        let plain = rustls::Error::InvalidMessage(message);
        let error = PrefaceError::Handshake(io::Error::new(io::ErrorKind::InvalidData, plain));
        assert!(error.to_string().contains("speaks no TLS, but plain HTTP"), "{error}");
    }
}
