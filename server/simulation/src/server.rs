//! One process of the real server, asked through its real router.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::Request;
use selkie::api::{BodyLimits, router};
use selkie::clock::Clock;
use selkie::deployment::Deployment;
use selkie::node::Node;
use selkie::seal::{Connection, Seal, Seals, Setup};
use selkie_access::{Policy, TokenHash};
use selkie_config::{ClientName, Config, DeclaredClient, DeclaredKey, Mount, VersionRule};
use selkie_crypto::{KeyVersion, SealName, sha256};
use selkie_kms::{Governor, GovernorSettings, Kms};
use selkie_listener::{ConnectionInfo, InFlight};
use selkie_storage::Store;
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::chance::Chance;
use crate::life::Life;

/// How often a server asks its KMSs for news.
pub(crate) const POLL: Duration = Duration::from_secs(60);
/// The key that the configuration declares.
pub(crate) const DECLARED: &str = "declared";
/// Who may do everything, and the declared seal client that may use [`DECLARED`] alone.
pub(crate) const ROOT: &str = "s.root";
pub(crate) const VAULT: &str = "s.vault";
/// The text of [`VAULT`]'s policy.
const VAULT_POLICY: &str = r#"
path "transit/encrypt/declared" { capabilities = ["update"] }
path "transit/decrypt/declared" { capabilities = ["update"] }
path "transit/rewrap/declared" { capabilities = ["update"] }
"#;
/// The same, read once.
static POLICY: LazyLock<Policy> =
    LazyLock::new(|| Policy::parse("vault".parse().unwrap(), "vault.hcl", VAULT_POLICY).unwrap());

/// What a process is started on.
pub(crate) struct Site {
    /// Its master keys by name, the first one first, and whether each is disabled.
    pub(crate) seals: Vec<(&'static str, Arc<dyn Kms>, bool)>,
    /// Of the declared key, raised with each change of its seals.
    pub(crate) generation: u32,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Chance,
    pub(crate) life: Life,
}

/// A process that runs.
#[derive(Clone)]
pub(crate) struct Server {
    api: Router,
    life: Life,
}

/// What a client got.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// 0: the connection broke.
    pub(crate) status: u16,
    pub(crate) json: Value,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn error(&self) -> &str {
        self.json["errors"][0].as_str().unwrap_or("")
    }

    pub(crate) fn data(&self, field: &str) -> &Value {
        &self.json["data"][field]
    }

    pub(crate) fn is_ok(&self) -> bool {
        matches!(self.status, 200 | 204)
    }

    /// Whether what was asked for has certainly not happened.
    pub(crate) fn is_refused(&self) -> bool {
        (400..500).contains(&self.status)
    }
}

impl Server {
    pub(crate) async fn start(site: Site) -> Self {
        let Site { seals, generation, store, clock, chance, life } = site;
        let enabled = seals.iter().filter(|(.., disabled)| !disabled);
        let names = enabled.map(|(name, ..)| SealName::new(name).unwrap()).collect();
        let random = chance.into_random();
        let seal = |(name, kms, disabled): (&str, Arc<dyn Kms>, bool)| {
            let settings = GovernorSettings::default();
            let governor = Arc::new(Governor::new(kms, settings, Arc::clone(&random)));
            let setup = Setup {
                name: SealName::new(name).unwrap(),
                kind: "simulated",
                kms: Arc::clone(&governor) as _,
                governor: Some(governor),
                target: format!("simulated/{name}"),
                former_targets: Vec::new(),
                settings: [0; 32],
                fingerprints: Vec::new(),
                poll_interval: POLL,
                pin: None,
                examiner: None,
                upstream: None,
            };
            Seal::new(disabled, Connection::new(setup))
        };
        let seals = Seals::new(seals.into_iter().map(seal).collect()).resumed(None);
        let deployment = Deployment::assemble(config(names, generation), seals).unwrap();
        let node = Arc::new(Node::simulated(deployment, store, clock, random).await);
        let in_flight = InFlight::new(64, Duration::from_secs(1));
        let api = router(node, BodyLimits::default(), in_flight);
        Self { api, life }
    }

    /// One request, and what its sender gets. If the process dies, the connection breaks.
    pub(crate) async fn send(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        let began = Instant::now();
        let request = Request::builder().method(method).uri(format!("/v1/{path}"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = request.body(Body::from(body)).unwrap();
        request.headers_mut().insert("x-vault-token", token.parse().unwrap());
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        request.extensions_mut().insert(Arc::new(ConnectionInfo::plain("simulated", peer)));
        let exchange = async {
            let (parts, body) = self.api.clone().oneshot(request).await.unwrap().into_parts();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or(Value::Null))
        };
        let (status, json) = tokio::select! {
            biased;
            () = self.life.ended() => (0, Value::Null),
            answer = exchange => answer,
        };
        Answer { status, json, took: began.elapsed() }
    }
}

fn client(token: &str, policy: &str) -> DeclaredClient {
    DeclaredClient {
        name: ClientName::new(&token[2..]).unwrap(),
        token: Some(TokenHash::new(sha256(token.as_bytes()))),
        certificate: None,
        policies: vec![policy.parse().unwrap()],
        period: None,
        token_bound_cidrs: Vec::new(),
        no_default_policy: false,
    }
}

fn config(seals: Vec<SealName>, generation: u32) -> Config {
    Config {
        realm: "simulated".into(),
        realm_aliases: Vec::new(),
        origin_key: None,
        logging: selkie_config::Logging::default(),
        api_addr: None,
        cluster_name: None,
        pid_file: None,
        data_dir: None,
        local_key: None,
        lock_all_memory: false,
        sandbox: selkie_config::SandboxMode::Off,
        audit: selkie_config::Audit::default(),
        listeners: Vec::new(),
        seals: Vec::new(),
        revoked_seals: Vec::new(),
        storage: None,
        alerts: None,
        telemetry: selkie_config::Telemetry::default(),
        mounts: Mount::default_list(),
        keys: vec![DeclaredKey {
            name: DECLARED.parse().unwrap(),
            mount: "transit".parse().unwrap(),
            seals,
            quorum: 1,
            version: VersionRule::Counted { generation },
            min_decryption_version: KeyVersion::FIRST,
            min_encryption_version: None,
        }],
        takeovers: Vec::new(),
        clients: vec![client(ROOT, "root"), client(VAULT, "vault")],
        policies: vec![POLICY.clone()],
        auth: Vec::new(),
        leases: selkie_config::LeaseTimes::default(),
        allow_faults: false,
        faults: None,
        warnings: Vec::new(),
    }
}
