//! Keys, and what is said of them.

use super::*;

#[tokio::test]
async fn an_encrypt_creates_its_key_only_with_create() {
    let api = Api::start().await;
    let body = json!({ "plaintext": "YQ==" });
    let made = api.send("s.root", "PUT", "transit/encrypt/fresh", &body).await;
    assert_eq!(made.status, StatusCode::OK);
    let read = api.send("s.root", "GET", "transit/keys/fresh", "").await;
    assert_eq!(read.json()["data"]["latest_version"], 1);
    let body = json!({ "plaintext": "YQ==", "type": "rsa-2048" });
    let refused = api.send("s.root", "PUT", "transit/encrypt/fresh2", body).await;
    assert_eq!(refused.error(), (400, "key type rsa-2048 is not supported".to_owned()));
    let read = api.send("s.root", "GET", "transit/keys/fresh2", "").await;
    assert_eq!((read.status.as_u16(), read.text.as_str()), (404, "{\"errors\":[]}\n"));
}

#[tokio::test]
async fn a_declared_key_cannot_be_changed_and_the_error_says_where_it_is() {
    let api = Api::start().await;
    for (method, path) in [
        ("POST", "transit/keys/unseal/rotate"),
        ("POST", "transit/keys/unseal/config"),
        ("DELETE", "transit/keys/unseal"),
    ] {
        let (status, text) = api.send("s.root", method, path, "{}").await.error();
        assert_eq!(status, 400, "{path}");
        assert!(text.contains("declared in the configuration"), "{text}");
        let way = text.ends_with(
            "; raise its \"generation\" (or the \"version\" that it has there) and reload",
        );
        assert_eq!(way, path.ends_with("rotate"), "{text}");
    }
}

/// Vault's own answer, which every seal client tries again.
#[tokio::test]
async fn while_the_store_is_not_open_unknown_keys_are_sealed_and_never_missing() {
    let deployment = Deployment::connect(config()).await.unwrap();
    let keys = crate::transit::ManagedKeys::awaiting_store();
    let clock = Arc::new(crate::clock::SystemClock);
    let api = Api::on(Node::begin(deployment, keys, clock).await);
    let plaintext = json!({ "plaintext": "aGVsbG8=" });
    for (method, path, body) in [
        ("PUT", "transit/encrypt/managed", plaintext.clone()),
        ("PUT", "transit/decrypt/managed", json!({ "ciphertext": "vault:v1:AAAA" })),
        ("PUT", "transit/rewrap/managed", json!({ "ciphertext": "vault:v1:AAAA" })),
        ("PUT", "transit/keys/managed", json!({})),
        ("PUT", "transit/keys/managed/rotate", json!({})),
        ("PUT", "transit/keys/managed/config", json!({ "deletion_allowed": true })),
        ("GET", "transit/keys/managed", json!("")),
        ("DELETE", "transit/keys/managed", json!("")),
        ("LIST", "transit/keys", json!("")),
    ] {
        let answer = api.send("s.root", method, path, body).await;
        assert_eq!(answer.status.as_u16(), 503, "{method} {path}: {}", answer.text);
        assert_eq!(answer.json()["errors"], json!(["Vault is sealed"]), "{method} {path}");
    }
    let declared = api.send("s.root", "PUT", "transit/encrypt/unseal", plaintext).await;
    assert_eq!(declared.status, StatusCode::OK, "{}", declared.text);
}
