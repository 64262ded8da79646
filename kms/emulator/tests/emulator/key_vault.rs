//! Key Vault: challenge, tokens, operations, states, access, limiter.

use serde_json::{Value, json};

use crate::client::{Emulator, HOST, TENANT, VAULT, base64, is, parameters, version_of};

const UNWRAP: &str = "/keys/selkie//unwrapkey";
const WRAP: &str = "/keys/selkie//wrapkey";

#[tokio::test]
async fn a_request_without_a_token_gets_a_challenge_with_an_empty_body() {
    let e = Emulator::new().await;
    let port = e.running.https().port();
    let path = "/keys/selkie?api-version=7.4";
    let answer =
        e.https(HOST, "GET", path, &[("x-ms-client-request-id", "mine")], b"").await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (401, 0));
    assert_eq!(
        answer.header("www-authenticate"),
        format!(
            "Bearer authorization=\"https://login.emulator.test:{port}/{TENANT}\", \
             resource=\"https://vault.emulator.test:{port}\""
        )
    );
    assert_eq!(answer.header("x-ms-client-request-id"), "mine");
    assert_eq!(answer.header("x-ms-keyvault-region"), "westeurope");
    assert_eq!(answer.header("x-ms-request-id").len(), 36);
    let at_an_address = e.https("localhost", "GET", path, &[], b"").await.unwrap();
    assert!(
        at_an_address.header("www-authenticate").contains("resource=\"https://vault.azure.net\"")
    );
    e.set("PATCH", "vaults/kv1", json!({ "resource": "https://mine.example" })).await;
    let set = e.https(HOST, "GET", path, &[], b"").await.unwrap();
    assert!(set.header("www-authenticate").contains("resource=\"https://mine.example\""));
}

#[tokio::test]
async fn a_token_that_is_wrong_old_or_for_others_is_refused() {
    let e = Emulator::new().await;
    let get = async |token: &str| e.vault_as(token, "GET", "/keys/selkie", Value::Null).await;
    let good = e.token("selkie").await;
    assert_eq!(get(&good).await.status, 200);
    for (wanted, text) in [
        (json!({ "principal": "selkie", "resource": format!("{VAULT}/") }), "AKV10022"),
        (json!({ "principal": "selkie", "resource": "https://management.azure.com" }), "AKV10022"),
        (
            json!({ "principal": "selkie", "tenant": "7e3a0000-0000-4000-8000-00000000000f" }),
            "AKV10032",
        ),
        (json!({ "principal": "selkie", "lifetime_seconds": 0 }), "TokenExpired"),
    ] {
        let answer = get(&e.token_with(wanted).await).await;
        is(&answer, 401, "Unauthorized", "");
        assert!(answer.message().contains(text), "{}", answer.message());
        assert!(answer.header("www-authenticate").contains("invalid_token"));
    }
    assert!(get("nonsense").await.message().contains("AKV10001"));
    e.set("POST", "clock", json!({ "advance_seconds": 3601 })).await;
    assert!(get(&good).await.message().contains("TokenExpired"));
    let fresh = e.token("selkie").await;
    assert_eq!(get(&fresh).await.status, 200);
    e.set("POST", "tokens/revoke", Value::Null).await;
    assert!(get(&fresh).await.message().contains("TokenRevoked"));
}

#[tokio::test]
async fn what_a_version_wrapped_it_unwraps_and_ids_carry_the_host() {
    let e = Emulator::new().await;
    let wrapped = e.wrap(WRAP).await;
    let port = e.running.https().port();
    let version = version_of(&wrapped);
    assert_eq!(wrapped["kid"], format!("https://{HOST}:{port}/keys/selkie/{version}"));
    e.kv("POST", "/keys/selkie/rotate", Value::Null).await.ok();
    let body = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    let old = e.kv("POST", &format!("/keys/selkie/{version}/unwrapkey"), body.clone()).await.ok();
    assert_eq!((&old["kid"], &old["value"]), (&wrapped["kid"], &json!(base64(&[7; 32]))));
    is(&e.kv("POST", UNWRAP, body).await, 400, "BadParameter", "");
    let newest = e.kv("GET", "/keys/selkie/", Value::Null).await.ok();
    assert_ne!(version_of(&newest), version);
    assert_eq!(version_of(&e.wrap("/keys/selkie/wrapkey").await), version_of(&newest));
}

