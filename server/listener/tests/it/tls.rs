use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject,
};
use selkie_listener::{
    ClientCertificates, ListenerSettings, TlsError, TlsFiles, TlsMaterial, TlsSource, TlsVersion,
    TrustFiles,
};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::harness::{Client, Running, on_paused_clock, settings};

/// A CA with what it issues.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> Issued {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        Issued { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    pub(crate) fn material(&self) -> TlsMaterial {
        let issued = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        TlsMaterial::in_memory(vec![issued.certificate.der().clone()], issued.key()).unwrap()
    }

    /// A client that believes this CA and has no certificate.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client_speaking(rustls::ALL_VERSIONS)
    }

    fn client_speaking(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        trusting(self.issuer.der().clone(), versions).with_no_client_auth()
    }

    fn client_with(&self, issued: &Issued) -> ClientConfig {
        trusting(self.issuer.der().clone(), rustls::ALL_VERSIONS)
            .with_client_auth_cert(vec![issued.certificate.der().clone()], issued.key())
            .unwrap()
    }

    /// Files for a server, with the CA itself as client CA.
    fn files(&self, scratch: &Scratch, asked: fn(PathBuf) -> ClientCertificates) -> TlsFiles {
        let issued = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        TlsFiles {
            certificate: scratch.write("server.pem", issued.certificate.pem()),
            key: scratch.write("server.key", issued.key.serialize_pem()),
            client_certificates: asked(scratch.write("ca.pem", self.issuer.pem())),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
        }
    }
}

impl Issued {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

pub(crate) fn trusting(
    root: CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

pub(crate) async fn connect_tls(
    tcp: TcpStream,
    config: ClientConfig,
) -> io::Result<Client<TlsStream<TcpStream>>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map(Client::new)
}

/// A directory of one test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("listener-{test}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn not_asked(_: PathBuf) -> ClientCertificates {
    ClientCertificates::NotAsked
}

fn optional(ca_file: PathBuf) -> ClientCertificates {
    ClientCertificates::Optional(TrustFiles::of(ca_file))
}

fn required(ca_file: PathBuf) -> ClientCertificates {
    ClientCertificates::Required(TrustFiles::of(ca_file))
}

fn serve(files: &TlsFiles) -> (Running, TlsSource) {
    let source = TlsSource::new(TlsMaterial::load(files).unwrap());
    let running = Running::start(ListenerSettings { tls: Some(source.clone()), ..settings() });
    (running, source)
}

/// What `/tls` says, or the first error, which with TLS 1.3 may come after the client's side of the
/// handshake.
async fn ask(running: &Running, config: ClientConfig) -> io::Result<String> {
    ask_for(running, config, "/tls").await
}

