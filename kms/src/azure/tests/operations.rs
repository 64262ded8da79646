//! Wraps and unwraps, well and badly answered.

use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm};
use tokio::time::Instant;

use super::fake::{
    FakeCredential, FakeVault, HOST, NAME, Operation, Reply, clock, over, provider, settings,
    version_text,
};
use crate::azure::{AzureKeyVault, AzureSettings, AzureSetupError, Diagnosis, Hop, Outcome};
use crate::{Call, ClientTag, Kms, KmsError};

const RSA: WrapAlgorithm = WrapAlgorithm::RsaOaep256;
const DEK: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";
/// Base64url of [`DEK`].
const DEK_TEXT: &str = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY";

fn call() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + Duration::from_secs(5) }
}

fn kek(number: usize) -> KekId {
    KekId::new(&format!("https://{HOST}/keys/{NAME}/{}", version_text(number))).unwrap()
}

fn dek() -> RecipientSecret {
    RecipientSecret::init_with(|bytes| *bytes = DEK)
}

fn wrapped() -> Vec<u8> {
    FakeVault::wrap_bytes(1, &DEK)
}

async fn unwrap(kms: &AzureKeyVault) -> Result<Arc<RecipientSecret>, KmsError> {
    kms.unwrap_dek(&kek(2), RSA, &wrapped(), call()).await
}

fn seen<T: std::fmt::Debug>(outcome: Result<T, KmsError>) -> (Hop, Outcome) {
    let error = outcome.unwrap_err();
    let diagnosis = Diagnosis::of(&error).unwrap();
    (diagnosis.hop, diagnosis.outcome)
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_call() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    drop(kms.describe());
    drop(kms.unwrap_dek(&kek(2), RSA, &wrapped(), call()));
    assert_eq!(vault.seen(), []);
}

#[tokio::test]
async fn first_request_has_no_body_to_lose() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    unwrap(&kms).await.unwrap();
    let requests: Vec<_> =
        vault.seen().into_iter().map(|seen| (seen.operation, seen.token.is_some())).collect();
    let wanted = [(Operation::Get, false), (Operation::Get, true), (Operation::Unwrap, true)];
    assert_eq!(requests, wanted);
}

#[tokio::test]
async fn concurrent_first_calls_warm_up_once() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    let (one, two, three) = tokio::join!(unwrap(&kms), unwrap(&kms), unwrap(&kms));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(vault.calls(Operation::Get), 1);
    assert_eq!(vault.calls(Operation::Unwrap), 3);
}

#[tokio::test]
async fn unwrap_works_where_the_newest_version_may_not_be_read() {
    for (status, code) in [(403, "Forbidden"), (404, "KeyNotFound")] {
        let vault = FakeVault::rsa();
        let body = super::fake::failure(code, Some("KeyDisabled"), "no").to_string();
        vault.answer(Operation::Get, status, &body);
        let kms = provider(&vault);
        assert_eq!(unwrap(&kms).await.unwrap().expose_for_wrap(), &DEK);
        unwrap(&kms).await.unwrap();
        assert_eq!(vault.calls(Operation::Get), 1);
    }
}

