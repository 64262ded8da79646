//! An API server over TLS, which does what the test says; no real one is to be had here.

use std::sync::Mutex;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use selkie_kms::http::Roots;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::auth::jwt::Internet;

struct ApiServerOverTls {
    url: String,
    ca: String,
    /// The answer to the next TokenReviews.
    review: Mutex<(u16, String)>,
    /// The heads and bodies that came.
    asked: Mutex<Vec<String>>,
}

impl ApiServerOverTls {
    async fn start() -> Arc<Self> {
        let (ca, config) = identity();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", socket.local_addr().unwrap());
        let answer = review(true, "system:serviceaccount:vault:unsealer", "u-1", &["selkie"]);
        let review = Mutex::new((201, answer));
        let server = Arc::new(Self { url, ca, review, asked: Mutex::default() });
        let (serves, tls) = (Arc::clone(&server), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                // Who does not trust it goes away in the handshake.
                tokio::spawn(Arc::clone(&serves).serve(tls.clone(), stream));
            }
        });
        server
    }

    async fn serve(self: Arc<Self>, tls: TlsAcceptor, stream: TcpStream) -> Option<()> {
        let mut stream = tls.accept(stream).await.ok()?;
        loop {
            let request = read_request(&mut stream).await?;
            let (status, body) = match request.starts_with("GET /openid/v1/jwks ") {
                true => (200, SIGNER_SET.lock().unwrap().clone()),
                false => self.review.lock().unwrap().clone(),
            };
            self.asked.lock().unwrap().push(request);
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.ok()?;
        }
    }

    fn answers(&self, status: u16, body: &str) {
        *self.review.lock().unwrap() = (status, body.to_owned());
    }
}

/// What the cluster publishes; of a thread's signer, which another thread does not have.
static SIGNER_SET: Mutex<String> = Mutex::new(String::new());

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut some = [0; 4096];
        let read = stream.read(&mut some).await.ok().filter(|read| *read > 0)?;
        text += str::from_utf8(&some[..read]).unwrap();
    }
}

/// A CA in PEM, and a server whose certificate it has issued.
fn identity() -> (String, ServerConfig) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&own, &issuer).unwrap().der().clone();
    let own = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    (ca, config.with_single_cert(vec![certificate], own).unwrap())
}

async fn asking(config: Value) -> Bench<Kubernetes> {
    asking_over(Arc::default(), config).await
}

async fn asking_over(internet: Arc<Internet>, config: Value) -> Bench<Kubernetes> {
    let way = Kubernetes::new(KeySources::new(internet));
    let nothing = DeclaredMethod::Kubernetes(KubernetesConfig::default(), Vec::new());
    let bench = Bench::managed(way, nothing).await;
    bench.write("config", config).await.unwrap();
    let role = json!({
        "bound_service_account_names": "unsealer", "bound_service_account_namespaces": "vault",
        "audience": "selkie",
    });
    bench.write("role/seal", role).await.unwrap();
    bench
}

#[tokio::test]
async fn a_token_is_reviewed_over_tls_by_the_api_server_that_the_ca_vouches_for() {
    let server = ApiServerOverTls::start().await;
    let config = json!({
        "kubernetes_host": server.url, "kubernetes_ca_cert": server.ca,
        "token_reviewer_jwt": "reviewer",
    });
    let bench = asking(config).await;
    let jwt = token(&json!({}));
    assert_eq!(log_in(&bench, &jwt).await.unwrap().alias, "u-1");
    let asked = server.asked.lock().unwrap().pop().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let line = "POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    assert!(head.contains("authorization: Bearer reviewer"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["apiVersion"], "authentication.k8s.io/v1");
    assert_eq!(body["spec"], json!({ "token": jwt, "audiences": ["selkie"] }));
    server.answers(201, &review(false, "", "", &[]));
    assert_eq!(log_in(&bench, &jwt).await, denied());
    for status in [401, 403, 500] {
        server.answers(status, r#"{"kind":"Status"}"#);
        let (kind, text) = log_in(&bench, &jwt).await.unwrap_err();
        assert_eq!(
            kind,
            AnswerKind::Unavailable,
            "{status}: the reviewer is refused, not the client"
        );
        assert!(!text.contains("Status"), "{text}");
    }
}

#[tokio::test]
async fn an_api_server_that_the_ca_does_not_vouch_for_is_told_nothing() {
    let server = ApiServerOverTls::start().await;
    let (other_ca, _) = identity();
    let config = json!({
        "kubernetes_host": server.url, "kubernetes_ca_cert": other_ca,
        "token_reviewer_jwt": "reviewer",
    });
    let bench = asking(config).await;
    let (kind, _) = log_in(&bench, &token(&json!({}))).await.unwrap_err();
    assert_eq!(kind, AnswerKind::Unavailable);
    assert!(server.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_is_verified_under_keys_that_the_cluster_publishes_over_tls() {
    let server = ApiServerOverTls::start().await;
    *SIGNER_SET.lock().unwrap() = SIGNER.with(|signer| Signer::set(&[signer]));
    let config = json!({
        "jwks_url": format!("{}/openid/v1/jwks", server.url), "kubernetes_ca_cert": server.ca,
        "issuer": "https://kubernetes.default.svc",
    });
    let bench = asking(config).await;
    assert_eq!(log_in(&bench, &token(&json!({}))).await.unwrap().alias, "u-1");
    let forged = Signer::new("k", Algorithm::ES256).sign(&json!({ "exp": NOW + 1 }));
    assert_eq!(log_in(&bench, &forged).await, denied());
    assert_eq!(server.asked.lock().unwrap().len(), 1, "the keys were fetched once");
}

/// As a reload does; what is known of the API server, or of a provider, is kept.
#[tokio::test]
async fn authorities_that_the_system_has_renewed_count_at_once() {
    let (server, other) = (ApiServerOverTls::start().await, ApiServerOverTls::start().await);
    let internet = Arc::new(Internet::default());
    let trust = |server: &ApiServerOverTls| {
        let ca = CertificateDer::from_pem_slice(server.ca.as_bytes()).unwrap();
        internet.trust(Roots::Given(vec![ca])).unwrap();
    };
    trust(&other);
    let config = json!({
        "kubernetes_host": server.url, "disable_local_ca_jwt": true, "token_reviewer_jwt": "reviewer",
    });
    let bench = asking_over(Arc::clone(&internet), config).await;
    let jwt = token(&json!({}));
    for _ in 0..2 {
        let (by, _) = log_in(&bench, &jwt).await.unwrap_err();
        assert_eq!(by, AnswerKind::Unavailable);
        trust(&server);
        assert_eq!(log_in(&bench, &jwt).await.unwrap().alias, "u-1");
        trust(&server);
        assert_eq!(log_in(&bench, &jwt).await.unwrap().alias, "u-1");
        trust(&other);
    }
}