#[tokio::test]
async fn every_rsa_algorithm_opens_what_it_sealed() {
    let e = Emulator::new().await;
    for alg in ["RSA-OAEP-256", "RSA-OAEP", "RSA1_5"] {
        for (seal, open) in [("wrapkey", "unwrapkey"), ("encrypt", "decrypt")] {
            let body = json!({ "alg": alg, "value": base64(b"secret") });
            let sealed = e.kv("POST", &format!("/keys/selkie//{seal}"), body).await.ok();
            let body = json!({ "alg": alg, "value": sealed["value"] });
            let opened = e.kv("POST", &format!("/keys/selkie//{open}"), body).await.ok();
            assert_eq!(opened["value"], base64(b"secret"), "{alg}");
        }
    }
    for alg in ["RS256", "PS256"] {
        let body = json!({ "alg": alg, "value": base64(&[9; 32]) });
        let signed = e.kv("POST", "/keys/selkie//sign", body).await.ok();
        for (digest, expected) in [([9; 32], true), ([8; 32], false)] {
            let body = json!({ "alg": alg, "digest": base64(&digest), "value": signed["value"] });
            let verified = e.kv("POST", "/keys/selkie//verify", body).await.ok();
            assert_eq!(verified["value"], expected, "{alg}");
        }
    }
}

#[tokio::test]
async fn bad_parameters_are_400() {
    let e = Emulator::new().await;
    let long = base64(&[1; 191]);
    for body in [
        json!({ "alg": "RSA-OAEP-257", "value": "AAAA" }),
        json!({ "alg": "A256KW", "value": "AAAA" }),
        json!({ "alg": "RSA-OAEP-256", "value": "" }),
        json!({ "alg": "RSA-OAEP-256", "value": "!" }),
        json!({ "alg": "RSA-OAEP-256", "value": long }),
        json!({ "value": "AAAA" }),
        json!([]),
        Value::Null,
    ] {
        is(&e.kv("POST", WRAP, body).await, 400, "BadParameter", "");
    }
    is(&e.kv("POST", UNWRAP, parameters(&[0; 256])).await, 400, "BadParameter", "");
    is(&e.kv("GET", "/keys/selkie?api-version=", Value::Null).await, 400, "BadParameter", "");
    is(&e.kv("GET", "/keys/selkie?api-version=9", Value::Null).await, 400, "BadParameter", "");
    is(&e.kv("GET", "/keys/a_b", Value::Null).await, 400, "BadParameter", "");
    is(&e.kv("GET", "/keys/selkie/12", Value::Null).await, 400, "BadParameter", "");
    is(&e.kv("POST", "/keys/selkie", Value::Null).await, 405, "MethodNotAllowed", "");
    is(&e.kv("GET", "/secrets/a", Value::Null).await, 404, "NotFound", "");
    let unknown = format!("/keys/selkie/{}", "0".repeat(32));
    is(&e.kv("GET", &unknown, Value::Null).await, 404, "KeyNotFound", "");
    is(&e.kv("GET", "/keys/other", Value::Null).await, 404, "KeyNotFound", "");
}

#[tokio::test]
async fn a_body_above_one_mebibyte_is_413() {
    let e = Emulator::new().await;
    let answer = e.try_kv("POST", WRAP, &"x".repeat(1024 * 1024 + 1)).await.unwrap();
    assert_eq!(answer.status, 413);
    let control = e.control("POST", "faults", json!("x".repeat(1024 * 1024 + 1))).await;
    assert_eq!(control.status, 413);
}

#[tokio::test]
async fn a_disabled_key_refuses_to_unwrap_and_wraps_only_by_the_setting() {
    let e = Emulator::new().await;
    let wrapped = e.wrap(WRAP).await;
    let unwrap = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    e.set("PATCH", "vaults/kv1/keys/selkie/versions/latest", json!({ "enabled": false })).await;
    let refused = e.kv("POST", UNWRAP, unwrap.clone()).await;
    is(&refused, 403, "Forbidden", "KeyDisabled");
    assert_eq!(refused.message(), "Operation unwrapKey is not allowed on a disabled key.");
    is(&e.kv("POST", WRAP, parameters(b"x")).await, 403, "Forbidden", "KeyDisabled");
    assert_eq!(e.kv("GET", "/keys/selkie", Value::Null).await.ok()["attributes"]["enabled"], false);
    e.set("PATCH", "vaults/kv1", json!({ "disabled_key_wraps": true })).await;
    e.wrap(WRAP).await;
    is(&e.kv("POST", UNWRAP, unwrap).await, 403, "Forbidden", "KeyDisabled");
}

