mod alerts;
mod approle;
mod audit;
mod drill;
mod log;
mod policy;
mod replicas;
mod scripted;
mod snapshot;
mod takeover;
mod token;
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
async fn a_seal_client_encrypts_and_decrypts_with_its_scoped_token() {
    let api = Api::start().await;
    let made =
        api.send("s.vault", "PUT", "transit/encrypt/unseal", r#"{"plaintext":"YQ=="}"#).await;
    assert_eq!(made.status, StatusCode::OK);
    assert_eq!(made.json()["data"]["key_version"], 1);
    let ciphertext = made.json()["data"]["ciphertext"].clone();
    assert_eq!(ciphertext.as_str().unwrap().split(':').count(), 3);
    let body = json!({ "ciphertext": ciphertext });
    let opened = api.send("s.vault", "PUT", "transit/decrypt/unseal", body).await;
    assert_eq!(opened.json()["data"], json!({ "plaintext": "YQ==" }));
    for header in ["content-type", "cache-control"] {
        assert!(opened.headers.contains_key(header), "{header}");
    }
    assert_eq!(opened.headers["content-type"], "application/json");
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
async fn a_scoped_token_can_do_nothing_else() {
    let api = Api::start().await;
    let denied = (403, "1 error occurred:\n\t* permission denied\n\n".to_owned());
    for (method, path) in [
        ("PUT", "transit/encrypt/other"),
        ("PUT", "transit/decrypt/other"),
        ("PUT", "transit/rewrap/unseal"),
        ("GET", "transit/keys/unseal"),
        ("LIST", "transit/keys"),
        ("POST", "transit/keys/unseal"),
        ("POST", "transit/keys/unseal/rotate"),
        ("DELETE", "transit/keys/unseal"),
        ("GET", "sys/mounts"),
        ("GET", "nowhere/at/all"),
        ("PUT", "auth/token/create"),
    ] {
        let answer = api.send("s.vault", method, path, "{}").await;
        assert_eq!(answer.error(), denied, "{method} {path}");
    }
}

#[tokio::test]
async fn missing_and_unknown_tokens_get_one_answer() {
    let api = Api::start().await;
    for token in ["", "s.unknown", "s.root ", "s.vault\u{7f}"] {
        let Ok(_) = token.parse::<http::HeaderValue>() else { continue };
        for path in ["transit/encrypt/unseal", "transit/encrypt/none", "nowhere", "sys/mounts"] {
            let answer = api.send(token.trim_end(), "PUT", path, "not json").await;
            if token.trim_end() != "s.root" {
                assert_eq!(answer.error(), (403, "permission denied".to_owned()), "{token:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_bearer_authorization_is_a_token_too() {
    let api = Api::start().await;
    let request = Request::builder().uri("/v1/auth/token/lookup-self");
    let request = request.header("authorization", "Bearer s.vault").body(Body::empty()).unwrap();
    assert_eq!(api.exchange(request).await.json()["data"]["display_name"], "vault");
}

/// Invariant I4.
#[tokio::test]
async fn uniform_failure_every_reason_inside_the_envelope_gets_the_same_answer() {
    let api = Api::start().await;
    for key in ["one", "two"] {
        api.send("s.root", "POST", &format!("transit/keys/{key}"), "{}").await;
    }
    let good = api.encrypt("one").await;
    let other = api.encrypt("two").await;
    let (head, body) = good.split_at("vault:v1:".len());
    let flipped = |at: usize| {
        let mut bytes = body.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        format!("{head}{}", String::from_utf8(bytes).unwrap())
    };
    let mut bodies = vec![
        other,
        format!("{head}AAAA"),
        head.to_owned(),
        good.replacen("v1", "v0", 1),
        format!("{head}{}", &body[..body.len() - 4]),
    ];
    bodies.extend((0..body.len() - 2).step_by(7).map(flipped));
    for ciphertext in bodies {
        let body = json!({ "ciphertext": ciphertext });
        let answer = api.send("s.root", "PUT", "transit/decrypt/one", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (400, "{\"errors\":[\"cipher: message authentication failed\"]}\n"),
            "{ciphertext}"
        );
    }
}

#[tokio::test]
async fn an_encrypt_creates_its_key_only_with_create() {
    let api = Api::start().await;
    let body = json!({ "plaintext": "YQ==" });
    let made = api.send("s.root", "PUT", "transit/encrypt/fresh", &body).await;
    assert_eq!(made.status, StatusCode::OK);
    let read = api.send("s.root", "GET", "transit/keys/fresh", "").await;
    assert_eq!(read.json()["data"]["latest_version"], 1);
    let body = json!({ "plaintext": "YQ==", "type": "rsa-2048" });
    let refused = api.send("s.root", "PUT", "transit/encrypt/fresh2", body).await;
    assert_eq!(refused.error(), (400, "key type rsa-2048 is not supported".to_owned()));
    let read = api.send("s.root", "GET", "transit/keys/fresh2", "").await;
    assert_eq!((read.status.as_u16(), read.text.as_str()), (404, "{\"errors\":[]}\n"));
}

#[tokio::test]
async fn renewal_answers_as_the_eras_of_seal_clients_need_it() {
    let api = Api::start().await;
    let renewed = api.send("s.vault", "PUT", "auth/token/renew-self", r#"{"increment":0}"#).await;
    let auth = &renewed.json()["auth"];
    assert_eq!(renewed.status, StatusCode::OK);
    assert_eq!(auth["client_token"], "s.vault");
    assert_eq!((&auth["renewable"], &auth["lease_duration"]), (&json!(true), &json!(86_400)));
    let root = api.send("s.root", "PUT", "auth/token/renew-self", r#"{"increment":0}"#).await;
    assert_eq!(root.error(), (400, "invalid lease ID".to_owned()));
}

#[tokio::test]
async fn a_declared_key_cannot_be_changed_and_the_error_says_where_it_is() {
    let api = Api::start().await;
    for (method, path) in [
        ("POST", "transit/keys/unseal/rotate"),
        ("POST", "transit/keys/unseal/config"),
        ("DELETE", "transit/keys/unseal"),
    ] {
        let (status, text) = api.send("s.root", method, path, "{}").await.error();
        assert_eq!(status, 400, "{path}");
        assert!(text.contains("declared in the configuration"), "{text}");
    }
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_names_each_failure() {
    let api = Api::start().await;
    let good = api.encrypt("unseal").await;
    let body = json!({ "batch_input": [
        { "ciphertext": good, "reference": "a" },
        { "ciphertext": "vault:v1:AAAA", "reference": "b" },
    ]});
    let answer = api.send("s.root", "PUT", "transit/decrypt/unseal", body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.json()["data"]["batch_results"],
        json!([
            { "plaintext": "aGVsbG8=", "reference": "a" },
            { "plaintext": "", "error": "cipher: message authentication failed", "reference": "b" },
        ])
    );
}

#[tokio::test]
async fn a_rewrap_moves_a_ciphertext_to_the_latest_version() {
    let api = Api::start().await;
    api.send("s.root", "POST", "transit/keys/k", "{}").await;
    let old = api.encrypt("k").await;
    api.send("s.root", "POST", "transit/keys/k/rotate", "").await;
    let body = json!({ "ciphertext": old });
    let answer = api.send("s.root", "POST", "transit/rewrap/k", body).await;
    let new = answer.json()["data"]["ciphertext"].as_str().unwrap().to_owned();
    assert!(new.starts_with("vault:v2:"));
    let opened =
        api.send("s.root", "POST", "transit/decrypt/k", json!({ "ciphertext": new })).await;
    assert_eq!(opened.json()["data"]["plaintext"], "aGVsbG8=");
}

#[tokio::test]
async fn faults_outside_the_envelope_have_vaults_own_words() {
    let api = Api::start().await;
    for (body, text) in [
        (json!({}), "missing ciphertext to decrypt"),
        (json!({ "ciphertext": "x" }), "invalid ciphertext: no prefix"),
        (json!({ "ciphertext": "vault:v1" }), "invalid ciphertext: wrong number of fields"),
        (
            json!({ "ciphertext": "vault:vx:AAAA" }),
            "invalid ciphertext: version number could not be decoded",
        ),
        (json!({ "ciphertext": "vault:v2:AAAA" }), "invalid ciphertext: version is too new"),
        (json!({ "ciphertext": "vault:v1:A" }), "invalid ciphertext: could not decode base64"),
    ] {
        let answer = api.send("s.vault", "PUT", "transit/decrypt/unseal", &body).await;
        assert_eq!(answer.error(), (400, text.to_owned()), "{body}");
    }
    let missing = api.send("s.root", "PUT", "transit/decrypt/none", json!({ "ciphertext": "x" }));
    assert_eq!(missing.await.error(), (400, "encryption key not found".to_owned()));
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
async fn a_health_status_that_must_have_no_body_has_none() {
    let api = Api::start().await;
    for code in ["204", "205", "304"] {
        let health = api.send("", "GET", &format!("sys/health?activecode={code}"), "").await;
        assert_eq!((health.status.as_str(), &*health.text), (code, ""));
    }
}

#[tokio::test]
async fn a_lookup_by_post_needs_the_capability_update() {
    let mut config = config();
    let rule = r#"path "auth/token/lookup-self" { capabilities = ["update"] }"#;
    let policy = Policy::parse("writes".parse().unwrap(), "writes.hcl", rule).unwrap();
    config.policies.push(policy);
    config
        .clients
        .push(DeclaredClient { no_default_policy: true, ..client("writer", "writes", None) });
    let api = Api::start_with(config).await;
    let path = "auth/token/lookup-self";
    for (token, method, status) in [
        ("s.vault", "GET", 200),
        ("s.vault", "PUT", 403),
        ("s.vault", "POST", 403),
        ("s.writer", "GET", 403),
        ("s.writer", "PUT", 200),
        ("s.writer", "POST", 200),
    ] {
        let answer = api.send(token, method, path, "").await;
        assert_eq!(answer.status.as_u16(), status, "{token} {method}");
    }
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
async fn the_state_of_the_seals_is_told_to_who_may_read_it() {
    let api = Api::start().await;
    let path = "sys/seal-backend-status";
    let answer = api.send("s.root", "GET", path, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let body: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((&body["healthy"], &body["data"]["healthy"]), (&json!(true), &json!(true)));
    let backend = &body["backends"][0];
    assert_eq!(backend["name"], "dev");
    assert_eq!(backend["current_version"], "k1");
    assert_eq!(backend["trusted_by"], "configured");
    assert_eq!(api.send("", "GET", path, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(api.send("s.vault", "GET", path, "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn figures_are_told_in_prometheus_own_form_and_in_no_other() {
    let api = Api::start().await;
    api.encrypt("unseal").await;
    let answer = api.send("s.root", "GET", "sys/metrics?format=prometheus", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers["content-type"].to_str().unwrap().contains("openmetrics"));
    for line in [
        r#"selkie_operations_total{operation="encrypt",outcome="ok"} 1"#,
        r#"selkie_seal_up{seal="dev"} 1"#,
        r#"selkie_seal_trusted{seal="dev"} 1"#,
    ] {
        assert!(answer.text.lines().any(|other| other == line), "{line}: {}", answer.text);
    }
    let other = api.send("s.root", "GET", "sys/metrics?format=json", "").await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    assert_eq!(api.send("", "GET", "sys/metrics", "").await.status, StatusCode::FORBIDDEN);
}

/// A node whose only master key is behind the faults of `site`.
async fn node_on(site: &crate::seal::tests::Site) -> Node {
    let mut config = config();
    config.seals.clear();
    config.keys[0].seals = vec![SealName::new("weu").unwrap()];
    let deployment = Deployment::assemble(config, site.seals()).unwrap();
    let clock = Arc::new(crate::clock::SystemClock);
    Node::begin(deployment, crate::transit::ManagedKeys::without_store(), clock).await
}

/// Invariant I10.
#[tokio::test(start_paused = true)]
async fn health_says_503_only_while_no_key_at_all_can_be_served() {
    use selkie_kms::{Fault, KmsError};
    let site = crate::seal::tests::Site::new();
    site.faults.on_describe().always(Fault::fail(KmsError::Unavailable(None)));
    let api = Api::on(node_on(&site).await);
    let health = async |query: &str| {
        let answer = api.send("", "GET", &format!("sys/health{query}"), "").await;
        let (status, body) = (answer.status.as_u16(), answer.json());
        (status, body["initialized"] == true, body["sealed"] == true)
    };
    let seal_status = async || api.send("", "GET", "sys/seal-status", "").await.json();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(health("").await, (503, true, true));
    assert_eq!(health("?sealedcode=299&activecode=298").await, (299, true, true));
    let sealed = seal_status().await;
    assert_eq!((&sealed["sealed"], sealed.get("cluster_id")), (&json!(true), None));
    site.faults.on_describe().clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(health("").await, (200, true, false));
    assert_eq!(seal_status().await["sealed"], false);
    site.faults.on_describe().always(Fault::fail(KmsError::Unavailable(None)));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(health("").await, (200, true, false), "it encrypts without the KMS");
}

/// Invariant I10.
#[tokio::test(start_paused = true)]
async fn the_client_is_told_whether_to_try_again() {
    use selkie_kms::{Fault, KmsError};
    for (error, status, text) in [
        (KmsError::Unavailable(None), 503, "no master key of this key can be reached"),
        (KmsError::Denied(None), 400, "the master key cannot be used: its KMS denies access"),
        (
            KmsError::UnknownKek(None),
            400,
            "the master key cannot be used: it does not exist in its KMS",
        ),
    ] {
        let site = crate::seal::tests::Site::new();
        site.faults.on_describe().always(Fault::fail(error));
        let api = Api::on(node_on(&site).await);
        let body = json!({ "plaintext": "aGVsbG8=" });
        let answer = api.send("s.root", "PUT", "transit/encrypt/unseal", body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert!(answer.text.contains(text), "{}", answer.text);
        let read = api.send("s.root", "GET", "transit/keys/unseal", "").await;
        assert_eq!(read.status.as_u16(), status, "a version that is not known is not guessed");
    }
}

/// Vault's own answer, which every seal client tries again.
#[tokio::test]
async fn while_the_store_is_not_open_unknown_keys_are_sealed_and_never_missing() {
    let deployment = Deployment::connect(config()).await.unwrap();
    let keys = crate::transit::ManagedKeys::awaiting_store();
    let clock = Arc::new(crate::clock::SystemClock);
    let api = Api::on(Node::begin(deployment, keys, clock).await);
    let plaintext = json!({ "plaintext": "aGVsbG8=" });
    for (method, path, body) in [
        ("PUT", "transit/encrypt/managed", plaintext.clone()),
        ("PUT", "transit/decrypt/managed", json!({ "ciphertext": "vault:v1:AAAA" })),
        ("PUT", "transit/rewrap/managed", json!({ "ciphertext": "vault:v1:AAAA" })),
        ("PUT", "transit/keys/managed", json!({})),
        ("PUT", "transit/keys/managed/rotate", json!({})),
        ("PUT", "transit/keys/managed/config", json!({ "deletion_allowed": true })),
        ("GET", "transit/keys/managed", json!("")),
        ("DELETE", "transit/keys/managed", json!("")),
        ("LIST", "transit/keys", json!("")),
    ] {
        let answer = api.send("s.root", method, path, body).await;
        assert_eq!(answer.status.as_u16(), 503, "{method} {path}: {}", answer.text);
        assert_eq!(answer.json()["errors"], json!(["Vault is sealed"]), "{method} {path}");
    }
    let declared = api.send("s.root", "PUT", "transit/encrypt/unseal", plaintext).await;
    assert_eq!(declared.status, StatusCode::OK, "{}", declared.text);
}

#[tokio::test]
async fn a_request_is_worked_on_in_little_room() {
    let node = Arc::new(Node::start(config()).await.unwrap());
    let api = crate::api::Api::new(node, BodyLimits::default(), InFlight::new(8, Duration::ZERO));
    let work = api.answer(Request::new(Body::empty()));
    // It is moved to the heap and wiped there: each kilobyte costs every request.
    assert!(size_of_val(&work) < 6 << 10, "{} bytes", size_of_val(&work));
}

#[tokio::test]
async fn what_could_not_be_sent_to_be_decrypted_is_not_encrypted() {
    let limits = BodyLimits { bytes: 4096, ..BodyLimits::default() };
    let in_flight = InFlight::new(8, Duration::ZERO);
    let node = Arc::new(Node::start(config()).await.unwrap());
    let wide = Api(router(Arc::clone(&node), BodyLimits::default(), in_flight.clone()));
    let api = Api(router(node, limits, in_flight));
    let plaintext = |bytes: usize| json!({ "plaintext": "YWFh".repeat(bytes / 3) });
    let too_large = (413, "http: request body too large".to_owned());
    let batch = json!({ "batch_input": [plaintext(3), plaintext(2400)] });
    for body in [plaintext(2400), batch] {
        assert!(body.to_string().len() < limits.bytes);
        let refused = api.send("s.vault", "PUT", "transit/encrypt/unseal", &body).await;
        assert_eq!(refused.error(), too_large);
        let made = wide.send("s.vault", "PUT", "transit/encrypt/unseal", &body).await;
        assert_eq!(made.status, StatusCode::OK);
    }
    let made = api.send("s.vault", "PUT", "transit/encrypt/unseal", plaintext(900)).await.json();
    let opened = api.send("s.vault", "PUT", "transit/decrypt/unseal", &made["data"]).await;
    assert_eq!(opened.json()["data"]["plaintext"], plaintext(900)["plaintext"]);
}
