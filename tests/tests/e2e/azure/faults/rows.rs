//! The rows of the matrix.

use selkie_tests::{Authority, free_port};
use serde_json::json;

use super::case::proxy_that_refuses;
use super::{Answers, Row};

/// Encrypt goes on under the trusted public key.
const fn decrypt_fails(decrypt: u16) -> Answers {
    Answers { encrypt: 200, decrypt }
}

const ALL_FAILS: Answers = Answers { encrypt: 503, decrypt: 503 };
const ALL_WELL: Answers = Answers { encrypt: 200, decrypt: 200 };

macro_rules! row {
    ($wrong:literal, $answers:expr, $log:literal, $set:expr) => {
        Row { wrong: $wrong, set: $set, answers: $answers, log: $log }
    };
}

pub(super) fn rows() -> Vec<Row> {
    [network(), service(), answers(), identity(), rights(), key()].into_iter().flatten().collect()
}

/// What lies between the server and Key Vault.
fn network() -> Vec<Row> {
    vec![
        row!("the host's name is not known", ALL_FAILS, "Dns NameNotResolved", |case| {
            case.seal_field("endpoint", "https://kv1.vault.emulator.test:8443")
        }),
        row!("nobody listens there", decrypt_fails(503), "Tcp NotConnected", |case| {
            case.listen("closed")
        }),
        row!("the connection is open and silent", decrypt_fails(503), "TimedOut", |case| {
            case.listen("silent")
        }),
        row!("TLS: another authority", decrypt_fails(503), "Tls TlsFailed", |case| {
            let other = case.file("other-ca.pem", Authority::new()?.certificate())?;
            case.seal_field("ca_file", &other)
        }),
        row!("the proxy refuses", decrypt_fails(503), "Proxy ProxyRefused", |case| {
            case.seal_field("proxy", &proxy_that_refuses("407 Proxy Authentication Required")?)
        }),
        row!("the proxy is not there", decrypt_fails(503), "Proxy NotConnected", |case| {
            case.seal_field("proxy", &format!("http://127.0.0.1:{}", free_port()?))
        }),
        row!("the connection is reset", decrypt_fails(503), "Unwrap NotConnected", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "reset" }))
        }),
        row!("the answer is cut off", decrypt_fails(503), "Unwrap NotConnected", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "truncate" }))
        }),
        row!("the answer stops half way", decrypt_fails(503), "Unwrap TimedOut", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "stall" }))
        }),
        row!("no answer", decrypt_fails(503), "Unwrap TimedOut", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "hang" }))
        }),
        row!("a proxy's HTML with status 200", decrypt_fails(503), "Unwrap AnswerWrong", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "html" }))
        }),
        row!("a proxy's HTML with status 502", decrypt_fails(503), "Unwrap Outage", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "html", "status": 502 }))
        }),
        row!("the request loses its body once", ALL_WELL, "", |case| {
            case.fault_times(("keyvault", "unwrap"), &json!({ "effect": "lose_body" }), 1)
        }),
    ]
}

/// Key Vault is not well.
fn service() -> Vec<Row> {
    vec![
        row!("throttled for a moment", ALL_WELL, "", |case| {
            case.fault_times(("keyvault", "unwrap"), &json!({ "status": 429 }), 2)
        }),
        row!("throttled", decrypt_fails(503), "Unwrap Throttled", |case| {
            case.fault("keyvault", "unwrap", &json!({ "status": 429 }))
        }),
        row!("throttled, with Retry-After: 3600", decrypt_fails(503), "Unwrap Throttled", |case| {
            case.fault("keyvault", "unwrap", &json!({ "retry_after": 3600 }))
        }),
        row!("500 for a moment", ALL_WELL, "", |case| {
            case.fault_times(("keyvault", "unwrap"), &json!({ "status": 500 }), 2)
        }),
        row!("500", decrypt_fails(503), "Unwrap Outage", |case| {
            case.fault("keyvault", "unwrap", &json!({ "status": 500 }))
        }),
        row!("503", decrypt_fails(503), "Unwrap Outage", |case| {
            case.fault("keyvault", "unwrap", &json!({ "status": 503 }))
        }),
        row!("read-only after a failover", ALL_WELL, "", |case| {
            case.fault("keyvault", "rotate", &json!({ "status": 503 }))
        }),
    ]
}

/// Key Vault answers with something else.
fn answers() -> Vec<Row> {
    vec![
        row!("200 without a body", decrypt_fails(503), "Unwrap AnswerWrong", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "empty" }))
        }),
        row!("the answer names another key", decrypt_fails(503), "Unwrap AnswerWrong", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "wrong_key" }))
        }),
        row!(
            "the answer names another version",
            decrypt_fails(503),
            "Unwrap AnswerWrong",
            |case| { case.fault("keyvault", "unwrap", &json!({ "effect": "wrong_version" })) }
        ),
        row!("the answer names another host", decrypt_fails(503), "Unwrap AnswerWrong", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "wrong_host" }))
        }),
        row!("a result that is too short", decrypt_fails(503), "Unwrap AnswerWrong", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "short_result" }))
        }),
        row!("a result that is too long", decrypt_fails(503), "Unwrap AnswerWrong", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "long_result" }))
        }),
        row!("another secret than the wrapped one", decrypt_fails(400), "commitment", |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "other_result" }))
        }),
    ]
}

