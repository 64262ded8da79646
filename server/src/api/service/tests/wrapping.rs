//! Claims about wrapped responses, as a client meets them.

use super::*;

impl Api {
    async fn wrapped(&self, token: &str, ttl: &str, path: &str, body: impl ToString) -> Answer {
        let request = Request::post(format!("/v1/{path}"));
        let request = request.header("x-vault-token", token).header("x-vault-wrap-ttl", ttl);
        self.exchange(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// A wrapped token for the policy of the seal.
    async fn wrapped_token(&self) -> String {
        let body = json!({ "policies": ["seal"], "ttl": "1h" });
        let answer = self.wrapped("s.root", "60s", "auth/token/create", body).await.json();
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }
}

const INVALID: &str = "wrapping token is not valid or does not exist";

#[tokio::test]
async fn a_wrapped_answer_tells_of_its_token_and_nothing_of_itself() {
    let api = Api::start().await;
    let body = json!({ "policies": ["seal"], "ttl": "1h" });
    let answer = api.wrapped("s.root", "5m", "auth/token/create", body).await;
    let json = answer.json();
    let members: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    let expected = [
        "auth",
        "data",
        "lease_duration",
        "lease_id",
        "renewable",
        "request_id",
        "warnings",
        "wrap_info",
    ];
    assert_eq!(members, expected);
    assert_eq!(
        (&json["request_id"], &json["auth"], &json["data"]),
        (&json!(""), &Value::Null, &Value::Null)
    );
    let info = &json["wrap_info"];
    assert_eq!((&info["ttl"], &info["creation_path"]), (&json!(300), &json!("auth/token/create")));
    assert_eq!(info["wrapped_accessor"].as_str().unwrap().len(), 24);
    assert!(answer.text.contains(r#""wrap_info":{"token":"hvs."#), "{}", answer.text);
}

#[tokio::test]
async fn a_wrapped_token_is_handed_over_once() {
    let api = Api::start().await;
    let wrapping = api.wrapped_token().await;
    let look = api.send(&wrapping, "POST", "sys/wrapping/lookup", "").await.json();
    assert_eq!(look["data"]["creation_path"], "auth/token/create");
    assert_eq!(look["data"]["creation_ttl"], 60);
    let unwrapped = api.send(&wrapping, "POST", "sys/wrapping/unwrap", "").await.json();
    let token = unwrapped["auth"]["client_token"].as_str().unwrap();
    assert_eq!(unwrapped["wrap_info"], Value::Null);
    let used = api.send(token, "GET", "auth/token/lookup-self", "").await;
    assert_eq!(used.status, StatusCode::OK);
    for path in ["sys/wrapping/unwrap", "sys/wrapping/lookup", "sys/wrapping/rewrap"] {
        let second = api.send(&wrapping, "POST", path, "").await;
        assert_eq!(second.error(), (400, INVALID.into()), "{path}");
    }
}

#[tokio::test]
async fn a_client_may_unwrap_with_the_wrapping_token_as_a_field() {
    let api = Api::start().await;
    let wrapping = api.wrapped_token().await;
    let body = json!({ "token": wrapping });
    let unwrapped = api.send("s.vault", "POST", "sys/wrapping/unwrap", &body).await.json();
    assert!(unwrapped["auth"]["client_token"].is_string());
    let second = api.send("s.vault", "POST", "sys/wrapping/unwrap", &body).await;
    assert_eq!(second.error(), (400, INVALID.into()));
    let none = api.send("s.vault", "POST", "sys/wrapping/unwrap", "").await;
    assert_eq!(none.error(), (400, INVALID.into()));
    let none = api.send("s.vault", "POST", "sys/wrapping/lookup", "").await;
    assert_eq!(none.error(), (400, "missing \"token\" value in input".into()));
}

#[tokio::test]
async fn a_wrapping_token_is_good_for_nothing_else() {
    let api = Api::start().await;
    let wrapping = api.wrapped_token().await;
    for (method, path) in [
        ("GET", "auth/token/lookup-self"),
        ("POST", "sys/wrapping/wrap"),
        ("GET", "sys/mounts"),
        ("PUT", "transit/encrypt/unseal"),
    ] {
        let answer = api.send(&wrapping, method, path, "").await;
        assert_eq!(answer.error(), (403, "permission denied".into()), "{path}");
    }
    let unwrapped = api.send(&wrapping, "POST", "sys/wrapping/unwrap", "").await;
    assert_eq!(unwrapped.status, StatusCode::OK, "it was not used up");
}

#[tokio::test]
async fn whatever_is_sent_can_be_wrapped_and_comes_back_the_same() {
    let api = Api::start().await;
    let body = r#"{"a":"x\"y","b":1.50,"c":[1,{"d":null}],"e":true,"f":null}"#;
    let wrapped = api.wrapped("s.vault", "60", "sys/wrapping/wrap", body).await.json();
    let token = wrapped["wrap_info"]["token"].as_str().unwrap();
    let unwrapped = api.send(token, "POST", "sys/wrapping/unwrap", "").await;
    assert!(unwrapped.text.contains(&format!("\"data\":{body}")), "{}", unwrapped.text);
    let plain = api.send("s.vault", "POST", "sys/wrapping/wrap", body).await;
    let text = "endpoint requires response wrapping to be used";
    assert_eq!(plain.error(), (400, text.into()));
}

#[tokio::test]
async fn a_rewrapped_answer_has_another_token() {
    let api = Api::start().await;
    let first = api.wrapped_token().await;
    let rewrapped = api.send(&first, "POST", "sys/wrapping/rewrap", "").await.json();
    let info = &rewrapped["wrap_info"];
    assert_eq!((&info["ttl"], &info["creation_path"]), (&json!(60), &json!("auth/token/create")));
    let second = info["token"].as_str().unwrap();
    assert_eq!(api.send(&first, "POST", "sys/wrapping/unwrap", "").await.error().0, 400);
    let unwrapped = api.send(second, "POST", "sys/wrapping/unwrap", "").await;
    assert_eq!(unwrapped.status, StatusCode::OK);
}

#[tokio::test]
async fn errors_and_empty_answers_are_not_wrapped() {
    let api = Api::start().await;
    let denied = api.wrapped("s.vault", "60", "sys/policies/acl/a", json!({})).await;
    assert_eq!(denied.error().0, 403);
    let body = json!({ "policy": "path \"a\" {}" });
    let empty = api.wrapped("s.root", "60", "sys/policies/acl/a", body).await;
    assert_eq!(empty.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_header_that_is_no_time_is_refused_and_zero_is_none() {
    let api = Api::start().await;
    for ttl in ["soon", "-5", "1x"] {
        let answer =
            api.wrapped("s.root", ttl, "sys/capabilities-self", json!({"path": "a"})).await;
        let (status, text) = answer.error();
        assert_eq!(status, 400);
        assert!(text.starts_with("error parsing X-Vault-Wrap-TTL header: "), "{ttl}: {text}");
    }
    let plain = api.wrapped("s.root", "0", "sys/capabilities-self", json!({ "path": "a" })).await;
    assert_eq!(plain.json()["data"]["a"], json!(["root"]));
}

#[tokio::test]
async fn on_what_a_seal_asks_for_the_header_is_ignored_whatever_it_says() {
    for storage in [None, Some(Storage::InMemory)] {
        let api = Api::start_with(Config { storage, ..config() }).await;
        for ttl in ["60", "nonsense"] {
            let body = json!({ "plaintext": "aGVsbG8=" });
            let encrypted = api.wrapped("s.vault", ttl, "transit/encrypt/unseal", body).await;
            let ciphertext = &encrypted.json()["data"]["ciphertext"];
            let body = json!({ "ciphertext": ciphertext });
            let decrypted = api.wrapped("s.vault", ttl, "transit/decrypt/unseal", body).await;
            assert_eq!(decrypted.json()["data"]["plaintext"], "aGVsbG8=");
            let renewed = api.wrapped("s.vault", ttl, "auth/token/renew-self", json!({})).await;
            assert_eq!(renewed.json()["auth"]["client_token"], "s.vault");
        }
    }
}

#[tokio::test]
async fn without_storage_nothing_is_done_that_could_not_be_wrapped() {
    let api = Api::start_with(Config { storage: None, ..config() }).await;
    let body = json!({ "path": "a" });
    let (status, text) = api.wrapped("s.root", "60", "sys/capabilities-self", body).await.error();
    assert_eq!(status, 400);
    assert!(text.starts_with("response wrapping needs storage"), "{text}");
}

#[tokio::test]
async fn a_policy_can_ask_for_wrapping() {
    let api = Api::start().await;
    let rules = "path \"sys/capabilities-self\" {\n capabilities = [\"update\"]\n \
                 min_wrapping_ttl = \"10s\"\n max_wrapping_ttl = \"1m\"\n}";
    api.send("s.root", "PUT", "sys/policies/acl/wrap", json!({ "policy": rules })).await;
    let body = json!({ "policies": ["wrap"], "ttl": "1h", "no_default_policy": true });
    let made = api.send("s.root", "POST", "auth/token/create", body).await.json();
    let token = made["auth"]["client_token"].as_str().unwrap();
    for (ttl, status) in [("0", 403), ("9", 403), ("10", 200), ("60", 200), ("61", 403)] {
        let answer = api.wrapped(token, ttl, "sys/capabilities-self", json!({"path": "a"})).await;
        assert_eq!(answer.status.as_u16(), status, "{ttl}");
    }
}

#[tokio::test]
async fn a_response_is_kept_no_longer_than_a_token_would_live() {
    let api = Api::start().await;
    let body = json!({ "a": "b" });
    let wrapped = api.wrapped("s.vault", "9000000000", "sys/wrapping/wrap", body).await.json();
    assert_eq!(wrapped["wrap_info"]["ttl"], json!(768 * 3600));
}

#[tokio::test]
async fn one_client_leaves_room_for_the_wrapped_answers_of_others() {
    let api = Api::start().await;
    let body = json!({ "a": "x".repeat(500 << 10) }).to_string();
    let mut wrapped = 0;
    let full = loop {
        let answer = api.wrapped("s.vault", "60", "sys/wrapping/wrap", &body).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        wrapped += 1;
        assert!(wrapped < 20, "a tenth of what there is");
    };
    let text = "too many wrapped responses are kept already; unwrap some or wait";
    assert_eq!(full.error(), (400, text.into()));
    api.wrapped_token().await;
}

/// A client that is refused tries again, and would be told that the wrapping token is not valid.
#[tokio::test]
async fn a_response_that_cannot_be_sent_now_is_kept() {
    let node = Node::start(config()).await.unwrap();
    let bytes = node.bytes().clone();
    let api = Api::on(node);
    let body = json!({ "a": "x".repeat(100 << 10) });
    for by_itself in [true, false] {
        let wrapped = api.wrapped("s.root", "60s", "sys/wrapping/wrap", body.clone()).await.json();
        let token = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
        let unwrap = async || match by_itself {
            true => api.send(&token, "POST", "sys/wrapping/unwrap", "").await,
            false => {
                let named = json!({ "token": token });
                api.send("s.root", "POST", "sys/wrapping/unwrap", named).await
            }
        };
        let others = bytes.take(512 << 20).await.unwrap();
        let refused = unwrap().await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{by_itself}");
        drop(others);
        let answer = unwrap().await;
        assert_eq!(answer.status, StatusCode::OK, "{by_itself}: {}", answer.text);
        assert_eq!(answer.json()["data"], body);
        assert_eq!(unwrap().await.error(), (400, INVALID.into()));
    }
}

#[tokio::test]
async fn where_there_is_no_room_for_its_answer_nothing_is_done() {
    let api = Api::start().await;
    let big = json!({ "a": "x".repeat(500 << 10) }).to_string();
    let small = json!({ "a": "x".repeat(10 << 10) }).to_string();
    for body in [big, small] {
        while api.wrapped("s.root", "60", "sys/wrapping/wrap", &body).await.status == StatusCode::OK
        {
        }
    }
    let accessors = async || {
        let list = api.send("s.root", "LIST", "auth/token/accessors", "").await.json();
        list["data"]["keys"].as_array().unwrap().len()
    };
    let before = accessors().await;
    let body = json!({ "policies": ["seal"], "ttl": "1h" });
    let refused = api.wrapped("s.root", "60s", "auth/token/create", body).await;
    assert_eq!(refused.error().0, 400);
    assert_eq!(accessors().await, before, "no token was made");
}
