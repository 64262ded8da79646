use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use selkie_config::{Audit, AuditDevice, AuditFile, AuditKind};
use selkie_crypto::AuditKey;
use tempfile::TempDir;

use super::*;
use crate::audit::verify::verify;
use crate::clock::{Clock, SystemClock};

fn key() -> AuditKey {
    AuditKey::init_with(|page| page.fill(5)).unwrap()
}

pub(super) fn declared(path: &Path) -> Audit {
    let file = AuditFile { path: path.to_owned(), mode: 0o600, fsync: false };
    let device = AuditDevice {
        path: "file".to_owned(),
        description: "for tests".to_owned(),
        checkpoint_interval: Duration::from_secs(60),
        kind: AuditKind::File(file),
    };
    Audit { key: Some(key()), devices: vec![device] }
}

struct Recorded {
    api: Api,
    node: Arc<Node>,
    path: PathBuf,
    _directory: TempDir,
}

impl Recorded {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("audit.log");
        Self::start_at(path, directory).await
    }

    async fn start_at(path: PathBuf, directory: TempDir) -> Self {
        let config = Config { audit: declared(&path), ..config() };
        let node = Arc::new(Node::start(config).await.unwrap());
        let in_flight = InFlight::new(8, Duration::ZERO);
        let api = Api(router(Arc::clone(&node), BodyLimits::default(), in_flight));
        Self { api, node, path, _directory: directory }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// The lines about requests.
    fn lines(&self) -> Vec<Value> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["type"] == "request" || line["type"] == "response").collect()
    }

    fn hash(&self, value: &str) -> Value {
        self.node.audit().hash(value.as_bytes()).unwrap().into()
    }
}

#[tokio::test]
async fn an_encrypt_is_recorded_in_vaults_shape_before_and_after() {
    let recorded = Recorded::start().await;
    let body = json!({ "plaintext": "aGVsbG8=", "key_version": 0 });
    let answer = recorded.api.send("s.vault", "PUT", "transit/encrypt/unseal", body).await;
    let lines = recorded.lines();
    let [request, response] = &lines[..] else { panic!("{lines:?}") };
    let accessor = &request["auth"]["accessor"];
    assert_eq!(
        request["auth"],
        json!({
            "client_token": recorded.hash("s.vault"),
            "accessor": accessor,
            "display_name": "vault",
            "policies": ["default", "seal"],
            "token_policies": ["default", "seal"],
            "token_type": "service",
        })
    );
    assert_eq!(
        request["request"],
        json!({
            "id": answer.json()["request_id"],
            "operation": "update",
            "mount_point": "transit/",
            "mount_type": "transit",
            "client_token": recorded.hash("s.vault"),
            "client_token_accessor": accessor,
            "namespace": { "id": "root" },
            "path": "transit/encrypt/unseal",
            "data": { "key_version": recorded.hash("0"), "plaintext": recorded.hash("aGVsbG8=") },
            "remote_address": "127.0.0.1",
            "remote_port": 40_000,
        })
    );
    assert_eq!((&response["auth"], &response["request"]), (&request["auth"], &request["request"]));
    let ciphertext = answer.json()["data"]["ciphertext"].as_str().unwrap().to_owned();
    assert_eq!(
        response["response"],
        json!({
            "mount_point": "transit/",
            "mount_type": "transit",
            "data": { "ciphertext": recorded.hash(&ciphertext), "key_version": 1 },
            "key_use": {
                "key": "transit/unseal", "versions": [1], "encrypted": 1, "decrypted": 0,
                "failed": 0,
            },
            "status": 200,
        })
    );
    assert!(response["time"].as_str() > request["time"].as_str());
}