#[tokio::test]
async fn page_of_a_proxy_warms_nothing_up() {
    for (status, body) in [(403, "<html>"), (404, "<html>"), (403, ""), (404, r#"{"error":{}}"#)] {
        let vault = FakeVault::rsa();
        vault.answer(Operation::Get, status, body);
        let kms = provider(&vault);
        for _ in 0..2 {
            assert_eq!(seen(unwrap(&kms).await).0, Hop::Get, "{status} {body}");
        }
        assert_eq!((vault.calls(Operation::Get), vault.calls(Operation::Unwrap)), (2, 0));
    }
}

#[tokio::test]
async fn failed_warm_up_is_tried_again_by_the_next_call() {
    let vault = FakeVault::rsa();
    let mut left = 1;
    vault.intercept(move |operation, _| {
        let fails = operation == Operation::Get && std::mem::take(&mut left) > 0;
        fails.then(|| Reply::Answer(503, vec![], String::new()))
    });
    let kms = provider(&vault);
    assert_eq!(seen(unwrap(&kms).await), (Hop::Get, Outcome::Outage));
    unwrap(&kms).await.unwrap();
}

#[tokio::test]
async fn foreign_ids_and_wrong_lengths_never_reach_the_vault() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    let version = version_text(2);
    for id in [
        format!("https://kv2.vault.azure.net/keys/{NAME}/{version}"),
        format!("https://{HOST}/keys/other/{version}"),
        format!("https://{HOST}/keys/{NAME}/../other/{version}"),
        format!("https://{HOST}/keys/{NAME}/{version}/../../other"),
        format!("https://{HOST}/keys/{NAME}/..%2fother"),
        format!("https://{HOST}/secrets/{NAME}/{version}"),
        version,
    ] {
        let id = KekId::new(&id).unwrap();
        let outcome = kms.unwrap_dek(&id, RSA, &wrapped(), call()).await;
        assert!(matches!(outcome, Err(KmsError::UnknownKek(Some(_)))), "{outcome:?}");
        let outcome = kms.wrap_dek(&id, &dek(), call()).await;
        assert!(matches!(outcome, Err(KmsError::UnknownKek(Some(_)))), "{outcome:?}");
    }
    for length in [0, 1, 40, 255, 257, 511, 513, 100_000] {
        let outcome = kms.unwrap_dek(&kek(2), RSA, &vec![1; length], call()).await;
        assert!(matches!(outcome, Err(KmsError::Rejected(Some(_)))), "{outcome:?}");
    }
    assert_eq!(vault.seen(), []);
}

#[tokio::test]
async fn what_a_former_vault_wrapped_is_unwrapped_by_the_same_version_and_nothing_is_wrapped_for_it()
 {
    let vault = FakeVault::rsa();
    let former_vaults = vec!["https://kv0.vault.azure.net".parse().unwrap()];
    let kms = over(&vault, &AzureSettings { former_vaults, ..settings() });
    let of = |host: &str, number| {
        let id = format!("https://{host}/keys/{NAME}/{}", version_text(number));
        KekId::new(&id).unwrap()
    };
    let former = of("kv0.vault.azure.net", 2);
    let unwrapped = kms.unwrap_dek(&former, RSA, &wrapped(), call()).await.unwrap();
    assert_eq!(unwrapped.expose_for_wrap(), &DEK);
    assert_eq!(seen(kms.wrap_dek(&former, &dek(), call()).await), (Hop::Wrap, Outcome::OtherVault));
    let missing = of("kv0.vault.azure.net", 9);
    let outcome = kms.unwrap_dek(&missing, RSA, &wrapped(), call()).await;
    assert_eq!(seen(outcome), (Hop::Unwrap, Outcome::KeyMissing), "it was not in the backup");
    let calls = vault.calls(Operation::Unwrap);
    let outcome = kms.unwrap_dek(&of("kv9.vault.azure.net", 2), RSA, &wrapped(), call()).await;
    assert_eq!(seen(outcome), (Hop::Unwrap, Outcome::OtherVault));
    assert_eq!(vault.calls(Operation::Unwrap), calls, "another vault costs no call");
}

#[tokio::test]
async fn an_id_of_a_host_not_known_yet_waits_for_the_vault_and_is_judged_then() {
    let vault = FakeVault::rsa();
    let settings = AzureSettings { endpoint: "https://10.0.0.7".parse().unwrap(), ..settings() };
    let kms = over(&vault, &settings);
    let moved = format!("https://kv.elsewhere.example/keys/{NAME}/{}", version_text(2));
    let moved = KekId::new(&moved).unwrap();
    vault.intercept(|_, _| Some(Reply::Answer(503, vec![], String::new())));
    let outcome = kms.unwrap_dek(&moved, RSA, &wrapped(), call()).await;
    assert!(matches!(outcome, Err(KmsError::Unavailable(Some(_)))), "{outcome:?}");
    vault.intercept(|_, _| None);
    let outcome = kms.unwrap_dek(&moved, RSA, &wrapped(), call()).await;
    assert!(matches!(outcome, Err(KmsError::UnknownKek(Some(_)))), "{outcome:?}");
    assert_eq!(vault.calls(Operation::Unwrap), 0);
}

