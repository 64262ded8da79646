//! Audit lines fit into datagrams, whatever a client sends or is.

use std::collections::HashMap;
use std::net::UdpSocket;

use selkie_config::{Audit, AuditDevice, AuditKind, AuditSocket, AuditTarget};
use selkie_crypto::AuditKey;

use super::*;

/// What UDP takes over IPv4.
const MOST_DATAGRAM_BYTES: usize = 65_507;

/// With a collector as the only device.
async fn api_and_collector() -> (Api, UdpSocket) {
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
    (Api::start_with(Config { audit, ..config() }).await, collector)
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

#[tokio::test]
async fn a_token_that_has_much_of_everything_fits_into_its_lines() {
    let (api, collector) = api_and_collector().await;
    let policies: Vec<_> = (0..3_000).map(|number| format!("policy-of-many-{number:04}")).collect();
    let meta: HashMap<_, _> =
        (0..64).map(|number| (format!("name-{number}"), "x".repeat(500))).collect();
    let name = "n".repeat(500);
    let body = json!({ "policies": policies, "meta": meta, "display_name": name });
    let made = api.send("s.root", "POST", "auth/token/create", body).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let token = made.json()["auth"]["client_token"].as_str().unwrap().to_owned();
    lines(&collector);
    let answer = api.send(&token, "GET", "auth/token/lookup-self", "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let told = lines(&collector);
    assert_eq!(told.len(), 2);
    for line in told {
        let auth = &line["auth"];
        assert_eq!(auth["display_name"], format!("token-{name}"));
        let policies = auth["policies"].as_array().unwrap();
        assert_eq!(policies[0], "default");
        assert_eq!(&auth["token_policies"], &auth["policies"]);
        let left_out = auth["policies_left_out"].as_u64().unwrap();
        assert_eq!(policies.len() as u64 + left_out, 3_001);
        assert!(auth["metadata"]["left_out_bytes"].as_u64().unwrap() > 32_000, "{auth}");
    }
    let answer = api.send(&token, "POST", "sys/capabilities-self", long_names()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(lines(&collector).len(), 2);
}
