//! The description of the key, from all that Key Vault may say of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use selkie_crypto::WrapAlgorithm;
use serde_json::{Value, json};

use super::fake::{
    FakeKey, FakeVault, FakeVersion, NOW, Operation, Reply, failure, over, provider, settings,
    version_text,
};
use crate::azure::{AzureKeyVault, AzureSettings, Diagnosis, Outcome};
use crate::{KekState, Kms, KmsError, Wrapping};

fn outcome(error: &KmsError) -> Outcome {
    Diagnosis::of(error).unwrap().outcome
}

async fn current_state(kms: &AzureKeyVault) -> KekState {
    kms.describe().await.unwrap().current().state
}

#[tokio::test]
async fn current_version_is_wrapped_for_here_and_older_ones_in_the_vault() {
    let description = provider(&FakeVault::rsa()).describe().await.unwrap();
    assert!(description.is_complete());
    assert_eq!(description.is_purgeable(), Some(false));
    assert!(description.current().id.as_str().ends_with(&version_text(2)));
    assert!(matches!(description.current().wrapping, Wrapping::Local(_)));
    let oldest = &description.versions()[0];
    assert_eq!(oldest.wrapping, Wrapping::Remote(WrapAlgorithm::RsaOaep256));
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_001);
    assert_eq!(oldest.created, Some(created));
}

#[tokio::test]
async fn wrap_remotely_leaves_every_wrap_to_the_vault() {
    let kms = over(&FakeVault::rsa(), &AzureSettings { wrap_remotely: true, ..settings() });
    let description = kms.describe().await.unwrap();
    assert_eq!(description.current().wrapping, Wrapping::Remote(WrapAlgorithm::RsaOaep256));
}

#[tokio::test]
async fn symmetric_key_is_wrapped_for_in_the_vault() {
    let description = provider(&FakeVault::symmetric()).describe().await.unwrap();
    for version in description.versions() {
        assert_eq!(version.wrapping, Wrapping::Remote(WrapAlgorithm::A256Kw));
    }
}

#[tokio::test]
async fn all_of_thirty_pages_are_listed_oldest_first() {
    let versions = (1..=745).rev().map(|number| FakeVersion::new(number, FakeKey::Rsa(0)));
    let vault = FakeVault::of(versions.collect());
    let description = provider(&vault).describe().await.unwrap();
    assert_eq!(vault.calls(Operation::List), 30);
    assert_eq!(description.versions().len(), 745);
    let created: Vec<_> = description.versions().iter().map(|version| version.created).collect();
    assert!(created.is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn list_that_never_ends_is_given_up() {
    let vault = FakeVault::rsa();
    let next =
        json!({ "value": [], "nextLink": "https://kv1.vault.azure.net/keys/unseal/versions" });
    vault.answer(Operation::List, 200, &next.to_string());
    let error = provider(&vault).describe().await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::AnswerWrong);
    assert!(vault.calls(Operation::List) < 1_010);
}

#[tokio::test]
async fn list_of_too_many_versions_is_given_up() {
    let described = |count| async move {
        let versions = (1..=count).map(|number| FakeVersion::new(number, FakeKey::Rsa(0)));
        let vault = FakeVault::of(versions.collect());
        *vault.page.lock().unwrap() = 1_000;
        let description = provider(&vault).describe().await;
        description.map(|found| found.versions().len()).map_err(|error| outcome(&error))
    };
    assert_eq!(described(10_000).await, Ok(10_000));
    assert_eq!(described(10_001).await, Err(Outcome::AnswerWrong));
}

#[tokio::test]
async fn list_of_too_many_bytes_is_given_up() {
    let vault = FakeVault::rsa();
    let tags = json!({ "much": "x".repeat(1_000_000) });
    let kid = format!("https://kv1.vault.azure.net/keys/unseal/{}", version_text(1));
    let version = json!({ "kid": kid, "attributes": { "enabled": true }, "tags": tags });
    let next = "https://kv1.vault.azure.net/keys/unseal/versions";
    vault.answer(
        Operation::List,
        200,
        &json!({ "value": [version], "nextLink": next }).to_string(),
    );
    let error = provider(&vault).describe().await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::AnswerWrong);
    assert_eq!(vault.calls(Operation::List), 34);
}