#[tokio::test]
async fn lengths_of_another_size_of_key_stop_once_the_size_is_known() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    for _ in 0..2 {
        let outcome = kms.unwrap_dek(&kek(2), RSA, &[1; 512], call()).await;
        assert!(matches!(outcome, Err(KmsError::Rejected(_))), "{outcome:?}");
    }
    assert_eq!((vault.calls(Operation::Get), vault.calls(Operation::Unwrap)), (1, 0));
}

#[tokio::test]
async fn version_that_does_not_exist_is_unknown_and_not_rejected() {
    let kms = provider(&FakeVault::rsa());
    let outcome = kms.unwrap_dek(&kek(9), RSA, &wrapped(), call()).await;
    assert!(matches!(outcome, Err(KmsError::UnknownKek(_))), "{outcome:?}");
    assert_eq!(seen(outcome), (Hop::Unwrap, Outcome::KeyMissing));
    assert_eq!(seen(kms.wrap_dek(&kek(9), &dek(), call()).await), (Hop::Get, Outcome::KeyMissing));
}

#[tokio::test]
async fn short_secret_under_a_public_key_is_the_ciphertexts_fault() {
    let kms = provider(&FakeVault::rsa());
    for length in [0, 16, 31, 33, 64] {
        let wrapped = FakeVault::wrap_bytes(1, &vec![7; length]);
        let outcome = kms.unwrap_dek(&kek(2), RSA, &wrapped, call()).await;
        assert!(matches!(outcome, Err(KmsError::Rejected(_))), "{length}: {outcome:?}");
    }
}

