//! Audit lines fit into datagrams, whatever a client sends or is.

use std::net::UdpSocket;

use base16ct::HexDisplay;
use selkie_config::{Audit, AuditDevice, AuditKind, AuditSocket, AuditTarget};
use selkie_crypto::AuditKey;

use super::*;

/// What UDP takes over IPv4.
const MOST_DATAGRAM_BYTES: usize = 65_507;

/// With a collector as the only device.
async fn api_and_collector() -> (Api, UdpSocket) {
    api_and_collector_with(config()).await
}

async fn api_and_collector_with(config: Config) -> (Api, UdpSocket) {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let target = AuditTarget::Udp(collector.local_addr().unwrap());
    let device = AuditDevice {
        path: "socket".to_owned(),
        description: String::new(),
        checkpoint_interval: Duration::from_secs(60),
        kind: AuditKind::Socket(AuditSocket { target, write_timeout: Duration::from_secs(1) }),
    };
    let key = AuditKey::init_with(|page| page.fill(5)).unwrap();
    let audit = Audit { key: Some(key), devices: vec![device] };
    (Api::start_with(Config { audit, ..config }).await, collector)
}

/// The next lines about a request, each of one datagram.
fn lines(collector: &UdpSocket) -> Vec<Value> {
    let mut buffer = vec![0; MOST_DATAGRAM_BYTES];
    let mut lines = Vec::new();
    while let Ok(length) = collector.recv(&mut buffer) {
        let line: Value = serde_json::from_slice(&buffer[..length]).unwrap();
        if line["type"] == "request" || line["type"] == "response" {
            lines.push(line);
        }
    }
    lines
}

/// As much as is told of a request, and more than there is room for of its reply.
fn long_names() -> Value {
    let mut body = json!({ "paths": ["p".repeat(32_500)] });
    body["u".repeat(32_560)] = json!(1);
    body
}

#[tokio::test]
async fn names_in_clear_on_both_sides_of_a_request_fit_into_its_lines() {
    let (api, collector) = api_and_collector().await;
    let answer = api.send("s.vault", "POST", "sys/capabilities-self", long_names()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let told = lines(&collector);
    assert_eq!(told.len(), 2);
    assert!(told[1]["request"]["data"].is_object(), "what there is room for is told");
    let left_out = &told[1]["response"]["data"]["left_out_bytes"];
    assert!(left_out.as_u64().unwrap() > 32_500, "{left_out}");
    let long = format!("auth/{}/login", "m".repeat(60_000));
    for token in ["s.vault", ""] {
        assert_eq!(api.send(token, "GET", &long, "").await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(lines(&collector).len(), 4);
    let health = api.send("", "GET", "sys/health", "").await;
    assert_eq!(health.status, StatusCode::OK, "{}", health.text);
}

/// As much of everything as a token may have: policies of 4,096 bytes, metadata of 2,048.
fn much() -> Value {
    let mut policies: Vec<_> = (0..39).map(|number| format!("a-{number:097}")).collect();
    policies.push("zz-admin".to_owned());
    policies.push("p".repeat(4_096 - 10 - 11 - 39 * 102 - 3));
    let mut meta = json!({ "a": "x".repeat(480), "b": "x".repeat(480), "c": "x".repeat(480) });
    meta["d"] = json!("");
    meta["e"] = json!("x".repeat(300));
    meta["d"] = json!("x".repeat(2_048 - meta.to_string().len()));
    json!({ "policies": policies, "meta": meta, "display_name": "n".repeat(500) })
}

/// What stands for the value in a line.
fn hash(value: &Value) -> String {
    let key = AuditKey::init_with(|page| page.fill(5)).unwrap();
    let hash = key.value_hash(value.as_str().unwrap().as_bytes());
    format!("hmac-sha256:{:x}", HexDisplay(&hash))
}

#[tokio::test]
async fn a_token_that_has_much_of_everything_fits_into_its_lines() {
    let (api, collector) = api_and_collector().await;
    let mut body = much();
    body["u".repeat(24_000)] = json!(1);
    let made = api.send("s.root", "POST", "auth/token/create", body).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let made = made.json()["auth"].clone();
    let creation = lines(&collector);
    assert_eq!(creation.len(), 2);
    let auth = &creation[1]["response"]["auth"];
    assert_eq!(auth["accessor"], hash(&made["accessor"]));
    assert_eq!(auth["policies"], made["policies"]);
    let token = made["client_token"].as_str().unwrap();
    for (path, body) in
        [("auth/token/renew-self", json!({})), ("sys/capabilities-self", long_names())]
    {
        let answer = api.send(token, "POST", path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let told = lines(&collector);
        assert_eq!(told.len(), 2);
        for line in told {
            let auth = &line["auth"];
            assert_eq!(auth["accessor"], hash(&made["accessor"]));
            assert_eq!(auth["policies"], made["policies"], "none is left out");
            assert_eq!(auth["token_policies"], made["policies"]);
            assert_eq!(auth["metadata"], much()["meta"]);
            assert_eq!(auth["display_name"], format!("token-{}", "n".repeat(500)));
        }
    }
}

/// What is declared may have more than the policies of a token.
#[tokio::test]
async fn a_client_with_many_policies_fits_into_its_lines() {
    let mut wide = client("wide", "default", Some(60));
    wide.policies =
        (0..3_000).map(|number| format!("policy-of-many-{number:04}").parse().unwrap()).collect();
    let (api, collector) = api_and_collector_with(Config { clients: vec![wide], ..config() }).await;
    let answer = api.send("s.wide", "POST", "auth/token/renew-self", "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let told = lines(&collector);
    assert_eq!(told.len(), 2);
    for line in &told {
        let auth = &line["auth"];
        let policies = auth["policies"].as_array().unwrap();
        let left_out = auth["policies_left_out"].as_u64().unwrap();
        assert_eq!(policies.len() as u64 + left_out, 3_001);
    }
    let auth = &told[1]["response"]["auth"];
    assert_eq!(auth["accessor"], told[1]["auth"]["accessor"]);
    assert!(auth["policies"]["left_out_bytes"].as_u64().unwrap() > 60_000, "{auth}");
}
