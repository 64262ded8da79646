//! A server whose every answer the test writes by hand.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{HttpClientSettings, HttpTimeouts, Resolve, Resolved, Roots};

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Which connection it came on, from 1.
    pub(crate) connection: usize,
    /// Which request of that connection it is, from 1.
    pub(crate) nth: usize,
    /// Head and body.
    pub(crate) text: String,
}

pub(crate) enum Reply {
    /// These bytes; the connection stays.
    Answer(String),
    /// These bytes, and the end.
    Last(String),
    /// Nothing, ever.
    Hang,
}

/// A whole answer.
pub(crate) fn answer(status: u16, body: &str) -> Reply {
    let length = body.len();
    Reply::Answer(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}"))
}

pub(crate) type Script = dyn Fn(&Received) -> Reply + Send + Sync;

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl TestServer {
    pub(crate) async fn plain(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(script)).await
    }

    pub(crate) async fn tls(
        authority: &Authority,
        name: &str,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(authority.acceptor(name)), Arc::new(script)).await
    }

    /// The same, for clients with a certificate of `authority` alone.
    pub(crate) async fn mutual(
        authority: &Authority,
        name: &str,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(authority.acceptor_of_clients(name)), Arc::new(script)).await
    }

    async fn start(tls: Option<TlsAcceptor>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connection += 1;
                tokio::spawn(serve(stream, tls.clone(), connection, script.clone(), log.clone()));
            }
        });
        Self { address, received }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.received().iter().map(|one| one.connection).max().unwrap_or(0)
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    connection: usize,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Received>>>,
) {
    match tls {
        None => converse(stream, connection, &*script, &log).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => converse(stream, connection, &*script, &log).await,
            Err(_) => return,
        },
    }
    .ok();
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    script: &Script,
    log: &Mutex<Vec<Received>>,
) -> io::Result<()> {
    for nth in 1.. {
        let text = read_request(&mut stream).await?;
        let received = Received { connection, nth, text };
        log.lock().unwrap().push(received.clone());
        match script(&received) {
            Reply::Answer(text) => {
                stream.write_all(text.as_bytes()).await?;
                stream.flush().await?;
            }
            Reply::Last(text) => {
                stream.write_all(text.as_bytes()).await?;
                return stream.shutdown().await;
            }
            Reply::Hang => std::future::pending().await,
        }
    }
    Ok(())
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(text.clone()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).await?;
    text.extend(body);
    Ok(String::from_utf8(text).unwrap())
}

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// An authority of the test's own.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities of one name would be taken for each other until a signature fails.
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed).to_string();
        params.distinguished_name.push(DnType::CommonName, number);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::Given(vec![self.certificate.clone()])
    }

    /// A certificate of this authority for `name`, and its key, both in PEM.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        self.acceptor_by(name, |config| config.with_no_client_auth())
    }

    fn acceptor_of_clients(&self, name: &str) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        let verifier = verifier.build().unwrap();
        self.acceptor_by(name, |config| config.with_client_cert_verifier(verifier))
    }

    fn acceptor_by(
        &self,
        name: &str,
        clients: impl FnOnce(
            ConfigBuilder<ServerConfig, WantsVerifier>,
        ) -> ConfigBuilder<ServerConfig, WantsServerCert>,
    ) -> TlsAcceptor {
        let (certificate, key) = self.issue(name);
        let leaf = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = clients(config.with_safe_default_protocol_versions().unwrap());
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![leaf], key).unwrap()))
    }
}

/// Knows that every name under `.test` is this machine, where `two.test` has an address more that
/// nobody listens on; that `hang.invalid` takes forever; and no other name.
#[derive(Debug)]
pub(crate) struct TestResolver;

impl Resolve for TestResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolved<'a> {
        Box::pin(async move {
            match name {
                "hang.invalid" => std::future::pending().await,
                "two.test" => Ok(vec![[127, 0, 0, 2].into(), [127, 0, 0, 1].into()]),
                name if name.ends_with(".test") => Ok(vec![IpAddr::from(Ipv4Addr::LOCALHOST)]),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }
}

/// Patient settings, so that only what a test means to time out does.
pub(crate) fn settings(roots: Roots) -> HttpClientSettings {
    let patient = std::time::Duration::from_secs(60);
    let timeouts = HttpTimeouts {
        dns: patient,
        connect: patient,
        proxy: patient,
        tls: patient,
        answer: patient,
    };
    let resolver = Arc::new(TestResolver);
    HttpClientSettings { roots, timeouts, resolver, ..HttpClientSettings::default() }
}
