use std::sync::Arc;

use selkie_config::{DeclaredAppRole, DeclaredAuth, DeclaredMethod, TokenParameters, TokenType};
use serde_json::{Value, json};

use super::*;

impl Api {
    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.send("s.root", method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
        if answer.text.is_empty() { Value::Null } else { answer.json() }
    }

    async fn turned_down(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        self.send("s.root", method, path, body).await.error()
    }

    async fn role(&self, name: &str, body: Value) -> String {
        self.ok("POST", &format!("auth/approle/role/{name}"), body).await;
        let read = self.ok("GET", &format!("auth/approle/role/{name}/role-id"), Value::Null).await;
        read["data"]["role_id"].as_str().unwrap().to_owned()
    }

    async fn secret_id(&self, name: &str, body: Value) -> Value {
        let path = format!("auth/approle/role/{name}/secret-id");
        self.ok("POST", &path, body).await["data"].clone()
    }

    async fn log_in(&self, role_id: &str, secret_id: &Value) -> Answer {
        let body = json!({ "role_id": role_id, "secret_id": secret_id });
        self.send("", "POST", "auth/approle/login", body).await
    }
}

async fn with_approle() -> Api {
    let api = Api::start().await;
    api.ok("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    api
}

fn invalid() -> (u16, String) {
    (400, "invalid role or secret ID".to_owned())
}

#[tokio::test]
async fn a_role_id_and_a_secret_id_make_a_token_with_the_roles_parameters() {
    let api = with_approle().await;
    let role = json!({ "token_policies": ["seal"], "token_ttl": "20m", "token_num_uses": 4 });
    let role_id = api.role("Web", role).await;
    let secret = api.secret_id("web", json!({ "metadata": r#"{"host":"a"}"# })).await;
    let answer = api.log_in(&role_id, &secret["secret_id"]).await;
    let auth = answer.json()["auth"].clone();
    assert_eq!(auth["policies"], json!(["default", "seal"]));
    assert_eq!(auth["lease_duration"], 1200);
    assert_eq!(auth["metadata"], json!({ "role_name": "web", "host": "a" }));
    assert_eq!((&auth["renewable"], &auth["orphan"]), (&json!(true), &json!(true)));
    assert_eq!(auth["num_uses"], 4);
    assert_eq!(auth["entity_id"].as_str().unwrap().len(), 36);
    assert_eq!(answer.json()["data"], Value::Null);
    let token = auth["client_token"].as_str().unwrap();
    let made = api.send(token, "PUT", "transit/encrypt/unseal", r#"{"plaintext":"YQ=="}"#).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let looked = api.send(token, "GET", "auth/token/lookup-self", "").await.json();
    assert_eq!(looked["data"]["entity_id"], auth["entity_id"]);
    assert_eq!(looked["data"]["display_name"], "approle");
    assert_eq!(looked["data"]["path"], "auth/approle/login");
    let again = api.log_in(&role_id, &secret["secret_id"]).await.json();
    assert_eq!(again["auth"]["entity_id"], auth["entity_id"]);
    assert_ne!(again["auth"]["client_token"], auth["client_token"]);
}

#[tokio::test]
async fn whichever_of_the_two_ids_is_wrong_the_answer_is_the_same() {
    let api = with_approle().await;
    let role_id = api.role("web", json!({})).await;
    let other = api.role("other", json!({})).await;
    let secret = api.secret_id("web", json!({})).await["secret_id"].clone();
    assert_eq!(api.log_in(&role_id, &json!("wrong")).await.error(), invalid());
    assert_eq!(api.log_in("wrong", &secret).await.error(), invalid());
    assert_eq!(api.log_in(&other, &secret).await.error(), invalid());
    assert_eq!(api.log_in("", &secret).await.error(), (400, "missing role_id".into()));
    let missing = (400, "missing secret_id".to_owned());
    let elsewhere = json!({ "token_bound_cidrs": ["10.0.0.0/8"], "bind_secret_id": false });
    let unbound = api.role("unbound", elsewhere.clone()).await;
    for body in [json!({ "token_bound_cidrs": ["10.0.0.0/8"] }), elsewhere] {
        let bound = api.role("bound", body).await;
        assert_eq!(api.log_in(&bound, &json!("wrong")).await.error(), invalid());
    }
    for role_id in [role_id.as_str(), &unbound, "wrong"] {
        assert_eq!(api.log_in(role_id, &json!("")).await.error(), missing, "{role_id}");
    }
    assert_eq!(api.log_in(&role_id, &secret).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_use_is_counted_once_however_many_log_in_at_a_time() {
    let api = Arc::new(with_approle().await);
    let role_id = api.role("web", json!({ "secret_id_num_uses": 3 })).await;
    let secret = api.secret_id("web", json!({})).await["secret_id"].clone();
    let logins = (0..8).map(|_| {
        let (api, role_id, secret) = (Arc::clone(&api), role_id.clone(), secret.clone());
        tokio::spawn(async move { api.log_in(&role_id, &secret).await.status })
    });
    let mut successes = 0;
    for login in logins.collect::<Vec<_>>() {
        successes += usize::from(login.await.unwrap() == StatusCode::OK);
    }
    assert_eq!(successes, 3);
    assert_eq!(api.log_in(&role_id, &secret).await.error(), invalid());
}

#[tokio::test]
async fn a_secret_id_is_looked_up_and_destroyed_by_itself_or_its_accessor() {
    let api = with_approle().await;
    let role_id = api.role("web", json!({ "secret_id_ttl": "1h" })).await;
    let one = api.secret_id("web", json!({ "num_uses": 5 })).await;
    let other = api.secret_id("web", json!({ "ttl": 60 })).await;
    assert_eq!((&one["secret_id_ttl"], &other["secret_id_ttl"]), (&json!(3600), &json!(60)));
    let base = "auth/approle/role/web";
    let listed = api.ok("LIST", &format!("{base}/secret-id"), Value::Null).await;
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), 2);
    let by_text = json!({ "secret_id": one["secret_id"] });
    let found = api.ok("POST", &format!("{base}/secret-id/lookup"), by_text.clone()).await;
    assert_eq!(found["data"]["secret_id_num_uses"], 5);
    assert_eq!(found["data"]["secret_id_accessor"], one["secret_id_accessor"]);
    assert!(!found.to_string().contains(one["secret_id"].as_str().unwrap()));
    api.ok("POST", &format!("{base}/secret-id/destroy"), by_text.clone()).await;
    let gone = api.ok("POST", &format!("{base}/secret-id/lookup"), by_text).await;
    assert_eq!(gone, Value::Null);
    assert_eq!(api.log_in(&role_id, &one["secret_id"]).await.error(), invalid());
    let by_accessor = json!({ "secret_id_accessor": other["secret_id_accessor"] });
    let lookup = format!("{base}/secret-id-accessor/lookup");
    assert_eq!(api.ok("POST", &lookup, by_accessor.clone()).await["data"]["secret_id_ttl"], 60);
    let path = format!("{base}/secret-id-accessor/destroy");
    api.ok("POST", &path, by_accessor.clone()).await;
    assert_eq!(api.turned_down("POST", &lookup, by_accessor).await.0, 404);
    assert_eq!(api.log_in(&role_id, &other["secret_id"]).await.error(), invalid());
}

#[tokio::test]
async fn a_secret_id_may_do_no_more_than_its_role_allows() {
    let api = with_approle().await;
    let role = json!({
        "secret_id_num_uses": 2, "secret_id_ttl": 60, "secret_id_bound_cidrs": "10.0.0.0/8",
        "token_bound_cidrs": ["127.0.0.0/8"],
    });
    api.role("web", role).await;
    let path = "auth/approle/role/web/secret-id";
    for (body, text) in [
        (json!({ "num_uses": 3 }), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({ "num_uses": 0 }), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({ "num_uses": -1 }), "num_uses cannot be negative"),
        (json!({ "ttl": 61 }), "ttl cannot be longer than the role's secret_id_ttl"),
        (
            json!({ "cidr_list": ["11.0.0.0/8"] }),
            "the CIDR blocks of a secret ID must lie within those of its role",
        ),
        (
            json!({ "metadata": "[1]" }),
            "failed to parse metadata: expected an object whose values are text",
        ),
    ] {
        assert_eq!(api.turned_down("POST", path, body).await, (400, text.to_owned()));
    }
    let missing = api.turned_down("POST", "auth/approle/role/no/secret-id", json!({})).await;
    assert_eq!(missing, (404, "role \"no\" does not exist".to_owned()));
}

#[tokio::test]
async fn a_login_from_outside_the_bound_networks_is_refused_and_uses_nothing() {
    let api = with_approle().await;
    let inside = api.role("in", json!({ "secret_id_num_uses": 1 })).await;
    let secret = api.secret_id("in", json!({ "cidr_list": "10.0.0.0/8" })).await;
    let (status, text) = api.log_in(&inside, &secret["secret_id"]).await.error();
    assert_eq!(status, 400);
    assert!(text.contains("unauthorized by CIDR restrictions on the secret ID"), "{text}");
    let lookup = json!({ "secret_id": secret["secret_id"] });
    let found = api.ok("POST", "auth/approle/role/in/secret-id/lookup", lookup).await;
    assert_eq!(found["data"]["secret_id_num_uses"], 1);
    let bound = api.role("out", json!({ "token_bound_cidrs": ["10.0.0.0/8"] })).await;
    let secret = api.secret_id("out", json!({})).await;
    let refused = api.log_in(&bound, &secret["secret_id"]).await.error();
    assert_eq!(refused, (403, "permission denied".to_owned()));
}

#[tokio::test]
async fn a_role_is_written_in_parts_read_whole_and_deleted_with_its_secret_ids() {
    let api = with_approle().await;
    let role_id = api.role("web", json!({ "policies": "b,a", "period": "1h" })).await;
    let path = "auth/approle/role/web";
    api.ok("POST", path, json!({ "token_ttl": 30 })).await;
    let read = api.ok("GET", path, Value::Null).await["data"].clone();
    let expected = json!({
        "bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null,
        "secret_id_num_uses": 0, "secret_id_ttl": 0, "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
        "token_num_uses": 0, "token_period": 3600, "token_policies": ["a", "b"], "token_ttl": 30,
        "token_type": "default",
    });
    assert_eq!(read, expected);
    api.ok("POST", &format!("{path}/token-max-ttl"), json!({ "token_max_ttl": 90 })).await;
    let one = api.ok("GET", &format!("{path}/token-max-ttl"), Value::Null).await;
    assert_eq!(one["data"], json!({ "token_max_ttl": 90 }));
    api.ok("DELETE", &format!("{path}/token-max-ttl"), Value::Null).await;
    let secret = api.secret_id("web", json!({})).await;
    api.ok("DELETE", path, Value::Null).await;
    assert_eq!(api.turned_down("GET", path, Value::Null).await, (404, String::new()));
    let list = api.turned_down("LIST", "auth/approle/role", Value::Null).await;
    assert_eq!(list, (404, String::new()));
    let anew = api.role("web", json!({ "role_id": role_id })).await;
    assert_eq!(anew, role_id);
    assert_eq!(api.log_in(&role_id, &secret["secret_id"]).await.error(), invalid());
    let custom = json!({ "secret_id": "mine" });
    let base = "auth/approle/role/web/custom-secret-id";
    assert_eq!(api.ok("POST", base, custom.clone()).await["data"]["secret_id"], "mine");
    let twice = api.turned_down("POST", base, custom).await;
    assert_eq!(twice, (400, "SecretID is already registered".to_owned()));
    assert_eq!(api.log_in(&role_id, &json!("mine")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn unsound_roles_are_refused_in_vaults_words() {
    let api = with_approle().await;
    for (body, text) in [
        (
            json!({ "bind_secret_id": false }),
            "at least one constraint should be enabled on the role",
        ),
        (
            json!({ "token_ttl": 2, "token_max_ttl": 1 }),
            "'token_ttl' cannot be greater than 'token_max_ttl'",
        ),
        (json!({ "token_type": "odd" }), "invalid 'token_type' value \"odd\""),
        (json!({ "token_num_uses": -1 }), "'token_num_uses' cannot be negative"),
    ] {
        let refused = api.turned_down("POST", "auth/approle/role/web", body).await;
        assert_eq!(refused, (400, text.to_owned()));
    }
    let root = api.role("root", json!({ "token_policies": "root" })).await;
    let secret = api.secret_id("root", json!({})).await;
    let refused = api.log_in(&root, &secret["secret_id"]).await.error();
    assert_eq!(refused, (400, "auth methods cannot create root tokens".to_owned()));
}

#[tokio::test]
async fn batch_tokens_come_from_roles_that_say_so() {
    let api = with_approle().await;
    let role = json!({ "token_type": "batch", "token_policies": "seal" });
    let role_id = api.role("web", role).await;
    let secret = api.secret_id("web", json!({})).await;
    let auth = api.log_in(&role_id, &secret["secret_id"]).await.json()["auth"].clone();
    assert_eq!((&auth["token_type"], &auth["renewable"]), (&json!("batch"), &json!(false)));
    let token = auth["client_token"].as_str().unwrap();
    let made = api.send(token, "PUT", "transit/encrypt/unseal", r#"{"plaintext":"YQ=="}"#).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
}

/// What a real Vault 1.14.0 answers to those who enable a method.
fn wrong_mounts() -> Vec<(&'static str, Value, &'static str)> {
    let config = |name: &str, value: Value| json!({ "type": "approle", "config": { name: value } });
    vec![
        ("x", json!({}), "backend type must be specified as a string"),
        ("x", json!({ "type": "token" }), "token credential backend cannot be instantiated"),
        ("x", json!({ "type": "plugin" }), "plugin_name must be provided for plugin backend"),
        ("token", json!({ "type": "approle" }), "path is already in use at token/"),
        (
            "x",
            json!({ "type": "approle", "config": { "default_lease_ttl": "2h", "max_lease_ttl": "1h" } }),
            "given default lease TTL greater than given max lease TTL",
        ),
        (
            "x",
            config("default_lease_ttl", json!("zz")),
            "unable to parse default TTL of zz: time: invalid duration \"zz\"",
        ),
        (
            "x",
            config("max_lease_ttl", json!("zz")),
            "unable to parse max TTL of zz: time: invalid duration \"zz\"",
        ),
        (
            "x",
            config("default_lease_ttl", json!("9000h")),
            "given default lease TTL greater than system max lease TTL of 2764800",
        ),
        ("x", config("token_type", json!("zz")), "invalid value for 'token_type'"),
        ("x", config("listing_visibility", json!("zz")), "invalid listing_visibility zz"),
        (
            "x",
            json!({ "type": "approle", "config": "x" }),
            "Field validation failed: error converting input x for field \"config\": '' expected a \
             map, got 'string'",
        ),
        (
            "x",
            json!({ "type": "approle", "options": { "version": "2" } }),
            "auth method \"approle\" does not allow setting a version",
        ),
    ]
}

/// The same to those who tune one.
fn wrong_tunes() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("approle/tune", json!({ "token_type": "zz" }), "invalid value for 'token_type'"),
        (
            "approle/tune",
            json!({ "listing_visibility": "nope" }),
            "invalid listing_visibility nope",
        ),
        ("approle/tune", json!({ "default_lease_ttl": "x" }), "time: invalid duration \"x\""),
        (
            "approle/tune",
            json!({ "default_lease_ttl": "10h", "max_lease_ttl": "1h" }),
            "backend max lease TTL of 3600 would be less than backend default lease TTL of 36000",
        ),
        (
            "approle/tune",
            json!({ "options": "x" }),
            "Field validation failed: error converting input x for field \"options\": invalid key \
             pair \"x\"",
        ),
        (
            "nope/tune",
            json!({ "description": "x" }),
            "tune of path \"auth/nope/\" failed: no mount entry found",
        ),
        (
            "token/tune",
            json!({ "token_type": "batch" }),
            "'token_type' cannot be set for 'token' or 'ns_token' auth mounts",
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_with_a_mount_is_told_in_vaults_words() {
    let api = with_approle().await;
    let cases = wrong_mounts().into_iter().chain(wrong_tunes());
    for (path, body, text) in cases {
        let told = api.turned_down("POST", &format!("sys/auth/{path}"), body.clone()).await;
        assert_eq!(told, (400, text.to_owned()), "{path} {body}");
    }
    let read = api.turned_down("GET", "sys/auth/nope/tune", Value::Null).await;
    assert_eq!(read, (400, "cannot fetch sysview for path \"auth/nope/\"".to_owned()));
    let system = json!({ "default_lease_ttl": "system", "options": ["a=b"] });
    api.ok("POST", "sys/auth/approle/tune", json!({ "default_lease_ttl": "1h" })).await;
    api.ok("POST", "sys/auth/approle/tune", system).await;
    let tune = api.ok("GET", "sys/auth/approle/tune", Value::Null).await;
    assert_eq!(tune["data"]["default_lease_ttl"], 2_764_800);
    assert_eq!(tune["data"]["options"], json!({ "a": "b" }));
}

#[tokio::test]
async fn a_mount_is_made_tuned_listed_and_goes_with_its_roles_and_tokens() {
    let api = with_approle().await;
    let list = api.ok("GET", "sys/auth", Value::Null).await;
    assert_eq!(list["token/"]["type"], "token");
    assert_eq!(list["data"]["approle/"]["type"], "approle");
    let accessor = list["approle/"]["accessor"].as_str().unwrap();
    assert!(accessor.starts_with("auth_approle_") && accessor.len() == 21, "{accessor}");
    let twice = api.turned_down("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    assert_eq!(twice, (400, "path is already in use at approle/".to_owned()));
    let inside = api.turned_down("POST", "sys/auth/approle/b", json!({ "type": "approle" })).await;
    assert_eq!(inside, (400, "path is already in use at approle/".to_owned()));
    let odd = api.turned_down("POST", "sys/auth/odd", json!({ "type": "odd" })).await;
    assert_eq!(odd, (400, "plugin not found in the catalog: odd".to_owned()));
    api.ok("POST", "sys/auth/approle/tune", json!({ "default_lease_ttl": "5m" })).await;
    let tune = api.ok("GET", "sys/auth/approle/tune", Value::Null).await;
    assert_eq!(tune["data"]["default_lease_ttl"], 300);
    assert_eq!(tune["data"]["max_lease_ttl"], 2_764_800);
    let role_id = api.role("web", json!({ "token_policies": "seal" })).await;
    let secret = api.secret_id("web", json!({})).await;
    for _ in 0..150 {
        api.secret_id("web", json!({})).await;
    }
    let auth = api.log_in(&role_id, &secret["secret_id"]).await.json()["auth"].clone();
    assert_eq!(auth["lease_duration"], 300);
    let token = auth["client_token"].as_str().unwrap();
    let encrypt = || api.send(token, "PUT", "transit/encrypt/unseal", r#"{"plaintext":"YQ=="}"#);
    assert_eq!(encrypt().await.status, StatusCode::OK);
    api.ok("DELETE", "sys/auth/approle", Value::Null).await;
    assert_eq!(encrypt().await.status, StatusCode::FORBIDDEN);
    let gone = api.log_in(&role_id, &secret["secret_id"]).await;
    assert_eq!(gone.status, StatusCode::FORBIDDEN);
    api.ok("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    let list = api.turned_down("LIST", "auth/approle/role", Value::Null).await;
    assert_eq!(list, (404, String::new()));
}

#[tokio::test]
async fn what_is_declared_logs_in_and_cannot_be_changed_through_the_api() {
    let role = DeclaredAppRole {
        name: "seal".into(),
        role_id: "seal-role".into(),
        bind_secret_id: true,
        secret_id_bound_cidrs: Vec::new(),
        secret_id_num_uses: 0,
        secret_id_ttl: Duration::ZERO,
        token: TokenParameters {
            policies: vec!["seal".parse().unwrap()],
            period: Duration::from_secs(60),
            token_type: TokenType::Service,
            ..TokenParameters::default()
        },
    };
    let auth = DeclaredAuth {
        path: "approle".parse().unwrap(),
        description: "declared".into(),
        default_lease_ttl: None,
        max_lease_ttl: None,
        at: "selkie.hcl:7:1".into(),
        method: DeclaredMethod::AppRole(vec![role]),
    };
    let api = Api::start_with(Config { auth: vec![auth], ..config() }).await;
    for (method, path) in [
        ("DELETE", "sys/auth/approle"),
        ("POST", "sys/auth/approle"),
        ("POST", "sys/auth/approle/tune"),
    ] {
        let (status, text) = api.turned_down(method, path, json!({ "type": "approle" })).await;
        assert_eq!(status, 400);
        assert!(text.contains("is declared at selkie.hcl:7:1"), "{method} {path}: {text}");
    }
    for method in ["POST", "DELETE"] {
        let (_, text) = api.turned_down(method, "auth/approle/role/seal", json!({})).await;
        let expected = "role \"seal\" is declared at selkie.hcl:7:1: change it there and reload";
        assert_eq!(text, expected);
    }
    let secret = api.secret_id("seal", json!({})).await;
    let auth = api.log_in("seal-role", &secret["secret_id"]).await.json()["auth"].clone();
    assert_eq!(auth["lease_duration"], 60);
    api.role("more", json!({})).await;
    let list = api.ok("LIST", "auth/approle/role", Value::Null).await;
    assert_eq!(list["data"]["keys"], json!(["more", "seal"]));
    let taken =
        api.turned_down("POST", "auth/approle/role/x", json!({ "role_id": "seal-role" })).await;
    assert_eq!(taken, (400, "role_id already in use".to_owned()));
}

#[tokio::test]
async fn a_login_of_a_stranger_is_bounded_and_admin_paths_ask_for_a_policy() {
    let api = with_approle().await;
    let huge = json!({ "role_id": "x".repeat(70_000) });
    let answer = api.send("", "POST", "auth/approle/login", huge).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    for (method, path) in [
        ("POST", "auth/approle/role/web"),
        ("LIST", "auth/approle/role"),
        ("GET", "auth/approle/nowhere"),
        ("GET", "sys/auth"),
        ("POST", "sys/auth/other"),
    ] {
        for token in ["", "s.vault"] {
            let refused = api.send(token, method, path, "").await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
    }
    let unknown = api.turned_down("GET", "auth/approle/nowhere", Value::Null).await;
    assert_eq!(unknown, (404, "1 error occurred:\n\t* unsupported path\n\n".to_owned()));
}

#[tokio::test]
async fn logins_are_bounded_without_an_audit_device_too() {
    let api = with_approle().await;
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(api.log_in("unknown", &json!("s")).await.status.as_u16());
    }
    assert_eq!(statuses.first(), Some(&400));
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[tokio::test]
async fn a_secret_id_that_can_be_guessed_is_made_with_a_warning() {
    let api = with_approle().await;
    api.role("web", json!({})).await;
    for (secret_id, is_short) in
        [("abcd123", true), ("0123456789abcde", true), ("0123456789abcdef", false)]
    {
        let custom = json!({ "secret_id": secret_id });
        let made = api.ok("POST", "auth/approle/role/web/custom-secret-id", custom).await;
        assert_eq!(made["data"]["secret_id"], secret_id);
        let warning = "the secret_id is shorter than 16 characters: it may be guessed";
        assert_eq!(made["warnings"], if is_short { json!([warning]) } else { Value::Null });
    }
}

#[tokio::test]
async fn without_storage_nothing_is_mounted_or_kept() {
    let api = Api::start_with(Config { storage: None, ..config() }).await;
    let refused = api.turned_down("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    assert_eq!(refused, (400, "there is no storage".to_owned()));
}

#[tokio::test]
async fn a_login_is_renewed_only_while_its_role_is_there() {
    let api = with_approle().await;
    let role_id = api.role("web", json!({ "token_period": "1h" })).await;
    let secret = api.secret_id("web", json!({})).await["secret_id"].clone();
    let login = api.log_in(&role_id, &secret).await.json();
    let token = login["auth"]["client_token"].as_str().unwrap();
    let renew = || api.send(token, "POST", "auth/token/renew-self", "{}");
    assert_eq!(renew().await.status, StatusCode::OK);
    api.ok("DELETE", "auth/approle/role/web", Value::Null).await;
    assert_eq!(renew().await.error(), (400, "lease is not renewable".to_owned()));
    let accessor = json!({ "accessor": login["auth"]["accessor"] });
    let by_other = api.turned_down("POST", "auth/token/renew-accessor", accessor).await;
    assert_eq!(by_other.0, 400);
    assert_eq!(api.send(token, "GET", "auth/token/lookup-self", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_makes_a_token_does_not_choose_whose_entity_it_is() {
    let api = with_approle().await;
    let rules =
        "path \"transit/encrypt/{{identity.entity.metadata.key}}\" { capabilities = [\"update\"] }";
    api.ok("PUT", "sys/policies/acl/team", json!({ "policy": rules })).await;
    let role_id = api.role("web", json!({ "token_policies": ["team"] })).await;
    let secret = api.secret_id("web", json!({ "metadata": r#"{"key":"unseal"}"# })).await;
    let login = api.log_in(&role_id, &secret["secret_id"]).await.json()["auth"].clone();
    let wanted = json!({ "policies": ["team"], "meta": { "key": "unseal" } });
    let made = api.ok("POST", "auth/token/create", wanted).await["auth"].clone();
    for (auth, status) in [(login, StatusCode::OK), (made, StatusCode::FORBIDDEN)] {
        let token = auth["client_token"].as_str().unwrap();
        let body = r#"{"plaintext":"YQ=="}"#;
        let answer = api.send(token, "PUT", "transit/encrypt/unseal", body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

/// In Vault, too, it is of its parent's entity.
#[tokio::test]
async fn a_child_is_denied_and_granted_what_a_policy_says_of_who_logged_in() {
    let api = with_approle().await;
    let accessor =
        api.ok("GET", "sys/auth", Value::Null).await["data"]["approle/"]["accessor"].clone();
    let rules = format!(
        "path \"transit/decrypt/*\" {{ capabilities = [\"update\"] }}\n\
         path \"transit/decrypt/{{{{identity.entity.aliases.{}.name}}}}\" {{ capabilities = [\"deny\"] }}\n\
         path \"transit/rewrap/*\" {{ capabilities = [\"update\"] }}\n\
         path \"transit/rewrap/{{{{token.metadata.key}}}}\" {{ capabilities = [\"deny\"] }}\n\
         path \"transit/encrypt/{{{{identity.entity.metadata.key}}}}\" {{ capabilities = [\"update\"] }}\n\
         path \"auth/token/*\" {{ capabilities = [\"update\"] }}",
        accessor.as_str().unwrap()
    );
    api.ok("PUT", "sys/policies/acl/own", json!({ "policy": rules })).await;
    api.ok("POST", "auth/token/roles/kin", json!({})).await;
    let role = json!({ "role_id": "alias", "token_policies": "own" });
    let role_id = api.role("web", role).await;
    let secret = api.secret_id("web", json!({ "metadata": r#"{"key":"data"}"# })).await;
    let login = api.log_in(&role_id, &secret["secret_id"]).await.json();
    let token = |made: Value| made["auth"]["client_token"].as_str().unwrap().to_owned();
    let login = token(login);
    let make = async |by: &str, path: &str, body: Value| {
        token(api.send(by, "POST", &format!("auth/token/{path}"), body).await.json())
    };
    let child = make(&login, "create", json!({ "meta": { "key": "other" } })).await;
    let family = [
        make(&child, "create", json!({})).await,
        make(&login, "create", json!({ "type": "batch" })).await,
        make(&login, "create/kin", json!({})).await,
        child,
        login.clone(),
    ];
    let may = async |token: &str, path: &str| {
        let body = json!({ "paths": [path] });
        let answer = api.send(token, "POST", "sys/capabilities-self", body).await.json();
        answer["capabilities"] == json!(["update"])
    };
    for one in &family {
        assert!(!may(one, "transit/decrypt/alias").await);
        assert!(may(one, "transit/decrypt/other").await);
        assert!(!may(one, "transit/rewrap/data").await);
        assert!(may(one, "transit/encrypt/data").await);
        assert!(!may(one, "transit/encrypt/other").await);
    }
    let orphan = make(&login, "create-orphan", json!({})).await;
    assert!(may(&orphan, "transit/decrypt/alias").await, "as in Vault it is nobody's");
    assert!(!may(&orphan, "transit/encrypt/data").await);
}

/// Of all that log in at the mount `unseal` the display name is `unseal`, as is the declared client.
#[tokio::test]
async fn no_login_is_taken_for_another_client_by_its_name() {
    let rules = "path \"transit/encrypt/{{identity.entity.name}}\" { capabilities = [\"update\"] }\n\
                 path \"transit/decrypt/{{token.display_name}}\" { capabilities = [\"update\"] }";
    let mut config = config();
    config.policies.push(Policy::parse("own".parse().unwrap(), "own.hcl", rules).unwrap());
    config.clients.push(client("unseal", "own", None));
    let api = Api::start_with(config).await;
    api.ok("POST", "sys/auth/unseal", json!({ "type": "approle" })).await;
    let mut names = Vec::new();
    for role_id in ["one", "two"] {
        let role = json!({ "role_id": role_id, "token_policies": "own", "bind_secret_id": false,
            "token_bound_cidrs": "127.0.0.0/8" });
        api.ok("POST", &format!("auth/unseal/role/{role_id}"), role).await;
        let body = json!({ "role_id": role_id });
        let auth = api.send("", "POST", "auth/unseal/login", body).await.json()["auth"].clone();
        let token = auth["client_token"].as_str().unwrap().to_owned();
        let looked = api.send(&token, "GET", "auth/token/lookup-self", "").await.json();
        assert_eq!(looked["data"]["display_name"], "unseal");
        names.push((token, format!("entity_{}", auth["entity_id"].as_str().unwrap())));
    }
    let may = async |token: &str, path: String| {
        let body = json!({ "paths": [path] });
        let answer = api.send(token, "POST", "sys/capabilities-self", body).await.json();
        answer["capabilities"] == json!(["update"])
    };
    for (token, own) in &names {
        for (_, name) in &names {
            assert_eq!(may(token, format!("transit/encrypt/{name}")).await, name == own);
        }
        assert!(!may(token, "transit/encrypt/unseal".into()).await);
        assert!(!may(token, "transit/decrypt/unseal".into()).await);
    }
    assert!(may("s.unseal", "transit/encrypt/unseal".into()).await);
    assert!(may("s.unseal", "transit/decrypt/unseal".into()).await);
}

#[tokio::test]
async fn a_secret_id_widens_nothing_that_its_role_has_narrowed_since() {
    let api = with_approle().await;
    let role = json!({ "token_bound_cidrs": ["127.0.0.0/8"] });
    let role_id = api.role("web", role).await;
    let wide = json!({ "token_bound_cidrs": ["127.0.0.0/16"] });
    let wide = api.secret_id("web", wide).await["secret_id"].clone();
    let elsewhere = json!({ "token_bound_cidrs": ["127.9.0.0/16"] });
    let elsewhere = api.secret_id("web", elsewhere).await["secret_id"].clone();
    let bound_of = async |secret: &Value| {
        let auth = api.log_in(&role_id, secret).await.json()["auth"].clone();
        let token = auth["client_token"].as_str().unwrap().to_owned();
        let found =
            api.send("s.root", "POST", "auth/token/lookup", json!({ "token": token })).await;
        found.json()["data"]["bound_cidrs"].clone()
    };
    assert_eq!(bound_of(&wide).await, json!(["127.0.0.0/16"]));
    assert_eq!(bound_of(&elsewhere).await, json!(["127.9.0.0/16"]));
    api.role("web", json!({ "token_bound_cidrs": ["127.0.0.0/24", "127.0.1.1"] })).await;
    assert_eq!(bound_of(&wide).await, json!(["127.0.0.0/24", "127.0.1.1/32"]));
    assert_eq!(api.log_in(&role_id, &elsewhere).await.error(), invalid());
}

#[tokio::test]
async fn a_denial_of_a_role_holds_however_its_name_is_spelled() {
    let api = with_approle().await;
    let rules = "path \"auth/approle/role/*\" { capabilities = [\"create\", \"read\", \"update\"] }\n\
                 path \"auth/approle/role/prod-*\" { capabilities = [\"deny\"] }\n\
                 path \"sys/policies/acl/*\" { capabilities = [\"update\"] }\n\
                 path \"sys/policies/acl/prod\" { capabilities = [\"deny\"] }";
    api.ok("PUT", "sys/policies/acl/dev", json!({ "policy": rules })).await;
    let made = api.ok("POST", "auth/token/create", json!({ "policies": ["dev"] })).await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    api.role("prod-db", json!({})).await;
    let body = json!({ "policy": rules });
    for (path, status) in [
        ("auth/approle/role/prod-db", 403),
        ("auth/approle/role/PROD-db", 403),
        ("auth/approle/role/Prod-DB/secret-id", 403),
        ("auth/approle/role/Dev", 204),
        ("sys/policies/acl/prod", 403),
        ("sys/policies/acl/PROD", 403),
        ("sys/policies/acl/Dev", 204),
    ] {
        let answer = api.send(token, "POST", path, &body).await;
        // Fields that a role does not know are warned of.
        let status = if path == "auth/approle/role/Dev" { 200 } else { status };
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn metadata_of_a_secret_id_is_bounded_as_that_of_a_token() {
    let api = with_approle().await;
    api.role("web", json!({})).await;
    let path = "auth/approle/role/web/secret-id";
    let good = json!({ "n".repeat(128): "x".repeat(512) });
    api.secret_id("web", json!({ "metadata": good.to_string() })).await;
    let bad = json!({ "n": "x".repeat(513) });
    let many: serde_json::Map<_, _> =
        (0..5).map(|number| (number.to_string(), json!("x".repeat(500)))).collect();
    for metadata in [bad.clone(), json!(bad.to_string()), many.into()] {
        let (status, text) = api.turned_down("POST", path, json!({ "metadata": metadata })).await;
        assert!(status == 400 && text.contains("texts of at most 512 bytes"), "{text}");
    }
    let policies: Vec<_> = (0..40).map(|number| format!("a{number:0120}")).collect();
    let body = json!({ "token_policies": policies });
    let refusal = (400, "policies: at most 4096 bytes of names in all".to_owned());
    assert_eq!(api.turned_down("POST", "auth/approle/role/web", body).await, refusal);
    // 4,096 bytes with quotes and commas, to which a login adds "default".
    let policies: Vec<_> = (0..32).map(|number| format!("a{number:0124}")).collect();
    let body = json!({ "token_policies": policies });
    assert_eq!(api.turned_down("POST", "auth/approle/role/web", body).await, refusal);
    let large = format!(r#"{{"metadata":[{}0]}}"#, "0,".repeat(100_000));
    let refused = api.send("s.root", "POST", path, large).await.error();
    assert!(refused.0 == 400 && refused.1.ends_with("too large"), "{refused:?}");
}

/// `vault auth tune`, Go's client and Terraform ask at `sys/mounts/auth`, which needs no `sudo`.
#[tokio::test]
async fn a_login_whose_answer_has_no_room_takes_no_use_of_its_secret_id() {
    let api = with_approle().await;
    let role_id = api.role("web", json!({ "secret_id_num_uses": 1 })).await;
    let secret = async || api.secret_id("web", json!({})).await["secret_id"].clone();
    let login = api.log_in(&role_id, &secret().await).await.json();
    let token = login["auth"]["client_token"].as_str().unwrap();
    let wrapped = async |token: &str, path: &str, body: Value| {
        let request = Request::post(format!("/v1/{path}")).header("x-vault-wrap-ttl", "60s");
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        if !token.is_empty() {
            request.headers_mut().insert("x-vault-token", token.parse().unwrap());
        }
        api.exchange(request).await
    };
    // The share of whoever logs in, up to less than a response is expected to need.
    let mut kept = Vec::new();
    for kilobytes in [500, 10] {
        let body = json!({ "a": "x".repeat(kilobytes << 10) });
        loop {
            let answer = wrapped(token, "sys/wrapping/wrap", body.clone()).await;
            if answer.status != StatusCode::OK {
                break;
            }
            kept.push(answer.json()["wrap_info"]["token"].clone());
        }
    }
    let body = json!({ "role_id": role_id, "secret_id": secret().await });
    let refused = wrapped("", "auth/approle/login", body.clone()).await;
    let text = "too many wrapped responses are kept already; unwrap some or wait";
    assert_eq!(refused.error(), (400, text.into()));
    let wrong = json!({ "role_id": role_id, "secret_id": "wrong" });
    assert_eq!(wrapped("", "auth/approle/login", wrong).await.error(), invalid());
    api.ok("POST", "sys/wrapping/unwrap", json!({ "token": kept[0] })).await;
    let answer = wrapped("", "auth/approle/login", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

#[tokio::test]
async fn a_mount_is_tuned_at_the_path_that_is_asked_for() {
    let mut config = config();
    for (name, rules) in [
        ("mounts", r#"path "sys/mounts/auth/*" { capabilities = ["read", "update"] }"#),
        ("auth", r#"path "sys/auth/*" { capabilities = ["read", "update"] }"#),
        ("sudo", r#"path "sys/auth/*" { capabilities = ["read", "update", "sudo"] }"#),
    ] {
        config.policies.push(Policy::parse(name.parse().unwrap(), "p.hcl", rules).unwrap());
        config.clients.push(client(name, name, None));
    }
    let api = Api::start_with(config).await;
    api.ok("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    let [mounts, auth] = ["sys/mounts/auth/approle/tune", "sys/auth/approle/tune"];
    for (token, path, is_allowed) in [
        ("s.mounts", mounts, true),
        ("s.mounts", auth, false),
        ("s.auth", mounts, false),
        ("s.auth", auth, false),
        ("s.sudo", mounts, false),
        ("s.sudo", auth, true),
    ] {
        let answer = api.send(token, "GET", path, "").await;
        assert_eq!(answer.status.is_success(), is_allowed, "{token} {path}: {}", answer.text);
        let tune = json!({ "description": token });
        let answer = api.send(token, "POST", path, tune).await;
        assert_eq!(answer.status.is_success(), is_allowed, "{token} {path}: {}", answer.text);
    }
}
