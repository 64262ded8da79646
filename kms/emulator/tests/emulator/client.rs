//! A client that sends what it is told, and an emulator to send it to.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use selkie_emulator::{Options, Running, start};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) const VAULT: &str = "https://vault.azure.net";
pub(crate) const TENANT: &str = "7e3a0000-0000-4000-8000-000000000001";
pub(crate) const HOST: &str = "kv1.vault.emulator.test";

/// An emulator with its default objects, or those of a vaults file.
pub(crate) struct Emulator {
    pub(crate) running: Running,
    tls: Arc<ClientConfig>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code and inner code of Key Vault's error.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |path: &str| json.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
        (self.status, text("/error/code"), text("/error/innererror/code"))
    }

    pub(crate) fn message(&self) -> String {
        self.json().pointer("/error/message").and_then(Value::as_str).unwrap_or("").to_owned()
    }

    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// What is asserted of an error.
pub(crate) fn is(answer: &Answer, status: u16, code: &str, inner: &str) {
    assert_eq!(answer.error(), (status, code.to_owned(), inner.to_owned()), "{}", answer.message());
}

impl Emulator {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let running = start(options).await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(running.ca_file()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { running, tls: Arc::new(tls) }
    }

    /// With a vaults file.
    pub(crate) async fn of(file: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vaults.json");
        std::fs::write(&path, file.to_string()).unwrap();
        Self::with(Options { vaults: Some(path), ..Options::default() }).await
    }

    /// A request to the HTTPS port; the host gets the port.
    pub(crate) async fn https(
        &self,
        host: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        let tcp = TcpStream::connect(self.running.https()).await?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(ServerName::try_from(host.to_owned())?, tcp).await?;
        let host = format!("{host}:{}", self.running.https().port());
        send(stream, &host, method, path, headers, body).await
    }

    /// A request to the HTTP port.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let tcp = TcpStream::connect(self.running.http()).await.unwrap();
        send(tcp, "127.0.0.1", method, path, headers, body).await.unwrap()
    }

    /// A request to the control API.
    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.http(method, &format!("/control/{path}"), &[], text.as_bytes()).await
    }

    /// The same, which has to succeed.
    pub(crate) async fn set(&self, method: &str, path: &str, body: Value) -> Value {
        self.control(method, path, body).await.ok()
    }

    /// A token for a principal, for Key Vault.
    pub(crate) async fn token(&self, principal: &str) -> String {
        self.token_with(json!({ "principal": principal })).await
    }

    pub(crate) async fn token_with(&self, wanted: Value) -> String {
        let answer = self.set("POST", "tokens", wanted).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A request to a vault, with a token.
    pub(crate) async fn vault_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let path = with_version(path);
        self.https(HOST, method, &path, &headers, text.as_bytes()).await.unwrap()
    }

    /// A request to `kv1` by the officer, who may do everything.
    pub(crate) async fn kv(&self, method: &str, path: &str, body: Value) -> Answer {
        self.vault_as(&self.token("officer").await, method, path, body).await
    }

    /// A request to `kv1` by the officer that may fail on the way.
    pub(crate) async fn try_kv(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        let bearer = format!("Bearer {}", self.token("officer").await);
        let headers = [("authorization", bearer.as_str())];
        self.https(HOST, method, &with_version(path), &headers, body.as_bytes()).await
    }

    /// Wraps 32 bytes under `kv1`'s key: the version and what came out.
    pub(crate) async fn wrap(&self, path: &str) -> Value {
        self.kv("POST", path, parameters(&[7; 32])).await.ok()
    }
}

pub(crate) fn with_version(path: &str) -> String {
    if path.contains("api-version=") {
        return path.to_owned();
    }
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}api-version=7.4")
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, Box<dyn std::error::Error>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(Method::from_bytes(method.as_bytes())?)
        .uri(path)
        .header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body));
    let response = sender.send_request(request.body(body)?).await?;
    let status: StatusCode = response.status();
    let headers = response.headers().clone();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok(Answer { status: status.as_u16(), headers, body })
}

/// The body of a wrap or unwrap with RSA-OAEP-256.
pub(crate) fn parameters(value: &[u8]) -> Value {
    json!({ "alg": "RSA-OAEP-256", "value": base64(value) })
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The version at the end of a key's id.
pub(crate) fn version_of(value: &Value) -> String {
    let id = value.pointer("/key/kid").or_else(|| value.get("kid")).unwrap().as_str().unwrap();
    id.rsplit('/').next().unwrap().to_owned()
}
