//! From a name to a connection, step by step, so that an error says which step failed.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustix::net::sockopt;
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use selkie_memory::WipeIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Host;

use super::proxy::Proxy;
use super::{ClientCertificate, HttpError, HttpHop, HttpReason, HttpTimeouts, Resolve};

/// How long one address is tried before the next is tried too (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);
/// When an idle connection is first asked whether it still lives, how often, and how many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// How long what we sent may go unacknowledged, in milliseconds.
const UNACKNOWLEDGED_MS: u32 = 10_000;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

impl Origin {
    /// The origin of a URL of `scheme`, whose default port is `default_port`.
    pub(super) fn new(uri: &Uri, scheme: &str, default_port: u16) -> Result<Self, HttpError> {
        let host = uri.host().unwrap_or_default();
        let refuse = |reason| HttpError::new(HttpHop::Request, host, reason);
        if uri.scheme_str() != Some(scheme) {
            return Err(refuse(HttpReason::OtherScheme));
        }
        let Ok(parsed) = Host::parse(host) else { return Err(refuse(HttpReason::UnfitUrl)) };
        Ok(Self { host: parsed, port: uri.port_u16().unwrap_or(default_port) })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What a step that succeeded has shown.
#[derive(Debug)]
pub enum ProbeFact {
    /// The name has these addresses.
    Addresses(Vec<IpAddr>),
    /// This address accepts connections.
    Connected(SocketAddr),
    /// The proxy at this address opens a tunnel.
    Tunnel(SocketAddr),
    /// The server has proven itself.
    Secured {
        /// The negotiated version.
        version: Option<ProtocolVersion>,
        /// The server's certificate, then its issuers as the server sent them.
        certificates: Vec<CertificateDer<'static>>,
    },
    /// The server answers with this status.
    Answered(u16),
}

impl fmt::Display for ProbeFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                f.write_str(&addresses.join(", "))
            }
            Self::Connected(address) => write!(f, "connected to {address}"),
            Self::Tunnel(address) => write!(f, "a tunnel through {address}"),
            Self::Secured { version, certificates } => {
                let version = version.map(|version| format!("{version:?}")).unwrap_or_default();
                write!(f, "{version}, a chain of {} certificates", certificates.len())
            }
            Self::Answered(status) => write!(f, "status {status}"),
        }
    }
}

/// Told of each step that succeeds.
pub(super) type Observer<'a> = &'a mut (dyn FnMut(HttpHop, ProbeFact) + Send);

/// What HTTP runs over.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Makes connections.
pub(super) struct Connector {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) proxy: Option<Proxy>,
    /// None for plain HTTP.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// What `tls` shows to servers that ask.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    /// Whom certificates are to name, if not the host.
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) timeouts: HttpTimeouts,
}

