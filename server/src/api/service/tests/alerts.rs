//! From a request to an alert.

use selkie_config::{Alerts, Burst};

use super::*;

fn alerting() -> Config {
    let alerts = Alerts {
        learning: Duration::ZERO,
        prefix_v4: 24,
        prefix_v6: 64,
        burst: Burst::default(),
        webhook: None,
    };
    Config { alerts: Some(alerts), ..config() }
}

async fn decrypt(api: &Api, token: &str) {
    let body = json!({ "ciphertext": api.encrypt("unseal").await });
    let answer = api.send(token, "PUT", "transit/decrypt/unseal", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

/// Waits until the metrics have this line.
async fn until(node: &Node, line: &str) {
    let has_line = || {
        let text = node.metrics_text(&node.deployment()).unwrap();
        text.lines().any(|other| other == line)
    };
    let wait = async {
        while !has_line() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(line);
}

#[tokio::test]
async fn a_first_decrypt_alerts_and_an_encrypt_does_not() {
    let node = Arc::new(Node::start(alerting()).await.unwrap());
    let in_flight = InFlight::new(8, Duration::ZERO);
    let api = Api(router(Arc::clone(&node), BodyLimits::default(), in_flight));
    api.encrypt("unseal").await;
    decrypt(&api, "s.vault").await;
    until(&node, "selkie_alerts_total{kind=\"new_client\"} 1").await;
    decrypt(&api, "s.root").await;
    until(&node, "selkie_alerts_total{kind=\"new_client\"} 2").await;
    decrypt(&api, "s.vault").await;
    for _ in 0..20 {
        decrypt(&api, "s.vault").await;
    }
    until(&node, "selkie_alerts_total{kind=\"client_burst\"} 1").await;
    until(&node, "selkie_alerts_total{kind=\"new_client\"} 2").await;
    assert!(node.alerts().is_some());
}

/// A receiver of alerts, and its URL.
async fn receiver() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

fn posting(url: Option<&str>) -> Config {
    let webhook = url.map(|url| selkie_config::Webhook {
        url: url.parse().unwrap(),
        ca_file: None,
        proxy: None,
        headers: Vec::new(),
        hmac_key: None,
        timeout: Duration::from_secs(60),
    });
    let config = alerting();
    let alerts = config.alerts.map(|alerts| Alerts { webhook, ..alerts });
    Config { alerts, ..config }
}

#[tokio::test]
async fn a_reload_posts_alerts_to_another_receiver_and_forgets_no_client() {
    let ((first, to_first), (second, to_second)) = (receiver().await, receiver().await);
    let node = Arc::new(Node::start(posting(None)).await.unwrap());
    let in_flight = InFlight::new(8, Duration::ZERO);
    let api = Api(router(Arc::clone(&node), BodyLimits::default(), in_flight));
    decrypt(&api, "s.vault").await;
    until(&node, "selkie_alerts_total{kind=\"new_client\"} 1").await;
    node.reload(posting(Some(&to_first))).await.unwrap();
    decrypt(&api, "s.root").await;
    let _post = first.accept().await.unwrap();
    node.reload(posting(Some(&to_second))).await.unwrap();
    for _ in 0..21 {
        decrypt(&api, "s.vault").await;
    }
    let _post = second.accept().await.unwrap();
    until(&node, "selkie_alerts_total{kind=\"new_client\"} 2").await;
}

#[tokio::test]
async fn without_the_stanza_nobody_watches() {
    let node = Node::start(config()).await.unwrap();
    assert!(node.alerts().is_none() && !node.audit().events().is_watched());
    let text = node.metrics_text(&node.deployment()).unwrap();
    assert!(!text.contains("selkie_alert"), "{text}");
}

#[tokio::test]
async fn a_token_that_has_the_name_of_a_known_client_is_another_client() {
    let node = Arc::new(Node::start(alerting()).await.unwrap());
    let in_flight = InFlight::new(8, Duration::ZERO);
    let api = Api(router(Arc::clone(&node), BodyLimits::default(), in_flight));
    let make = async |display_name: &str| {
        let body = json!({ "policies": ["seal"], "display_name": display_name, "ttl": "1h" });
        let made = api.send("s.root", "POST", "auth/token/create", body).await;
        made.json()["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    decrypt(&api, "s.vault").await;
    let (named, again) = (make("x").await, make("x").await);
    let (nameless, other) = (make("").await, make("").await);
    for (token, new_clients) in [(&named, 2), (&nameless, 3), (&other, 4)] {
        decrypt(&api, token).await;
        let line = format!("selkie_alerts_total{{kind=\"new_client\"}} {new_clients}");
        until(&node, &line).await;
    }
    decrypt(&api, &again).await;
    decrypt(&api, &make("").await).await;
    until(&node, "selkie_alerts_total{kind=\"new_client\"} 5").await;
}
