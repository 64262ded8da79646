//! What a replica says of itself: to load balancers, and to who asks for the others.

use selkie_config::{Audit, AuditDevice, AuditFile, AuditKind, SledStorage};
use selkie_storage::MemoryStore;

use super::*;
use crate::clock::SystemClock;
use crate::deployment::Deployment;
use crate::state::opening::OpenError;
use crate::state::{Backend, Missing, StateStatus};
use crate::transit::ManagedKeys;
use crate::transit::tests::faulty_store::{FaultyStore, Mood};

fn missing() -> [StateStatus; 7] {
    [
        StateStatus::Opening,
        StateStatus::Sealed { missing: Missing::Storage },
        StateStatus::Sealed { missing: Missing::Space("/d".into()) },
        StateStatus::Sealed { missing: Missing::Turn { dir: "/d".into(), pid: Some(77) } },
        StateStatus::Sealed { missing: Missing::Files },
        StateStatus::Sealed { missing: Missing::Seals(Vec::new()) },
        StateStatus::Refused { why: Arc::new(OpenError::Sum) },
    ]
}

async fn in_state(config: Config, status: StateStatus) -> Api {
    let node = Node::start(Config { storage: None, ..config }).await.unwrap();
    node.tell_state(status);
    Api::on(node)
}

/// Invariant I10.
#[tokio::test]
async fn a_replica_that_serves_declared_keys_stays_although_its_state_is_missing() {
    for status in missing() {
        let reason = status.reason().unwrap();
        let api = in_state(config(), status.clone()).await;
        let health = api.send("", "GET", "sys/health", "").await;
        assert_eq!((health.status.as_u16(), &health.json()["sealed"]), (200, &json!(false)));
        let seal_status = api.send("", "GET", "sys/seal-status", "").await.json();
        assert!(seal_status["warnings"][0].as_str().unwrap().ends_with(reason), "{seal_status}");
        let told = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
        assert_eq!(told["state"]["status"], status.as_str());
        assert_eq!(told["state"]["reason"], reason);
        assert!(told["state"]["advice"].is_string());
    }
}

/// Invariant I10.
#[tokio::test]
async fn a_replica_without_declared_keys_goes_while_its_state_is_missing() {
    let config = || Config { keys: Vec::new(), ..config() };
    for status in missing() {
        let api = in_state(config(), status).await;
        let health = api.send("", "GET", "sys/health?standbyok=true", "").await;
        assert_eq!((health.status.as_u16(), &health.json()["sealed"]), (503, &json!(true)));
        let code = api.send("", "GET", "sys/health?sealedcode=299", "").await;
        assert_eq!(code.status.as_u16(), 299);
    }
}

/// Invariant I10.
#[tokio::test]
async fn a_replica_whose_state_is_open_serves_without_declared_keys() {
    let api = Api::start_with(Config { keys: Vec::new(), ..config() }).await;
    assert_eq!(api.send("", "GET", "sys/health", "").await.status, StatusCode::OK);
    let seal_status = api.send("", "GET", "sys/seal-status", "").await.json();
    assert_eq!(seal_status.get("warnings"), None);
    api.send("s.root", "PUT", "transit/keys/made", "{}").await;
    let told = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
    assert_eq!(
        told["data"]["state"],
        json!({
            "status": "open", "sequence": 1, "reason": null, "advice": null, "key_behind": null,
        })
    );
    let text = api.send("s.root", "GET", "sys/metrics", "").await.text;
    for figure in ["store_up 1", "state_open 1", "state_sequence 1", "store_lag_seconds 0"] {
        assert!(text.contains(&format!("selkie_{figure}\n")), "{figure}: {text}");
    }
}

#[tokio::test]
async fn the_metrics_tell_of_the_storage_what_is_known_and_no_more() {
    let of = async |status| {
        let api = in_state(config(), status).await;
        api.send("s.root", "GET", "sys/metrics", "").await.text
    };
    let [opening, away, full, in_use, files, no_seal, _] = missing();
    assert!(!of(opening).await.contains("selkie_store_up"));
    for no_storage in [away, full, in_use, files] {
        assert!(of(no_storage).await.contains("selkie_store_up 0\n"));
    }
    let text = of(no_seal).await;
    assert!(text.contains("selkie_store_up 1\n") && text.contains("selkie_state_open 0\n"));
    for unknown in ["selkie_store_lag", "selkie_state_sequence"] {
        assert!(!text.contains(unknown), "{text}");
    }
    let without = Api::start_with(Config { storage: None, ..config() }).await;
    let without = without.send("s.root", "GET", "sys/metrics", "").await.text;
    assert!(!without.contains("selkie_store") && !without.contains("selkie_state"), "{without}");
}