#[tokio::test]
async fn the_line_of_a_reply_that_is_not_sent_for_want_of_memory_says_so() {
    let recorded = Recorded::start().await;
    let paths: Vec<_> = (0..1000).map(|number| format!("{}{number}", "p".repeat(50))).collect();
    let others = recorded.node.bytes().take((512 << 20) - (100 << 10)).await.unwrap();
    let body = json!({ "paths": paths });
    let answer = recorded.api.send("s.root", "POST", "sys/capabilities-self", body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    let lines = recorded.lines();
    let [_, response] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(response["response"]["status"], 503);
    drop(others);
}

#[tokio::test]
async fn a_decrypt_names_key_version_seal_and_age_and_nothing_secret_is_in_the_file() {
    let recorded = Recorded::start().await;
    let ciphertext = recorded.api.encrypt("unseal").await;
    let body = json!({ "ciphertext": ciphertext });
    let answer = recorded.api.send("s.vault", "PUT", "transit/decrypt/unseal", body).await;
    assert_eq!(answer.json()["data"]["plaintext"], "aGVsbG8=");
    let lines = recorded.lines();
    let response = &lines[3]["response"];
    assert_eq!(response["data"], json!({ "plaintext": recorded.hash("aGVsbG8=") }));
    let used = &response["key_use"];
    assert_eq!(used["seals"], json!(["dev"]));
    assert_eq!((&used["versions"], &used["decrypted"]), (&json!([1]), &json!(1)));
    assert!(used["oldest_envelope_age_seconds"].as_u64().unwrap() < 60);
    assert_eq!(used["is_age_proven"], false);
    let text = recorded.text();
    for secret in ["aGVsbG8=", "hello", "s.vault", "s.root", &ciphertext] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_refusal_is_recorded_with_what_the_client_is_told() {
    let recorded = Recorded::start().await;
    let api = &recorded.api;
    api.send("s.vault", "PUT", "transit/encrypt/other", json!({ "plaintext": "" })).await;
    api.send("s.vault", "PUT", "transit/decrypt/unseal", json!({ "ciphertext": "vault:v1:x" }))
        .await;
    api.send("s.root", "GET", "auth/token/renew/s.secret", "").await;
    let lines = recorded.lines();
    assert_eq!(lines[1]["error"], "1 error occurred:\n\t* permission denied\n\n");
    assert_eq!(lines[1]["response"]["status"], 403);
    assert_eq!(lines[3]["response"]["key_use"]["failed"], 1);
    assert_eq!(lines[5]["error"], "1 error occurred:\n\t* unsupported path\n\n");
    assert_eq!(lines[5]["request"]["path"], "auth/token/\u{2026}");
    assert!(!recorded.text().contains("s.secret"));
}

#[tokio::test]
async fn strangers_are_recorded_up_to_a_rate_and_never_fill_the_disk() {
    let recorded = Recorded::start().await;
    let began = SystemClock.unix_seconds();
    for _ in 0..500 {
        let answer = recorded.api.send("s.nobody", "PUT", "transit/decrypt/unseal", "{}").await;
        // 503 once they have asked so often that they are not looked up any more.
        assert!([403, 503].contains(&answer.status.as_u16()), "{}", answer.text);
    }
    let lines = recorded.lines();
    assert_eq!(lines[0]["error"], "permission denied");
    assert_eq!(lines[0]["auth"], json!({ "token_type": "default" }));
    // Two lines for each of fifty strangers, in each second that it took.
    let seconds = usize::try_from(SystemClock.unix_seconds() - began).unwrap() + 1;
    assert!((100..=100 * seconds).contains(&lines.len()), "{} in {seconds} s", lines.len());
    assert!(!recorded.text().contains("s.nobody"));
}

#[tokio::test]
async fn a_flood_of_strangers_keeps_nobody_from_logging_in() {
    let recorded = Recorded::start().await;
    let mount = json!({ "type": "approle" });
    let made = recorded.api.send("s.root", "POST", "sys/auth/approle", mount).await;
    assert_eq!(made.status, StatusCode::NO_CONTENT, "{}", made.text);
    let login = json!({ "role_id": "unknown", "secret_id": "s" });
    for _ in 0..3 {
        for _ in 0..100 {
            recorded.api.send("s.nobody", "PUT", "transit/decrypt/unseal", "{}").await;
        }
        let answer = recorded.api.send("", "POST", "auth/approle/login", &login).await;
        assert_eq!(answer.error(), (400, "invalid role or secret ID".to_owned()));
    }
    let mut statuses = Vec::new();
    for _ in 0..200 {
        let answer = recorded.api.send("", "POST", "auth/approle/login", &login).await;
        statuses.push(answer.status.as_u16());
    }
    assert!(statuses.contains(&503), "a flood of logins is bounded too");
}

#[tokio::test]
async fn health_and_seal_status_are_not_recorded_as_in_vault() {
    let recorded = Recorded::start().await;
    for path in ["sys/health", "sys/seal-status", "sys/leader", "sys/init"] {
        recorded.api.send("", "GET", path, "").await;
    }
    assert_eq!(recorded.lines(), Vec::<Value>::new());
}

#[tokio::test]
async fn without_its_record_nothing_happens_and_nothing_leaves_and_it_heals_by_itself() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    let recorded = Recorded::start_at(path.clone(), directory).await;
    let ciphertext = recorded.api.encrypt("unseal").await;
    let health = recorded.api.send("", "GET", "sys/health", "").await;
    assert_eq!((health.status.as_u16(), health.json().get("warning")), (200, None));
    // Whatever comes next opens the file anew, and finds what it must not write to.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    recorded.node.audit().reopen();
    let internal = (500, "1 error occurred:\n\t* internal error\n\n".to_owned());
    let body = json!({ "ciphertext": ciphertext });
    for _ in 0..3 {
        let answer = recorded.api.send("s.vault", "PUT", "transit/decrypt/unseal", &body).await;
        assert_eq!(answer.error(), internal);
        let health = recorded.api.send("", "GET", "sys/health", "").await;
        assert_eq!((health.status.as_u16(), &health.json()["sealed"]), (503, &json!(true)));
        let told = |text: &Value| text.as_str().unwrap().contains("no audit device can be written");
        assert!(told(&health.json()["warning"]), "{}", health.text);
        let status = recorded.api.send("", "GET", "sys/seal-status", "").await.json();
        assert!(told(&status["warnings"][0]), "{status}");
        let answer = recorded.api.send("s.root", "PUT", "transit/keys/made", "{}").await;
        assert_eq!(answer.error(), internal);
    }
    fs::remove_file(&path).unwrap();
    let answer = recorded.api.send("s.vault", "PUT", "transit/decrypt/unseal", &body).await;
    assert_eq!(answer.json()["data"]["plaintext"], "aGVsbG8=");
    assert_eq!(recorded.api.send("", "GET", "sys/health", "").await.status, 200);
    let answer = recorded.api.send("s.root", "GET", "transit/keys/made", "").await;
    assert_eq!(answer.status, 404, "it was never made");
}

#[tokio::test]
async fn devices_are_listed_and_cannot_be_changed_and_values_can_be_looked_for() {
    let recorded = Recorded::start().await;
    let api = &recorded.api;
    let listed = api.send("s.root", "GET", "sys/audit", "").await.json();
    let options = json!({
        "file_path": recorded.path, "mode": "0600", "fsync": "false",
    });
    let device = json!({
        "description": "for tests", "local": false, "options": options, "path": "file/",
        "type": "file",
    });
    assert_eq!((&listed["data"]["file/"], &listed["file/"]), (&device, &device));
    for (method, path) in [("PUT", "sys/audit/new"), ("DELETE", "sys/audit/file")] {
        let (status, text) = api.send("s.root", method, path, "{}").await.error();
        assert!(status == 400 && text.contains("declared in the configuration"), "{text}");
        assert_eq!(api.send("s.vault", method, path, "{}").await.status, 403);
    }
    let input = json!({ "input": "s.vault" });
    let hash = api.send("s.root", "PUT", "sys/audit-hash/file", &input).await.json();
    assert_eq!(hash["data"]["hash"], recorded.hash("s.vault"));
    let unknown = api.send("s.root", "PUT", "sys/audit-hash/other", &input).await.error();
    assert_eq!(unknown, (400, "unknown audit backend".to_owned()));
    assert!(!recorded.text().contains("s.vault"));
}

#[tokio::test]
async fn who_watches_is_told_of_each_use_of_a_key() {
    let recorded = Recorded::start().await;
    let mut watch = recorded.node.audit().events().watch();
    let ciphertext = recorded.api.encrypt("unseal").await;
    recorded.api.send("s.vault", "GET", "auth/token/lookup-self", "").await;
    let body = json!({ "ciphertext": ciphertext });
    recorded.api.send("s.vault", "PUT", "transit/decrypt/unseal", body).await;
    let (first, second) = (watch.next().await.unwrap(), watch.next().await.unwrap());
    assert_eq!((first.operation, &*first.client), ("encrypt", "root"));
    assert_eq!((second.operation, &*second.client, second.status), ("decrypt", "vault", 200));
    assert_eq!(second.address, Ipv4Addr::LOCALHOST);
    assert_eq!((&*second.used.key, second.used.decrypted), ("transit/unseal", 1));
}

#[tokio::test]
async fn the_file_of_all_this_verifies() {
    let Recorded { api, node, path, _directory } = Recorded::start().await;
    let ciphertext = api.encrypt("unseal").await;
    api.send("s.vault", "PUT", "transit/decrypt/unseal", json!({ "ciphertext": ciphertext })).await;
    api.send("s.root", "GET", "sys/metrics", "").await;
    api.send("", "PUT", "transit/decrypt/unseal", "{}").await;
    node.audit().stop();
    let report = verify(&[path], &key(), &[], |_| ()).unwrap();
    assert!(report.is_whole() && report.open_ends.is_empty(), "{report:?}");
    assert_eq!((report.lines, report.runs), (10, 1));
}

#[tokio::test]
async fn a_use_is_counted_only_once_its_request_is_recorded() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    let recorded = Recorded::start_at(path.clone(), directory).await;
    let wanted = json!({ "policies": ["seal"], "num_uses": 2 });
    let made = recorded.api.send("s.root", "POST", "auth/token/create", wanted).await.json();
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let encrypt = || {
        let body = r#"{"plaintext":"YQ=="}"#;
        recorded.api.send(&token, "PUT", "transit/encrypt/unseal", body)
    };
    assert_eq!(encrypt().await.status, 200);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    recorded.node.audit().reopen();
    for _ in 0..3 {
        assert_eq!(encrypt().await.status, 500);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(encrypt().await.status, 200, "it has the use that it had");
    assert_eq!(encrypt().await.error(), (403, "permission denied".into()));
}

/// The lines of each request by its id: how many came before the operation, and what the later ones say.
fn by_id(lines: &[Value]) -> HashMap<String, (usize, Vec<Value>)> {
    let mut requests = HashMap::<String, (usize, Vec<Value>)>::new();
    for line in lines {
        let of = requests.entry(line["request"]["id"].as_str().unwrap().to_owned()).or_default();
        match line["type"].as_str() {
            Some("request") => of.0 += 1,
            _ => of.1.push(line.clone()),
        }
    }
    requests
}

/// Invariant I8. The client goes after each number of steps that its request takes.
#[tokio::test]
async fn i8_each_request_line_has_its_response_line_whenever_the_client_hangs_up() {
    let recorded = Recorded::start().await;
    let ciphertext = recorded.api.encrypt("unseal").await;
    recorded.api.send("s.root", "PUT", "transit/keys/managed", "{}").await;
    let mut watch = recorded.node.audit().events().watch();
    for (path, body) in [
        ("transit/decrypt/unseal", json!({ "ciphertext": ciphertext })),
        ("transit/keys/managed/rotate", json!({})),
        ("auth/token/create", json!({})),
        ("transit/keys/none/nothing", json!({})),
    ] {
        let mut steps = 0;
        loop {
            let mut request = Box::pin(recorded.api.send("s.root", "PUT", path, &body));
            let mut is_answered = false;
            for _ in 0..steps {
                is_answered |= futures_util::poll!(&mut request).is_ready();
                if is_answered {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if is_answered {
                break;
            }
            steps += 1;
        }
        assert!(steps > 2, "{path} takes one step");
    }
    recorded.node.audit().stop();
    let lines = recorded.lines();
    let requests = by_id(&lines);
    for (id, (before, after)) in &requests {
        assert_eq!((*before, after.len()), (1, 1), "{id}: {after:?}");
    }
    let is_cut_off = |line: &&Value| line["error"].as_str().unwrap_or("").starts_with("cut off");
    let cut_off: Vec<_> = lines.iter().filter(is_cut_off).collect();
    assert!(cut_off.len() >= 4, "{cut_off:?}");
    assert!(cut_off.iter().all(|line| line["response"]["status"] == 0));
    assert!(watch.next().await.unwrap().used.decrypted == 1, "a decrypt counts if nobody waits");
}

#[tokio::test]
async fn a_request_that_panics_has_its_response_line_which_says_so() {
    let recorded = Recorded::start().await;
    let body = json!({ "plaintext": "aGVsbG8=" });
    let mut request = Box::pin(recorded.api.send("s.vault", "PUT", "transit/encrypt/unseal", body));
    assert!(futures_util::poll!(&mut request).is_pending(), "its first line is on its way");
    let panics = std::panic::AssertUnwindSafe(move || {
        let _unwound = request;
        panic!("on purpose");
    });
    std::panic::catch_unwind(panics).unwrap_err();
    recorded.node.audit().stop();
    let lines = recorded.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["error"], "cut off before the reply: the request panicked");
}
