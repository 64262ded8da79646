//! The rows of the matrix.

use selkie_tests::{Authority, free_port};
use serde_json::json;

use super::case::proxy_that_refuses;
use super::{Answers, Row};

// The hops and outcomes in the words of the log.
const DNS: &str = "DNS";
const TCP: &str = "TCP";
const PROXY: &str = "proxy";
const TLS: &str = "TLS";
const IMDS: &str = "managed identity";
const ENTRA: &str = "Entra";
const UNWRAP: &str = "Key Vault unwrapKey";
const THROTTLED: &str = "the limit of the vault or the subscription is reached";
const OUTAGE: &str = "Azure does not work now";
const UNVERIFIED: &str = "Key Vault cannot check our token now";
const TIMED_OUT: &str = "no answer in time";
const NAME_NOT_RESOLVED: &str = "the name is not resolved";
const NOT_CONNECTED: &str = "the connection is refused, reset or cut";
const PROXY_REFUSED: &str = "the proxy does not let us through";
const TLS_FAILED: &str = "TLS does not come about";
const IDENTITY_MISSING: &str = "this machine has no such managed identity";
const IDENTITY_AMBIGUOUS: &str = "this machine has several managed identities";
const CREDENTIAL_REFUSED: &str = "our credential is not accepted";
const TOKEN_FILE_UNREADABLE: &str = "the file with the federated token is unreadable";
const WRONG_TENANT: &str = "the token is of another tenant or for another audience";
const ROLE_MISSING: &str = "our identity lacks the role";
const POLICY_MISSING: &str = "the access policy lacks the permission";
const FIREWALL: &str = "the vault's firewall does not admit our address";
const PRIVATE_LINK: &str = "the vault admits private links alone";
const KEY_DISABLED: &str = "the key version is disabled";
const KEY_EXPIRED: &str = "has expired";
const KEY_NOT_YET_VALID: &str = "is not valid yet";
const OPERATION_NOT_ALLOWED: &str = "the key is not meant for the operation";
const KEY_MISSING: &str = "there is no such key or version";
const NOT_OURS: &str = "no seal could unwrap the DEK";
const ANSWER_WRONG: &str = "the answer makes no sense";

/// Encrypt goes on under the trusted public key.
const fn decrypt_fails(decrypt: u16) -> Answers {
    Answers { encrypt: 200, decrypt }
}

const ALL_FAILS: Answers = Answers { encrypt: 503, decrypt: 503 };
const ONLY_DECRYPTS: Answers = Answers { encrypt: 400, decrypt: 200 };
const ALL_WELL: Answers = Answers { encrypt: 200, decrypt: 200 };

macro_rules! row {
    ($wrong:literal, $answers:expr, $log:expr, $set:expr) => {
        Row { wrong: $wrong, set: $set, answers: $answers, log: $log }
    };
}

pub(super) fn rows() -> Vec<Row> {
    [names(), network(), service(), answers(), identity(), rights(), key()]
        .into_iter()
        .flatten()
        .collect()
}

/// Where the server is to go.
fn names() -> Vec<Row> {
    vec![
        row!("Entra's name is not known", decrypt_fails(503), &[DNS, NAME_NOT_RESOLVED], |case| {
            let secret = case.file("secret", "emulator-secret")?;
            case.as_application(("client_secret", &format!("file://{secret}")))?;
            case.seal_field("authority_host", "https://login.emulator.test:8443")
        }),
        row!(
            "the proxy's name is not known",
            decrypt_fails(503),
            &[PROXY, NAME_NOT_RESOLVED],
            |case| { case.seal_field("proxy", "http://proxy.emulator.test:3128") }
        ),
        // No pin is about this endpoint, so that its key is not known yet.
        row!("the vault's name is not known", ALL_FAILS, &[DNS, NAME_NOT_RESOLVED], |case| {
            case.seal_field("endpoint", "https://kv2.vault.emulator.test:8443")
        }),
    ]
}