impl Connector {
    /// A new connection, ready for HTTP.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        observe: Observer<'_>,
    ) -> Result<Box<dyn Transport>, HttpError> {
        let stream = match &self.proxy {
            Some(proxy) => self.tunnel(proxy, origin, observe).await?,
            None => self.dial(origin, observe).await?,
        };
        let Some(tls) = &self.tls else { return Ok(Box::new(WipeIo::new(stream))) };
        let secured = self.secure(tls, stream, origin, observe).await?;
        Ok(Box::new(WipeIo::new(secured)))
    }

    async fn dial(&self, origin: &Origin, observe: Observer<'_>) -> Result<TcpStream, HttpError> {
        let addresses = self.addresses(origin, HttpHop::Dns).await?;
        if matches!(origin.host, Host::Domain(_)) {
            observe(HttpHop::Dns, ProbeFact::Addresses(addresses.clone()));
        }
        let (stream, address) = self.open(origin, addresses, HttpHop::Tcp).await?;
        observe(HttpHop::Tcp, ProbeFact::Connected(address));
        Ok(stream)
    }

    async fn tunnel(
        &self,
        proxy: &Proxy,
        origin: &Origin,
        observe: Observer<'_>,
    ) -> Result<TcpStream, HttpError> {
        let hop = HttpHop::Proxy;
        let there = Origin { host: proxy.host.clone(), port: proxy.port };
        let addresses = self.addresses(&there, hop).await?;
        let (mut stream, address) = self.open(&there, addresses, hop).await?;
        let target = origin.to_string();
        let consent = proxy.tunnel(&mut stream, &target);
        step(hop, &there.host, self.timeouts.proxy, consent).await?;
        observe(hop, ProbeFact::Tunnel(address));
        Ok(stream)
    }

    async fn addresses(&self, origin: &Origin, hop: HttpHop) -> Result<Vec<IpAddr>, HttpError> {
        let name = match &origin.host {
            Host::Domain(name) => name,
            Host::Ipv4(address) => return Ok(vec![(*address).into()]),
            Host::Ipv6(address) => return Ok(vec![(*address).into()]),
        };
        let resolved = async {
            let addresses = self.resolver.resolve(name).await;
            match addresses {
                Ok(addresses) if addresses.is_empty() => {
                    Err(HttpReason::NameNotResolved(std::io::ErrorKind::NotFound.into()))
                }
                Ok(addresses) => Ok(addresses),
                Err(error) => Err(HttpReason::NameNotResolved(error)),
            }
        };
        step(hop, name, self.timeouts.dns, resolved).await
    }

    async fn open(
        &self,
        origin: &Origin,
        addresses: Vec<IpAddr>,
        hop: HttpHop,
    ) -> Result<(TcpStream, SocketAddr), HttpError> {
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, origin.port));
        let first = async { first_to_answer(addresses.collect()).await.map_err(HttpReason::Io) };
        step(hop, &origin.host, self.timeouts.connect, first).await
    }

    async fn secure(
        &self,
        tls: &Arc<ClientConfig>,
        stream: TcpStream,
        origin: &Origin,
        observe: Observer<'_>,
    ) -> Result<TlsStream<WipeIo<TcpStream>>, HttpError> {
        let Some(name) = self.server_name.clone().or_else(|| server_name(origin)) else {
            return Err(HttpError::new(HttpHop::Request, &origin.host, HttpReason::UnfitUrl));
        };
        if let Some(certificate) = &self.certificate {
            certificate.renew().await;
        }
        let shaken = TlsConnector::from(Arc::clone(tls)).connect(name, WipeIo::new(stream));
        let shaken = async { shaken.await.map_err(tls_reason) };
        let stream = step(HttpHop::Tls, &origin.host, self.timeouts.tls, shaken).await?;
        let (_, session) = stream.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default();
        let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
        let version = session.protocol_version();
        observe(HttpHop::Tls, ProbeFact::Secured { version, certificates });
        Ok(stream)
    }
}

fn server_name(origin: &Origin) -> Option<ServerName<'static>> {
    match &origin.host {
        Host::Domain(name) => ServerName::try_from(name.clone()).ok(),
        Host::Ipv4(address) => Some(IpAddr::from(*address).into()),
        Host::Ipv6(address) => Some(IpAddr::from(*address).into()),
    }
}

/// The reason of TLS where there is one, else what the operating system says.
fn tls_reason(error: std::io::Error) -> HttpReason {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(reason) => HttpReason::Tls(reason.clone()),
        None => HttpReason::Io(error),
    }
}

/// One step within its time.
pub(super) async fn step<T>(
    hop: HttpHop,
    host: impl fmt::Display,
    limit: Duration,
    work: impl Future<Output = Result<T, HttpReason>>,
) -> Result<T, HttpError> {
    let outcome = timeout(limit, work).await;
    outcome.unwrap_or(Err(HttpReason::TimedOut)).map_err(|reason| HttpError::new(hop, host, reason))
}

/// Tries the addresses one after another, the next as soon as one fails or takes its time.
async fn first_to_answer(addresses: Vec<SocketAddr>) -> std::io::Result<(TcpStream, SocketAddr)> {
    let mut waiting = addresses.into_iter().peekable();
    let mut trying = JoinSet::new();
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    loop {
        if let Some(address) = waiting.next() {
            trying.spawn(async move { Ok((TcpStream::connect(address).await?, address)) });
        }
        tokio::select! {
            tried = trying.join_next() => match tried {
                Some(Ok(Ok((stream, address)))) => {
                    // A kernel that knows no such option is no reason not to connect.
                    let _ = tend(&stream);
                    return Ok((stream, address));
                }
                Some(Ok(Err(error))) => last = error,
                Some(Err(lost)) => last = lost.into(),
                None => return Err(last),
            },
            () = sleep(STAGGER), if waiting.peek().is_some() => {}
        }
    }
}

/// Small requests leave at once, and a peer that is gone is noticed before it is needed.
fn tend(stream: &TcpStream) -> std::io::Result<()> {
    let (idle, interval, probes) = KEEPALIVE;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, interval)?;
    sockopt::set_tcp_keepcnt(stream, probes)?;
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MS)?;
    Ok(())
}
