//! Faults on demand, as clients meet them.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::client::{Emulator, HOST, VAULT, base64, is, parameters};

const WRAP: &str = "/keys/selkie//wrapkey";
const IMDS: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=";

async fn once(e: &Emulator, how: Value) {
    let service = json!({ "service": "keyvault" });
    e.set("POST", "faults", json!({ "match": service, "how": how, "times": 1 })).await;
}

/// How often a rule was met.
async fn faults(e: &Emulator) -> Value {
    e.set("GET", "stats", Value::Null).await["faults"].clone()
}

fn body() -> String {
    parameters(&[7; 32]).to_string()
}

#[tokio::test]
async fn a_status_comes_in_the_services_own_form() {
    let e = Emulator::new().await;
    let how = json!({ "status": 403, "innererror": "ForbiddenByFirewall", "message": "a\r\nb" });
    once(&e, how).await;
    let answer = e.kv("GET", "/keys/selkie", Value::Null).await;
    is(&answer, 403, "Forbidden", "ForbiddenByFirewall");
    assert_eq!(answer.message(), "a\r\nb");
    once(&e, json!({ "retry_after": 9 })).await;
    let answer = e.kv("GET", "/keys/selkie", Value::Null).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "9"));
    once(&e, json!({ "status": 401 })).await;
    let answer = e.kv("GET", "/keys/selkie", Value::Null).await;
    assert!(answer.header("www-authenticate").starts_with("Bearer authorization="));
    for status in [404, 410, 429] {
        let rule =
            json!({ "match": { "service": "imds" }, "how": { "status": status }, "times": 1 });
        e.set("POST", "faults", rule).await;
        let answer = e.http("GET", &format!("{IMDS}{VAULT}"), &[("metadata", "true")], b"").await;
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(e.kv("GET", "/keys/selkie", Value::Null).await.status, 200, "all are spent");
}

#[tokio::test]
async fn a_dropped_connection_ends_without_an_answer_and_a_reset_says_so() {
    let e = Emulator::new().await;
    for (effect, reset) in [("reset", true), ("close", false)] {
        once(&e, json!({ "effect": effect })).await;
        let error = e.try_kv("POST", WRAP, &body()).await.unwrap_err();
        let text = format!("{error:?}").to_lowercase();
        assert_eq!(text.contains("reset"), reset, "{effect}: {text}");
    }
    let stats = e.set("GET", "stats", Value::Null).await;
    assert_eq!(stats["by"]["keyvault"]["wrap"], json!({ "none": 2 }));
    assert_eq!(stats["faults"], 2);
}

