mod alerts;
mod approle;
mod audit;
mod ciphertext;
mod datagrams;
mod drill;
mod health;
mod key;
mod log;
mod policy;
mod replicas;
mod scripted;
mod snapshot;
mod takeover;
mod token;
mod unheard;
mod wrapping;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::to_bytes;
use http::{HeaderMap, StatusCode};
use selkie_access::{Policy, TokenHash, TokenText};
use selkie_config::{
    ClientName, Config, DeclaredClient, DeclaredKey, Logging, Mount, Seal, SealKind, StaticKey,
    StaticSeal, Storage, VersionRule,
};
use selkie_crypto::{Kek, KekId, KeyVersion, SealName, sha256};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

const SEAL_POLICY: &str = r#"
path "transit/encrypt/unseal" { capabilities = ["update"] }
path "transit/decrypt/unseal" { capabilities = ["update"] }
"#;

fn client(name: &str, policy: &str, period: Option<u64>) -> DeclaredClient {
    DeclaredClient {
        name: ClientName::new(name).unwrap(),
        token: Some(TokenHash::new(sha256(format!("s.{name}").as_bytes()))),
        certificate: None,
        policies: vec![policy.parse().unwrap()],
        period: period.map(Duration::from_secs),
        token_bound_cidrs: Vec::new(),
        no_default_policy: false,
    }
}

fn static_seal() -> Seal {
    let key = Kek::init_with(|bytes| bytes.fill(7)).unwrap();
    let current = StaticKey { id: KekId::new("k1").unwrap(), key };
    Seal {
        aliases: Vec::new(),
        name: SealName::new("dev").unwrap(),
        priority: 1,
        disabled: false,
        kind: SealKind::Static(StaticSeal { current, previous: Vec::new() }),
    }
}

fn config() -> Config {
    let seal_policy = Policy::parse("seal".parse().unwrap(), "seal.hcl", SEAL_POLICY).unwrap();
    Config {
        realm: "test".into(),
        realm_aliases: Vec::new(),
        origin_key: None,
        logging: Logging::default(),
        sandbox: selkie_config::SandboxMode::Off,
        api_addr: None,
        cluster_name: None,
        pid_file: None,
        data_dir: None,
        local_key: None,
        lock_all_memory: false,
        audit: selkie_config::Audit::default(),
        listeners: Vec::new(),
        seals: vec![static_seal()],
        revoked_seals: Vec::new(),
        storage: Some(Storage::InMemory),
        alerts: None,
        telemetry: selkie_config::Telemetry::default(),
        mounts: Mount::default_list(),
        keys: vec![DeclaredKey {
            name: "unseal".parse().unwrap(),
            mount: "transit".parse().unwrap(),
            seals: vec![SealName::new("dev").unwrap()],
            quorum: 1,
            version: VersionRule::Counted { generation: 0 },
            min_decryption_version: KeyVersion::FIRST,
            min_encryption_version: None,
        }],
        takeovers: Vec::new(),
        clients: vec![client("root", "root", None), client("vault", "seal", Some(86_400))],
        policies: vec![seal_policy],
        auth: Vec::new(),
        leases: selkie_config::LeaseTimes::default(),
        allow_faults: false,
        faults: None,
        warnings: Vec::new(),
    }
}

struct Api(Router);

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn error(&self) -> (u16, String) {
        let text = self.json()["errors"][0].as_str().unwrap_or("").to_owned();
        (self.status.as_u16(), text)
    }
}

impl Api {
    async fn start() -> Self {
        Self::start_with(config()).await
    }

    async fn start_with(config: Config) -> Self {
        Self::on(Node::start(config).await.unwrap())
    }

    fn on(node: Node) -> Self {
        Self::admitting(InFlight::new(8, Duration::ZERO), node)
    }

    fn admitting(in_flight: InFlight, node: Node) -> Self {
        Self(router(Arc::new(node), BodyLimits::default(), in_flight))
    }

    async fn send(&self, token: &str, method: &str, path: &str, body: impl ToString) -> Answer {
        let request = Request::builder().method(method).uri(format!("/v1/{path}"));
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        if !token.is_empty() {
            request.headers_mut().insert("x-vault-token", token.parse().unwrap());
        }
        self.exchange(request).await
    }

