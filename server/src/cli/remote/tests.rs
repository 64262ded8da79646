use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::{fs, thread};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::cli::Exit;
use crate::cli::tests::{ran, write_secret};

const WELL: (u16, &str) = (200, r#"{"backends":[],"time":"2026-11-27T03:00:12Z"}"#);

struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
    own_key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let own_key = key.serialize_pem();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key), own_key }
    }

    /// A certificate for 127.0.0.1, and its key.
    fn issue(&self) -> (String, String) {
        self.issue_for(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()))
    }

    fn issue_for(&self, name: SanType) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn acceptor(&self, (certificate, key): (String, String), asks: bool) -> TlsAcceptor {
        let config = ServerConfig::builder();
        let config = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            config.with_client_cert_verifier(verifier)
        } else {
            config.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
    }
}

/// A server that answers everything with this, in a thread that ends with the test's process.
fn serve(tls: Option<TlsAcceptor>, (status, body): (u16, &'static str)) -> SocketAddr {
    let (told, address) = std::sync::mpsc::channel();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => reply(stream, &answer).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => reply(stream, &answer).await,
                        Err(_refused) => {}
                    },
                }
            }
        });
    });
    address.recv().unwrap()
}

async fn reply<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &str) {
    let mut buffer = [0; 4096];
    let _request = stream.read(&mut buffer).await;
    let _sent = stream.write_all(answer.as_bytes()).await;
    let _ended = stream.shutdown().await;
}

struct Site {
    dir: TempDir,
    authority: Authority,
}

impl Site {
    fn new() -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        write_secret(&dir.path().join("token"), b"s.token");
        fs::write(dir.path().join("ca.pem"), authority.certificate.pem()).unwrap();
        Self { dir, authority }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What `selkie status` of the server at `url` comes to.
    fn status(&self, url: &str, further: &[&str]) -> (Exit, String) {
        let (ca, token) = (self.file("ca.pem"), self.file("token"));
        let all = ["status", "--address", url, "--ca-file", &ca, "--token-file", &token];
        let (exit, output, errors) = ran(&[&all, further].concat());
        (exit, output + &errors)
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_the_one_that_is_given() {
    let site = Site::new();
    let address = serve(Some(site.authority.acceptor(site.authority.issue(), true)), WELL);
    let url = format!("https://{address}");
    let (certificate, key) = site.authority.issue();
    let [cert_file, key_file] = [site.file("cert.pem"), site.file("key.pem")];
    fs::write(&cert_file, certificate).unwrap();
    write_secret(Path::new(&key_file), key.as_bytes());
    let shown = ["--client-cert", &cert_file, "--client-key", &key_file];
    let (exit, text) = site.status(&url, &shown);
    assert_eq!((exit, text.as_str()), (Exit::Success, "all well\n"));
    let (exit, text) = site.status(&url, &[]);
    assert_eq!(exit, Exit::Failure, "{text}");
    let (exit, text) = site.status(&url, &["--client-cert", &cert_file]);
    assert!(exit == Exit::Usage && text.contains("--client-key"), "{exit:?} {text}");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    let (exit, text) = site.status(&url, &shown);
    assert!(exit == Exit::Config && text.contains("chmod 0600"), "{exit:?} {text}");
}

#[test]
fn a_replica_with_the_certificate_of_a_balancer_is_asked_at_its_own_address() {
    let site = Site::new();
    let name = SanType::DnsName("selkie.example".try_into().unwrap());
    let address = serve(Some(site.authority.acceptor(site.authority.issue_for(name), false)), WELL);
    let url = format!("https://{address}");
    let (exit, text) = site.status(&url, &["--tls-server-name", "selkie.example"]);
    assert_eq!((exit, text.as_str()), (Exit::Success, "all well\n"));
    let (exit, text) = site.status(&url, &["--tls-server-name", "another.example"]);
    assert_eq!(exit, Exit::Failure, "{text}");
    assert_eq!(site.status(&url, &[]).0, Exit::Failure);
    let (exit, text) = site.status(&url, &["--tls-server-name", "no name"]);
    assert!(exit == Exit::Usage && text.contains("VAULT_TLS_SERVER_NAME"), "{exit:?} {text}");
}

#[test]
fn an_address_without_a_scheme_is_a_usage_error() {
    let (exit, text) = Site::new().status("127.0.0.1:8200", &[]);
    assert!(exit == Exit::Usage && text.contains("begins with"), "{exit:?} {text}");
}

#[test]
fn why_there_is_no_tls_with_the_server_is_told_in_words() {
    let site = Site::new();
    let plain = serve(None, WELL);
    let (_, text) = site.status(&format!("https://{plain}"), &[]);
    assert!(text.contains("the other side speaks plain HTTP"), "{text}");
    let leaf = serve(Some(site.authority.acceptor(site.authority.issue(), false)), WELL);
    let (_, text) = site.status(&format!("http://{leaf}"), &[]);
    assert!(text.contains("begins with https://"), "{text}");
    let (exit, text) = site.status(&format!("https://{leaf}"), &[]);
    assert_eq!(exit, Exit::Success, "{text}");
    let own = (site.authority.certificate.pem(), site.authority.own_key.clone());
    let authority = serve(Some(site.authority.acceptor(own, false)), WELL);
    let (_, text) = site.status(&format!("https://{authority}"), &[]);
    assert!(text.contains("make it a leaf certificate"), "{text}");
}

#[test]
fn only_of_a_403_rights_are_the_matter() {
    let site = Site::new();
    for (status, body, told) in [
        (
            403,
            r#"{"errors":["permission denied"]}"#,
            "unknown or has ended, or it lacks read on sys",
        ),
        (
            500,
            r#"{"errors":["internal\u001b error"]}"#,
            "internal error; the server's log tells why",
        ),
        (503, r#"{"errors":["Vault is sealed"]}"#, "503 Service Unavailable: Vault is sealed\n"),
        (502, "<html>", "502 Bad Gateway: no reason is given"),
    ] {
        let address = serve(None, (status, body));
        let (exit, text) = site.status(&format!("http://{address}"), &[]);
        assert!(exit == Exit::Failure && text.contains(told), "{status}: {text}");
        assert_eq!(text.contains("lacks"), status == 403, "{text}");
    }
}