/// Who we are.
fn identity() -> Vec<Row> {
    vec![
        row!(
            "no managed identity",
            decrypt_fails(503),
            "ManagedIdentity IdentityMissing",
            |case| {
                case.control("DELETE", "identities/selkie", &json!(null))?;
                case.revoke_tokens()
            }
        ),
        row!("several identities, none named", decrypt_fails(503), "IdentityAmbiguous", |case| {
            for name in ["one", "two"] {
                case.control("POST", "identities", &json!({ "name": name }))?;
            }
            case.control("DELETE", "identities/selkie", &json!(null))?;
            case.revoke_tokens()
        }),
        row!("IMDS is not there", decrypt_fails(503), "ManagedIdentity NotConnected", |case| {
            case.seal_field("imds_endpoint", &format!("http://127.0.0.1:{}", free_port()?))
        }),
        row!("IMDS: 404", decrypt_fails(503), "ManagedIdentity", |case| {
            case.identity_fault(&json!({ "status": 404 }))
        }),
        row!("IMDS: 410", decrypt_fails(503), "ManagedIdentity", |case| {
            case.identity_fault(&json!({ "status": 410 }))
        }),
        row!("IMDS: 429", decrypt_fails(503), "ManagedIdentity Throttled", |case| {
            case.identity_fault(&json!({ "status": 429 }))
        }),
        row!("IMDS: no answer", decrypt_fails(503), "ManagedIdentity TimedOut", |case| {
            case.identity_fault(&json!({ "effect": "hang" }))
        }),
        row!("IMDS: `expires_on` is a number", ALL_WELL, "", |case| {
            case.identity_fault(&json!({ "effect": "integer_expires_on" }))
        }),
        row!("the token is no longer good", ALL_WELL, "", |case| case.revoke_tokens()),
        row!("the token is of another tenant", decrypt_fails(503), "WrongTenant", |case| {
            let other = "7e3a0000-0000-4000-8000-000000000009";
            case.control("PATCH", "settings", &json!({ "other_tenants": [other] }))?;
            case.identity_fault(&json!({ "token_tenant": other }))
        }),
        row!("the token is for another audience", decrypt_fails(503), "WrongTenant", |case| {
            case.identity_fault(&json!({ "token_audience": "https://vault.azure.net/" }))
        }),
    ]
}

/// What we may do.
fn rights() -> Vec<Row> {
    vec![
        row!("the role is missing", decrypt_fails(503), "Unwrap RoleMissing", |case| {
            case.vault(&json!({ "roles": [] }))
        }),
        row!("the role was assigned a moment ago", ALL_WELL, "", |case| {
            case.fault("keyvault", "any", &json!({ "rbac_delay_ms": 2_000 }))
        }),
        row!("the role may read only", decrypt_fails(503), "Unwrap RoleMissing", |case| {
            let reader = json!({ "principal": "selkie", "role": "Key Vault Reader" });
            case.vault(&json!({ "roles": [reader] }))
        }),
        row!("the access policy lacks unwrapKey", decrypt_fails(503), "PolicyMissing", |case| {
            let policy = json!({ "principal": "selkie", "keys": ["get", "list", "wrapKey"] });
            case.vault(&json!({ "access": "policies", "policies": [policy] }))
        }),
        row!("the firewall does not know us", decrypt_fails(503), "Unwrap Firewall", |case| {
            case.vault(&json!({ "firewall": { "allow": ["10.0.0.0/8"] } }))
        }),
        row!("private links only", decrypt_fails(503), "Unwrap PrivateLink", |case| {
            case.vault(&json!({ "public_network_access": false }))
        }),
    ]
}

/// The key itself.
fn key() -> Vec<Row> {
    vec![
        row!("the key is disabled", ALL_FAILS, "Unwrap KeyDisabled", |case| {
            case.key(&json!({ "enabled": false }))
        }),
        row!("the key is expired", Answers { encrypt: 503, decrypt: 200 }, "KeyExpired", |case| {
            case.key(&json!({ "exp": 1_700_000_000 }))
        }),
        row!(
            "the key is not yet valid",
            Answers { encrypt: 503, decrypt: 200 },
            "KeyNotYetValid",
            |case| { case.key(&json!({ "nbf": 4_000_000_000_u32 })) }
        ),
        row!("`key_ops` lack unwrapKey", decrypt_fails(503), "OperationNotAllowed", |case| {
            case.key(&json!({ "key_ops": ["wrapKey"] }))
        }),
        row!("the key is deleted", decrypt_fails(503), "Unwrap KeyMissing", |case| {
            case.control("POST", "vaults/kv1/keys/selkie/delete", &json!({}))
        }),
    ]
}