/// What the path says, or the first error.
pub(crate) async fn ask_for(
    running: &Running,
    config: ClientConfig,
    path: &str,
) -> io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let tcp = TcpStream::connect(running.address).await?;
    let mut stream = connect_tls(tcp, config).await?.stream;
    let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    Ok(reply.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn http_1_1_is_agreed_on_when_h2_is_offered_first() {
    let authority = Authority::new();
    let settings =
        ListenerSettings { tls: Some(TlsSource::new(authority.material())), ..settings() };
    let running = Running::start(settings);
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let mut client = connect_tls(tcp, config).await.unwrap();
    assert_eq!(client.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(client.get("/").await.ends_with("hello"));

    let mut only_h2 = authority.client();
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    assert!(ask(&running, only_h2).await.is_err());
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum_with_clients_that_offer_it() {
    let authority = Authority::new();
    let settings =
        ListenerSettings { tls: Some(TlsSource::new(authority.material())), ..settings() };
    let running = Running::start(settings);
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let client = connect_tls(tcp, authority.client()).await.unwrap();
    let group = client.stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn only_the_configured_versions_are_spoken() {
    let (authority, scratch) = (Authority::new(), Scratch::new("versions"));
    let files = authority.files(&scratch, not_asked);
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (version, spoken, other) in
        [(TlsVersion::Tls12, tls12, tls13), (TlsVersion::Tls13, tls13, tls12)]
    {
        let only = TlsFiles { min_version: version, max_version: version, ..files.clone() };
        let (running, _) = serve(&only);
        let reply = ask(&running, authority.client_speaking(&[spoken])).await.unwrap();
        assert_eq!(reply, format!("test {version:?} 0 certificates"));
        assert!(ask(&running, authority.client_speaking(&[other])).await.is_err());
    }
    let none = TlsFiles { min_version: TlsVersion::Tls13, max_version: TlsVersion::Tls12, ..files };
    assert!(matches!(TlsMaterial::load(&none), Err(TlsError::NoVersion)));
}

#[tokio::test]
async fn a_required_client_certificate_must_come_from_the_ca() {
    let (authority, scratch) = (Authority::new(), Scratch::new("mtls-required"));
    let (running, _) = serve(&authority.files(&scratch, required));
    let issued = authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
    let with = ask(&running, authority.client_with(&issued)).await.unwrap();
    assert_eq!(with, "test Tls13 1 certificates");
    assert!(ask(&running, authority.client()).await.is_err());
    let foreign = Authority::new().issue(ExtendedKeyUsagePurpose::ClientAuth);
    assert!(ask(&running, authority.client_with(&foreign)).await.is_err());
}

#[tokio::test]
async fn an_optional_client_certificate_may_be_missing_but_not_foreign() {
    let (authority, scratch) = (Authority::new(), Scratch::new("mtls-optional"));
    let (running, _) = serve(&authority.files(&scratch, optional));
    let issued = authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
    let with = ask(&running, authority.client_with(&issued)).await.unwrap();
    assert_eq!(with, "test Tls13 1 certificates");
    let without = ask(&running, authority.client()).await.unwrap();
    assert_eq!(without, "test Tls13 0 certificates");
    let foreign = Authority::new().issue(ExtendedKeyUsagePurpose::ClientAuth);
    assert!(ask(&running, authority.client_with(&foreign)).await.is_err());
}

#[tokio::test]
async fn new_material_counts_from_the_next_handshake() {
    let (old, new) = (Authority::new(), Authority::new());
    let source = TlsSource::new(old.material());
    let running = Running::start(ListenerSettings { tls: Some(source.clone()), ..settings() });
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let mut open = connect_tls(tcp, old.client()).await.unwrap();
    open.get("/").await;
    assert!(ask(&running, new.client()).await.is_err());
    source.replace(new.material());
    assert!(ask(&running, new.client()).await.is_ok());
    assert!(ask(&running, old.client()).await.is_err());
    assert!(open.get("/").await.ends_with("hello"), "an open connection was disturbed");
}

#[test]
fn a_handshake_that_does_not_begin_is_cut() {
    on_paused_clock(async {
        let settings = ListenerSettings {
            tls: Some(TlsSource::new(Authority::new().material())),
            ..settings()
        };
        let running = Running::start(settings);
        let mut client = running.connect().await;
        let start = Instant::now();
        assert!(client.is_closed().await);
        assert_eq!(start.elapsed().as_secs(), 10);
    });
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/testdata").join(name)
}

#[tokio::test]
async fn keys_are_read_as_pkcs8_pkcs1_and_sec1() {
    let (authority, scratch) = (Authority::new(), Scratch::new("key-forms"));
    let files = authority.files(&scratch, not_asked);
    assert!(TlsMaterial::load(&files).is_ok(), "PKCS#8");
    for (certificate, key) in [("rsa.pem", "rsa-pkcs1.key"), ("ec.pem", "ec-sec1.key")] {
        let (certificate, key) = (testdata(certificate), testdata(key));
        let files = TlsFiles { certificate: certificate.clone(), key, ..files.clone() };
        let (running, _) = serve(&files);
        let root = CertificateDer::from_pem_file(certificate).unwrap();
        let reply = ask(&running, trusting(root, rustls::ALL_VERSIONS).with_no_client_auth()).await;
        assert!(reply.is_ok(), "{:?}: {reply:?}", files.key);
    }
}

#[test]
fn errors_name_the_file_and_what_is_wrong_with_it() {
    let (authority, scratch) = (Authority::new(), Scratch::new("errors"));
    let good = authority.files(&scratch, required);
    let stranger = authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
    let no_key = "no private key in it as PKCS#8, PKCS#1 or SEC1";
    let block = |kind: &str, base64: &str| {
        format!("-----BEGIN {kind}-----\n{base64}\n-----END {kind}-----\n")
    };
    for (name, content, fault) in [
        ("other.key", stranger.key.serialize_pem(), "not the private key of the first certificate"),
        ("empty.key", String::new(), no_key),
        ("encrypted.key", block("ENCRYPTED PRIVATE KEY", "MAAA"), "key is encrypted"),
        (
            "legacy.key",
            block("EC PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAAA"),
            "key is encrypted",
        ),
        ("base64.key", block("PRIVATE KEY", "!secret!"), "malformed PEM"),
        (
            "der.key",
            block("PRIVATE KEY", "MAAA"),
            "private key malformed or of an unsupported type",
        ),
    ] {
        let key = scratch.write(name, content);
        let error = TlsMaterial::load(&TlsFiles { key, ..good.clone() }).unwrap_err();
        let chain = format!("{error} {error:?}");
        assert!(chain.contains(name) && chain.contains(fault), "{chain}");
        assert!(!chain.contains("secret"), "an error quotes a key file");
    }
    for (name, content, fault) in [
        ("empty.pem", String::new(), "no certificate in it"),
        ("base64.pem", block("CERTIFICATE", "!"), "malformed PEM: what stands there is not base64"),
        (
            "cut.pem",
            "-----BEGIN CERTIFICATE-----\nMAAA\n".to_owned(),
            "cut off: the line -----END CERTIFICATE----- is missing",
        ),
        ("der.pem", block("CERTIFICATE", "MAAA"), "unusable certificate"),
    ] {
        let bad = scratch.write(name, content);
        let server = TlsFiles { certificate: bad.clone(), ..good.clone() };
        let client = TlsFiles { client_certificates: required(bad), ..good.clone() };
        for files in [server, client] {
            let text = TlsMaterial::load(&files).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(fault), "{text}");
        }
    }
    let absent = TlsFiles { key: scratch.0.join("absent.key"), ..good.clone() };
    let text = TlsMaterial::load(&absent).unwrap_err().to_string();
    assert!(text.contains("absent.key: cannot be read"), "{text}");
    let huge = scratch.write("huge.key", vec![b'\n'; (1 << 20) + 1]);
    let error = TlsMaterial::load(&TlsFiles { key: huge, ..good }).unwrap_err();
    assert!(matches!(error, TlsError::TooLarge { .. }));
}
