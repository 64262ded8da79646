use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use selkie_crypto::{KeyVersion, SealName, os_random};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::alerts::{AlertKind, Detail};
use crate::audit::{KeyEvent, KeyUse};
use crate::clock::SystemClock;

/// What the receiver does with the next request.
#[derive(Clone, Debug)]
enum Reply {
    Status(u16),
    Redirect(String),
    Hang,
    Close,
}

/// A receiver that does as it is told, and then answers 200.
struct Receiving {
    address: SocketAddr,
    received: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
}

impl Receiving {
    async fn start(tls: Option<TlsAcceptor>, mut replies: Vec<Reply>) -> Self {
        replies.reverse();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let replies = Arc::new(Mutex::new(replies));
        let script = replies;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, script, sender) = (tls.clone(), Arc::clone(&script), sender.clone());
                tokio::spawn(async move {
                    let _ended = match tls {
                        None => serve(stream, &script, &sender).await,
                        Some(tls) => serve(tls.accept(stream).await?, &script, &sender).await,
                    };
                    io::Result::Ok(())
                });
            }
        });
        Self { address, received }
    }

    async fn next(&mut self) -> (String, Value) {
        let (head, body) = self.received.recv().await.unwrap();
        (head, serde_json::from_slice(&body).unwrap())
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Mutex<Vec<Reply>>,
    sender: &mpsc::UnboundedSender<(String, Vec<u8>)>,
) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await?;
        let _test_has_ended = sender.send((head, body));
        let reply = script.lock().unwrap().pop().unwrap_or(Reply::Status(200));
        let (status, more) = match reply {
            Reply::Status(status) => (status, String::new()),
            Reply::Redirect(to) => (302, format!("location: {to}\r\n")),
            Reply::Hang => return std::future::pending().await,
            Reply::Close => return Ok(()),
        };
        let answer = format!("HTTP/1.1 {status} X\r\n{more}content-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// An authority, as a file, and a server that it vouches for.
fn authority(dir: &TempDir, name: &str) -> (PathBuf, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let path = dir.path().join(format!("{name}.pem"));
    std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .unwrap();
    (path, TlsAcceptor::from(Arc::new(config)))
}

fn declared(url: &str) -> Webhook {
    Webhook {
        url: url.parse().unwrap(),
        ca_file: None,
        proxy: None,
        headers: Vec::new(),
        hmac_key: None,
        timeout: Duration::from_secs(60),
    }
}

/// A courier at work, in a hurry.
struct Working {
    sender: Sender<ToldAlert>,
    figures: Arc<AlertFigures>,
}

impl Working {
    fn start(declared: Webhook, given_up_after: Duration) -> Self {
        let figures = Arc::<AlertFigures>::default();
        let teller =
            Teller { realm: "prod".to_owned(), cluster: None, host: "selkie-1".to_owned() };
        let surroundings = Surroundings {
            teller,
            clock: Arc::new(SystemClock),
            random: Arc::new(os_random),
            figures: Arc::clone(&figures),
        };
        let (sender, courier) = prepare(declared, surroundings).unwrap();
        let short = Duration::from_millis(2);
        let pace =
            Pace { gathering: short, first_retry: short, last_retry: 4 * short, given_up_after };
        tokio::spawn(Courier { pace, ..courier }.run());
        Self { sender, figures }
    }

    fn patient(declared: Webhook) -> Self {
        Self::start(declared, Duration::from_secs(3_600))
    }

    fn tell(&self, kind: AlertKind) {
        let alert = Alert::new(kind, 1_764_000_000, "subject");
        self.sender.try_send(ToldAlert { alert, repeated: 3 }).unwrap();
    }

    async fn until_posted(&self, outcome: &'static str) {
        until(|| self.figures.posts(outcome) > 0).await;
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it never came");
}

fn decrypt() -> Alert {
    let used = KeyUse {
        key: "transit/unseal".to_owned(),
        versions: [KeyVersion::FIRST].into(),
        seals: [SealName::new("weu").unwrap()].into(),
        decrypted: 1,
        ..KeyUse::default()
    };
    let event = Arc::new(KeyEvent {
        time: 1_764_000_000,
        request_id: "r-1".to_owned(),
        operation: "decrypt",
        client: "vault-eu".into(),
        identity: "vault-eu".into(),
        accessor: "acc-1".into(),
        address: Ipv4Addr::new(10, 0, 0, 7).into(),
        used,
        status: 200,
    });
    let network = Some("10.0.0.0/24".parse().unwrap());
    let detail = Detail::Burst { decrypts: 21, window: 66 };
    Alert { network, detail, ..Alert::of(AlertKind::ClientBurst, &event, "vault-eu".to_owned()) }
}

#[tokio::test]
async fn a_post_says_who_did_what_and_is_signed_with_the_headers_of_the_operator() {
    let mut receiver = Receiving::start(None, Vec::new()).await;
    let url = format!("http://{}/T0/hook?x=1", receiver.address);
    let header = selkie_config::SecretHeader {
        name: "authorization".to_owned(),
        value: zeroize::Zeroizing::new("Bearer b".to_owned()),
    };
    let key = || WebhookKey::init_with(|page| page.fill(7)).unwrap();
    let webhook = Webhook { headers: vec![header], hmac_key: Some(key()), ..declared(&url) };
    let working = Working::patient(webhook);
    working.sender.try_send(ToldAlert { alert: decrypt(), repeated: 0 }).unwrap();
    let (head, body) = receiver.received.recv().await.unwrap();
    assert!(head.starts_with("post /t0/hook?x=1 http/1.1\r\n"), "{head}");
    let signature = base16ct::lower::encode_string(&key().signature(&body));
    for line in [
        &format!("x-selkie-signature: sha256={signature}"),
        "authorization: bearer b",
        "content-type: application/json",
    ] {
        assert!(head.lines().any(|other| other == line), "{line}: {head}");
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&body["format"], &body["realm"], &body["host"]),
        (&1.into(), &"prod".into(), &"selkie-1".into())
    );
    let expected = serde_json::json!({
        "kind": "client_burst", "severity": "warning", "time": "2025-11-24T16:00:00Z",
        "message": AlertKind::ClientBurst.message(), "advice": AlertKind::ClientBurst.advice(),
        "subject": "vault-eu", "repeated": 0, "client": "vault-eu", "accessor": "acc-1",
        "identity": "vault-eu", "operation": "decrypt", "key": "transit/unseal",
        "key_versions": [1], "seals": ["weu"], "address": "10.0.0.7", "network": "10.0.0.0/24",
        "request_id": "r-1", "decrypts": 21, "window_seconds": 66,
    });
    assert_eq!(body["alerts"], serde_json::json!([expected]));
    assert!(body["text"].as_str().unwrap().contains("client vault-eu, key transit/unseal"));
}

#[tokio::test]
async fn what_waits_at_the_same_time_goes_together_and_a_hundred_at_most() {
    let mut receiver = Receiving::start(None, Vec::new()).await;
    let working = Working::patient(declared(&format!("http://{}/", receiver.address)));
    (0..150).for_each(|_| working.tell(AlertKind::NewClient));
    let lengths = [receiver.next().await, receiver.next().await];
    let lengths = lengths.map(|(_, body)| body["alerts"].as_array().unwrap().len());
    assert_eq!(lengths, [100, 50]);
}

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_post_again_until_it_takes_it() {
    let replies = vec![Reply::Close, Reply::Status(500), Reply::Status(429), Reply::Status(204)];
    let mut receiver = Receiving::start(None, replies).await;
    let working = Working::patient(declared(&format!("http://{}/", receiver.address)));
    working.tell(AlertKind::NewClient);
    let first = receiver.next().await.1;
    for _ in 0..3 {
        let again = receiver.next().await.1;
        assert_eq!((&again["id"], &again["alerts"]), (&first["id"], &first["alerts"]));
    }
    working.until_posted("ok").await;
    assert_eq!((working.figures.posts("refused"), working.figures.posts("cut")), (2, 1));
    working.tell(AlertKind::NewKey);
    assert_ne!(receiver.next().await.1["id"], first["id"]);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Receiving::start(None, Vec::new()).await;
    let to = format!("http://{}/", elsewhere.address);
    let mut receiver = Receiving::start(None, vec![Reply::Redirect(to)]).await;
    let working = Working::patient(declared(&format!("http://{}/", receiver.address)));
    working.tell(AlertKind::NewClient);
    receiver.next().await;
    receiver.next().await;
    working.until_posted("ok").await;
    assert_eq!(working.figures.posts("redirected"), 1);
    assert!(elsewhere.received.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_and_asked_again() {
    let mut receiver = Receiving::start(None, vec![Reply::Hang]).await;
    // Enough for the second post, whatever machine it is.
    let timeout = Duration::from_secs(1);
    let webhook = Webhook { timeout, ..declared(&format!("http://{}/", receiver.address)) };
    let working = Working::patient(webhook);
    working.tell(AlertKind::NewClient);
    receiver.next().await;
    working.until_posted("timed_out").await;
    receiver.next().await;
    working.until_posted("ok").await;
}

#[tokio::test]
async fn a_closed_port_is_named_and_alerts_that_nobody_takes_are_counted_as_lost() {
    let webhook = declared("http://127.0.0.1:1/");
    let working = Working::start(webhook, Duration::from_millis(20));
    working.tell(AlertKind::NewClient);
    working.until_posted("connection").await;
    until(|| working.figures.losses(Loss::GivenUp) > 0).await;
    assert_eq!(working.figures.losses(Loss::GivenUp), 1);
}

#[tokio::test]
async fn tls_trusts_the_declared_authority_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let ((ours, acceptor), (other, _)) = (authority(&dir, "ours"), authority(&dir, "other"));
    let mut receiver = Receiving::start(Some(acceptor), Vec::new()).await;
    let url = format!("https://{}/", receiver.address);
    let wrong = Working::patient(Webhook { ca_file: Some(other), ..declared(&url) });
    wrong.tell(AlertKind::NewClient);
    wrong.until_posted("tls").await;
    assert!(receiver.received.try_recv().is_err());
    let right = Working::patient(Webhook { ca_file: Some(ours), ..declared(&url) });
    right.tell(AlertKind::NewKey);
    assert_eq!(receiver.next().await.1["alerts"][0]["kind"], "new_key");
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let webhook =
        Webhook { ca_file: Some(dir.path().join("none.pem")), ..declared("https://a.test/") };
    let (figures, random) = (Arc::default(), Arc::new(os_random) as Arc<Random>);
    let teller = Teller { realm: String::new(), cluster: None, host: String::new() };
    let surroundings = Surroundings { teller, clock: Arc::new(SystemClock), random, figures };
    assert!(matches!(prepare(webhook, surroundings), Err(AlertsError::Authorities { .. })));
}