#[tokio::test]
async fn the_nodes_are_told_to_who_may_read_them() {
    let address = Some("https://one:8200".to_owned());
    let api = Api::start_with(Config { api_addr: address, ..config() }).await;
    let answer = api.send("s.root", "GET", "sys/ha-status", "").await.json();
    assert_eq!(answer["nodes"], answer["data"]["nodes"]);
    let [node] = &answer["nodes"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&node["active_node"], &node["last_echo"]), (&json!(true), &Value::Null));
    assert_eq!(node["api_address"], "https://one:8200");
    assert!(!node["hostname"].as_str().unwrap().is_empty());
    for token in ["", "s.vault"] {
        let refused = api.send(token, "GET", "sys/ha-status", "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let leader = api.send("", "GET", "sys/leader", "").await.json();
    assert_eq!((&leader["ha_enabled"], &leader["is_self"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn a_storage_that_answers_and_does_not_take_writes_is_told() {
    let store = FaultyStore::new(&Arc::new(MemoryStore::new()));
    let deployment = Deployment::connect(Config { storage: None, ..config() }).await.unwrap();
    let node = Node::begin(deployment, ManagedKeys::awaiting_store(), Arc::new(SystemClock)).await;
    node.keep_state(Backend::Opened(Arc::clone(&store) as _), "faulty").await;
    let api = Api::on(node);
    let told = async || {
        let status = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
        (status["data"]["store"].clone(), api.send("s.root", "GET", "sys/metrics", "").await.text)
    };
    let made = api.send("s.root", "PUT", "transit/keys/made", "{}").await;
    assert!(made.status.is_success(), "{}", made.text);
    let (well, text) = told().await;
    assert_eq!((&well["up"], &well["writes_failing"]), (&json!(true), &json!(false)));
    assert!(text.contains("selkie_store_writable 1\n"), "{text}");
    (0..64).for_each(|_| store.loses_answer(false));
    let refused = api.send("s.root", "PUT", "transit/keys/full", "{}").await;
    assert_eq!(refused.status, 503);
    let (full, text) = told().await;
    assert_eq!((&full["up"], &full["writes_failing"]), (&json!(false), &json!(true)));
    assert!(full["writes_failed"].as_u64() > Some(0) && full["last_write_failed"].is_string());
    for line in ["selkie_store_up 0\n", "selkie_store_writable 0\n", "selkie_state_open 1\n"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

fn devices(paths: &[&str]) -> Audit {
    let device = |path: &&str| AuditDevice {
        path: path.trim_start_matches("/dev/").to_owned(),
        description: String::new(),
        checkpoint_interval: Duration::from_secs(60),
        kind: AuditKind::File(AuditFile { path: path.into(), mode: 0o600, fsync: false }),
    };
    let key = selkie_crypto::AuditKey::init_with(|page| page.fill(5)).unwrap();
    Audit { key: Some(key), devices: paths.iter().map(device).collect() }
}

#[tokio::test]
async fn an_audit_device_that_takes_nothing_is_told_while_another_one_works() {
    let audit = devices(&["/dev/full", "/dev/null"]);
    let api = Api::start_with(Config { audit, ..config() }).await;
    let ups = async || {
        let status = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
        let told = status["data"]["audit"].as_array().unwrap();
        let up = |one: &Value| (one["device"].as_str().unwrap().to_owned(), one["up"] == true);
        told.iter().map(up).collect::<Vec<_>>()
    };
    // The request goes on once one device has its line: the other one fails at its own time.
    let wait = async { while ups().await.contains(&("full".to_owned(), true)) {} };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it is never told");
    assert_eq!(ups().await, [("full".to_owned(), false), ("null".to_owned(), true)]);
}

#[tokio::test]
async fn what_no_audit_device_takes_is_logged_with_that_reason() {
    let log = log::Log::start();
    let api = Api::start_with(Config { audit: devices(&["/dev/full"]), ..config() }).await;
    assert_eq!(api.send("s.root", "GET", "sys/metrics", "").await.status, 500);
    let text = log.take();
    assert!(text.contains("reason=\"no audit device took the line\""), "{text}");
    assert!(text.contains("advice=\"see to the audit devices"), "{text}");
}

/// Whether there is such a key is not known, and none of the business of who may not use it.
#[tokio::test]
async fn who_may_not_encrypt_is_denied_whatever_is_known_of_the_key() {
    let store = FaultyStore::new(&Arc::new(MemoryStore::new()));
    let deployment = Deployment::connect(Config { storage: None, ..config() }).await.unwrap();
    let node = Node::begin(deployment, ManagedKeys::awaiting_store(), Arc::new(SystemClock)).await;
    node.keep_state(Backend::Opened(Arc::clone(&store) as _), "faulty").await;
    let api = Api::on(node);
    store.is(Mood::Away);
    let status = async |token| {
        let body = r#"{"plaintext":"eA=="}"#;
        api.send(token, "PUT", "transit/encrypt/other", body).await.status.as_u16()
    };
    assert_eq!(status("s.root").await, 503);
    let looks = store.gets();
    assert_eq!((status("s.vault").await, store.gets()), (403, looks));
}

#[tokio::test]
async fn where_nobody_else_can_have_made_it_every_unknown_name_is_unknown_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let sled = SledStorage { path: dir.path().to_owned(), create: true };
    for storage in [Storage::InMemory, Storage::Sled(sled)] {
        let api = Api::start_with(Config { storage: Some(storage), ..config() }).await;
        // A disk may take its time to make a store.
        let is_there = async {
            while api.send("s.root", "GET", "transit/keys/0", "").await.status == 503 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), is_there).await.expect("a store");
        for number in 0..300 {
            let read = api.send("s.root", "GET", &format!("transit/keys/{number}"), "").await;
            assert_eq!(read.status, StatusCode::NOT_FOUND, "{number}");
        }
    }
}