#[tokio::test]
async fn short_secret_under_a_symmetric_key_is_key_vaults_fault() {
    let vault = FakeVault::symmetric();
    let id = kek(2);
    let body = format!(r#"{{"kid":"{id}","value":"AAAA"}}"#);
    vault.answer(Operation::Unwrap, 200, &body);
    let outcome = provider(&vault).unwrap_dek(&id, WrapAlgorithm::A256Kw, &[1; 40], call()).await;
    assert_eq!(seen(outcome), (Hop::Unwrap, Outcome::AnswerWrong));
}

#[tokio::test]
async fn answers_that_make_no_sense_are_named_so() {
    let value = DEK_TEXT;
    let (right, older) = (kek(2), kek(1));
    let foreign = right.as_str().replace("kv1", "kv2");
    let renamed = right.as_str().replace(NAME, "other");
    for body in [
        String::new(),
        "null".to_owned(),
        "<html><body>Bad gateway</body></html>".to_owned(),
        format!(r#"{{"value":"{value}"}}"#),
        format!(r#"{{"kid":"{right}"}}"#),
        format!(r#"{{"kid":"{right}","value":"{value}"#),
        format!(r#"{{"kid":"{older}","value":"{value}"}}"#),
        format!(r#"{{"kid":"{foreign}","value":"{value}"}}"#),
        format!(r#"{{"kid":"{renamed}","value":"{value}"}}"#),
        format!(r#"{{"kid":"{right}","value":"{value}=="}}"#),
    ] {
        let vault = FakeVault::rsa();
        vault.answer(Operation::Unwrap, 200, &body);
        let outcome = unwrap(&provider(&vault)).await;
        assert!(matches!(outcome, Err(KmsError::Misbehaved(_))), "{body}: {outcome:?}");
        assert_eq!(seen(outcome), (Hop::Unwrap, Outcome::AnswerWrong));
        vault.answer(Operation::Wrap, 200, &body);
        let outcome = provider(&vault).wrap_dek(&right, &dek(), call()).await;
        assert!(matches!(outcome, Err(KmsError::Misbehaved(_))), "{body}: {outcome:?}");
        vault.answer(Operation::Get, 200, &body);
        let outcome = provider(&vault).describe().await;
        assert!(matches!(outcome, Err(KmsError::Misbehaved(_))), "{body}: {outcome:?}");
    }
    let vault = FakeVault::rsa();
    vault.answer(Operation::Unwrap, 200, &format!(r#"{{"value":"{value}","kid":"{right}"}}"#));
    assert_eq!(unwrap(&provider(&vault)).await.unwrap().expose_for_wrap(), &DEK);
}

#[tokio::test]
async fn wrapped_dek_of_another_length_is_not_believed() {
    let vault = FakeVault::rsa();
    vault.answer(Operation::Wrap, 200, &format!(r#"{{"kid":"{}","value":"AAAA"}}"#, kek(2)));
    let outcome = provider(&vault).wrap_dek(&kek(2), &dek(), call()).await;
    assert_eq!(seen(outcome), (Hop::Wrap, Outcome::AnswerWrong));
}

#[tokio::test(start_paused = true)]
async fn answer_that_never_comes_is_given_up_at_the_deadline() {
    for (operation, hop) in [(Operation::Get, Hop::Unwrap), (Operation::Unwrap, Hop::Unwrap)] {
        let vault = FakeVault::rsa();
        vault.intercept(move |asked, _| (asked == operation).then_some(Reply::Hang));
        let begun = Instant::now();
        let outcome = unwrap(&provider(&vault)).await;
        assert!(matches!(outcome, Err(KmsError::TimedOut(_))), "{outcome:?}");
        assert_eq!(seen(outcome), (hop, Outcome::TimedOut));
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}

#[tokio::test]
async fn token_that_is_not_accepted_is_replaced_once() {
    let (vault, credential) = (FakeVault::rsa(), Arc::new(FakeCredential::default()));
    let kms = AzureKeyVault::over(&settings(), vault.clone(), credential.clone(), clock()).unwrap();
    unwrap(&kms).await.unwrap();
    vault.accept_only("token-1");
    unwrap(&kms).await.unwrap();
    assert_eq!(credential.given_up(), 1);
    vault.accept_only("token-9");
    let outcome = unwrap(&kms).await;
    assert!(matches!(outcome, Err(KmsError::Denied(_))), "{outcome:?}");
    assert_eq!(seen(outcome), (Hop::Unwrap, Outcome::CredentialRefused));
    assert_eq!(credential.given_up(), 2);
}

#[tokio::test]
async fn token_that_the_vault_cannot_check_now_is_kept() {
    for message in super::classified::UNVERIFIED {
        let (vault, credential) = (FakeVault::rsa(), Arc::new(FakeCredential::default()));
        let kms =
            AzureKeyVault::over(&settings(), vault.clone(), credential.clone(), clock()).unwrap();
        unwrap(&kms).await.unwrap();
        let body = super::fake::failure("Unauthorized", None, message).to_string();
        vault.answer(Operation::Unwrap, 401, &body);
        let outcome = unwrap(&kms).await;
        assert!(matches!(outcome, Err(KmsError::Unavailable(_))), "{outcome:?}");
        assert_eq!(seen(outcome), (Hop::Unwrap, Outcome::TokenUnverified));
        vault.intercept(|_, _| None);
        unwrap(&kms).await.unwrap();
        assert_eq!(credential.given_up(), 0, "{message}");
    }
}

#[tokio::test]
async fn body_survives_the_replacement_of_a_token() {
    let (vault, credential) = (FakeVault::rsa(), Arc::new(FakeCredential::default()));
    let kms = AzureKeyVault::over(&settings(), vault.clone(), credential, clock()).unwrap();
    unwrap(&kms).await.unwrap();
    vault.accept_only("token-1");
    unwrap(&kms).await.unwrap();
    let unwraps = vault.seen().into_iter().filter(|seen| seen.operation == Operation::Unwrap);
    assert!(unwraps.into_iter().all(|seen| seen.body_bytes > 300));
}

#[tokio::test]
async fn challenge_for_another_audience_gets_no_token() {
    let vault = FakeVault::rsa();
    *vault.challenge.lock().unwrap() = "https://evil.example".to_owned();
    let outcome = unwrap(&provider(&vault)).await;
    assert_eq!(seen(outcome), (Hop::Get, Outcome::WrongTenant));
    assert!(vault.seen().iter().all(|seen| seen.token.is_none()));
}

#[tokio::test]
async fn challenge_for_another_audience_is_forgotten() {
    for (endpoint, other) in [
        (format!("https://{HOST}"), "https://azure.net"),
        ("https://10.0.0.4:8443".to_owned(), "https://gateway.example"),
    ] {
        let vault = FakeVault::rsa();
        let endpoint = endpoint.parse().unwrap();
        let kms = over(&vault, &AzureSettings { endpoint, ..settings() });
        unwrap(&kms).await.unwrap();
        vault.accept_only("another");
        let ours = std::mem::replace(&mut *vault.challenge.lock().unwrap(), other.to_owned());
        assert_eq!(seen(unwrap(&kms).await), (Hop::Get, Outcome::WrongTenant));
        *vault.challenge.lock().unwrap() = ours;
        vault.accept_only("token-0");
        unwrap(&kms).await.unwrap();
    }
}

#[tokio::test]
async fn endpoint_of_another_name_reaches_the_same_vault() {
    let vault = FakeVault::rsa();
    *vault.page.lock().unwrap() = 1;
    let endpoint = "https://10.0.0.4:8443".parse().unwrap();
    let kms = over(&vault, &AzureSettings { endpoint, ..settings() });
    let description = kms.describe().await.unwrap();
    assert_eq!(description.current().id, kek(2));
    assert_eq!(description.versions().len(), 2);
    assert_eq!(unwrap(&kms).await.unwrap().expose_for_wrap(), &DEK);
    let other = KekId::new(&kek(2).as_str().replace(HOST, "10.0.0.4:8443")).unwrap();
    let outcome = kms.unwrap_dek(&other, RSA, &wrapped(), call()).await;
    assert!(matches!(outcome, Err(KmsError::UnknownKek(_))), "{outcome:?}");
}

#[test]
fn settings_that_fit_no_vault_are_refused() {
    let refused = |settings: AzureSettings| {
        let credential = Arc::new(FakeCredential::default());
        AzureKeyVault::over(&settings, FakeVault::rsa(), credential, clock()).unwrap_err()
    };
    let key_name = "a/../b".to_owned();
    let error = refused(AzureSettings { key_name, ..settings() });
    assert!(matches!(error, AzureSetupError::UnfitKeyName), "{error:?}");
    let endpoint = "http://kv1.vault.azure.net".parse().unwrap();
    let error = refused(AzureSettings { endpoint, ..settings() });
    assert!(matches!(error, AzureSetupError::UnfitEndpoint), "{error:?}");
    let former_vaults = vec!["https://kv0.vault.azure.net/keys".parse().unwrap()];
    let error = refused(AzureSettings { former_vaults, ..settings() });
    assert!(matches!(error, AzureSetupError::UnfitFormerVault), "{error:?}");
}

#[test]
fn a_former_vault_makes_other_settings() {
    let of = |vaults: &[&str]| {
        let former_vaults = vaults.iter().map(|vault| vault.parse().unwrap()).collect();
        AzureSettings { former_vaults, ..settings() }.digest()
    };
    let (one, other) = ("https://kv0.vault.azure.net", "https://kv9.vault.azure.net");
    let digests = [of(&[]), of(&[one]), of(&[other]), of(&[one, other])];
    assert_eq!(std::collections::BTreeSet::from(digests).len(), digests.len());
}

#[tokio::test]
async fn nothing_that_is_printed_shows_a_dek_or_a_token() {
    let vault = FakeVault::rsa();
    let kms = provider(&vault);
    let mut printed = vec![format!("{kms:?}"), format!("{:?}", unwrap(&kms).await)];
    for (status, body) in [
        (200, format!(r#"{{"kid":"x","value":"{DEK_TEXT}"}}"#)),
        (200, format!(r#"{{"kid":"{}","value":"{DEK_TEXT}"#, kek(2))),
        (403, format!(r#"{{"error":{{"code":"{DEK_TEXT} x","message":"{DEK_TEXT}"}}}}"#)),
        (400, DEK_TEXT.to_owned()),
    ] {
        vault.answer(Operation::Unwrap, status, &body);
        let error = unwrap(&kms).await.unwrap_err();
        let diagnosis = Diagnosis::of(&error).unwrap();
        printed.extend([format!("{error:?}"), error.to_string(), diagnosis.to_string()]);
    }
    for text in printed {
        for secret in [DEK_TEXT, "0123456789abcdefghijk", "48, 49, 50", "token-0"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
