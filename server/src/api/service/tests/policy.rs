//! Claims about policies and capabilities, as a client meets them.

use super::*;

const RULES: &str = "path \"transit/keys/a\" { capabilities = [\"read\"] }";

/// With a policy that is declared in a file.
async fn api() -> Api {
    Api::start().await
}

async fn put(api: &Api, name: &str, policy: &str) -> Answer {
    let body = json!({ "policy": policy });
    api.send("s.root", "PUT", &format!("sys/policies/acl/{name}"), body).await
}

#[tokio::test]
async fn a_policy_is_made_shown_listed_and_removed() {
    let api = api().await;
    let made = put(&api, "Mine", RULES).await;
    assert_eq!((made.status.as_u16(), made.text.as_str()), (204, ""));
    let shown = api.send("s.root", "GET", "sys/policies/acl/mine", "").await;
    assert_eq!(shown.json()["data"], json!({ "name": "mine", "policy": RULES }));
    let listed = api.send("s.root", "LIST", "sys/policies/acl", "").await;
    assert_eq!(listed.json()["data"]["keys"], json!(["default", "mine", "root", "seal"]));
    let removed = api.send("s.root", "DELETE", "sys/policies/acl/mine", "").await;
    assert_eq!(removed.status.as_u16(), 204);
    let gone = api.send("s.root", "GET", "sys/policies/acl/mine", "").await;
    assert_eq!((gone.status.as_u16(), gone.json()), (404, json!({ "errors": [] })));
    let again = api.send("s.root", "DELETE", "sys/policies/acl/mine", "").await;
    assert_eq!(again.status.as_u16(), 204, "as Vault");
}

#[tokio::test]
async fn the_old_path_speaks_of_rules_and_of_policies() {
    let api = api().await;
    let body = json!({ "rules": RULES });
    let made = api.send("s.root", "POST", "sys/policy/old", body).await;
    let deprecated = json!(["'rules' is deprecated, please use 'policy' instead"]);
    assert_eq!((made.status.as_u16(), &made.json()["warnings"]), (200, &deprecated));
    let shown = api.send("s.root", "GET", "sys/policy/old", "").await.json();
    assert_eq!(shown["data"], json!({ "name": "old", "rules": RULES }));
    assert_eq!(shown["rules"], RULES);
    for (method, path) in [("GET", "sys/policy"), ("LIST", "sys/policy")] {
        let listed = api.send("s.root", method, path, "").await.json();
        let names = json!(["default", "old", "root", "seal"]);
        assert_eq!((&listed["data"]["keys"], &listed["policies"]), (&names, &names));
    }
    let read = api.send("s.root", "GET", "sys/policies/acl", "").await;
    assert_eq!(read.status.as_u16(), 405);
}

#[tokio::test]
async fn a_policy_may_come_in_base64() {
    let api = api().await;
    let encoded = "cGF0aCAiYSIgeyBjYXBhYmlsaXRpZXMgPSBbInJlYWQiXSB9";
    assert_eq!(put(&api, "coded", encoded).await.status.as_u16(), 204);
    let shown = api.send("s.root", "GET", "sys/policies/acl/coded", "").await;
    assert_eq!(shown.json()["data"]["policy"], "path \"a\" { capabilities = [\"read\"] }");
}

#[tokio::test]
async fn what_is_no_policy_is_refused_and_it_is_told_where() {
    let api = api().await;
    let refused = put(&api, "bad", "path \"a\" {\n  capabilities = [\"reed\"]\n}").await;
    let (status, text) = refused.error();
    assert_eq!(status, 400);
    assert!(text.starts_with("failed to parse policy: bad:2:19: not a capability;"), "{text}");
    let missing = put(&api, "bad", "").await;
    assert_eq!(missing.error(), (400, "'policy' parameter not supplied or empty".into()));
    let shown = api.send("s.root", "GET", "sys/policies/acl/bad", "").await;
    assert_eq!(shown.status.as_u16(), 404);
}