#[tokio::test]
async fn a_key_outside_its_dates_unwraps_but_does_not_wrap() {
    let e = Emulator::new().await;
    let wrapped = e.wrap(WRAP).await;
    let unwrap = json!({ "alg": "RSA-OAEP-256", "value": wrapped["value"] });
    let now = e.set("GET", "clock", Value::Null).await["now"].as_i64().unwrap();
    for (change, inner) in [
        (json!({ "exp": now - 1 }), "KeyExpired"),
        (json!({ "exp": null, "nbf": now + 1000 }), "KeyNotYetValid"),
    ] {
        e.set("PATCH", "vaults/kv1/keys/selkie/versions/latest", change).await;
        is(&e.kv("POST", WRAP, parameters(b"x")).await, 403, "Forbidden", inner);
        assert_eq!(e.kv("POST", UNWRAP, unwrap.clone()).await.status, 200);
    }
    e.set("POST", "clock", json!({ "advance_seconds": 1001 })).await;
    e.wrap(WRAP).await;
}

#[tokio::test]
async fn an_operation_that_is_not_in_key_ops_is_forbidden() {
    let e = Emulator::new().await;
    let change = json!({ "key_ops": ["wrapKey", "unwrapKey"] });
    e.kv("PATCH", "/keys/selkie", change).await.ok();
    let refused = e.kv("POST", "/keys/selkie//decrypt", parameters(&[1; 256])).await;
    is(&refused, 403, "Forbidden", "KeyOperationForbidden");
    e.wrap(WRAP).await;
}

#[tokio::test]
async fn rbac_refuses_what_no_role_permits_and_names_the_action() {
    let e = Emulator::new().await;
    let token = e.token("selkie").await;
    let rotate = e.vault_as(&token, "POST", "/keys/selkie/rotate", Value::Null).await;
    is(&rotate, 403, "Forbidden", "ForbiddenByRbac");
    assert!(
        rotate.message().contains("\r\nAction: 'Microsoft.KeyVault/vaults/keys/rotate/action'\r\n")
    );
    e.set("PATCH", "vaults/kv1", json!({ "roles": [] })).await;
    let wrap = e.vault_as(&token, "POST", WRAP, parameters(b"x")).await;
    is(&wrap, 403, "Forbidden", "ForbiddenByRbac");
    let role = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
    let roles = json!([
        { "principal": "selkie", "role": role, "key": "other" },
        { "principal": "selkie", "role": role, "key": "selkie", "effective_in_ms": 60_000 },
    ]);
    e.set("PATCH", "vaults/kv1", json!({ "roles": roles })).await;
    let wrap = async || e.vault_as(&token, "POST", WRAP, parameters(b"x")).await;
    is(&wrap().await, 403, "Forbidden", "ForbiddenByRbac");
    e.set("POST", "clock", json!({ "advance_seconds": 61 })).await;
    assert_eq!(wrap().await.status, 200);
}

#[tokio::test]
async fn access_policies_count_only_while_the_vault_uses_them() {
    let e = Emulator::new().await;
    let token = e.token("selkie").await;
    let policies = json!([{ "principal": "selkie", "keys": ["wrapKey"] }]);
    e.set("PATCH", "vaults/kv1", json!({ "access": "policies", "policies": policies })).await;
    assert_eq!(e.vault_as(&token, "POST", WRAP, parameters(b"x")).await.status, 200);
    let get = e.vault_as(&token, "GET", "/keys/selkie", Value::Null).await;
    is(&get, 403, "Forbidden", "ForbiddenByPolicy");
    assert!(get.message().contains("does not have keys get permission on key vault 'kv1"));
    e.set("PATCH", "vaults/kv1", json!({ "access": "rbac" })).await;
    assert_eq!(e.vault_as(&token, "GET", "/keys/selkie", Value::Null).await.status, 200);
}

