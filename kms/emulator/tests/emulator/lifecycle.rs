//! Keys from creation to purge.

use serde_json::{Value, json};

use crate::client::{Emulator, HOST, is, parameters, version_of, with_version};

const N: Value = Value::Null;

#[tokio::test]
async fn a_key_is_created_updated_and_rotated_by_its_policy() {
    let e = Emulator::new().await;
    let body = json!({ "kty": "RSA-HSM", "key_size": 3072, "tags": { "a": "b" },
                       "attributes": { "exp": 4_000_000_000_i64 } });
    let created = e.kv("POST", "/keys/k2/create", body).await.ok();
    assert_eq!(created["attributes"]["hsmPlatform"], "2");
    assert_eq!(created["attributes"]["exp"], 4_000_000_000_i64);
    assert_eq!(created["key"]["n"].as_str().unwrap().len(), 512, "384 bytes");
    let off = json!({ "attributes": { "enabled": false }, "tags": {} });
    let path = format!("/keys/k2/{}", version_of(&created));
    assert_eq!(e.kv("PATCH", &path, off).await.ok()["attributes"]["enabled"], false);
    let policy = json!({
        "lifetimeActions": [{ "trigger": { "timeAfterCreate": "P30D" }, "action": { "type": "Rotate" } }],
        "attributes": { "expiryTime": "P90D" },
    });
    let set = e.kv("PUT", "/keys/k2/rotationpolicy", policy).await.ok();
    assert_eq!(set["attributes"]["expiryTime"], "P90D");
    assert_eq!(e.kv("GET", "/keys/k2/rotationpolicy", N).await.ok(), set);
    e.set("POST", "clock", json!({ "advance_seconds": 65 * 86_400 })).await;
    let versions = e.kv("GET", "/keys/k2/versions", N).await.ok();
    assert_eq!(versions["value"].as_array().unwrap().len(), 3, "due twice");
    let newest = &versions["value"][2]["attributes"];
    let lifetime = newest["exp"].as_i64().unwrap() - newest["created"].as_i64().unwrap();
    assert_eq!(lifetime, 90 * 86_400, "the policy's expiry is of new versions alone");
    let bad = json!({ "attributes": { "expiryTime": "P1D" } });
    is(&e.kv("PUT", "/keys/k2/rotationpolicy", bad).await, 400, "BadParameter", "");
}

#[tokio::test]
async fn a_deleted_key_blocks_its_name_until_it_is_purged() {
    let e = Emulator::new().await;
    let deleted = e.kv("DELETE", "/keys/selkie", N).await.ok();
    assert!(deleted["recoveryId"].as_str().unwrap().ends_with("/deletedkeys/selkie"));
    let missing = e.kv("GET", "/keys/selkie", N).await;
    is(&missing, 404, "KeyNotFound", "");
    assert!(missing.message().contains("If you recently deleted this key"));
    let create = async || e.kv("POST", "/keys/selkie/create", json!({ "kty": "RSA" })).await;
    is(&create().await, 409, "Conflict", "ObjectIsDeletedButRecoverable");
    let listed = e.kv("GET", "/deletedkeys", N).await.ok();
    assert_eq!(listed["value"].as_array().unwrap().len(), 1);
    let recovered = e.kv("POST", "/deletedkeys/selkie/recover", N).await.ok();
    assert_eq!(version_of(&recovered), version_of(&deleted));
    e.kv("DELETE", "/keys/selkie", N).await.ok();
    assert_eq!(e.kv("DELETE", "/deletedkeys/selkie", N).await.status, 204);
    is(&e.kv("GET", "/deletedkeys/selkie", N).await, 404, "KeyNotFound", "");
    assert_ne!(version_of(&create().await.ok()), version_of(&deleted));
}