#[tokio::test]
async fn root_is_immutable_and_default_can_be_changed_but_not_removed() {
    let api = api().await;
    let update = put(&api, "root", RULES).await.error();
    assert_eq!(update, (400, "cannot update \"root\" policy".into()));
    let deleted = api.send("s.root", "DELETE", "sys/policies/acl/root", "").await.error();
    assert_eq!(deleted, (400, "cannot delete \"root\" policy".into()));
    let root = api.send("s.root", "GET", "sys/policies/acl/root", "").await.json();
    assert_eq!(root["data"], json!({ "name": "root", "policy": "" }));
    let shown = api.send("s.root", "GET", "sys/policies/acl/default", "").await.json();
    assert!(shown["data"]["policy"].as_str().unwrap().contains("auth/token/lookup-self"));
    let look = async || api.send("s.vault", "GET", "auth/token/lookup-self", "").await.status;
    assert_eq!(look().await, StatusCode::OK);
    assert_eq!(put(&api, "default", RULES).await.status.as_u16(), 204);
    assert_eq!(look().await, StatusCode::FORBIDDEN, "a declared client has it too");
    let deleted = api.send("s.root", "DELETE", "sys/policies/acl/default", "").await.error();
    assert_eq!(deleted, (400, "cannot delete default policy".into()));
}

/// Invariant I6.
#[tokio::test]
async fn a_declared_policy_is_read_only_and_the_error_says_where_it_is_declared() {
    let api = api().await;
    let shown = api.send("s.root", "GET", "sys/policies/acl/seal", "").await.json();
    assert_eq!(shown["data"]["policy"], SEAL_POLICY);
    let text = "policy \"seal\" is declared in the configuration (seal.hcl) and cannot be changed \
                through the API";
    assert_eq!(put(&api, "seal", RULES).await.error(), (400, text.into()));
    let deleted = api.send("s.root", "DELETE", "sys/policies/acl/seal", "").await;
    assert_eq!(deleted.error(), (400, text.into()));
}

#[tokio::test]
async fn without_storage_no_policy_can_be_made() {
    let api = Api::start_with(Config { storage: None, ..config() }).await;
    let (status, text) = put(&api, "mine", RULES).await.error();
    assert_eq!(status, 400);
    assert!(text.starts_with("policies made through the API need storage"), "{text}");
    let listed = api.send("s.root", "LIST", "sys/policies/acl", "").await;
    assert_eq!(listed.json()["data"]["keys"], json!(["default", "root", "seal"]));
}

