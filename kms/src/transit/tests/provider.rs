//! The provider: the contract against an engine in a few lines, and what it makes of faults.

use std::sync::LazyLock;
use std::time::Duration;

use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm};
use tokio::time::Instant;

use super::fake::FakeEngine;
use super::*;
use crate::{Call, ClientTag, KekState, Kms};

/// One server per test would do, but its engine has to outlive the provider.
async fn provider(latest: u32) -> (Arc<FakeEngine>, Arc<TransitKms>, TestServer) {
    let (engine, server) = FakeEngine::start(latest).await;
    let kms = TransitKms::new(client_of(&server), key(), None).unwrap();
    (engine, Arc::new(kms), server)
}

async fn open() -> Arc<dyn Kms> {
    provider(3).await.1
}

crate::kms_contract!(open);

fn call() -> Call {
    Call { client: ClientTag::new(1), deadline: Instant::now() + Duration::from_secs(60) }
}

fn dek() -> RecipientSecret {
    RecipientSecret::init_with(|bytes| bytes.fill(7))
}

fn id(version: u32) -> KekId {
    KekId::new(&format!("transit/a/b/unseal/v{version}")).unwrap()
}

fn denied() -> (u16, String) {
    (403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#.to_owned())
}

async fn unwrap(kms: &TransitKms, version: u32, wrapped: &[u8]) -> Result<(), KmsError> {
    let found = kms.unwrap_dek(&id(version), WrapAlgorithm::Transit, wrapped, call()).await;
    found.map(|found| assert_eq!(found.expose_for_wrap(), &[7; 32]))
}

#[tokio::test]
async fn what_is_wrapped_is_the_dek_alone_under_the_servers_own_text() {
    let (engine, kms, server) = provider(2).await;
    let wrapped = kms.wrap_dek(&id(2), &dek(), call()).await.unwrap();
    assert!(wrapped.starts_with(b"vault:v2:"));
    let sent = server.received().pop().unwrap().text;
    assert!(sent.ends_with(
        r#"{"plaintext":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=","key_version":2}"#
    ));
    unwrap(&kms, 2, engine.encrypt(2, vec![7; 32]).as_bytes()).await.unwrap();
}

#[tokio::test]
async fn versions_are_counted_whether_the_engine_lists_them_or_not() {
    let (engine, kms, _server) = provider(3).await;
    engine.require(3);
    let keks = kms.describe().await.unwrap();
    let states: Vec<_> = keks.versions().iter().map(|one| (one.id.clone(), one.state)).collect();
    let wanted =
        [(id(1), KekState::Disabled), (id(2), KekState::Disabled), (id(3), KekState::Enabled)];
    assert_eq!(states, wanted);
    assert!(keks.is_complete() && keks.current().id == id(3) && keks.current().created.is_some());
    engine.rotate();
    assert_eq!(kms.describe().await.unwrap().current().id, id(4));
}

#[tokio::test]
async fn without_the_right_to_read_the_key_a_test_encryption_tells_its_version() {
    let (engine, kms, _server) = provider(3).await;
    let read = kms.describe().await.unwrap();
    engine.fails(|path| path.contains("/keys/").then(denied));
    let tried = kms.describe().await.unwrap();
    assert_eq!(tried.current().id, read.current().id);
    assert_eq!(tried.versions().len(), read.versions().len());
    assert!(tried.is_complete());
    engine.fails(|_| Some(denied()));
    assert!(matches!(kms.describe().await, Err(KmsError::Denied(_))));
}

#[tokio::test]
async fn versions_beyond_count_are_not_listed() {
    for (latest, listed, is_complete) in [(9_999, 9_999, true), (10_000, 1, false)] {
        let (engine, server) = FakeEngine::start(1).await;
        engine.fails(move |_| Some((200, format!(r#"{{"data":{{"latest_version":{latest}}}}}"#))));
        let kms = TransitKms::new(client_of(&server), key(), None).unwrap();
        let keks = kms.describe().await.unwrap();
        assert_eq!((keks.versions().len(), keks.is_complete()), (listed, is_complete));
        assert_eq!(keks.current().id, id(latest));
    }
}

#[tokio::test]
async fn a_version_newer_than_the_last_description_still_unwraps() {
    let (engine, kms, _server) = provider(1).await;
    kms.describe().await.unwrap();
    engine.rotate();
    unwrap(&kms, 2, engine.encrypt(2, vec![7; 32]).as_bytes()).await.unwrap();
    let unknown = unwrap(&kms, 3, engine.encrypt(3, vec![7; 32]).as_bytes()).await;
    assert!(matches!(unknown, Err(KmsError::UnknownKek(_))), "{unknown:?}");
}

#[tokio::test]
async fn garbage_costs_no_call() {
    let (engine, kms, server) = provider(2).await;
    let right = engine.encrypt(2, vec![7; 32]);
    for garbage in [
        "",
        "vault:v2:",
        "vault:v2:%%%%",
        &right.replace("v2", "v1"),
        &right.replace("v2", "v02"),
        &format!("{right}\n"),
        &right.replace("vault", "other"),
    ] {
        let refused = unwrap(&kms, 2, garbage.as_bytes()).await;
        assert!(matches!(refused, Err(KmsError::Rejected(_))), "{garbage}: {refused:?}");
    }
    let wrong = kms.unwrap_dek(&id(2), WrapAlgorithm::A256Kw, right.as_bytes(), call()).await;
    assert!(matches!(wrong, Err(KmsError::Rejected(_))), "{wrong:?}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn what_opens_and_is_no_dek_is_rejected() {
    let (engine, kms, _server) = provider(1).await;
    for length in [0, 1, 31, 33, 64] {
        let refused = unwrap(&kms, 1, engine.encrypt(1, vec![7; length]).as_bytes()).await;
        assert!(matches!(refused, Err(KmsError::Rejected(_))), "{length}: {refused:?}");
    }
}

#[tokio::test]
async fn an_engine_that_wraps_under_another_version_or_makes_no_sense_is_not_believed() {
    let (engine, kms, _server) = provider(2).await;
    let other = engine.encrypt(1, vec![7; 32]);
    for text in [other.as_str(), "vault:v2:", "", "a:b:c:d"] {
        let body = serde_json::json!({ "data": { "ciphertext": text } }).to_string();
        engine.fails(move |path| path.contains("/encrypt/").then(|| (200, body.clone())));
        let refused = kms.wrap_dek(&id(2), &dek(), call()).await;
        assert!(matches!(refused, Err(KmsError::Misbehaved(_))), "{text}: {refused:?}");
    }
    engine.fails(|_| Some((200, r#"{"data":{"plaintext":"%"}}"#.to_owned())));
    let right = engine.encrypt(2, vec![7; 32]);
    let refused = unwrap(&kms, 2, right.as_bytes()).await;
    assert!(matches!(refused, Err(KmsError::Misbehaved(_))), "{refused:?}");
}

#[tokio::test]
async fn a_silent_engine_costs_no_more_than_the_callers_time() {
    let server = TestServer::plain(|_| Reply::Hang).await;
    let kms = TransitKms::new(client_of(&server), key(), None).unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    let late = kms.wrap_dek(&id(1), &dek(), Call { deadline, ..call() }).await;
    assert!(matches!(late, Err(KmsError::TimedOut(_))), "{late:?}");
    assert_eq!(outcome(late), (TransitHop::Encrypt, TransitOutcome::TimedOut));
}

#[tokio::test]
async fn ids_stay_when_the_server_moves_and_may_be_kept_when_the_key_does() {
    static OLD: LazyLock<KekId> = LazyLock::new(|| KekId::new("transit/old/key/v1").unwrap());
    let (engine, server) = FakeEngine::start(1).await;
    let moved = TransitKms::new(client_of(&server), key(), Some("transit/old/key")).unwrap();
    let wrapped = engine.encrypt(1, vec![7; 32]);
    let algorithm = WrapAlgorithm::Transit;
    moved.unwrap_dek(&OLD, algorithm, wrapped.as_bytes(), call()).await.unwrap();
    let elsewhere = FakeEngine::start(1).await.1;
    let same = TransitKms::new(client_of(&elsewhere), key(), None).unwrap();
    assert_eq!(same.key_id_prefix(), "transit/a/b/unseal");
    let bad = TransitKms::new(client_of(&server), key(), Some("a b"));
    assert_eq!(bad.map(drop), Err(InvalidKeyIdPrefix));
}

#[tokio::test]
async fn the_walk_names_the_hop_that_fails_and_what_mends_it() {
    let (engine, kms, _server) = provider(2).await;
    engine.fails(|path| match path {
        "/v1/auth/token/lookup-self" => {
            Some((200, r#"{"data":{"ttl":90,"renewable":true}}"#.to_owned()))
        }
        _ => None,
    });
    let steps = walked(&kms).await;
    assert!(!steps.iter().any(|one| matches!(one.finding, TransitFinding::Failed(_))), "{steps:?}");
    let warnings: Vec<_> = steps
        .iter()
        .filter_map(|one| match one.finding {
            TransitFinding::Warned(warning) => Some(warning),
            _ => None,
        })
        .collect();
    assert_eq!(warnings, [TransitWarning::Clear, TransitWarning::TokenEnds { seconds: 90 }]);

    engine.fails(|path| {
        path.contains("/decrypt/")
            .then(denied)
            .or_else(|| path.contains("lookup").then(|| (200, r#"{"data":{"ttl":0}}"#.to_owned())))
    });
    let last = walked(&kms).await.pop().unwrap();
    let TransitFinding::Failed(diagnosis) = last.finding else { panic!("{last:?}") };
    assert_eq!((last.hop, diagnosis.outcome), (TransitHop::Decrypt, TransitOutcome::PolicyMissing));
    assert!(diagnosis.remedy().contains("MOUNT/decrypt/KEY"));
}