    async fn exchange(&self, mut request: Request<Body>) -> Answer {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        request.extensions_mut().insert(Arc::new(ConnectionInfo::plain("test", peer)));
        let (parts, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn encrypt(&self, key: &str) -> String {
        let body = json!({ "plaintext": "aGVsbG8=" });
        let answer = self.send("s.root", "PUT", &format!("transit/encrypt/{key}"), body).await;
        answer.json()["data"]["ciphertext"].as_str().unwrap().to_owned()
    }
}

/// A restarting Vault's first act is an encrypt, without which it does not start.
#[tokio::test]
async fn decrypts_that_wait_for_a_kms_leave_places_to_encrypts() {
    let in_flight = InFlight::new(4, Duration::ZERO);
    let api = Api::admitting(in_flight.clone(), Node::start(config()).await.unwrap());
    let ciphertext = json!({ "ciphertext": api.encrypt("unseal").await });
    let mut waiting = Vec::new();
    for client in 0.. {
        let Ok(place) = in_flight.admit_waiting(client).await else { break };
        waiting.push(place);
    }
    for refused in ["decrypt", "rewrap"] {
        let path = format!("transit/{refused}/unseal");
        let answer = api.send("s.root", "PUT", &path, &ciphertext).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
    }
    api.encrypt("unseal").await;
    drop(waiting);
    let answer = api.send("s.root", "PUT", "transit/decrypt/unseal", &ciphertext).await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// One client's seal may hang where another's is well.
#[tokio::test]
async fn decrypts_of_one_client_that_wait_for_a_kms_leave_places_to_those_of_others() {
    let in_flight = InFlight::new(8, Duration::ZERO);
    let node = Node::start(config()).await.unwrap();
    let token = TokenText::from_header(b"s.root").unwrap();
    let address = Ipv4Addr::LOCALHOST.into();
    let credentials = Credentials { token: Some(&token), certificate: None, address };
    let root = node.auth().authenticate(&node.deployment(), credentials).await.unwrap();
    let api = Api::admitting(in_flight.clone(), node);
    let ciphertext = json!({ "ciphertext": api.encrypt("unseal").await });
    let decrypts =
        async |token| api.send(token, "PUT", "transit/decrypt/unseal", &ciphertext).await.status;
    let mut waiting = Vec::new();
    while let Ok(place) = in_flight.admit_waiting(root.tag.number()).await {
        waiting.push(place);
    }
    assert_eq!(waiting.len(), 2);
    assert_eq!(decrypts("s.root").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(decrypts("s.vault").await, StatusCode::OK);
    drop(waiting);
    assert_eq!(decrypts("s.root").await, StatusCode::OK);
}

#[tokio::test]
async fn the_envelope_of_a_reply_has_all_of_vaults_members() {
    let api = Api::start().await;
    let made = api.send("s.root", "GET", "transit/keys/unseal", "").await;
    let json = made.json();
    let members: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    for member in [
        "request_id",
        "lease_id",
        "renewable",
        "lease_duration",
        "data",
        "wrap_info",
        "warnings",
        "auth",
    ] {
        assert!(members.contains(&member), "{member}");
    }
    assert!(made.text.ends_with("}\n"));
}

#[tokio::test]
async fn what_operators_ask_is_answered() {
    let api = Api::start().await;
    let health = api.send("", "GET", "sys/health?activecode=299", "").await;
    assert_eq!(health.status.as_u16(), 299);
    let status = api.send("", "GET", "sys/seal-status", "").await.json();
    assert_eq!((&status["sealed"], &status["type"]), (&json!(false), &json!("static")));
    assert_eq!(api.send("", "GET", "sys/init", "").await.json(), json!({ "initialized": true }));
    let list = api.send("s.root", "GET", "transit/keys?list=true", "").await.json();
    assert_eq!(list["data"]["keys"], json!(["unseal"]));
    let mounts = api.send("s.root", "GET", "sys/mounts", "").await.json();
    assert_eq!(mounts["data"]["transit/"]["type"], "transit");
    assert_eq!(mounts["transit/"]["type"], "transit");
    let body = json!({ "paths": ["transit/encrypt/unseal"] });
    let own = api.send("s.vault", "POST", "sys/capabilities-self", body).await.json();
    assert_eq!(own["capabilities"], json!(["update"]));
    let preflight = api.send("s.vault", "GET", "sys/internal/ui/mounts/transit/", "").await;
    assert_eq!(preflight.json()["data"]["path"], "transit/");
    let nobody = api.send("", "GET", "sys/internal/ui/mounts", "").await.json();
    assert_eq!(nobody["data"], json!({ "auth": {}, "secret": {} }));
}

#[tokio::test]
async fn nothing_of_a_request_is_echoed_in_an_error() {
    let api = Api::start().await;
    let secret = "c2VjcmV0LXNlY3JldA";
    for body in [
        json!({ "plaintext": [secret] }).to_string(),
        json!({ "plaintext": { "a": secret } }).to_string(),
        json!({ "plaintext": secret }).to_string(),
        json!({ "batch_input": secret }).to_string(),
        json!({ "batch_input": [secret] }).to_string(),
        json!({ "batch_input": [{ "plaintext": [secret] }] }).to_string(),
        format!("{{\"plaintext\":\"{secret}"),
    ] {
        let answer = api.send("s.vault", "PUT", "transit/encrypt/unseal", &body).await;
        assert!(answer.status.is_client_error() || answer.status.is_server_error(), "{body}");
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_request_is_worked_on_in_little_room() {
    let node = Arc::new(Node::start(config()).await.unwrap());
    let api = crate::api::Api::new(node, BodyLimits::default(), InFlight::new(8, Duration::ZERO));
    let work = api.answer(Request::new(Body::empty()));
    // It is moved to the heap and wiped there: each kilobyte costs every request.
    assert!(size_of_val(&work) < 6 << 10, "{} bytes", size_of_val(&work));
}