#[tokio::test]
async fn policies_are_for_those_who_have_a_right_to_them() {
    let api = api().await;
    for (method, path) in [
        ("LIST", "sys/policies/acl"),
        ("GET", "sys/policies/acl/seal"),
        ("PUT", "sys/policies/acl/mine"),
        ("DELETE", "sys/policies/acl/mine"),
        ("GET", "sys/policy/seal"),
        ("POST", "sys/capabilities"),
        ("POST", "sys/capabilities-accessor"),
    ] {
        let answer = api.send("s.vault", method, path, json!({ "policy": RULES })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
}

#[tokio::test]
async fn a_changed_policy_counts_for_tokens_at_once() {
    let api = api().await;
    put(&api, "mine", RULES).await;
    let body = json!({ "policies": ["mine"], "ttl": "1h" });
    let made = api.send("s.root", "POST", "auth/token/create", body).await.json();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let read = async || api.send(token, "GET", "transit/keys/a", "").await.status.as_u16();
    assert_eq!(read().await, 404);
    put(&api, "mine", "path \"transit/keys/a\" { capabilities = [\"deny\"] }").await;
    assert_eq!(read().await, 403);
}

#[tokio::test]
async fn parameters_are_looked_at_before_a_field_is() {
    let api = api().await;
    let rules = "path \"transit/encrypt/unseal\" {\n capabilities = [\"update\"]\n \
                 denied_parameters = { \"key_version\" = [] }\n}";
    put(&api, "narrow", rules).await;
    let body = json!({ "policies": ["narrow"], "ttl": "1h" });
    let made = api.send("s.root", "POST", "auth/token/create", body).await.json();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let encrypt = async |body: Value| {
        api.send(token, "PUT", "transit/encrypt/unseal", body).await.status.as_u16()
    };
    assert_eq!(encrypt(json!({ "plaintext": "aGVsbG8=" })).await, 200);
    assert_eq!(encrypt(json!({ "plaintext": "aGVsbG8=", "key_version": 1 })).await, 403);
    assert_eq!(encrypt(json!({ "plaintext": "aGVsbG8=", "Key_Version": 1 })).await, 403);
}

#[tokio::test]
async fn capabilities_are_told_of_a_token_and_of_an_accessor() {
    let api = api().await;
    let body = json!({ "paths": ["transit/encrypt/unseal", "x"], "token": "s.vault" });
    let of_token = api.send("s.root", "POST", "sys/capabilities", body).await.json();
    let expected = json!({ "transit/encrypt/unseal": ["update"], "x": ["deny"] });
    assert_eq!(of_token["data"], expected);
    let looked = api.send("s.vault", "GET", "auth/token/lookup-self", "").await.json();
    let accessor = &looked["data"]["accessor"];
    let body = json!({ "path": "transit/encrypt/unseal", "accessor": accessor });
    let answer = api.send("s.root", "POST", "sys/capabilities-accessor", body).await.json();
    assert_eq!(answer["data"]["capabilities"], json!(["update"]));
    let made = json!({ "policies": ["seal"], "ttl": "1h" });
    let made = api.send("s.root", "POST", "auth/token/create", made).await.json();
    let body = json!({ "path": "transit/decrypt/unseal", "token": made["auth"]["client_token"] });
    let of_kept = api.send("s.root", "POST", "sys/capabilities", body).await.json();
    assert_eq!(of_kept["capabilities"], json!(["update"]));
}

#[tokio::test]
async fn capabilities_of_nobody_are_an_error() {
    let api = api().await;
    let ask = async |path: &str, body: Value| api.send("s.root", "POST", path, body).await.error();
    let path = json!("x");
    for body in [json!({ "path": path }), json!({ "path": path, "token": "s.nobody" })] {
        assert_eq!(ask("sys/capabilities", body).await.0, 400);
    }
    for body in [json!({ "path": path }), json!({ "path": path, "accessor": "none" })] {
        assert_eq!(ask("sys/capabilities-accessor", body).await.0, 400);
    }
    let missing = ask("sys/capabilities", json!({ "token": "s.vault" })).await;
    assert_eq!(missing, (400, "paths must be supplied".into()));
}

/// The policy `default` lets everybody ask.
#[tokio::test]
async fn capabilities_are_told_of_so_many_paths_at_once() {
    let api = api().await;
    let ask = async |paths: Value| {
        let body = json!({ "paths": paths });
        api.send("s.vault", "POST", "sys/capabilities-self", body).await
    };
    let names = |count: usize| (0..count).map(|number| format!("p{number}")).collect::<Vec<_>>();
    for most in [json!(names(1024)), json!(names(1024).join(","))] {
        let answer = ask(most).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["data"].as_object().unwrap().len(), 1024);
    }
    let refusal = "Field validation failed: error converting input for field \"paths\": too many \
                   elements";
    for more in [json!(names(1025)), json!(names(1025).join(",")), json!(",".repeat(900_000))] {
        assert_eq!(ask(more).await.error(), (400, refusal.to_owned()));
    }
}

#[tokio::test]
async fn only_ciphertexts_plaintexts_and_policies_may_be_long() {
    const MUCH: usize = 1 << 20;
    let api = api().await;
    let padded = |body: &str, bytes: usize| [" ".repeat(bytes - body.len()), body.into()].concat();
    for (path, body) in [
        ("sys/capabilities-self", r#"{"paths":["a"]}"#),
        ("auth/token/create", "{}"),
        ("sys/auth/x", r#"{"type":"approle"}"#),
        ("transit/keys/made", "{}"),
    ] {
        let answer = api.send("s.root", "POST", path, padded(body, MUCH + 1)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let answer = api.send("s.root", "POST", path, padded(body, MUCH)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
    }
    for (path, body) in [
        ("transit/encrypt/unseal", r#"{"plaintext":""}"#),
        ("sys/policies/acl/long", r#"{"policy":"path \"a\" { capabilities = [\"read\"] }"}"#),
    ] {
        let answer = api.send("s.root", "POST", path, padded(body, 2 * MUCH)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
    }
}
