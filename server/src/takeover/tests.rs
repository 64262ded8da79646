//! The engine on a key that takes over the key of a made-up server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selkie_access::operation;
use selkie_config::VersionRule;
use selkie_crypto::{Ciphertext, KeyVersion, Plaintext, SealName};
use selkie_kms::transit::{TransitDiagnosis, TransitHop, TransitOutcome};
use selkie_kms::{KmsError, KmsFuture};
use tokio::time::sleep;

use super::old_key::OldKeySetup;
use super::*;
use crate::clock::Clock;
use crate::deployment::Deployment;
use crate::seal::{SealError, SealFault, Seals};
use crate::transit::tests::{TestSeal, config_of, engine, permit};
use crate::transit::{DecryptionItem, EncryptionItem, Transit, TransitError};

const NONCE: [u8; 12] = [0x8a; 12];
const TAG: [u8; 16] = [0xfe; 16];

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn unix_seconds(&self) -> u64 {
        1_764_000_000
    }
}

/// Opens what [`foreign`] makes, unless it is told to fail.
#[derive(Debug, Default)]
pub(crate) struct FakeServer {
    pub(crate) calls: AtomicUsize,
    pub(crate) fault: Mutex<Option<KmsError>>,
    pub(crate) newest: Mutex<Option<u32>>,
    reads: AtomicUsize,
    pub(crate) hangs: Mutex<bool>,
    read_fault: Mutex<Option<KmsError>>,
    /// Contexts and associated data that it was sent.
    bound: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl OldServer for FakeServer {
    fn decrypt<'a>(
        &'a self,
        ciphertext: &'a str,
        context: &'a [u8],
        associated_data: &'a [u8],
    ) -> KmsFuture<'a, Plaintext> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.bound.lock().unwrap().push((context.to_vec(), associated_data.to_vec()));
            if *self.hangs.lock().unwrap() {
                std::future::pending::<()>().await;
            }
            if let Some(fault) = self.fault.lock().unwrap().clone() {
                return Err(fault);
            }
            let payload = Ciphertext::parse(ciphertext).unwrap().into_envelope_bytes().unwrap();
            let plaintext = payload.strip_prefix(&NONCE).and_then(|rest| rest.strip_suffix(&TAG));
            plaintext.map(|text| Plaintext::new(text.to_vec())).ok_or(KmsError::Rejected(None))
        })
    }

    fn newest_version(&self) -> KmsFuture<'_, KeyVersion> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = self.read_fault.lock().unwrap().clone() {
            return Box::pin(std::future::ready(Err(fault)));
        }
        let newest = self.newest.lock().unwrap().and_then(KeyVersion::new);
        Box::pin(async move { newest.ok_or(KmsError::Denied(None)) })
    }
}

/// A ciphertext of the old server.
pub(crate) fn foreign(version: u32, text: &str) -> String {
    let payload = [&NONCE[..], text.as_bytes(), &TAG].concat();
    Ciphertext::print(KeyVersion::new(version).unwrap(), &payload)
}

/// What our key `transit/unseal` takes over.
pub(crate) fn old_key(server: &Arc<FakeServer>, last_version: Option<u32>) -> Arc<OldKey> {
    Arc::new(OldKey::new(OldKeySetup {
        mount: "transit".parse().unwrap(),
        name: "unseal".parse().unwrap(),
        label: SealName::new("takeover.old").unwrap(),
        address: "https://old:8200/transit/unseal".into(),
        settings: [0; 32],
        declared: last_version.and_then(KeyVersion::new),
        server: Arc::clone(server) as _,
    }))
}

/// Our key under one master key with two versions, so that it is at version 2, which is also the
/// oldest that decrypts.
async fn deployment(takeovers: Takeovers) -> (Deployment, TestSeal) {
    let seal = TestSeal::new("a", &[1, 2]);
    let rule = VersionRule::Counted { generation: 0 };
    let mut config = config_of(&[("unseal", rule)], &["a"]);
    config.keys[0].min_decryption_version = KeyVersion::new(2).unwrap();
    let seals = Seals::new(vec![seal.connected().await]);
    let mut deployment = Deployment::assemble(config, seals).unwrap();
    deployment.takeovers = takeovers;
    (deployment, seal)
}

async fn engine_on(takeovers: Takeovers) -> (Transit, TestSeal) {
    let (deployment, seal) = deployment(takeovers).await;
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    let deployment = Arc::new(deployment);
    engine.current.store(Arc::clone(&deployment));
    (Transit { deployment, ..engine }, seal)
}

async fn taking_over(server: &Arc<FakeServer>, last_version: Option<u32>) -> (Transit, TestSeal) {
    engine_on(Takeovers::new(vec![old_key(server, last_version)])).await
}