#[tokio::test]
async fn a_hang_and_a_stall_last_until_the_client_goes() {
    let e = Emulator::new().await;
    for effect in ["hang", "stall"] {
        once(&e, json!({ "effect": effect })).await;
        let (body, faults) = (body(), faults(&e).await);
        let mut waiting = std::pin::pin!(e.try_kv("POST", WRAP, &body));
        // Until it is met: a busy machine may be a while about it.
        let met = async { while self::faults(&e).await == faults {} };
        tokio::select! {
            answer = &mut waiting => panic!("{effect}: {answer:?}"),
            () = met => {}
        }
        let soon = Duration::from_millis(200);
        assert!(tokio::time::timeout(soon, waiting).await.is_err(), "{effect}");
    }
    assert_eq!(e.try_kv("POST", WRAP, &body()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_truncated_body_announces_more_than_it_brings() {
    let e = Emulator::new().await;
    once(&e, json!({ "effect": "truncate" })).await;
    assert!(e.try_kv("POST", WRAP, &body()).await.is_err());
    once(&e, json!({ "effect": "empty" })).await;
    let empty = e.try_kv("POST", WRAP, &body()).await.unwrap();
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    once(&e, json!({ "effect": "html", "status": 502 })).await;
    let html = e.try_kv("POST", WRAP, &body()).await.unwrap();
    assert_eq!((html.status, html.header("content-type")), (502, "text/html"));
}

#[tokio::test]
async fn a_lost_body_is_key_vaults_400_and_counted() {
    let e = Emulator::new().await;
    once(&e, json!({ "effect": "lose_body" })).await;
    is(&e.kv("POST", WRAP, parameters(b"x")).await, 400, "BadParameter", "");
    assert_eq!(e.set("GET", "stats", Value::Null).await["empty_bodies"], 1);
}

#[tokio::test]
async fn answers_can_name_another_key_version_or_host() {
    let e = Emulator::new().await;
    let port = e.running.https().port();
    let version = crate::client::version_of(&e.wrap(WRAP).await);
    for (effect, expected) in [
        ("wrong_key", format!("https://{HOST}:{port}/keys/another-key/{version}")),
        ("wrong_host", format!("https://another.vault.azure.net/keys/selkie/{version}")),
    ] {
        once(&e, json!({ "effect": effect })).await;
        assert_eq!(e.wrap(WRAP).await["kid"], expected);
    }
    once(&e, json!({ "effect": "wrong_version" })).await;
    let shown = e.kv("GET", "/keys/selkie", Value::Null).await.ok();
    assert_ne!(crate::client::version_of(&shown), version);
}

#[tokio::test]
async fn results_can_be_shorter_longer_or_of_another_secret() {
    let e = Emulator::new().await;
    let wrapped = e.wrap(WRAP).await;
    let body = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    for (effect, length) in [("short_result", 31), ("long_result", 33), ("other_result", 32)] {
        once(&e, json!({ "effect": effect })).await;
        let answer = e.kv("POST", "/keys/selkie//unwrapkey", body.clone()).await.ok();
        assert_ne!(answer["value"], base64(&[7; 32]));
        assert_eq!(
            URL_SAFE_NO_PAD.decode(answer["value"].as_str().unwrap()).unwrap().len(),
            length
        );
    }
}

#[tokio::test]
async fn tokens_can_be_short_lived_foreign_or_with_a_number_for_a_date() {
    let e = Emulator::new().await;
    let get = async |how: Value| {
        let rule = json!({ "match": { "operation": "token" }, "how": how, "times": 1 });
        e.set("POST", "faults", rule).await;
        e.http("GET", &format!("{IMDS}{VAULT}"), &[("metadata", "true")], b"").await.ok()
    };
    assert!(get(json!({ "effect": "integer_expires_on" })).await["expires_on"].is_i64());
    assert_eq!(get(json!({ "token_lifetime_seconds": 60 })).await["expires_in"], "60");
    for (how, text) in [
        (json!({ "token_tenant": "other" }), "AKV10032"),
        (json!({ "token_audience": "https://storage" }), "AKV10022"),
    ] {
        let token = get(how).await["access_token"].as_str().unwrap().to_owned();
        let answer = e.vault_as(&token, "GET", "/keys/selkie", Value::Null).await;
        assert!(answer.message().contains(text));
    }
}

#[tokio::test]
async fn a_fault_can_hit_the_challenge_alone_and_rbac_can_be_in_flight() {
    let e = Emulator::new().await;
    let rule = json!({ "match": { "authenticated": false }, "how": { "status": 429 } });
    e.set("POST", "faults", rule).await;
    let bare = e.https(HOST, "GET", "/keys/selkie?api-version=7.4", &[], b"").await.unwrap();
    assert_eq!(bare.status, 429);
    assert_eq!(e.kv("GET", "/keys/selkie", Value::Null).await.status, 200);
    e.set("POST", "faults", json!({ "how": { "rbac_delay_ms": 60_000 } })).await;
    is(&e.kv("GET", "/keys/selkie", Value::Null).await, 403, "Forbidden", "ForbiddenByRbac");
    e.set("POST", "clock", json!({ "advance_seconds": 60 })).await;
    assert_eq!(e.kv("GET", "/keys/selkie", Value::Null).await.status, 200);
}

#[tokio::test]
async fn latency_is_waited_and_is_no_fault() {
    let e = Emulator::new().await;
    once(&e, json!({ "latency_ms": 120 })).await;
    let before = Instant::now();
    assert_eq!(e.kv("GET", "/keys/selkie", Value::Null).await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(120));
    assert_eq!(e.set("GET", "stats", Value::Null).await["faults"], 0);
}