#[tokio::test]
async fn firewall_and_private_link_refuse_by_their_names() {
    let e = Emulator::new().await;
    let get = async || e.kv("GET", "/keys/selkie", Value::Null).await;
    e.set("PATCH", "vaults/kv1", json!({ "firewall": { "allow": ["10.0.0.0/8"] } })).await;
    let refused = get().await;
    is(&refused, 403, "Forbidden", "ForbiddenByFirewall");
    assert!(refused.message().contains("\r\nClient address: 127.0.0.1\r\n"));
    e.set("PATCH", "vaults/kv1", json!({ "firewall": { "allow": ["127.0.0.1"] } })).await;
    assert_eq!(get().await.status, 200);
    e.set("PATCH", "vaults/kv1", json!({ "public_network_access": false })).await;
    is(&get().await, 403, "Forbidden", "ForbiddenByConnection");
}

#[tokio::test]
async fn a_limiter_refuses_above_its_limit_and_before_the_challenge_if_set() {
    let e = Emulator::new().await;
    let throttle = json!({ "limit": 3, "window_ms": 3_600_000, "retry_after": 7 });
    e.set("PATCH", "vaults/kv1", json!({ "throttle": throttle })).await;
    for _ in 0..3 {
        assert_eq!(e.kv("GET", "/keys/selkie", Value::Null).await.status, 200);
    }
    let refused = e.kv("GET", "/keys/selkie", Value::Null).await;
    is(&refused, 429, "Throttled", "");
    assert_eq!(refused.header("retry-after"), "7");
    let bare = async || {
        e.https(HOST, "GET", "/keys/selkie?api-version=7.4", &[], b"").await.unwrap().status
    };
    assert_eq!(bare().await, 401);
    e.set("PATCH", "vaults/kv1", json!({ "throttle": { "before_challenge": true } })).await;
    assert_eq!(bare().await, 429);
    assert_eq!(e.set("GET", "stats", Value::Null).await["throttled"], 2);
    e.set("PATCH", "vaults/kv1", json!({ "throttle": { "scale": 2.0 } })).await;
    assert_eq!(e.kv("GET", "/keys/selkie", Value::Null).await.status, 200, "429s cost nothing");
}

#[tokio::test]
async fn a_managed_hsm_wraps_under_aes_and_has_no_software_keys() {
    let role = json!([{ "principal": "app", "role": "Managed HSM Crypto Officer" }]);
    let keys = json!([{ "name": "kek", "kty": "oct-HSM" }, { "name": "rsa", "kty": "RSA-HSM" }]);
    let e = Emulator::of(&json!({
        "apps": [{ "name": "app" }],
        "vaults": [{ "name": "hsm1", "kind": "managed_hsm", "roles": role, "keys": keys }],
    }))
    .await;
    let host = "hsm1.managedhsm.emulator.test";
    let resource = "https://managedhsm.azure.net";
    let token = e.token_with(json!({ "principal": "app", "resource": resource })).await;
    let bearer = format!("Bearer {token}");
    let send = async |method: &str, path: &str, body: Value| {
        let headers = [("authorization", bearer.as_str())];
        let path = format!("{path}?api-version=7.5");
        e.https(host, method, &path, &headers, body.to_string().as_bytes()).await.unwrap()
    };
    let body = json!({ "alg": "A256KW", "value": base64(&[5; 32]) });
    let wrapped = send("POST", "/keys/kek//wrapkey", body).await.ok();
    assert_eq!(wrapped["value"].as_str().unwrap().len(), 54, "40 bytes");
    let body = json!({ "alg": "A256KW", "value": wrapped["value"] });
    assert_eq!(send("POST", "/keys/kek//unwrapkey", body).await.ok()["value"], base64(&[5; 32]));
    let damaged = json!({ "alg": "A256KW", "value": base64(&[5; 40]) });
    is(&send("POST", "/keys/kek//unwrapkey", damaged).await, 400, "BadParameter", "");
    let shown = send("GET", "/keys/kek", Value::Null).await.ok();
    assert_eq!((&shown["key"]["kty"], shown["key"].get("k")), (&json!("oct-HSM"), None));
    is(&send("POST", "/keys/new/create", json!({ "kty": "RSA" })).await, 400, "BadParameter", "");
    let unknown = e.https("nope.managedhsm.emulator.test", "GET", "/keys", &[], b"").await.unwrap();
    is(&unknown, 404, "VaultNotFound", "");
}