#[tokio::test]
async fn purge_protection_forbids_purging_and_time_purges() {
    let e = Emulator::new().await;
    let settings = json!({ "purge_protection": true, "retention_days": 7 });
    e.set("PATCH", "vaults/kv1", settings).await;
    let shown = e.kv("GET", "/keys/selkie", N).await.ok();
    assert_eq!(shown["attributes"]["recoveryLevel"], "Recoverable");
    e.kv("DELETE", "/keys/selkie", N).await.ok();
    assert_eq!(e.kv("DELETE", "/deletedkeys/selkie", N).await.status, 403);
    e.set("POST", "clock", json!({ "advance_seconds": 7 * 86_400 })).await;
    is(&e.kv("GET", "/deletedkeys/selkie", N).await, 404, "KeyNotFound", "");
}

#[tokio::test]
async fn lists_come_in_pages_whose_links_lead_through_all() {
    let e = Emulator::new().await;
    for i in 0..27 {
        e.set("POST", "vaults/kv1/keys", json!({ "name": format!("key-{i:02}") })).await;
    }
    let mut path = "/keys?api-version=7.4".to_owned();
    let mut names = Vec::new();
    let mut pages = 0;
    while !path.is_empty() {
        let page = e.kv("GET", &path, N).await.ok();
        names.extend(page["value"].as_array().unwrap().iter().map(|k| k["kid"].to_string()));
        let host = format!("https://{HOST}:{}", e.running.https().port());
        path = page["nextLink"].as_str().unwrap_or("").replace(&host, "");
        pages += 1;
    }
    names.sort();
    names.dedup();
    assert_eq!((pages, names.len()), (2, 28));
    is(&e.kv("GET", "/keys?maxresults=26", N).await, 400, "BadParameter", "");
    is(&e.kv("GET", "/keys?$skiptoken=zz", N).await, 400, "BadParameter", "");
}

#[tokio::test]
async fn a_backup_restores_into_another_vault_with_its_versions() {
    let e = Emulator::new().await;
    let wrapped = e.wrap("/keys/selkie//wrapkey").await;
    e.kv("POST", "/keys/selkie/rotate", N).await.ok();
    let backup = e.kv("POST", "/keys/selkie/backup", N).await.ok();
    let roles = json!([{ "principal": "officer", "role": "Key Vault Crypto Officer" }]);
    e.set("POST", "vaults", json!({ "name": "kv2", "roles": roles })).await;
    let bearer = format!("Bearer {}", e.token("officer").await);
    let at_kv2 = async |path: &str, body: Value| {
        let (path, headers) = (with_version(path), [("authorization", bearer.as_str())]);
        let (host, body) = ("kv2.vault.emulator.test", body.to_string());
        e.https(host, "POST", &path, &headers, body.as_bytes()).await.unwrap().ok()
    };
    let restored = at_kv2("/keys/restore", backup).await;
    let kid = restored["key"]["kid"].as_str().unwrap();
    assert!(kid.starts_with("https://kv2.vault.emulator.test:"), "{kid}");
    let path = format!("/keys/selkie/{}/unwrapkey", version_of(&wrapped));
    let body = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    assert_eq!(at_kv2(&path, body).await["value"], parameters(&[7; 32])["value"]);
}

#[tokio::test]
async fn a_backup_restores_every_version_after_a_purge() {
    let e = Emulator::new().await;
    let wrapped = e.wrap("/keys/selkie//wrapkey").await;
    e.kv("POST", "/keys/selkie/rotate", N).await.ok();
    let backup = e.kv("POST", "/keys/selkie/backup", N).await.ok();
    is(&e.kv("POST", "/keys/restore", backup.clone()).await, 409, "Conflict", "");
    e.kv("DELETE", "/keys/selkie", N).await.ok();
    e.kv("DELETE", "/deletedkeys/selkie", N).await;
    e.kv("POST", "/keys/restore", backup).await.ok();
    let path = format!("/keys/selkie/{}/unwrapkey", version_of(&wrapped));
    let body = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    e.kv("POST", &path, body).await.ok();
    let of_a_file = crate::client::base64(br#"{"name":"x","pem":"/dev/zero"}"#);
    for value in ["AAAA", of_a_file.as_str()] {
        let refused = e.kv("POST", "/keys/restore", json!({ "value": value })).await;
        is(&refused, 400, "BadParameter", "");
    }
}
