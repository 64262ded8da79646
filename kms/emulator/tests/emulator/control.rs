//! The control API.

use std::time::Duration;

use selkie_emulator::Options;
use serde_json::{Value, json};

use crate::client::{Emulator, HOST, version_of};

const N: Value = Value::Null;
const PATH: &str = "/keys/selkie?api-version=7.4";

#[tokio::test]
async fn key_vault_can_go_away_and_come_back_on_its_port() {
    let e = Emulator::new().await;
    for mode in ["closed", "open", "closed", "open"] {
        e.set("POST", "listen", json!({ "https": mode })).await;
        let answer = e.https(HOST, "GET", PATH, &[], b"").await;
        if mode == "closed" {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains("refused"), "{error}");
        } else {
            assert_eq!(answer.unwrap().status, 401);
        }
    }
    e.set("POST", "listen", json!({ "https": "silent" })).await;
    let waiting = e.https(HOST, "GET", PATH, &[], b"");
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    e.set("POST", "reset", N).await;
    assert_eq!(e.https(HOST, "GET", PATH, &[], b"").await.unwrap().status, 401);
}

#[tokio::test]
async fn keys_can_be_declared_rotated_deleted_and_taken_away() {
    let e = Emulator::new().await;
    let key = json!({ "name": "k2", "kty": "RSA-HSM", "key_size": 4096, "enabled": false });
    e.set("POST", "vaults/kv1/keys", key.clone()).await;
    assert_eq!(e.control("POST", "vaults/kv1/keys", key).await.status, 409);
    let rotated = e.set("POST", "vaults/kv1/keys/k2/rotate", N).await;
    let shown = e.set("GET", "vaults/kv1/keys/k2", N).await;
    let versions = shown["versions"].as_array().unwrap();
    assert_eq!((versions.len(), &versions[1]["version"]), (2, &rotated["version"]));
    assert_eq!(e.control("POST", "vaults/kv1/keys/k2/purge", N).await.status, 409);
    e.set("POST", "vaults/kv1/keys/k2/delete", N).await;
    assert_eq!(e.kv("GET", "/deletedkeys/k2", N).await.status, 200);
    e.set("POST", "vaults/kv1/keys/k2/recover", N).await;
    e.set("DELETE", "vaults/kv1/keys/k2", N).await;
    assert_eq!(e.control("GET", "vaults/kv1/keys/k2", N).await.status, 404);
}

#[tokio::test]
async fn a_reset_brings_back_the_start_with_the_same_keys() {
    let e = Emulator::new().await;
    let before = e.wrap("/keys/selkie//wrapkey").await;
    e.set("POST", "vaults/kv1/keys/selkie/rotate", N).await;
    e.set("POST", "faults", json!({ "how": { "status": 500 } })).await;
    e.set("POST", "clock", json!({ "offset_seconds": 1_000_000 })).await;
    e.set("DELETE", "identities/selkie", N).await;
    e.set("POST", "reset", N).await;
    assert_eq!(e.set("GET", "faults", N).await, json!([]));
    assert_eq!(e.set("GET", "clock", N).await["offset_seconds"], 0);
    assert_eq!(e.set("GET", "stats", N).await["requests"], 0);
    let body = json!({ "alg": "RSA-OAEP-256", "value": before["value"] });
    let opened = e.kv("POST", "/keys/selkie//unwrapkey", body).await.ok();
    assert_eq!(version_of(&opened), version_of(&before));
}

#[tokio::test]
async fn the_saved_state_opens_in_the_next_emulator() {
    let folder = tempfile::tempdir().unwrap();
    let save = Some(folder.path().join("state.json"));
    let options = Options { save: save.clone(), ..Options::default() };
    let first = Emulator::with(options.clone()).await;
    let wrapped = first.wrap("/keys/selkie//wrapkey").await;
    first.set("POST", "vaults/kv1/keys/selkie/rotate", N).await;
    first.running.shutdown().await.unwrap();
    let second = Emulator::with(options).await;
    let path = format!("/keys/selkie/{}/unwrapkey", version_of(&wrapped));
    let body = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    second.kv("POST", &path, body).await.ok();
    let versions = second.kv("GET", "/keys/selkie/versions", N).await.ok();
    assert_eq!(versions["value"].as_array().unwrap().len(), 2);
    let plain = Emulator::new().await;
    assert_eq!(plain.control("POST", "save", N).await.status, 409);
}

#[tokio::test]
async fn requests_are_remembered_with_what_they_asked() {
    let e = Emulator::new().await;
    e.kv("GET", "/keys/selkie", N).await;
    let lines = e.set("GET", "requests?last=1", N).await;
    let line = &lines[0];
    assert_eq!((&line["operation"], &line["status"]), (&json!("get"), &json!(200)));
    assert_eq!((&line["vault"], &line["key"]), (&json!("kv1"), &json!("selkie")));
    e.set("POST", "stats/reset", N).await;
    assert_eq!(e.set("GET", "requests", N).await, json!([]));
}

#[tokio::test]
async fn bad_control_requests_are_told_what_is_wrong() {
    let e = Emulator::new().await;
    for (method, path, body, status, text) in [
        ("POST", "faults", json!({ "how": {} }), 400, "says nothing"),
        ("POST", "faults", N, 400, "EOF"),
        ("POST", "clock", json!({}), 400, "offset_seconds"),
        ("POST", "listen", json!({ "https": "ajar" }), 400, "ajar"),
        ("PATCH", "vaults/kv1", json!({ "name": "x" }), 400, "cannot be changed"),
        ("PATCH", "vaults/kv1", json!({ "colour": 1 }), 400, "colour"),
        ("PATCH", "vaults/kv1", json!([]), 400, "object"),
        (
            "PATCH",
            "vaults/kv1",
            json!({ "roles": [{ "principal": "selkie", "role": "King" }] }),
            400,
            "King",
        ),
        ("PATCH", "vaults/kv1", json!({ "throttle": { "scale": -1 } }), 400, "scale"),
        ("PATCH", "vaults/nope", json!({}), 404, "vault"),
        ("POST", "vaults", json!({ "name": "kv1" }), 409, "name"),
        ("POST", "vaults/kv1/keys", json!({ "name": "a/b" }), 400, "key's name"),
        ("POST", "vaults/kv1/keys", json!({ "name": "a", "pem": "nofile" }), 400, "nofile"),
        ("POST", "vaults/kv1/keys", json!({ "name": "a", "kty": "oct-HSM" }), 400, "managed HSM"),
        ("POST", "vaults/kv1/keys", json!({ "name": "a", "key_size": 1024 }), 400, "2048"),
        ("PATCH", "vaults/kv1/keys/selkie/versions/none", json!({}), 404, "version"),
        ("POST", "tokens", json!({ "principal": "nobody" }), 404, "identity"),
        ("DELETE", "faults/77", N, 404, "rule"),
        ("DELETE", "stats", N, 405, "DELETE"),
        ("GET", "nothing", N, 404, "nothing"),
        ("GET", "requests?last=x", N, 400, "number"),
    ] {
        let answer = e.control(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.message());
        assert!(answer.message().contains(text), "{method} {path}: {}", answer.message());
    }
}