#[tokio::test]
async fn what_is_kept_of_a_listed_version_is_small() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    vault.change(|versions| {
        versions[0].attributes["hsmPlatform"] = "x".repeat(1_000).into();
        versions[0].attributes["recoveryLevel"] = "x".repeat(1_000).into();
    });
    let listed = kms.list().await.unwrap();
    assert_eq!(listed.len(), 2);
    for version in listed {
        assert_eq!(version.attributes.hsm_platform, None);
        assert_eq!(version.attributes.recovery_level, None);
    }
}

#[tokio::test]
async fn link_to_another_host_gets_no_token() {
    for link in
        ["https://evil.example/", "http://kv1.vault.azure.net/", "https://kv2.vault.azure.net/"]
    {
        let vault = FakeVault::rsa();
        let next = json!({ "value": [], "nextLink": format!("{link}keys/unseal/versions") });
        vault.answer(Operation::List, 200, &next.to_string());
        let error = provider(&vault).describe().await.unwrap_err();
        assert!(matches!(error, KmsError::Misbehaved(_)), "{link}: {error:?}");
        assert_eq!(vault.calls(Operation::List), 1);
    }
}

#[tokio::test]
async fn forbidden_list_leaves_an_incomplete_description() {
    for code in ["ForbiddenByPolicy", "ForbiddenByRbac"] {
        let vault = FakeVault::rsa();
        let body = failure("Forbidden", Some(code), "The user\r\nlacks it").to_string();
        vault.answer(Operation::List, 403, &body);
        let description = provider(&vault).describe().await.unwrap();
        assert!(!description.is_complete());
        assert_eq!(description.versions().len(), 1);
        assert!(matches!(description.current().wrapping, Wrapping::Local(_)));
    }
}

#[tokio::test]
async fn list_that_fails_otherwise_is_a_failure() {
    let firewall = failure("Forbidden", Some("ForbiddenByFirewall"), "").to_string();
    for (status, body, wanted) in [
        (503, String::new(), Outcome::Outage),
        (429, String::new(), Outcome::Throttled),
        (403, firewall, Outcome::Firewall),
        (200, "<html>".to_owned(), Outcome::AnswerWrong),
    ] {
        let vault = FakeVault::rsa();
        vault.answer(Operation::List, status, &body);
        assert_eq!(outcome(&provider(&vault).describe().await.unwrap_err()), wanted);
    }
}

#[tokio::test]
async fn states_are_read_by_our_clock() {
    let (before, after) = (NOW - 1, NOW + 1);
    for (attributes, state) in [
        (json!({ "enabled": true }), KekState::Enabled),
        (json!({ "enabled": false }), KekState::Disabled),
        (json!({ "enabled": true, "nbf": after }), KekState::NotYetValid),
        (json!({ "enabled": true, "nbf": before }), KekState::Enabled),
        (json!({ "enabled": true, "exp": before }), KekState::Expired),
        (json!({ "enabled": true, "exp": NOW }), KekState::Expired),
        (json!({ "enabled": true, "exp": after }), KekState::Enabled),
        (json!({ "enabled": false, "exp": before }), KekState::Disabled),
    ] {
        let vault = FakeVault::rsa();
        vault.change(|versions| versions[1].attributes = attributes.clone());
        assert_eq!(current_state(&provider(&vault)).await, state, "{attributes}");
    }
}