/// What lies between the server and Key Vault.
fn network() -> Vec<Row> {
    vec![
        row!("nobody listens there", decrypt_fails(503), &[TCP, NOT_CONNECTED], |case| {
            case.listen("closed")
        }),
        row!("the connection is open and silent", decrypt_fails(503), &[TIMED_OUT], |case| {
            case.listen("silent")
        }),
        row!("TLS: another authority", decrypt_fails(503), &[TLS, TLS_FAILED], |case| {
            let other = case.file("other-ca.pem", Authority::new()?.certificate())?;
            case.seal_field("ca_file", &other)
        }),
        row!("the proxy refuses", decrypt_fails(503), &[PROXY, PROXY_REFUSED], |case| {
            case.seal_field("proxy", &proxy_that_refuses("407 Proxy Authentication Required")?)
        }),
        row!("the proxy is not there", decrypt_fails(503), &[PROXY, NOT_CONNECTED], |case| {
            case.seal_field("proxy", &format!("http://127.0.0.1:{}", free_port()?))
        }),
        row!("the connection is reset", decrypt_fails(503), &[UNWRAP, NOT_CONNECTED], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "reset" }))
        }),
        row!("the answer is cut off", decrypt_fails(503), &[UNWRAP, NOT_CONNECTED], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "truncate" }))
        }),
        row!("the answer stops half way", decrypt_fails(503), &[UNWRAP, TIMED_OUT], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "stall" }))
        }),
        row!("no answer", decrypt_fails(503), &[UNWRAP, TIMED_OUT], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "hang" }))
        }),
        row!(
            "a proxy's HTML with status 200",
            decrypt_fails(503),
            &[UNWRAP, ANSWER_WRONG],
            |case| { case.fault("keyvault", "unwrap", &json!({ "effect": "html" })) }
        ),
        row!("a proxy's HTML with status 502", decrypt_fails(503), &[UNWRAP, OUTAGE], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "html", "status": 502 }))
        }),
        row!("the request loses its body", decrypt_fails(400), &[NOT_OURS], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "lose_body" }))
        }),
    ]
}

/// Key Vault is not well.
fn service() -> Vec<Row> {
    vec![
        row!("throttled for a moment", ALL_WELL, &[], |case| {
            case.fault_times(("keyvault", "unwrap"), &json!({ "status": 429 }), 2)
        }),
        row!("throttled", decrypt_fails(503), &[UNWRAP, THROTTLED], |case| {
            case.fault("keyvault", "unwrap", &json!({ "status": 429 }))
        }),
        row!(
            "throttled, with Retry-After: 3600",
            decrypt_fails(503),
            &[UNWRAP, THROTTLED],
            |case| { case.fault("keyvault", "unwrap", &json!({ "retry_after": 3600 })) }
        ),
        row!("500 for a moment", ALL_WELL, &[], |case| {
            case.fault_times(("keyvault", "unwrap"), &json!({ "status": 500 }), 2)
        }),
        row!("500", decrypt_fails(503), &[UNWRAP, OUTAGE], |case| {
            case.fault("keyvault", "unwrap", &json!({ "status": 500 }))
        }),
        row!("503", decrypt_fails(503), &[UNWRAP, OUTAGE], |case| {
            case.fault("keyvault", "unwrap", &json!({ "status": 503 }))
        }),
        row!("401: AKV10046, of a good token", decrypt_fails(503), &[UNWRAP, UNVERIFIED], |case| {
            let message = "AKV10046: Unable to resolve the key used for signature validation.";
            case.fault("keyvault", "unwrap", &json!({ "status": 401, "message": message }))
        }),
        row!("read-only after a failover", ALL_WELL, &[], |case| case.read_only()),
    ]
}

/// Key Vault answers with something else.
fn answers() -> Vec<Row> {
    vec![
        row!("200 without a body", decrypt_fails(503), &[UNWRAP, ANSWER_WRONG], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "empty" }))
        }),
        row!("the answer names another key", decrypt_fails(503), &[UNWRAP, ANSWER_WRONG], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "wrong_key" }))
        }),
        row!(
            "the answer names another version",
            decrypt_fails(503),
            &[UNWRAP, ANSWER_WRONG],
            |case| { case.fault("keyvault", "unwrap", &json!({ "effect": "wrong_version" })) }
        ),
        row!(
            "the answer names another host",
            decrypt_fails(503),
            &[UNWRAP, ANSWER_WRONG],
            |case| { case.fault("keyvault", "unwrap", &json!({ "effect": "wrong_host" })) }
        ),
        row!("a result that is too short", decrypt_fails(400), &[NOT_OURS], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "short_result" }))
        }),
        row!("a result that is too long", decrypt_fails(400), &[NOT_OURS], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "long_result" }))
        }),
        row!("another secret than the wrapped one", decrypt_fails(400), &["commit"], |case| {
            case.fault("keyvault", "unwrap", &json!({ "effect": "other_result" }))
        }),
    ]
}