async fn decrypt(engine: &Transit, ciphertext: &str) -> Result<Vec<u8>, TransitError> {
    let decryption = engine.decryption(&permit(operation::Decrypt, "unseal")).await?;
    let (associated_data, context) = (b"aad".to_vec(), b"context".to_vec());
    let item = DecryptionItem { ciphertext, associated_data, context };
    Ok(decryption.decrypt(&item).await?.expose_for_reply().to_vec())
}

async fn encrypt(engine: &Transit, text: &str) -> String {
    let encryption = engine.encryption(&permit(operation::Encrypt, "unseal")).await.unwrap();
    let item = EncryptionItem {
        plaintext: Plaintext::new(text.as_bytes().to_vec()),
        associated_data: b"aad".to_vec(),
        context: Vec::new(),
        version: None,
    };
    encryption.encrypt(item).await.unwrap().ciphertext
}

#[tokio::test]
async fn a_foreign_ciphertext_is_sent_as_it_is_and_the_trail_names_who_opened_it() {
    let server = Arc::<FakeServer>::default();
    let (engine, seal) = taking_over(&server, None).await;
    let unwraps = seal.kms.on_unwrap().calls();
    assert_eq!(decrypt(&engine, &foreign(3, "root key")).await.unwrap(), b"root key");
    assert_eq!(*server.bound.lock().unwrap(), [(b"context".to_vec(), b"aad".to_vec())]);
    assert_eq!(seal.kms.on_unwrap().calls(), unwraps, "no master key of ours is asked");
    let used = engine.trail.as_ref().unwrap().key_use().unwrap();
    assert_eq!((used.decrypted, used.foreign), (1, 1));
    assert_eq!(used.newest_foreign, KeyVersion::new(3));
    assert!(used.seals.iter().eq([&SealName::new("takeover.old").unwrap()]));
    assert_eq!(used.oldest_age, None, "nothing tells when it was made");
}

#[tokio::test]
async fn our_own_envelopes_never_go_to_the_old_server() {
    let server = Arc::<FakeServer>::default();
    let (engine, _seal) = taking_over(&server, None).await;
    let ours = encrypt(&engine, "root key").await;
    assert_eq!(decrypt(&engine, &ours).await.unwrap(), b"root key");
    let forged = ours.replace("vault:v2:", "vault:v1:");
    assert!(matches!(decrypt(&engine, &forged).await, Err(TransitError::VersionTooOld)));
    let cut = &ours[..ours.len() - 8];
    assert!(matches!(decrypt(&engine, cut).await, Err(TransitError::Refused(_))));
    assert_eq!(server.calls.load(Ordering::Relaxed), 0);
    let used = engine.trail.as_ref().unwrap().key_use().unwrap();
    assert_eq!((used.foreign, used.newest_own), (0, KeyVersion::new(2)));
}