#[tokio::test]
async fn newest_version_that_may_not_be_read_is_described_by_the_list() {
    let body = failure("Forbidden", Some("KeyDisabled"), "not allowed on a disabled key");
    for (vault, algorithm) in [
        (FakeVault::rsa(), WrapAlgorithm::RsaOaep256),
        (FakeVault::symmetric(), WrapAlgorithm::A256Kw),
    ] {
        let body = body.to_string();
        vault.change(|versions| versions[1].attributes["enabled"] = false.into());
        vault.intercept(move |operation, request| {
            let is_newest = operation == Operation::Get && request.url().path().ends_with('/');
            is_newest.then(|| Reply::Answer(403, vec![], body.clone()))
        });
        let description = provider(&vault).describe().await.unwrap();
        assert_eq!(description.current().state, KekState::Disabled);
        assert!(description.current().id.as_str().ends_with(&version_text(2)));
        assert_eq!(description.current().wrapping, Wrapping::Remote(algorithm));
        assert_eq!(description.versions()[0].state, KekState::Enabled);
    }
}

#[tokio::test]
async fn version_in_use_before_the_newest_is_valid_is_wrapped_for_here() {
    let body = failure("Forbidden", Some("KeyNotYetValid"), "not yet valid").to_string();
    for is_refused in [false, true] {
        let vault = FakeVault::rsa();
        vault.change(|versions| {
            versions.push(FakeVersion::new(3, FakeKey::Rsa(0)));
            versions[2].attributes["nbf"] = (NOW + 1).into();
        });
        let body = body.clone();
        vault.intercept(move |operation, request| {
            let is_newest = operation == Operation::Get && request.url().path().ends_with('/');
            (is_refused && is_newest).then(|| Reply::Answer(403, vec![], body.clone()))
        });
        let description = provider(&vault).describe().await.unwrap();
        let [one, two, three] = description.versions() else { panic!("{description:?}") };
        assert_eq!(three.state, KekState::NotYetValid);
        assert_eq!(description.current(), three);
        assert!(matches!(two.wrapping, Wrapping::Local(_)), "refused: {is_refused}");
        assert!(matches!(one.wrapping, Wrapping::Remote(_)));
        assert!(description.is_complete());
    }
}

#[tokio::test]
async fn newest_version_is_the_last_of_those_made_in_one_second() {
    let vault = FakeVault::rsa();
    vault.change(|versions| {
        let newest = FakeVersion::new(0, FakeKey::Rsa(0));
        versions.push(newest);
        let created = versions[1].attributes["created"].clone();
        versions[2].attributes["created"] = created;
    });
    let description = provider(&vault).describe().await.unwrap();
    let ids: Vec<_> = description.versions().iter().map(|version| version.id.as_str()).collect();
    for (id, number) in ids.iter().zip([1, 2, 0]) {
        assert!(id.ends_with(&version_text(number)), "{ids:?}");
    }
    assert!(description.current().id.as_str().ends_with(&version_text(0)));
}

#[tokio::test]
async fn version_in_use_that_cannot_be_read_is_wrapped_for_in_the_vault() {
    let vault = FakeVault::rsa();
    vault.change(|versions| versions[1].attributes["nbf"] = (NOW + 1).into());
    vault.intercept(|operation, request| {
        let is_older =
            operation == Operation::Get && request.url().path().contains(&version_text(1));
        is_older.then(|| Reply::Answer(503, vec![], String::new()))
    });
    let description = provider(&vault).describe().await.unwrap();
    assert!(matches!(description.versions()[0].wrapping, Wrapping::Remote(_)));
    assert_eq!(description.is_purgeable(), Some(false));
}

#[tokio::test]
async fn keys_of_no_use_to_us_are_refused() {
    let n = |bytes: usize| "_".repeat(bytes * 8 / 6);
    for jwk in [
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC-HSM" }),
        json!({ "kty": "oct" }),
        json!({ "kty": "new" }),
        json!({ "kty": "RSA", "n": n(129), "e": "AQAB" }),
        json!({ "kty": "RSA", "n": n(1023), "e": "AQAB" }),
    ] {
        let vault = FakeVault::of(vec![FakeVersion::new(1, FakeKey::Jwk(jwk.clone()))]);
        let error = provider(&vault).describe().await.unwrap_err();
        assert!(matches!(error, KmsError::Disabled(_)), "{jwk}: {error:?}");
        assert_eq!(outcome(&error), Outcome::KeyUnsuitable);
    }
}

