//! The doctor's walk.

use std::sync::Arc;

use selkie_crypto::{RandomError, os_random};
use serde_json::json;
use url::Url;

use super::fake::{
    FakeCredential, FakeVault, NOW, Operation, Reply, clock, failure, over, provider, settings,
};
use crate::azure::{AzureKeyVault, AzureSettings, Diagnosis, Finding, Hop, Outcome, Step, Warning};

async fn walk(kms: &AzureKeyVault) -> Vec<Step> {
    let mut steps = Vec::new();
    kms.check(&os_random, &mut |step| steps.push(step)).await.unwrap();
    steps
}

fn outcomes(steps: &[Step]) -> Vec<(Hop, Option<Outcome>)> {
    let outcome = |step: &Step| match &step.finding {
        Finding::Failed(diagnosis) => Some(diagnosis.outcome),
        Finding::Passed(_) | Finding::Warned(_) => None,
    };
    steps.iter().map(|step| (step.hop, outcome(step))).collect()
}

fn warnings(steps: Vec<Step>) -> Vec<Warning> {
    let warning = |step: Step| match step.finding {
        Finding::Warned(warning) => Some(warning),
        Finding::Passed(_) | Finding::Failed(_) => None,
    };
    steps.into_iter().filter_map(warning).collect()
}

#[tokio::test]
async fn walk_over_a_sound_vault_passes_every_hop() {
    for wrap_remotely in [false, true] {
        let vault = FakeVault::rsa();
        let steps = walk(&over(&vault, &AzureSettings { wrap_remotely, ..settings() })).await;
        let hops: Vec<Hop> = steps.iter().map(|step| step.hop).collect();
        assert_eq!(hops, [Hop::Entra, Hop::Get, Hop::Get, Hop::Wrap, Hop::Unwrap]);
        assert!(steps.iter().all(|step| matches!(step.finding, Finding::Passed(_))), "{steps:?}");
        assert_eq!(vault.calls(Operation::Wrap), usize::from(wrap_remotely));
        assert_eq!(vault.calls(Operation::Unwrap), 1);
    }
    assert_eq!(walk(&provider(&FakeVault::symmetric())).await.len(), 5);
}

#[tokio::test]
async fn walk_ends_where_the_rest_makes_no_sense() {
    let refused = failure("Forbidden", Some("ForbiddenByRbac"), "no").to_string();
    for (operation, hop) in [(Operation::Get, Hop::Get), (Operation::Unwrap, Hop::Unwrap)] {
        let vault = FakeVault::rsa();
        vault.answer(operation, 403, &refused);
        let steps = outcomes(&walk(&provider(&vault)).await);
        let (last, passed) = steps.split_last().unwrap();
        assert_eq!(*last, (hop, Some(Outcome::RoleMissing)));
        assert!(passed.iter().all(|(_, failed)| failed.is_none()), "{passed:?}");
    }
    let credential = Arc::new(FakeCredential::default());
    let diagnosis = Diagnosis::unanswered(Hop::Entra, Outcome::CredentialRefused, "login");
    *credential.fails.lock().unwrap() = Some(diagnosis);
    let kms = AzureKeyVault::over(&settings(), FakeVault::rsa(), credential, clock()).unwrap();
    let steps = outcomes(&walk(&kms).await);
    assert_eq!(steps, [(Hop::Entra, Some(Outcome::CredentialRefused))]);
}

#[tokio::test]
async fn walk_stops_at_a_version_that_may_not_be_used() {
    for (attributes, outcome) in [
        (json!({ "enabled": false }), Outcome::KeyDisabled),
        (json!({ "enabled": true, "exp": NOW - 1 }), Outcome::KeyExpired),
    ] {
        let vault = FakeVault::rsa();
        vault.change(|versions| versions[1].attributes = attributes);
        let steps = outcomes(&walk(&provider(&vault)).await);
        assert_eq!(steps, [(Hop::Entra, None), (Hop::Get, Some(outcome))]);
    }
}

#[tokio::test]
async fn walk_goes_by_the_version_in_use_while_another_one_is_staged() {
    for is_refused in [false, true] {
        let vault = FakeVault::rsa();
        vault.change(|versions| versions[1].attributes["nbf"] = (NOW + 1).into());
        vault.intercept(move |operation, request| {
            let is_newest = operation == Operation::Get && request.url().path().ends_with('/');
            let body = failure("Forbidden", Some("KeyNotYetValid"), "no").to_string();
            (is_refused && is_newest).then(|| Reply::Answer(403, vec![], body))
        });
        let steps = walk(&provider(&vault)).await;
        assert!(outcomes(&steps).iter().all(|(_, failed)| failed.is_none()), "{steps:?}");
        assert_eq!((warnings(steps), vault.calls(Operation::Unwrap)), (vec![Warning::Staged], 1));
        vault.change(|versions| versions[0].attributes["enabled"] = false.into());
        let steps = outcomes(&walk(&provider(&vault)).await);
        assert_eq!(steps.last(), Some(&(Hop::Get, Some(Outcome::KeyNotYetValid))));
    }
}

#[tokio::test]
async fn walk_warns_of_what_may_hurt_later() {
    let vault = FakeVault::rsa();
    vault.change(|versions| {
        versions[1].attributes = json!({
            "enabled": true, "exp": NOW + 29 * 24 * 60 * 60 + 5, "hsmPlatform": "0",
            "recoveryLevel": "Recoverable+Purgeable",
        });
        versions[1].key_ops = json!(["wrapKey", "unwrapKey", "sign"]);
    });
    let denied = failure("Forbidden", Some("ForbiddenByPolicy"), "no").to_string();
    vault.answer(Operation::List, 403, &denied);
    let wanted = [
        Warning::Purgeable,
        Warning::ExpiresSoon { days: 29 },
        Warning::OperationsWide(vec!["sign".to_owned()]),
        Warning::SoftwareKey,
        Warning::VersionsNotListed,
    ];
    assert_eq!(warnings(walk(&provider(&vault)).await), wanted);
}

#[tokio::test]
async fn walk_does_not_begin_without_randomness() {
    let vault = FakeVault::rsa();
    let outcome = provider(&vault).check(&|_| Err(RandomError), &mut |_| {}).await;
    assert_eq!(outcome, Err(RandomError));
    assert_eq!(vault.seen(), []);
}

#[tokio::test]
async fn walk_over_our_own_client_names_the_hop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint: Url = format!("https://{address}").parse().unwrap();
    let certificate = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert;
    let ca_certificates = Some(vec![certificate.der().clone()]);
    let ours = AzureSettings { endpoint: endpoint.clone(), ca_certificates, ..settings() };
    let kms = AzureKeyVault::new(ours, clock()).unwrap();
    let steps = outcomes(&walk(&kms).await);
    assert_eq!(steps.last(), Some(&(Hop::Tcp, Some(Outcome::NotConnected))));
    // There is no Entra here, and without a token the vault is not asked.
    let (way, credential) = (kms.way.clone().unwrap(), Arc::new(FakeCredential::default()));
    let reached = AzureSettings { endpoint, ..settings() };
    let kms = AzureKeyVault::over(&reached, way, credential, clock()).unwrap();
    let error = crate::Kms::describe(&kms).await.unwrap_err();
    let diagnosis = Diagnosis::of(&error).unwrap();
    assert_eq!((diagnosis.hop, diagnosis.outcome), (Hop::Tcp, Outcome::NotConnected));
}