/// Invariant I4: what cannot be a ciphertext of the old key is answered as without a takeover.
#[tokio::test]
async fn what_cannot_be_foreign_costs_no_call_and_gets_the_usual_answer() {
    let server = Arc::<FakeServer>::default();
    *server.newest.lock().unwrap() = Some(2);
    let (engine, _seal) = taking_over(&server, None).await;
    engine.deployment.takeovers.iter().next().unwrap().read_newest(&FixedClock).await;
    let (plain, _seal) = engine_on(Takeovers::default()).await;
    for text in [
        Ciphertext::print(KeyVersion::FIRST, &[0x8a; 27]),
        foreign(3, "x"),
        "vault:v0:ioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKig==".into(),
        "vault:v1:!!!!".into(),
        "vault:v1".into(),
        "x".into(),
    ] {
        let is = decrypt(&engine, &text).await.unwrap_err();
        let without = decrypt(&plain, &text).await.unwrap_err();
        assert_eq!(is.to_string(), without.to_string(), "{text}");
    }
    assert_eq!(server.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_foreign_version_may_be_above_ours_and_below_the_oldest_that_decrypts() {
    let server = Arc::<FakeServer>::default();
    let (engine, _seal) = taking_over(&server, None).await;
    let key = engine.deployment.declared_key(&"transit".parse().unwrap(), "unseal").unwrap();
    assert_eq!((key.min_decryption.get(), key.latest.get()), (2, 2));
    for version in [1, 2, 3, 70_000] {
        assert_eq!(decrypt(&engine, &foreign(version, "x")).await.unwrap(), b"x");
    }
}

#[tokio::test]
async fn a_refusal_is_the_ciphertexts_fault_and_trouble_is_the_servers() {
    let server = Arc::<FakeServer>::default();
    let (engine, _seal) = taking_over(&server, None).await;
    let mut forged = foreign(1, "x");
    forged.replace_range(forged.len() - 6..forged.len() - 4, "AA");
    let refused = decrypt(&engine, &forged).await;
    assert!(matches!(refused, Err(TransitError::OldServerRejected(_))), "{refused:?}");
    *server.fault.lock().unwrap() = Some(KmsError::Unavailable(None));
    let Err(TransitError::Seal(SealError { seal, source })) =
        decrypt(&engine, &foreign(1, "x")).await
    else {
        panic!("it opened");
    };
    assert_eq!(seal.as_str(), "takeover.old");
    assert!(matches!(source, SealFault::Kms(KmsError::Unavailable(_))));
    let old = engine.deployment.takeovers.iter().next().unwrap();
    assert!(old.health().fault.is_some());
    *server.fault.lock().unwrap() = None;
    decrypt(&engine, &foreign(1, "x")).await.unwrap();
    assert!(old.health().fault.is_none() && old.health().answered > 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_server_that_hangs_is_given_up_within_a_clients_patience() {
    let server = Arc::<FakeServer>::default();
    let (engine, _seal) = taking_over(&server, None).await;
    *server.hangs.lock().unwrap() = true;
    let began = tokio::time::Instant::now();
    let Err(TransitError::Seal(error)) = decrypt(&engine, &foreign(1, "x")).await else {
        panic!("it opened");
    };
    assert!(matches!(error.source, SealFault::Kms(KmsError::TimedOut(_))));
    assert!(began.elapsed() <= Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn the_newest_old_version_is_read_again_and_again_and_bounds_what_is_sent() {
    let server = Arc::<FakeServer>::default();
    *server.newest.lock().unwrap() = Some(2);
    let (engine, _seal) = taking_over(&server, None).await;
    let old = Arc::clone(engine.deployment.takeovers.iter().next().unwrap());
    let poll =
        tokio::spawn(Arc::clone(&old).poll(Arc::clone(&engine.current), Arc::new(FixedClock)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(old.limit(), KeyVersion::new(2));
    assert!(decrypt(&engine, &foreign(70_000, "x")).await.is_err());
    assert_eq!(server.calls.load(Ordering::Relaxed), 0);
    // Whoever sends garbage has it asked again once in ten seconds, and no more.
    *server.newest.lock().unwrap() = Some(3);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(decrypt(&engine, &foreign(3, "x")).await.unwrap(), b"x", "rotated meanwhile");
    sleep(Duration::from_secs(10)).await;
    let reads = server.reads.load(Ordering::Relaxed);
    for _ in 0..100 {
        assert!(decrypt(&engine, &foreign(4, "x")).await.is_err());
    }
    assert_eq!(server.reads.load(Ordering::Relaxed), reads + 1);
    *server.newest.lock().unwrap() = Some(4);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(decrypt(&engine, &foreign(4, "x")).await.unwrap(), b"x");
    // It ends with the deployment that has it.
    let (without, _seal) = deployment(Takeovers::default()).await;
    engine.current.store(Arc::new(without));
    sleep(Duration::from_secs(120)).await;
    assert!(poll.is_finished());
}

/// Invariant I7.
#[tokio::test]
async fn our_version_must_be_above_every_old_one_that_is_known_of() {
    let server = Arc::<FakeServer>::default();
    for (last_version, conflict) in
        [(None, None), (Some(1), None), (Some(2), Some(2)), (Some(9), Some(9))]
    {
        let (engine, _seal) = taking_over(&server, last_version).await;
        let old = engine.deployment.takeovers.iter().next().unwrap();
        let found = old.conflict(&engine.deployment).map(KeyVersion::get);
        assert_eq!(found, conflict, "{last_version:?}");
    }
    let (engine, _seal) = taking_over(&server, None).await;
    let old = engine.deployment.takeovers.iter().next().unwrap();
    decrypt(&engine, &foreign(2, "x")).await.unwrap();
    assert_eq!(old.conflict(&engine.deployment), KeyVersion::new(2), "it was seen");
    let newest = old.newest().unwrap();
    assert_eq!((newest.version.get(), newest.source), (2, VersionSource::Seen));
}

#[tokio::test]
async fn other_keys_take_nothing_over() {
    let server = Arc::<FakeServer>::default();
    let takeovers = Takeovers::new(vec![old_key(&server, None)]);
    let find = |mount: &str, name: &str| {
        takeovers.find(&mount.parse().unwrap(), &name.parse().unwrap()).is_some()
    };
    assert!(find("transit", "unseal") && !find("transit", "other") && !find("a", "unseal"));
    assert!(takeovers.names("transit/unseal"));
    for other in
        ["transit/unseals", "transit/other", "transit", "transitunseal", "a/transit/unseal"]
    {
        assert!(!takeovers.names(other), "{other}");
    }
}

fn diagnosed(hop: TransitHop, outcome: TransitOutcome, status: u16) -> KmsError {
    let (host, status) = ("old".to_owned(), Some(status));
    TransitDiagnosis { hop, outcome, host, status, tls: None }.into()
}

#[tokio::test]
async fn what_is_wrong_with_a_version_is_no_trouble_of_the_old_servers() {
    let server = Arc::<FakeServer>::default();
    let (engine, _seal) = taking_over(&server, None).await;
    let old = engine.deployment.takeovers.iter().next().unwrap();
    for (outcome, told) in [
        (TransitOutcome::VersionDisallowed, TransitError::VersionTooOld),
        (TransitOutcome::VersionMissing, TransitError::VersionTooNew),
        (TransitOutcome::KeyUnsuitable, TransitError::ContextMissing),
    ] {
        *server.fault.lock().unwrap() = Some(diagnosed(TransitHop::Decrypt, outcome, 400));
        let error = decrypt(&engine, &foreign(3, "x")).await.unwrap_err();
        assert_eq!(error.to_string(), told.to_string());
        assert!(old.health().fault.is_none(), "{outcome:?}");
    }
    assert_eq!(engine.trail.as_ref().unwrap().key_use().unwrap().newest_foreign, None);
}

#[tokio::test]
async fn what_the_old_server_is_in_no_state_to_open_is_still_wanted() {
    let server = Arc::<FakeServer>::default();
    let (engine, _seal) = taking_over(&server, None).await;
    *server.fault.lock().unwrap() = Some(KmsError::Unavailable(None));
    decrypt(&engine, &foreign(3, "x")).await.unwrap_err();
    let used = engine.trail.as_ref().unwrap().key_use().unwrap();
    assert_eq!((used.foreign, used.newest_foreign), (0, KeyVersion::new(3)));
}

#[tokio::test]
async fn a_poll_that_fails_shows_and_a_missing_right_to_read_does_not() {
    let server = Arc::<FakeServer>::default();
    let old = old_key(&server, None);
    old.read_newest(&FixedClock).await;
    assert!(old.health().fault.is_some(), "it fails with Denied");
    *server.newest.lock().unwrap() = Some(1);
    old.read_newest(&FixedClock).await;
    assert!(old.health().fault.is_none());
    let denied = |hop| diagnosed(hop, TransitOutcome::PolicyMissing, 403);
    *server.read_fault.lock().unwrap() = Some(denied(TransitHop::ReadKey));
    old.read_newest(&FixedClock).await;
    assert!(old.health().fault.is_none() && old.health().read_fault.is_some());
}

#[tokio::test(start_paused = true)]
async fn to_wait_for_a_slot_of_ours_is_no_fault_of_the_old_servers() {
    let server = Arc::<FakeServer>::default();
    *server.hangs.lock().unwrap() = true;
    let old = old_key(&server, None);
    let ask = |old: Arc<OldKey>, seconds| async move {
        let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let (ciphertext, version) = (&*foreign(1, "x"), KeyVersion::FIRST);
        let foreign = ForeignCiphertext { ciphertext, version, context: b"", associated_data: b"" };
        old.decrypt(foreign, until, &FixedClock).await
    };
    let hanging: Vec<_> = (0..32).map(|_| tokio::spawn(ask(Arc::clone(&old), 10))).collect();
    tokio::task::yield_now().await;
    let waited = ask(Arc::clone(&old), 1).await;
    assert!(matches!(waited, Err(KmsError::Throttled { .. })), "{waited:?}");
    assert!(old.health().fault.is_none());
    hanging.into_iter().for_each(|one| one.abort());
}

#[tokio::test]
async fn a_declared_newest_version_that_is_out_of_date_refuses_nothing() {
    let server = Arc::<FakeServer>::default();
    let (engine, _seal) = taking_over(&server, Some(2)).await;
    assert_eq!(decrypt(&engine, &foreign(3, "x")).await.unwrap(), b"x");
}

#[tokio::test]
async fn the_doctor_is_told_whether_the_old_server_answers_and_whether_our_version_is_above() {
    use crate::seal::Finding;
    let server = Arc::new(FakeServer::default());
    *server.newest.lock().unwrap() = Some(1);
    let old = old_key(&server, None);
    let (deployment, _seal) = deployment(Takeovers::new(vec![Arc::clone(&old)])).await;
    let steps = old.examine(&deployment, &FixedClock).await;
    assert!(matches!(&steps[..], [one] if matches!(one.finding, Finding::Passed(_))), "{steps:?}");
    *server.newest.lock().unwrap() = Some(2);
    let steps = old.examine(&deployment, &FixedClock).await;
    let conflict = steps.last().unwrap();
    assert!(matches!(&conflict.finding, Finding::Failed { .. }), "{steps:?}");
    assert_eq!(conflict.hop, "version");
    *server.read_fault.lock().unwrap() = Some(KmsError::Unavailable(None));
    let steps = old.examine(&deployment, &FixedClock).await;
    assert!(matches!(&steps[0].finding, Finding::Failed { .. }), "{steps:?}");
}