/// Who we are.
fn identity() -> Vec<Row> {
    vec![
        row!("no managed identity", decrypt_fails(400), &[IMDS, IDENTITY_MISSING], |case| {
            case.control("DELETE", "identities/selkie", &json!(null))?;
            case.restart()
        }),
        row!("several identities, none named", decrypt_fails(400), &[IDENTITY_AMBIGUOUS], |case| {
            for name in ["one", "two"] {
                case.control("POST", "identities", &json!({ "name": name }))?;
            }
            case.control("DELETE", "identities/selkie", &json!(null))?;
            case.restart()
        }),
        row!("IMDS is not there", decrypt_fails(503), &[IMDS, NOT_CONNECTED], |case| {
            case.seal_field("imds_endpoint", &format!("http://127.0.0.1:{}", free_port()?))
        }),
        row!("IMDS: 404", decrypt_fails(503), &[IMDS, IDENTITY_MISSING], |case| {
            case.identity_fault(&json!({ "status": 404 }))
        }),
        row!("IMDS: 410", decrypt_fails(503), &[IMDS, OUTAGE], |case| {
            case.identity_fault(&json!({ "status": 410 }))
        }),
        row!("IMDS: 429", decrypt_fails(503), &[IMDS, THROTTLED], |case| {
            case.identity_fault(&json!({ "status": 429 }))
        }),
        row!("IMDS: no answer", decrypt_fails(503), &[IMDS, TIMED_OUT], |case| {
            case.identity_fault(&json!({ "effect": "hang" }))
        }),
        row!("IMDS: `expires_on` is a number", ALL_WELL, &[], |case| {
            case.identity_fault(&json!({ "effect": "integer_expires_on" }))
        }),
        row!(
            "the application's secret is wrong",
            decrypt_fails(400),
            &[ENTRA, CREDENTIAL_REFUSED],
            |case| {
                let secret = case.file("secret", "not-the-secret")?;
                case.as_application(("client_secret", &format!("file://{secret}")))
            }
        ),
        row!(
            "the federated token has gone",
            decrypt_fails(400),
            &[TOKEN_FILE_UNREADABLE],
            |case| {
                let token = case.file("token", "emulator-federated-token")?;
                case.as_application(("federated_token_file", &token))?;
                std::fs::remove_file(token)?;
                case.restart()
            }
        ),
        row!("the token is no longer good", ALL_WELL, &[], |case| case.revoke_tokens()),
        row!("the token is of another tenant", decrypt_fails(400), &[WRONG_TENANT], |case| {
            let other = "7e3a0000-0000-4000-8000-000000000009";
            case.control("PATCH", "settings", &json!({ "other_tenants": [other] }))?;
            case.identity_fault(&json!({ "token_tenant": other }))
        }),
        row!("the token is for another audience", decrypt_fails(400), &[WRONG_TENANT], |case| {
            case.identity_fault(&json!({ "token_audience": "https://vault.azure.net/" }))
        }),
    ]
}

/// What we may do.
fn rights() -> Vec<Row> {
    vec![
        row!("the role is missing", decrypt_fails(400), &[UNWRAP, ROLE_MISSING], |case| {
            case.vault(&json!({ "roles": [] }))
        }),
        row!("the role was assigned a moment ago", ALL_WELL, &[], |case| {
            case.fault("keyvault", "any", &json!({ "rbac_delay_ms": 2_000 }))
        }),
        row!("the role may read only", decrypt_fails(400), &[UNWRAP, ROLE_MISSING], |case| {
            let reader = json!({ "principal": "selkie", "role": "Key Vault Reader" });
            case.vault(&json!({ "roles": [reader] }))
        }),
        row!("the access policy lacks unwrapKey", decrypt_fails(400), &[POLICY_MISSING], |case| {
            let policy = json!({ "principal": "selkie", "keys": ["get", "list", "wrapKey"] });
            case.vault(&json!({ "access": "policies", "policies": [policy] }))
        }),
        row!("the firewall does not know us", decrypt_fails(400), &[UNWRAP, FIREWALL], |case| {
            case.vault(&json!({ "firewall": { "allow": ["10.0.0.0/8"] } }))
        }),
        row!("private links only", decrypt_fails(400), &[UNWRAP, PRIVATE_LINK], |case| {
            case.vault(&json!({ "public_network_access": false }))
        }),
    ]
}

/// The key itself.
fn key() -> Vec<Row> {
    vec![
        row!(
            "the key is disabled",
            Answers { encrypt: 400, decrypt: 400 },
            &[UNWRAP, KEY_DISABLED],
            |case| { case.key(&json!({ "enabled": false })) }
        ),
        row!("the key is expired", ONLY_DECRYPTS, &[KEY_EXPIRED], |case| {
            case.key(&json!({ "exp": 1_700_000_000 }))
        }),
        row!("the key is not yet valid", ONLY_DECRYPTS, &[KEY_NOT_YET_VALID], |case| {
            case.key(&json!({ "nbf": 4_000_000_000_u32 }))
        }),
        row!("`key_ops` lack unwrapKey", decrypt_fails(400), &[OPERATION_NOT_ALLOWED], |case| {
            case.key(&json!({ "key_ops": ["wrapKey"] }))
        }),
        row!(
            "the key is deleted (encrypt: 400 as well, once that is noticed)",
            decrypt_fails(400),
            &[UNWRAP, KEY_MISSING],
            |case| { case.control("POST", "vaults/kv1/keys/selkie/delete", &json!({})) }
        ),
    ]
}
