//! `auth/token/`, in Vault's words.

use super::*;

impl Api {
    async fn make(&self, by: &str, path: &str, body: Value) -> Value {
        let answer = self.send(by, "POST", &format!("auth/token/{path}"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["auth"].clone()
    }

    async fn token(&self, by: &str, body: Value) -> String {
        self.make(by, "create", body).await["client_token"].as_str().unwrap().to_owned()
    }

    async fn refused(&self, by: &str, path: &str, body: Value) -> (u16, String) {
        self.send(by, "POST", &format!("auth/token/{path}"), body).await.error()
    }

    async fn is_good(&self, token: &str) -> bool {
        let answer = self.send(token, "GET", "auth/token/lookup-self", "").await;
        assert!(matches!(answer.status.as_u16(), 200 | 403), "{}", answer.text);
        answer.status == StatusCode::OK
    }
}

#[tokio::test]
async fn a_periodic_token_seals_renews_and_is_revoked() {
    let api = Api::start().await;
    let wanted = json!({ "policies": ["seal"], "period": "24h", "no_parent": true,
        "display_name": "vault eu", "meta": { "site": "eu" } });
    let made = api.make("s.root", "create", wanted).await;
    let token = made["client_token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("hvs.") && token.len() == 28);
    assert_eq!(made["policies"], json!(["default", "seal"]));
    assert_eq!(made["lease_duration"], 86_400);
    assert_eq!((&made["renewable"], &made["orphan"]), (&json!(true), &json!(true)));
    assert_eq!(made["metadata"], json!({ "site": "eu" }));

    let sealed = api.send(&token, "PUT", "transit/encrypt/unseal", r#"{"plaintext":"YQ=="}"#).await;
    assert_eq!(sealed.status, StatusCode::OK);
    let renewed = api.send(&token, "PUT", "auth/token/renew-self", "{}").await.json();
    assert_eq!(renewed["auth"]["client_token"], json!(token));
    assert_eq!(renewed["auth"]["lease_duration"], 86_400);

    let found = api.send(&token, "GET", "auth/token/lookup-self", "").await.json();
    assert_eq!(found["data"]["display_name"], "token-vault-eu");
    assert_eq!(found["data"]["period"], 86_400);
    assert_eq!(found["data"]["type"], "service");
    let accessor = json!({ "accessor": made["accessor"] });
    let by_accessor = api.send("s.root", "POST", "auth/token/lookup-accessor", &accessor).await;
    assert_eq!(by_accessor.json()["data"]["id"], "");
    let status = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
    assert_eq!(status["tokens_in_use"][0]["accessor"], made["accessor"]);
    assert_eq!(status["tokens_in_use"][0]["expiring"], false);

    let revoked = api.send("s.root", "POST", "auth/token/revoke-accessor", &accessor).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let after = api.send(&token, "PUT", "transit/encrypt/unseal", "{}").await;
    assert_eq!(after.error(), (403, "permission denied".into()));
}

#[tokio::test]
async fn children_die_with_their_parents_and_orphans_do_not() {
    let api = Api::start().await;
    let parent = api.token("s.root", json!({ "policies": ["root"], "ttl": "1h" })).await;
    let child = api.token(&parent, json!({ "policies": ["seal"] })).await;
    let orphan = api.make(&parent, "create-orphan", json!({ "policies": ["seal"] })).await;
    let orphan = orphan["client_token"].as_str().unwrap();
    api.send("s.root", "POST", "auth/token/revoke", json!({ "token": parent })).await;
    assert!(!api.is_good(&parent).await);
    assert!(!api.is_good(&child).await);
    assert!(api.is_good(orphan).await);

    let parent = api.token("s.root", json!({ "policies": ["root"], "ttl": "1h" })).await;
    let child = api.token(&parent, json!({ "policies": ["seal"] })).await;
    let body = json!({ "token": parent });
    let revoked = api.send("s.root", "POST", "auth/token/revoke-orphan", body).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert!(!api.is_good(&parent).await);
    assert!(api.is_good(&child).await);
    let found = api.send(&child, "GET", "auth/token/lookup-self", "").await.json();
    assert_eq!(found["data"]["orphan"], true);
    let own = api.send(&child, "POST", "auth/token/revoke-self", "").await;
    assert_eq!(own.status, StatusCode::NO_CONTENT);
    assert!(!api.is_good(&child).await);
}

#[tokio::test]
async fn what_a_client_may_not_ask_for_is_refused_in_vaults_words() {
    let mut config = config();
    let creator = r#"
        path "auth/token/create" { capabilities = ["update"] }
        path "auth/token/revoke-orphan" { capabilities = ["update"] }
        path "auth/token/create/*" { capabilities = ["update"] }
    "#;
    config.policies.push(Policy::parse("creator".parse().unwrap(), "c.hcl", creator).unwrap());
    config.clients.push(client("maker", "creator", None));
    let api = Api::start_with(config).await;
    let sudo = |what: &str| (400, format!("root or sudo privileges required to {what}"));
    let create = async |body: Value| api.refused("s.maker", "create", body).await;
    assert_eq!(create(json!({ "no_parent": true })).await, sudo("create orphan token"));
    assert_eq!(create(json!({ "period": "1h" })).await, sudo("create periodic token"));
    assert_eq!(create(json!({ "id": "chosen" })).await, sudo("specify token id"));
    let subset = (400, "child policies must be subset of parent".to_owned());
    assert_eq!(create(json!({ "policies": ["seal"] })).await, subset);
    let kind = (400, "invalid 'token_type' value".to_owned());
    assert_eq!(create(json!({ "type": "magic" })).await, kind);
    let negative = (400, "number of uses cannot be negative".to_owned());
    assert_eq!(create(json!({ "num_uses": -1 })).await, negative);
    let role = (400, "unknown role none".to_owned());
    assert_eq!(api.refused("s.maker", "create/none", json!({})).await, role);
    let orphan = api.refused("s.maker", "revoke-orphan", json!({ "token": "x" })).await;
    assert_eq!(orphan, sudo("revoke and orphan"));

    let once = api.token("s.maker", json!({ "num_uses": 5 })).await;
    let restricted = (400, "restricted use token cannot generate child tokens".to_owned());
    assert_eq!(api.refused(&once, "create", json!({})).await, restricted);
    let batch = api.token("s.maker", json!({ "type": "batch" })).await;
    assert!(batch.starts_with("hvb."));
    let cannot = (400, "batch tokens cannot create more tokens".to_owned());
    assert_eq!(api.refused(&batch, "create", json!({})).await, cannot);
    let renew = api.send(&batch, "PUT", "auth/token/renew-self", "{}").await.error();
    assert_eq!(renew, (400, "batch tokens cannot be renewed".into()));
}

#[tokio::test]
async fn a_token_is_good_for_the_uses_that_it_has() {
    let api = Api::start().await;
    let token = api.token("s.root", json!({ "policies": ["seal"], "num_uses": 2 })).await;
    assert!(api.is_good(&token).await);
    assert!(api.is_good(&token).await);
    assert!(!api.is_good(&token).await);
}

#[tokio::test]
async fn unknown_tokens_and_accessors_have_vaults_answers() {
    let api = Api::start().await;
    let nobody = json!({ "token": "hvs.nobody", "accessor": "nobody" });
    let answer = async |path: &str| api.refused("s.root", path, nobody.clone()).await;
    let accessor = (400, "1 error occurred:\n\t* invalid accessor\n\n".to_owned());
    assert_eq!(answer("lookup").await, (403, "bad token".into()));
    assert_eq!(answer("lookup-accessor").await, accessor);
    assert_eq!(answer("renew").await, (400, "token not found".into()));
    assert_eq!(answer("renew-accessor").await, accessor);
    let revoked = api.send("s.root", "POST", "auth/token/revoke", &nobody).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let nobody = json!({ "accessor": "nobody" });
    let revoked = api.send("s.root", "POST", "auth/token/revoke-accessor", nobody).await;
    assert_eq!(revoked.json()["warnings"][0], "No token found with this accessor");
    for path in ["renew", "revoke", "revoke-orphan"] {
        let missing = api.refused("s.root", path, json!({})).await;
        assert_eq!(missing, (400, "missing token ID".into()), "{path}");
    }
    let tidy = api.send("s.root", "POST", "auth/token/tidy", "{}").await;
    assert_eq!(tidy.status, StatusCode::ACCEPTED);
    assert!(tidy.json()["warnings"][0].as_str().unwrap().starts_with("Tidy operation"));
}

#[tokio::test]
async fn a_declared_token_is_changed_where_it_is_declared() {
    let api = Api::start().await;
    let body = json!({ "token": "s.vault" });
    let told = (
        400,
        "the token is declared in the configuration file, as client \"vault\": change it there"
            .to_owned(),
    );
    for path in ["renew", "revoke", "revoke-orphan"] {
        assert_eq!(api.refused("s.root", path, body.clone()).await, told, "{path}");
    }
    let found = api.send("s.root", "POST", "auth/token/lookup", &body).await.json();
    assert_eq!(found["data"]["display_name"], "vault");
    let accessors = api.send("s.root", "LIST", "auth/token/accessors", "").await.json();
    assert_eq!(accessors["data"]["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_role_shapes_the_tokens_that_are_made_by_it() {
    let api = Api::start().await;
    let none = api.send("s.root", "LIST", "auth/token/roles", "").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let role = json!({ "allowed_policies": "seal", "orphan": true, "token_period": "1h",
        "path_suffix": "v1-x", "token_bound_cidrs": ["127.0.0.1"] });
    let made = api.send("s.root", "POST", "auth/token/roles/seals", role).await;
    assert_eq!(made.status, StatusCode::NO_CONTENT, "{}", made.text);
    let read = api.send("s.root", "GET", "auth/token/roles/seals", "").await.json();
    assert_eq!(read["data"]["token_period"], 3600);
    assert_eq!(read["data"]["token_type"], "default-service");
    let token = api.make("s.root", "create/seals", json!({})).await;
    assert_eq!(token["policies"], json!(["default", "seal"]));
    assert_eq!(token["lease_duration"], 3600);
    let text = token["client_token"].as_str().unwrap();
    let found = api.send(text, "GET", "auth/token/lookup-self", "").await.json();
    assert_eq!(found["data"]["path"], "auth/token/create/seals/v1-x");
    assert_eq!(found["data"]["role"], "seals");
    assert_eq!(found["data"]["bound_cidrs"], json!(["127.0.0.1/32"]));
    let outside = api.refused("s.root", "create/seals", json!({ "policies": ["other"] })).await;
    assert_eq!(
        outside.1,
        "token policies ([\"default\" \"other\"]) must be subset of the role's allowed policies \
         ([\"seal\"]) or glob policies ([])"
    );
    let batch = json!({ "token_type": "batch", "orphan": false });
    let refused = api.refused("s.root", "roles/bad", batch).await;
    assert!(refused.1.contains("non-orphan tokens"), "{}", refused.1);
    let gone = api.send("s.root", "DELETE", "auth/token/roles/seals", "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn uses_of_a_batch_token_are_not_counted_whatever_its_role_says() {
    let api = Api::start().await;
    let role = json!({ "token_num_uses": 1, "token_type": "default-batch" });
    let made = api.send("s.root", "POST", "auth/token/roles/jobs", role).await;
    assert_eq!(made.status, StatusCode::NO_CONTENT, "{}", made.text);
    let wanted = json!({ "policies": ["seal"], "ttl": "1h" });
    let made = api.make("s.root", "create/jobs", wanted).await;
    assert_eq!((&made["token_type"], &made["num_uses"]), (&json!("batch"), &json!(0)));
    let token = made["client_token"].as_str().unwrap();
    for _ in 0..2 {
        assert!(api.is_good(token).await);
    }
}

#[tokio::test]
async fn a_child_of_a_declared_client_is_denied_what_a_policy_says_of_its_name() {
    let rules = "path \"transit/decrypt/*\" { capabilities = [\"update\"] }\n\
                 path \"transit/decrypt/{{token.display_name}}\" { capabilities = [\"deny\"] }\n\
                 path \"transit/encrypt/*\" { capabilities = [\"update\"] }\n\
                 path \"transit/encrypt/{{identity.entity.name}}\" { capabilities = [\"deny\"] }\n\
                 path \"auth/token/create\" { capabilities = [\"update\"] }";
    let mut config = config();
    config.policies.push(Policy::parse("own".parse().unwrap(), "own.hcl", rules).unwrap());
    config.clients.push(client("unseal", "own", None));
    let api = Api::start_with(config).await;
    let child = api.token("s.unseal", json!({ "display_name": "other" })).await;
    let batch = api.token(&child, json!({ "type": "batch" })).await;
    for token in [&child, &batch] {
        for (path, allowed) in [
            ("transit/decrypt/unseal", "deny"),
            ("transit/decrypt/token-other", "update"),
            ("transit/encrypt/unseal", "deny"),
        ] {
            let body = json!({ "paths": [path] });
            let answer = api.send(token, "POST", "sys/capabilities-self", body).await.json();
            assert_eq!(answer["capabilities"], json!([allowed]), "{path}");
        }
    }
}

#[tokio::test]
async fn lifetimes_are_capped_with_a_warning_and_root_alone_is_for_ever() {
    let api = Api::start().await;
    let long = json!({ "policies": ["seal"], "ttl": "9000h" });
    let answer = api.send("s.root", "POST", "auth/token/create", long).await.json();
    assert_eq!(answer["auth"]["lease_duration"], 768 * 3600);
    let warned = "TTL of \"9000h0m0s\" exceeded the effective max_ttl of \"768h0m0s\"; TTL value \
                  is capped accordingly";
    assert_eq!(answer["warnings"][0], warned);
    let root = api.make("s.root", "create", json!({})).await;
    assert_eq!((&root["lease_duration"], &root["renewable"]), (&json!(0), &json!(false)));
    let root = root["client_token"].as_str().unwrap();
    let renewed = api.send(root, "PUT", "auth/token/renew-self", "{}").await.error();
    assert_eq!(renewed, (400, "invalid lease ID".into()));
    let ending = api.token("s.root", json!({ "policies": ["root"], "ttl": "1h" })).await;
    let refused = api.refused(&ending, "create", json!({ "policies": ["root"] })).await;
    assert_eq!(refused.1, "expiring root tokens cannot create non-expiring root tokens");
    let unknown = json!({ "policies": ["nowhere"] });
    let answer = api.send("s.root", "POST", "auth/token/create", unknown).await.json();
    assert_eq!(answer["warnings"][0], "Policy \"nowhere\" does not exist");
}

#[tokio::test]
async fn renewals_that_fail_in_a_loop_are_told_to_wait() {
    let api = Api::start().await;
    let mut statuses = Vec::new();
    for _ in 0..50 {
        let answer = api.send("hvs.dead", "PUT", "auth/token/renew-self", "{}").await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses.first(), Some(&403));
    assert!(statuses.iter().filter(|status| **status == 503).count() >= 40, "{statuses:?}");
    assert!(api.is_good("s.vault").await, "others are not held up");
}

#[tokio::test]
async fn without_storage_a_token_cannot_be_made() {
    let api = Api::start_with(Config { storage: None, ..config() }).await;
    let refused = api.refused("s.root", "create", json!({})).await;
    assert_eq!(refused.0, 400);
    assert!(refused.1.starts_with("tokens need storage"), "{}", refused.1);
}

#[tokio::test]
async fn a_child_is_good_only_where_its_parent_is_declared_to_be() {
    let mut config = config();
    for client in &mut config.clients {
        client.token_bound_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
    }
    let api = Api::start_with(config).await;
    for (no_parent, bound) in [(false, json!(["127.0.0.0/8"])), (true, Value::Null)] {
        let wanted = json!({ "policies": ["seal"], "no_parent": no_parent });
        let child = api.token("s.root", wanted).await;
        let found = api.send(&child, "GET", "auth/token/lookup-self", "").await.json();
        assert_eq!(found["data"]["bound_cidrs"], bound, "{no_parent}");
    }
}

#[tokio::test]
async fn a_role_frees_its_tokens_from_their_parents_networks_only_by_naming_others() {
    let mut config = config();
    for client in &mut config.clients {
        client.token_bound_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
    }
    let api = Api::start_with(config).await;
    for (role, bound) in [
        (json!({}), json!(["127.0.0.0/8"])),
        (json!({ "token_bound_cidrs": ["127.0.0.1"] }), json!(["127.0.0.1/32"])),
        (json!({ "token_bound_cidrs": [], "orphan": true }), Value::Null),
    ] {
        let written = api.send("s.root", "POST", "auth/token/roles/r", &role).await;
        assert!(written.status.is_success(), "{}", written.text);
        let made = api.make("s.root", "create/r", json!({ "policies": ["seal"] })).await;
        let token = made["client_token"].as_str().unwrap();
        let found = api.send(token, "GET", "auth/token/lookup-self", "").await.json();
        assert_eq!(found["data"]["bound_cidrs"], bound, "{role}");
    }
}

#[tokio::test]
async fn a_scoped_token_can_do_nothing_else() {
    let api = Api::start().await;
    let denied = (403, "1 error occurred:\n\t* permission denied\n\n".to_owned());
    for (method, path) in [
        ("PUT", "transit/encrypt/other"),
        ("PUT", "transit/decrypt/other"),
        ("PUT", "transit/rewrap/unseal"),
        ("GET", "transit/keys/unseal"),
        ("LIST", "transit/keys"),
        ("POST", "transit/keys/unseal"),
        ("POST", "transit/keys/unseal/rotate"),
        ("DELETE", "transit/keys/unseal"),
        ("GET", "sys/mounts"),
        ("GET", "nowhere/at/all"),
        ("PUT", "auth/token/create"),
    ] {
        let answer = api.send("s.vault", method, path, "{}").await;
        assert_eq!(answer.error(), denied, "{method} {path}");
    }
}

#[tokio::test]
async fn missing_and_unknown_tokens_get_one_answer() {
    let api = Api::start().await;
    for token in ["", "s.unknown", "s.root ", "s.vault\u{7f}"] {
        let Ok(_) = token.parse::<http::HeaderValue>() else { continue };
        for path in ["transit/encrypt/unseal", "transit/encrypt/none", "nowhere", "sys/mounts"] {
            let answer = api.send(token.trim_end(), "PUT", path, "not json").await;
            if token.trim_end() != "s.root" {
                assert_eq!(answer.error(), (403, "permission denied".to_owned()), "{token:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_bearer_authorization_is_a_token_too() {
    let api = Api::start().await;
    let request = Request::builder().uri("/v1/auth/token/lookup-self");
    let request = request.header("authorization", "Bearer s.vault").body(Body::empty()).unwrap();
    assert_eq!(api.exchange(request).await.json()["data"]["display_name"], "vault");
}

#[tokio::test]
async fn renewal_answers_as_the_eras_of_seal_clients_need_it() {
    let api = Api::start().await;
    let renewed = api.send("s.vault", "PUT", "auth/token/renew-self", r#"{"increment":0}"#).await;
    let auth = &renewed.json()["auth"];
    assert_eq!(renewed.status, StatusCode::OK);
    assert_eq!(auth["client_token"], "s.vault");
    assert_eq!((&auth["renewable"], &auth["lease_duration"]), (&json!(true), &json!(86_400)));
    let root = api.send("s.root", "PUT", "auth/token/renew-self", r#"{"increment":0}"#).await;
    assert_eq!(root.error(), (400, "invalid lease ID".to_owned()));
}

#[tokio::test]
async fn a_lookup_by_post_needs_the_capability_update() {
    let mut config = config();
    let rule = r#"path "auth/token/lookup-self" { capabilities = ["update"] }"#;
    let policy = Policy::parse("writes".parse().unwrap(), "writes.hcl", rule).unwrap();
    config.policies.push(policy);
    config
        .clients
        .push(DeclaredClient { no_default_policy: true, ..client("writer", "writes", None) });
    let api = Api::start_with(config).await;
    let path = "auth/token/lookup-self";
    for (token, method, status) in [
        ("s.vault", "GET", 200),
        ("s.vault", "PUT", 403),
        ("s.vault", "POST", 403),
        ("s.writer", "GET", 403),
        ("s.writer", "PUT", 200),
        ("s.writer", "POST", 200),
    ] {
        let answer = api.send(token, method, path, "").await;
        assert_eq!(answer.status.as_u16(), status, "{token} {method}");
    }
}

#[tokio::test]
async fn a_denied_value_is_denied_however_a_request_writes_it() {
    let api = Api::start().await;
    let rules = json!({ "path": { "auth/token/create": {
        "capabilities": ["update", "sudo"],
        "denied_parameters": { "policies": ["admin"], "ttl": ["1h"] },
    } } });
    let policy = json!({ "policy": rules.to_string() });
    api.send("s.root", "PUT", "sys/policies/acl/maker", policy).await;
    let body = json!({ "policies": ["maker"] });
    let made = api.send("s.root", "POST", "auth/token/create", body).await.json();
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let create = async |body: Value| {
        api.send(&token, "POST", "auth/token/create", body).await.status.as_u16()
    };
    for policies in [
        json!("admin"),
        json!(["admin"]),
        json!(["seal", "admin"]),
        json!([" Admin "]),
        json!("admin,x"),
        json!("x, ADMIN"),
        json!(" admin"),
        json!({ "a": 1 }),
    ] {
        assert_eq!(create(json!({ "policies": policies })).await, 403, "{policies}");
    }
    let escaped = r#"{"policies":["\u0061dmin"]}"#;
    assert_eq!(api.send(&token, "POST", "auth/token/create", escaped).await.status.as_u16(), 403);
    for ttl in [json!("1h"), json!("60m"), json!(3600), json!("3600"), json!("0.5h1800s")] {
        assert_eq!(create(json!({ "ttl": ttl })).await, 403, "{ttl}");
    }
    for body in [json!({ "policies": ["seal"] }), json!({ "policies": "seal", "ttl": "30m" })] {
        assert_eq!(create(body.clone()).await, 200, "{body}");
    }
}

/// Metadata stands in each audit line of the token.
#[tokio::test]
async fn metadata_and_display_name_of_a_token_are_bounded() {
    let api = Api::start().await;
    let many = |count: usize| {
        (0..count).map(|number| (format!("name-{number}"), json!("x"))).collect::<Value>()
    };
    let one = |name: usize, text: usize| json!({ "n".repeat(name): "x".repeat(text) });
    for meta in [many(64), one(128, 512)] {
        let made = api.make("s.root", "create", json!({ "meta": meta })).await;
        assert_eq!(made["metadata"], meta);
    }
    let refusal = "meta: at most 64 entries and 2048 bytes of JSON, names of at most 128 bytes and texts of at \
         most 512 bytes";
    let long = |last: usize| {
        let mut meta = json!({ "a": "x".repeat(510), "b": "x".repeat(510), "c": "x".repeat(510) });
        meta["d"] = json!("x".repeat(last));
        meta
    };
    let most = 2_048 - long(0).to_string().len();
    api.make("s.root", "create", json!({ "meta": long(most) })).await;
    for meta in [many(65), many(2_000), one(129, 1), one(1, 513), long(most + 1)] {
        for field in ["meta", "metadata"] {
            let refused = api.refused("s.root", "create", json!({ field: meta })).await;
            assert_eq!(refused, (400, refusal.to_owned()));
        }
    }
    let named = |bytes: usize| json!({ "display_name": "n".repeat(bytes) });
    api.make("s.root", "create", named(512)).await;
    let refused = api.refused("s.root", "create", named(513)).await;
    assert_eq!(refused, (400, "display_name: at most 512 bytes".to_owned()));
}

/// Fillers that sort first would hide the policy that counts from the audit log.
#[tokio::test]
async fn the_policies_of_a_token_are_bounded() {
    let api = Api::start().await;
    let role = json!({ "allowed_policies_glob": "*" });
    api.send("s.root", "POST", "auth/token/roles/any", role).await;
    let fillers = |count: usize| -> Vec<_> {
        let fillers = (0..count).map(|number| format!("a{number:099}"));
        fillers.chain(["zz-admin".to_owned()]).collect()
    };
    let refused = (400, "policies: at most 4096 bytes of names in all".to_owned());
    for path in ["create", "create-orphan", "create/any"] {
        api.make("s.root", path, json!({ "policies": fillers(39) })).await;
        let body = json!({ "policies": fillers(40) });
        assert_eq!(api.refused("s.root", path, body).await, refused);
    }
}
