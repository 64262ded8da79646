//! What is told of how the server and its seals are.

use super::*;

#[tokio::test]
async fn a_health_status_that_must_have_no_body_has_none() {
    let api = Api::start().await;
    for code in ["204", "205", "304"] {
        let health = api.send("", "GET", &format!("sys/health?activecode={code}"), "").await;
        assert_eq!((health.status.as_str(), &*health.text), (code, ""));
    }
}

#[tokio::test]
async fn the_state_of_the_seals_is_told_to_who_may_read_it() {
    let api = Api::start().await;
    let path = "sys/seal-backend-status";
    let answer = api.send("s.root", "GET", path, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let body: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((&body["healthy"], &body["data"]["healthy"]), (&json!(true), &json!(true)));
    let backend = &body["backends"][0];
    assert_eq!(backend["name"], "dev");
    assert_eq!(backend["current_version"], "k1");
    assert_eq!(backend["trusted_by"], "configured");
    assert_eq!(api.send("", "GET", path, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(api.send("s.vault", "GET", path, "").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn figures_are_told_in_prometheus_own_form_and_in_no_other() {
    let api = Api::start().await;
    api.encrypt("unseal").await;
    let answer = api.send("s.root", "GET", "sys/metrics?format=prometheus", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers["content-type"].to_str().unwrap().contains("openmetrics"));
    for line in [
        r#"selkie_operations_total{operation="encrypt",outcome="ok"} 1"#,
        r#"selkie_seal_up{seal="dev"} 1"#,
        r#"selkie_seal_trusted{seal="dev"} 1"#,
    ] {
        assert!(answer.text.lines().any(|other| other == line), "{line}: {}", answer.text);
    }
    let other = api.send("s.root", "GET", "sys/metrics?format=json", "").await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
    assert_eq!(api.send("", "GET", "sys/metrics", "").await.status, StatusCode::FORBIDDEN);
}

/// A node whose only master key is behind the faults of `site`.
async fn node_on(site: &crate::seal::tests::Site) -> Node {
    let mut config = config();
    config.seals.clear();
    config.keys[0].seals = vec![SealName::new("weu").unwrap()];
    let deployment = Deployment::assemble(config, site.seals()).unwrap();
    let clock = Arc::new(crate::clock::SystemClock);
    Node::begin(deployment, crate::transit::ManagedKeys::without_store(), clock).await
}

/// Invariant I10.
#[tokio::test(start_paused = true)]
async fn health_says_503_only_while_no_key_at_all_can_be_served() {
    use selkie_kms::{Fault, KmsError};
    let site = crate::seal::tests::Site::new();
    site.faults.on_describe().always(Fault::fail(KmsError::Unavailable(None)));
    let api = Api::on(node_on(&site).await);
    let health = async |query: &str| {
        let answer = api.send("", "GET", &format!("sys/health{query}"), "").await;
        let (status, body) = (answer.status.as_u16(), answer.json());
        (status, body["initialized"] == true, body["sealed"] == true)
    };
    let seal_status = async || api.send("", "GET", "sys/seal-status", "").await.json();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(health("").await, (503, true, true));
    assert_eq!(health("?sealedcode=299&activecode=298").await, (299, true, true));
    let sealed = seal_status().await;
    assert_eq!((&sealed["sealed"], sealed.get("cluster_id")), (&json!(true), None));
    site.faults.on_describe().clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(health("").await, (200, true, false));
    assert_eq!(seal_status().await["sealed"], false);
    site.faults.on_describe().always(Fault::fail(KmsError::Unavailable(None)));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(health("").await, (200, true, false), "it encrypts without the KMS");
}

/// Invariant I10.
#[tokio::test(start_paused = true)]
async fn the_client_is_told_whether_to_try_again() {
    use selkie_kms::{Fault, KmsError};
    for (error, status, text) in [
        (KmsError::Unavailable(None), 503, "no master key of this key can be reached"),
        (KmsError::Denied(None), 400, "the master key cannot be used: its KMS denies access"),
        (
            KmsError::UnknownKek(None),
            400,
            "the master key cannot be used: it does not exist in its KMS",
        ),
    ] {
        let site = crate::seal::tests::Site::new();
        site.faults.on_describe().always(Fault::fail(error));
        let api = Api::on(node_on(&site).await);
        let body = json!({ "plaintext": "aGVsbG8=" });
        let answer = api.send("s.root", "PUT", "transit/encrypt/unseal", body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert!(answer.text.contains(text), "{}", answer.text);
        let read = api.send("s.root", "GET", "transit/keys/unseal", "").await;
        assert_eq!(read.status.as_u16(), status, "a version that is not known is not guessed");
    }
}
