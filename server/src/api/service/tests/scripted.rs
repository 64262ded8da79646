use std::fs;

use http_body_util::BodyExt;
use selkie_config::Faults;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::*;
use crate::api::scripted;

/// An API that misbehaves as this script says.
async fn misbehaving(script: &str, config: Config) -> (Api, Arc<Node>) {
    let faults = Some(Faults::parse("x", script).unwrap());
    let config = Config { faults, allow_faults: true, ..config };
    let node = Arc::new(Node::start(config).await.unwrap());
    let api = Api::on_shared(Arc::clone(&node));
    let bench = Arc::clone(node.bench().unwrap());
    (Api(scripted(api.0, Arc::clone(&node), bench)), node)
}

async fn api(script: &str) -> Api {
    misbehaving(script, config()).await.0
}

fn fault(text: &str) -> String {
    format!("fault \"a\" {{\n{text}\n}}\n")
}

impl Api {
    fn on_shared(node: Arc<Node>) -> Self {
        Self(router(node, BodyLimits::default(), InFlight::new(8, Duration::ZERO)))
    }

    async fn sealed(&self) -> Answer {
        let body = json!({ "plaintext": "aGVsbG8=" });
        self.send("s.vault", "PUT", "transit/encrypt/unseal", body).await
    }

    /// Whether the answer's body breaks off, and what came of it.
    async fn broken(&self, path: &str) -> (bool, usize, Option<u64>) {
        let request = Request::builder().method("GET").uri(format!("/v1/{path}"));
        let request = request.body(Body::empty()).unwrap();
        let mut body = self.0.clone().oneshot(request).await.unwrap().into_body();
        let announced = http_body::Body::size_hint(&body).exact();
        let mut came = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => came += frame.into_data().unwrap().len(),
                Err(_) => return (true, came, announced),
            }
        }
        (false, came, announced)
    }
}