#[tokio::test]
async fn key_has_to_allow_what_we_need_it_for() {
    let allowed = |operations: Value, wrap_remotely| async move {
        let vault = FakeVault::rsa();
        vault.change(|versions| versions[1].key_ops = operations);
        let kms = over(&vault, &AzureSettings { wrap_remotely, ..settings() });
        kms.describe().await.map(|_| ()).map_err(|error| outcome(&error))
    };
    let refused = Err(Outcome::OperationNotAllowed);
    assert_eq!(allowed(json!(["unwrapKey"]), false).await, Ok(()));
    assert_eq!(allowed(json!(["unwrapKey"]), true).await, refused);
    assert_eq!(allowed(json!(["wrapKey"]), false).await, refused);
    assert_eq!(allowed(json!(["unwrapKey", "wrapKey", "sign"]), true).await, Ok(()));
    assert_eq!(allowed(json!([]), false).await, refused);
    assert_eq!(allowed(Value::Null, true).await, Ok(()));
}

#[tokio::test]
async fn description_says_whether_the_key_can_be_destroyed() {
    for (level, wanted) in [
        ("Purgeable", Some(true)),
        ("Recoverable+Purgeable", Some(true)),
        ("CustomizedRecoverable+Purgeable", Some(true)),
        ("Recoverable", Some(false)),
        ("Recoverable+ProtectedSubscription", Some(false)),
        ("CustomizedRecoverable", Some(false)),
        ("Other", None),
    ] {
        let vault = FakeVault::rsa();
        vault.change(|versions| versions[1].attributes["recoveryLevel"] = level.into());
        let description = provider(&vault).describe().await.unwrap();
        assert_eq!(description.is_purgeable(), wanted, "{level}");
    }
}

#[tokio::test]
async fn rotation_shows_in_the_next_description() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    let before = kms.describe().await.unwrap();
    vault.change(|versions| versions.push(FakeVersion::new(3, FakeKey::Rsa(0))));
    let after = kms.describe().await.unwrap();
    assert_eq!(after.versions().len(), before.versions().len() + 1);
    assert!(after.current().id.as_str().ends_with(&version_text(3)));
}

#[tokio::test]
async fn version_that_is_newer_than_the_list_is_listed_all_the_same() {
    let vault = FakeVault::rsa();
    vault.answer(Operation::List, 200, &json!({ "value": [] }).to_string());
    let description = provider(&vault).describe().await.unwrap();
    assert_eq!(description.versions(), [description.current().clone()]);
}

#[tokio::test]
async fn listed_version_of_another_key_is_not_believed() {
    let vault = FakeVault::rsa();
    let kid = format!("https://kv1.vault.azure.net/keys/other/{}", version_text(1));
    let list = json!({ "value": [{ "kid": kid, "attributes": { "enabled": true } }] });
    vault.answer(Operation::List, 200, &list.to_string());
    let error = provider(&vault).describe().await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::AnswerWrong);
}

#[tokio::test]
async fn rotation_between_get_and_list_shows_as_a_whole() {
    let vault = FakeVault::rsa();
    let rotating = Arc::downgrade(&vault);
    vault.intercept(move |operation, _| {
        let vault = rotating.upgrade().unwrap();
        vault.change(|versions| {
            if operation == Operation::List && versions.len() == 2 {
                versions.push(FakeVersion::new(3, FakeKey::Rsa(0)));
            }
        });
        None
    });
    let description = provider(&vault).describe().await.unwrap();
    assert_eq!(description.versions().len(), 3);
    assert!(description.current().id.as_str().ends_with(&version_text(3)));
    assert!(matches!(description.current().wrapping, Wrapping::Local(_)));
}