#[tokio::test]
async fn a_status_comes_with_vaults_own_words() {
    for (status, path, words) in [
        (400, "transit/decrypt/unseal", "cipher: message authentication failed"),
        (400, "transit/encrypt/unseal", "encryption key not found"),
        (400, "auth/token/renew-self", "lease is not renewable"),
        (403, "transit/encrypt/unseal", "permission denied"),
        (404, "transit/encrypt/unseal", ""),
        (
            429,
            "transit/encrypt/unseal",
            "request path \"transit/encrypt/unseal\": rate limit quota exceeded",
        ),
        (500, "transit/encrypt/unseal", "1 error occurred:\n\t* internal error\n\n"),
        (503, "transit/encrypt/unseal", "Vault is sealed"),
    ] {
        let api = api(&fault(&format!("status = {status}"))).await;
        let answer = api.send("s.vault", "PUT", path, "{}").await;
        assert_eq!(answer.error(), (status, words.to_owned()));
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let api = api(&fault("status = 503\nerror = \"on fire\"")).await;
    assert_eq!(api.sealed().await.error(), (503, "on fire".to_owned()));
}

#[tokio::test]
async fn what_a_proxy_answers_is_no_json() {
    for (script, status) in
        [("status = 502", 502), ("status = 504", 504), ("body = \"garbage\"", 200)]
    {
        let answer = api(&fault(script)).await.sealed().await;
        assert_eq!(answer.status.as_u16(), status);
        assert!(answer.text.starts_with("<html>"), "{}", answer.text);
    }
    let answer = api(&fault("body = \"empty\"")).await.sealed().await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_sealed_server_says_so_in_health_and_to_everyone() {
    let api = api(&fault("sealed = true\nfirst = 3")).await;
    let health = api.send("", "GET", "sys/health", "").await;
    assert_eq!(health.status.as_u16(), 503);
    assert_eq!(
        (&health.json()["sealed"], &health.json()["initialized"]),
        (&json!(true), &json!(true))
    );
    let chosen = api.send("", "GET", "sys/health?sealedcode=299", "").await;
    assert_eq!(chosen.status.as_u16(), 299);
    assert_eq!(api.sealed().await.error(), (503, "Vault is sealed".to_owned()));
    let health = api.send("", "GET", "sys/health", "").await;
    assert_eq!((health.status.as_u16(), &health.json()["sealed"]), (200, &json!(false)));
    assert_eq!(health.json()["faults_happened"], 3, "who watches it sees that it is a test bench");
}

#[tokio::test]
async fn a_wrong_plaintext_is_another_one_of_the_same_length() {
    let api = api(&fault("on = [\"decrypt\"]\nplaintext = \"wrong\"")).await;
    for plaintext in ["YQ==", "YWI=", "YWJj", "aGVsbG8gd29ybGQ="] {
        let body = json!({ "plaintext": plaintext });
        let made = api.send("s.vault", "PUT", "transit/encrypt/unseal", body).await;
        let body = json!({ "ciphertext": made.json()["data"]["ciphertext"] });
        let opened = api.send("s.vault", "PUT", "transit/decrypt/unseal", body).await;
        let wrong = opened.json()["data"]["plaintext"].as_str().unwrap().to_owned();
        assert_ne!(wrong, plaintext);
        assert_eq!(wrong.len(), plaintext.len());
        assert_eq!(wrong.matches('=').count(), plaintext.matches('=').count());
    }
}

#[tokio::test]
async fn a_wrong_version_is_in_the_ciphertext_and_beside_it() {
    let api = api(&fault("on = [\"encrypt\"]\nversion = 41\nfirst = 1")).await;
    let data = api.sealed().await.json()["data"].clone();
    assert!(data["ciphertext"].as_str().unwrap().starts_with("vault:v41:"), "{data}");
    assert_eq!(data["key_version"], 41);
    assert_eq!(api.sealed().await.json()["data"]["key_version"], 1);
}

#[tokio::test(start_paused = true)]
async fn bodies_break_off_where_the_script_says() {
    let (is_broken, came, announced) =
        api(&fault("body = \"truncated\"")).await.broken("sys/health").await;
    let announced = usize::try_from(announced.unwrap()).unwrap();
    assert!(is_broken && came > 0 && came == announced / 2, "{came} of {announced}");
    let closed = api(&fault("connection = \"close\"")).await.broken("sys/health").await;
    assert_eq!(closed, (true, 0, Some(1)), "it fails before anything can leave");
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_waited_for_and_a_hang_never_ends() {
    let slow = api(&fault("delay = \"5s\"")).await;
    let began = Instant::now();
    assert_eq!(slow.sealed().await.status, StatusCode::OK);
    assert!(began.elapsed() >= Duration::from_secs(5));
    let hung = api(&fault("connection = \"hang\"")).await;
    assert!(timeout(Duration::from_secs(3600), hung.sealed()).await.is_err());
}

#[tokio::test]
async fn a_client_is_known_by_its_name_and_its_accessor() {
    let (only, node) = misbehaving(&fault("client = \"vault\"\nstatus = 503"), config()).await;
    assert_eq!(only.sealed().await.status, StatusCode::SERVICE_UNAVAILABLE);
    let looked = only.send("s.root", "GET", "auth/token/lookup-self", "").await;
    assert_eq!(looked.status, StatusCode::OK);
    let made = only
        .send("s.root", "PUT", "auth/token/create", r#"{"num_uses":2,"policies":["seal"]}"#)
        .await;
    let (token, accessor) =
        (&made.json()["auth"]["client_token"], &made.json()["auth"]["accessor"]);
    let script = fault(&format!("accessor = {accessor}\nfirst = 5\nstatus = 503"));
    node.bench().unwrap().replace(Faults::parse("x", &script).unwrap());
    let token = token.as_str().unwrap();
    let body = json!({ "plaintext": "YQ==" });
    let mut seen = Vec::new();
    for _ in 0..8 {
        let answer = only.send(token, "PUT", "transit/encrypt/unseal", &body).await;
        seen.push(answer.status.as_u16());
    }
    assert_eq!(seen, [503, 503, 503, 503, 503, 200, 200, 403], "faults cost a token no use");
}

/// Invariant I8: a request that meets a fault before the operation leaves no line, because nothing
/// was done; one whose answer is changed afterwards leaves both, about what was truly done.
#[tokio::test]
async fn a_script_that_the_configuration_does_not_allow_makes_no_bench() {
    let faults = Some(Faults::parse("x", &fault("status = 503")).unwrap());
    assert!(Node::start(Config { faults, ..config() }).await.unwrap().bench().is_none());
}

#[tokio::test]
async fn i8_faults_are_before_the_operation_or_after_its_lines() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    let config = Config { audit: audit::declared(&path), ..config() };
    let script = "fault \"a\" {\n on = [\"encrypt\"]\n nth = 1\n status = 503\n}\n\
                  fault \"b\" {\n on = [\"encrypt\"]\n nth = 2\n version = 9\n}\n\
                  fault \"c\" {\n on = [\"encrypt\"]\n nth = 3\n body = \"truncated\"\n}\n";
    let (api, _node) = misbehaving(script, config).await;
    let lines = || {
        let text = fs::read_to_string(&path).unwrap();
        let is_one = |line: &&str| line.contains("transit/encrypt/unseal");
        text.lines().filter(is_one).count()
    };
    api.sealed().await;
    assert_eq!(lines(), 0);
    assert_eq!(api.sealed().await.json()["data"]["key_version"], 9);
    assert_eq!(lines(), 2);
    let request = Request::builder().method("PUT").uri("/v1/transit/encrypt/unseal");
    // On the heap, where it is wiped.
    let body = Body::from(r#"{"plaintext":"YQ=="}"#.to_owned());
    let mut request = request.header("x-vault-token", "s.vault").body(body).unwrap();
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
    request.extensions_mut().insert(Arc::new(ConnectionInfo::plain("test", peer)));
    let answer = api.0.clone().oneshot(request).await.unwrap();
    assert_eq!(lines(), 4, "both are written before the half of the answer leaves");
    drop(answer);
}

#[tokio::test]
async fn without_a_script_there_is_no_bench() {
    let node = Node::start(config()).await.unwrap();
    assert!(node.bench().is_none());
    assert!(!node.metrics_text(&node.deployment()).unwrap().contains("selkie_faults"));
    let health = Api::on(node).send("", "GET", "sys/health", "").await;
    assert!(health.json().get("faults_happened").is_none());
}
