//! Claims about seals that are learned of while the server runs, against a small KMS of RSA keys
//! behind a fault injector, in paused time.

mod absences;
mod aliases;
mod canaries;
mod devices;
mod hedging;
mod held;
mod history;
mod moved;
mod peer;
mod quorum;
mod refusals;
mod replicas;
mod rsa_kms;
mod trials;
mod trust;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use selkie_access::operation;
use selkie_config::VersionRule;
use selkie_crypto::{PinKey, Plaintext, SealName};
use selkie_kms::{ClientTag, Fault, Faulty, KekState, KmsError};
use selkie_storage::MemoryStore;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use self::rsa_kms::{RsaKms, Version, fingerprint, id};
use super::*;
use crate::clock::Clock;
use crate::deployment::Deployment;
use crate::node::Node;
use crate::transit::tests::{config_of, permit};
use crate::transit::{
    DecryptionItem, Encrypted, EncryptionItem, ManagedKeys, NewKey, Transit, TransitError,
};

const COUNTED: VersionRule = VersionRule::Counted { generation: 0 };
const POLL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A KMS and a data directory that outlive the servers that are started on them.
pub(crate) struct Site {
    kms: Arc<RsaKms>,
    pub(crate) faults: Arc<Faulty>,
    pub(crate) clock: Arc<TestClock>,
    dir: TempDir,
    pub(crate) local_key: Option<Arc<PinKey>>,
    fingerprints: Vec<[u8; 32]>,
    rule: VersionRule,
    /// Stands for all that is in the stanza and concerns the way to the KMS.
    settings: [u8; 32],
    target: &'static str,
    former_targets: Vec<String>,
    has_data_dir: bool,
}

impl Site {
    pub(crate) fn new() -> Self {
        let kms = RsaKms::new();
        Self {
            faults: Arc::new(Faulty::new(Arc::clone(&kms) as _)),
            kms,
            clock: Arc::new(TestClock(AtomicU64::new(1_000_000))),
            dir: tempfile::tempdir().unwrap(),
            local_key: None,
            fingerprints: Vec::new(),
            rule: COUNTED,
            settings: [0; 32],
            target: "https://kms/keys/k",
            former_targets: Vec::new(),
            has_data_dir: true,
        }
    }

    /// The KMS of which wraps by itself.
    pub(crate) fn of_symmetric_key() -> Self {
        let site = Self::new();
        site.kms.tells(rsa_kms::Tells::None);
        site
    }

    /// For a server that outlives it.
    pub(crate) fn without_data_dir() -> Self {
        Self { has_data_dir: false, ..Self::new() }
    }

    pub(crate) fn with_local_key() -> Self {
        let key = PinKey::init_with(|page| page.fill(1)).unwrap();
        Self { local_key: Some(Arc::new(key)), ..Self::new() }
    }

    pub(crate) fn away(&self) {
        self.faults.on_describe().always(Fault::fail(KmsError::Unavailable(None)));
        self.faults.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    }

    pub(crate) fn back(&self) {
        self.faults.on_describe().clear();
        self.faults.on_unwrap().clear();
    }

    /// Has the KMS list a second version, which is in use from then on.
    pub(crate) fn rotate(&self) {
        self.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    }

    pub(crate) fn seals(&self) -> Seals {
        Seals::new(vec![self.seal("weu")])
    }

    pub(crate) fn seal(&self, name: &str) -> Seal {
        let name = SealName::new(name).unwrap();
        let pin = PinFile::new(self.dir.path(), &name, self.target, self.local_key.clone());
        let setup = Setup {
            name,
            kind: "rsa",
            kms: Arc::clone(&self.faults) as _,
            governor: None,
            target: self.target.into(),
            former_targets: self.former_targets.clone(),
            settings: self.settings,
            fingerprints: self.fingerprints.clone(),
            poll_interval: POLL,
            pin: self.has_data_dir.then_some(pin),
            examiner: None,
            upstream: None,
        };
        Seal::new(false, Connection::new(setup))
    }

    pub(crate) fn deployment(&self, before: Option<&Deployment>) -> Deployment {
        let config = config_of(&[("unseal", self.rule)], &["weu"]);
        let seals = self.seals().resumed(before.map(|before| &before.seals));
        Deployment::assemble(config, seals).unwrap()
    }

    /// A server that has not learned anything yet.
    pub(crate) async fn started(&self) -> Node {
        let keys = ManagedKeys::load(Arc::new(MemoryStore::new())).await.unwrap();
        Node::begin(self.deployment(None), keys, Arc::clone(&self.clock) as _).await
    }

    /// A server that had time to learn.
    async fn running(&self) -> Node {
        let node = self.started().await;
        sleep(Duration::from_secs(1)).await;
        node
    }

    fn pin(&self) -> PathBuf {
        self.dir.path().join("pins/weu.json")
    }

    fn refused_pin(&self) -> PathBuf {
        self.dir.path().join("pins/weu.json.refused")
    }
}

pub(crate) fn engine(node: &Node) -> Transit {
    node.transit(node.deployment(), ClientTag::SELKIE, Instant::now())
}

pub(crate) async fn encrypt_under(node: &Node, key: &str) -> Result<Encrypted, TransitError> {
    let item = EncryptionItem {
        plaintext: Plaintext::new(b"x".to_vec()),
        associated_data: Vec::new(),
        context: Vec::new(),
        version: None,
    };
    engine(node).encryption(&permit(operation::Encrypt, key)).await?.encrypt(item).await
}

async fn encrypt(node: &Node) -> Result<Encrypted, TransitError> {
    encrypt_under(node, "unseal").await
}

async fn decrypt(node: &Node, ciphertext: &str) -> Result<Vec<u8>, TransitError> {
    let engine = engine(node);
    let decryption = engine.decryption(&permit(operation::Decrypt, "unseal")).await?;
    let item = DecryptionItem { ciphertext, associated_data: Vec::new(), context: Vec::new() };
    Ok(decryption.decrypt(&item).await?.expose_for_reply().to_vec())
}

/// Why the seal did not take part.
fn fault<T: std::fmt::Debug>(outcome: Result<T, TransitError>) -> SealFault {
    match outcome {
        Err(TransitError::Seal(error)) => error.source,
        other => panic!("{other:?}"),
    }
}

fn connection(node: &Node) -> Arc<Connection> {
    Arc::clone(&node.deployment().seals.iter().next().unwrap().connection)
}

fn kek(node: &Node) -> KekId {
    node.deployment().seals.current_keks().unwrap()[0].kek.clone()
}

/// Invariant I2.
#[tokio::test(start_paused = true)]
async fn encrypt_goes_on_while_the_kms_is_away() {
    let site = Site::new();
    let node = site.running().await;
    site.away();
    sleep(Duration::from_secs(3600)).await;
    let calls = site.faults.on_unwrap().calls();
    let made = encrypt(&node).await.unwrap();
    assert_eq!(made.version.get(), 1);
    assert_eq!(site.faults.on_unwrap().calls(), calls, "an encrypt asks no KMS");
    assert!(fault(decrypt(&node, &made.ciphertext).await).is_transient());
    site.back();
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
}

#[tokio::test(start_paused = true)]
async fn start_does_not_wait_for_the_kms() {
    let site = Site::new();
    site.faults.on_describe().always(Fault::hang());
    let began = Instant::now();
    let node = site.started().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(fault(encrypt(&node).await).is_transient());
    assert!(began.elapsed() <= Duration::from_millis(1501), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_first_try_after_the_kms_is_back_succeeds() {
    let site = Site::new();
    let made = encrypt(&site.running().await).await.unwrap();
    site.away();
    fs::remove_file(site.pin()).unwrap();
    let node = site.running().await;
    assert!(fault(encrypt(&node).await).is_transient());
    assert!(fault(decrypt(&node, &made.ciphertext).await).is_transient());
    sleep(Duration::from_secs(100)).await;
    site.back();
    let began = Instant::now();
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 1);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_description() {
    let site = Site::new();
    site.faults.on_describe().always(Fault::delay(Duration::from_millis(300)));
    let node = Arc::new(site.started().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let node = Arc::clone(&node);
        tasks.spawn(async move { encrypt(&node).await.map(drop) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(site.faults.on_describe().calls(), 1);
    assert_eq!(site.faults.on_unwrap().calls(), 1);
}

/// Invariant I2.
#[tokio::test(start_paused = true)]
async fn unconfirmed_key_answers_503() {
    let site = Site::new();
    site.faults.on_unwrap().always(Fault::other_secret());
    let node = site.running().await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::Unconfirmed(None)), "{refused}");
    assert!(refused.is_transient());
    assert!(!site.pin().exists(), "nothing is pinned that was not confirmed");
    site.back();
    assert!(encrypt(&node).await.is_ok());
}

/// Invariant I2.
#[tokio::test(start_paused = true)]
async fn pin_survives_restart() {
    let site = Site::with_local_key();
    let made = encrypt(&site.running().await).await.unwrap();
    site.away();
    let node = site.running().await;
    assert_eq!(encrypt(&node).await.unwrap().version, made.version);
}

/// Invariant I2.
#[tokio::test(start_paused = true)]
async fn a_pin_without_mac_is_trusted_for_its_fingerprint_alone() {
    let site = Site::new();
    drop(site.running().await);
    site.away();
    let node = site.running().await;
    assert!(fault(encrypt(&node).await).is_transient());
    assert_eq!(node.deployment().declared_keys().next().unwrap().1.latest.get(), 1);
    let other = Site { fingerprints: vec![fingerprint(1)], ..site };
    assert!(fault(encrypt(&other.running().await).await).is_transient());
    let declared = Site { fingerprints: vec![fingerprint(0)], ..other };
    assert!(encrypt(&declared.running().await).await.is_ok());
}

/// Design §6: a pin that contradicts a declared fingerprint, whatever signed it.
#[tokio::test(start_paused = true)]
async fn a_declared_fingerprint_stands_above_the_local_key() {
    let site = Site::with_local_key();
    drop(site.running().await);
    site.away();
    let site = Site { fingerprints: vec![fingerprint(1)], ..site };
    assert!(fault(encrypt(&site.running().await).await).is_transient());
}

#[tokio::test(start_paused = true)]
async fn edited_pin_is_not_used_and_not_overwritten() {
    let site = Site::with_local_key();
    let made = encrypt(&site.running().await).await.unwrap();
    let good = fs::read_to_string(site.pin()).unwrap();
    let edited = good.replace("\"is_complete\": true", "\"is_complete\": false");
    assert_ne!(edited, good);
    fs::write(site.pin(), &edited).unwrap();
    site.away();
    let node = site.running().await;
    assert!(fault(encrypt(&node).await).is_transient());
    sleep(Duration::from_secs(600)).await;
    assert_eq!(fs::read_to_string(site.pin()).unwrap(), edited);
    site.back();
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    assert!(encrypt(&node).await.is_ok());
    sleep(POLL).await;
    assert_eq!(fs::read_to_string(site.refused_pin()).unwrap(), edited);
    assert_eq!(fs::read_to_string(site.pin()).unwrap(), good);
}

/// Invariant I7.
#[tokio::test(start_paused = true)]
async fn rotation_moves_version_only_after_round_trip() {
    let site = Site::new();
    let node = site.running().await;
    let old = encrypt(&node).await.unwrap();
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    site.faults.on_unwrap().always(Fault::other_secret());
    sleep(2 * POLL).await;
    assert!(site.faults.on_unwrap().calls() > 1, "it was tried");
    assert_eq!((encrypt(&node).await.unwrap().version.get(), kek(&node)), (1, id(1)));
    site.back();
    sleep(2 * POLL).await;
    let new = encrypt(&node).await.unwrap();
    assert_eq!((new.version.get(), kek(&node)), (2, id(2)));
    for made in [&old, &new] {
        assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    }
    let pin = fs::read_to_string(site.pin()).unwrap();
    assert!(pin.contains("\"current\": \"https://kms/keys/k/2\""), "{pin}");
}

#[tokio::test(start_paused = true)]
async fn a_new_version_that_is_disabled_leaves_the_old_one_in_use() {
    let site = Site::new();
    let node = site.running().await;
    let disabled = Version { state: KekState::Disabled, ..Version::enabled(2) };
    site.kms.lists(&[Version::enabled(1), disabled]);
    sleep(2 * POLL).await;
    assert_eq!((encrypt(&node).await.unwrap().version.get(), kek(&node)), (1, id(1)));
}

#[tokio::test(start_paused = true)]
async fn managed_keys_follow_a_rotation() {
    let site = Site::new();
    let node = site.started().await;
    let create = permit(operation::CreateKey, "managed");
    engine(&node).create_key(create, NewKey::default()).await.unwrap();
    assert_eq!(encrypt_under(&node, "managed").await.unwrap().version.get(), 1);
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert_eq!(encrypt_under(&node, "managed").await.unwrap().version.get(), 2);
}

/// Invariant I7: a KMS that lists fewer versions than before contradicts its pin.
#[tokio::test(start_paused = true)]
async fn version_never_goes_back_when_list_shrinks() {
    let site = Site::with_local_key();
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap();
    let pin = fs::read_to_string(site.pin()).unwrap();
    site.kms.lists(&[Version::enabled(2)]);
    sleep(2 * POLL).await;
    for node in [node, site.running().await] {
        let refused = fault(encrypt(&node).await);
        assert!(matches!(refused, SealFault::Contradicted(_)), "{refused}");
        assert!(!refused.is_transient());
        assert_eq!(node.deployment().declared_keys().next().unwrap().1.latest.get(), 2);
        assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    }
    assert_eq!(fs::read_to_string(site.pin()).unwrap(), pin, "never silently replaced");
}

#[tokio::test(start_paused = true)]
async fn another_key_under_a_pinned_version_stops_encryption_for_good() {
    let site = Site::with_local_key();
    drop(site.running().await);
    let pin = fs::read_to_string(site.pin()).unwrap();
    site.kms.lists(&[Version { key: 2, ..Version::enabled(1) }]);
    let node = site.running().await;
    let refused = fault(encrypt(&node).await);
    let other = Contradiction::OtherKey(id(1));
    assert!(matches!(&refused, SealFault::Contradicted(one) if *one == other), "{refused}");
    assert_eq!(fs::read_to_string(site.pin()).unwrap(), pin);
    site.kms.lists(&[Version::enabled(1)]);
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok(), "the right key is back");
}

/// Design §6: it never lowers N.
#[tokio::test(start_paused = true)]
async fn a_current_version_that_is_disabled_stops_encryption_alone() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap();
    site.kms.lists(&[Version { state: KekState::Disabled, ..Version::enabled(1) }]);
    sleep(2 * POLL).await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::NotUsable { state: KekState::Disabled, .. }));
    assert!(!refused.is_transient());
    assert_eq!(node.deployment().declared_keys().next().unwrap().1.latest.get(), 1);
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    site.kms.lists(&[Version::enabled(1)]);
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_version_expires_by_the_clock_while_the_kms_is_away() {
    let site = Site::new();
    site.kms.lists(&[Version { expires: Some(1_000_100), ..Version::enabled(1) }]);
    let node = site.running().await;
    site.away();
    assert!(encrypt(&node).await.is_ok());
    site.clock.0.store(1_000_100, Ordering::Relaxed);
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::NotUsable { state: KekState::Expired, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_counted_refuses_to_encrypt_and_still_decrypts() {
    let site = Site::new();
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    let made = encrypt(&site.running().await).await.unwrap();
    fs::remove_file(site.pin()).unwrap();
    site.kms.may_list(false);
    let node = site.running().await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::Unlisted) && !refused.is_transient());
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    let stated = Site { rule: VersionRule::Stated(made.version), ..site };
    assert_eq!(encrypt(&stated.running().await).await.unwrap().version, made.version);
}

#[tokio::test(start_paused = true)]
async fn the_right_to_list_that_is_lost_changes_nothing_until_a_rotation() {
    let site = Site::new();
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    let node = site.running().await;
    site.kms.may_list(false);
    sleep(2 * POLL).await;
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_readable_at_the_start_is_asked_for_again_at_once() {
    let site = Site::new();
    site.kms.may_list(false);
    let node = site.running().await;
    assert!(matches!(fault(encrypt(&node).await), SealFault::Unlisted));
    site.kms.may_list(true);
    assert!(encrypt(&node).await.is_ok(), "who encrypts has it asked for");
    fs::remove_file(site.pin()).unwrap();
    site.kms.may_list(false);
    let node = site.running().await;
    let health = || node.deployment().seals.iter().next().unwrap().connection.health();
    assert!(matches!(health().fault, Some(SealFault::Unlisted)), "status tells it");
    site.kms.may_list(true);
    sleep(POLL / 2).await;
    assert!(health().fault.is_none(), "nor does anybody wait for the next poll");
}

/// Invariant I7.
#[tokio::test(start_paused = true)]
async fn a_rotation_while_the_list_is_not_readable_is_followed_when_it_is() {
    let site = Site::new();
    let node = site.running().await;
    site.kms.may_list(false);
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert_eq!((encrypt(&node).await.unwrap().version.get(), kek(&node)), (1, id(1)));
    let node = site.running().await;
    assert_eq!((encrypt(&node).await.unwrap().version.get(), kek(&node)), (1, id(1)));
    site.kms.may_list(true);
    sleep(POLL / 2).await;
    assert_eq!((encrypt(&node).await.unwrap().version.get(), kek(&node)), (2, id(2)));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_opens_nothing_any_more_serves_no_longer_though_no_list_says_so() {
    let site = Site::new();
    let node = site.running().await;
    site.kms.may_list(false);
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok());
    site.kms.lists(&[Version::enabled(2)]);
    sleep(POLL).await;
    assert!(matches!(fault(encrypt(&node).await), SealFault::Unlisted));
}

/// Invariant I4: the text for refused ciphertexts is for envelopes that are wrong.
#[tokio::test(start_paused = true)]
async fn a_deleted_master_key_is_told_apart_from_a_wrong_ciphertext() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap();
    site.kms.lists(&[]);
    let gone = fault(decrypt(&node, &made.ciphertext).await);
    assert!(matches!(gone, SealFault::Kms(KmsError::UnknownKek(_))) && !gone.is_transient());
    sleep(2 * POLL).await;
    let gone = fault(decrypt(&node, &made.ciphertext).await);
    assert!(matches!(gone, SealFault::Kms(KmsError::UnknownKek(_))));
    let stopped = fault(encrypt(&node).await);
    assert!(matches!(stopped, SealFault::Contradicted(Contradiction::Missing)), "{stopped}");
    site.kms.lists(&[Version::enabled(1)]);
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok(), "it was recovered");
    let other = Site::new();
    other.kms.lists(&[Version { number: 7, ..Version::enabled(1) }]);
    let foreign = encrypt(&other.running().await).await.unwrap();
    let refused = decrypt(&site_with_first_key().await, &foreign.ciphertext).await;
    assert!(matches!(refused, Err(TransitError::NoUsableRecipient)), "{refused:?}");
}

async fn site_with_first_key() -> Node {
    Site::without_data_dir().running().await
}

#[tokio::test(start_paused = true)]
async fn what_the_kms_denies_is_not_tried_in_vain() {
    let site = Site::new();
    site.faults.on_describe().always(Fault::fail(KmsError::Denied(None)));
    let node = site.running().await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::Kms(KmsError::Denied(None))) && !refused.is_transient());
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_was_learned_while_the_kms_is_away() {
    let site = Site::new();
    let node = site.running().await;
    site.away();
    let before = node.deployment();
    let next = site.deployment(Some(&before));
    let calls = site.faults.calls();
    node.replace(&before, next).await.unwrap();
    assert_eq!(site.faults.calls(), calls, "a reload asks nobody");
    let is_kept = before.seals.iter().all(|seal| node.deployment().seals.has(&seal.connection));
    assert!(is_kept && encrypt(&node).await.is_ok());
    let before = node.deployment();
    let changed = Site { fingerprints: vec![fingerprint(0)], ..site };
    node.replace(&before, changed.deployment(Some(&before))).await.unwrap();
    assert!(encrypt(&node).await.is_ok(), "another connection to the same key knows it too");
}

#[tokio::test(start_paused = true)]
async fn a_poll_ends_with_its_seal() {
    let site = Site::new();
    let node = site.running().await;
    let before = node.deployment();
    let other = Site::new();
    let next = Deployment::assemble(
        config_of(&[("unseal", VersionRule::Counted { generation: 1 })], &["weu"]),
        other.seals(),
    );
    node.replace(&before, next.unwrap()).await.unwrap();
    sleep(2 * POLL).await;
    let calls = site.faults.calls();
    sleep(10 * POLL).await;
    assert_eq!(site.faults.calls(), calls);
    assert!(other.faults.on_describe().calls() > 5);
}

async fn examined(site: &Site) -> Vec<Step> {
    let mut steps = Vec::new();
    let seals = site.seals();
    let connection = &seals.iter().next().unwrap().connection;
    connection.examine(&selkie_crypto::os_random, 1_000_000, &mut |step| steps.push(step)).await;
    steps
}

fn warned(steps: &[Step], hop: &str) -> Option<String> {
    steps.iter().find(|step| step.hop == hop).and_then(|step| match &step.finding {
        Finding::Warned { advice, .. } => Some(advice.clone()),
        Finding::Passed(_) | Finding::Failed { .. } => None,
    })
}

#[tokio::test(start_paused = true)]
async fn doctor_prints_the_line_to_paste_and_warns_of_what_comes() {
    let site = Site::new();
    let soon = Version { expires: Some(1_000_000 + 86_400 * 29), ..Version::enabled(1) };
    site.kms.lists(&[soon]);
    site.kms.may_list(false);
    let steps = examined(&site).await;
    let hex = base16ct::lower::encode_string(&fingerprint(0));
    let line = format!("public_key_sha256 = \"{hex}\"");
    assert!(warned(&steps, "trust").unwrap().contains(&line));
    assert!(warned(&steps, "expiry").is_some() && warned(&steps, "list").is_some());
    site.kms.lists(&[Version::enabled(1)]);
    site.kms.may_list(true);
    let declared = Site { fingerprints: vec![fingerprint(0)], ..site };
    let is_passed = |step: &Step| matches!(step.finding, Finding::Passed(_));
    let steps = examined(&declared).await;
    assert!(steps.iter().all(is_passed), "{steps:?}");
}

/// The line is that of the version which a restart would have to encrypt under.
#[tokio::test(start_paused = true)]
async fn doctor_prints_the_line_of_the_version_in_use_while_another_one_is_staged() {
    let site = Site::new();
    let to_come = Version { state: KekState::NotYetValid, ..Version::enabled(2) };
    site.kms.lists(&[Version::enabled(1), to_come]);
    let steps = examined(&site).await;
    let hex = base16ct::lower::encode_string(&fingerprint(0));
    assert!(warned(&steps, "trust").unwrap().contains(&hex), "{steps:?}");
    let declared = Site { fingerprints: vec![fingerprint(0)], ..site };
    let steps = examined(&declared).await;
    assert!(steps.iter().all(|step| matches!(step.finding, Finding::Passed(_))), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn doctor_says_where_it_fails() {
    let site = Site::new();
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    let steps = examined(&site).await;
    let failed: Vec<_> =
        steps.iter().filter(|one| matches!(one.finding, Finding::Failed { .. })).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].hop, "wrap, unwrap");
}

/// Invariant I2: evidence against a key stands above a pin or fingerprint for it.
#[tokio::test(start_paused = true)]
async fn a_pinned_key_that_the_kms_does_not_unwrap_is_no_longer_trusted() {
    let site = Site::with_local_key();
    drop(site.running().await);
    site.faults.on_unwrap().always(Fault::fail(KmsError::Rejected(None)));
    let refused = fault(encrypt(&site.running().await).await);
    assert!(matches!(refused, SealFault::Unconfirmed(Some(_))), "{refused}");
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    assert!(encrypt(&site.running().await).await.is_ok(), "a right that is missing says nothing");
}

/// Invariant I7: a seal that joins a key while its KMS is away.
#[tokio::test(start_paused = true)]
async fn a_key_keeps_its_version_until_a_new_seal_is_described() {
    let (site, new) = (Site::new(), Site::new());
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap();
    new.away();
    let before = node.deployment();
    let seals = Seals::new(vec![site.seal("weu"), new.seal("neu")]);
    let config = config_of(&[("unseal", COUNTED)], &["weu", "neu"]);
    let next = Deployment::assemble(config, seals.resumed(Some(&before.seals))).unwrap();
    node.replace(&before, next).await.unwrap();
    assert!(fault(encrypt(&node).await).is_transient());
    assert_eq!(node.deployment().declared_keys().next().unwrap().1.latest, made.version);
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    new.back();
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
}

/// Swapping a seal for another one moves no count, so no Vault would move to it.
#[tokio::test(start_paused = true)]
async fn a_seal_that_takes_the_place_of_another_needs_a_new_generation() {
    let (site, new) = (Site::new(), Site::new());
    let node = site.running().await;
    let before = node.deployment();
    let swap = |generation| {
        let rule = VersionRule::Counted { generation };
        let seals = Seals::new(vec![new.seal("neu")]).resumed(Some(&before.seals));
        Deployment::assemble(config_of(&[("unseal", rule)], &["neu"]), seals).unwrap()
    };
    node.replace(&before, swap(0)).await.unwrap();
    sleep(POLL).await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::NotAdopted(_)) && !refused.is_transient());
    node.replace(&before, swap(1)).await.unwrap();
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 10_001);
}

/// A seal whose KMS wraps every DEK itself.
#[tokio::test(start_paused = true)]
async fn a_remote_seal_is_confirmed_by_both_calls_and_needs_its_kms() {
    let key = selkie_crypto::Kek::init_with(|page| page.fill(3)).unwrap();
    let current = KekId::new("1").unwrap();
    let kms = selkie_kms::StaticKms::new(vec![(current.clone(), key)], &current).unwrap();
    let mut site = Site::new();
    site.faults = Arc::new(Faulty::new(Arc::new(kms)));
    let node = site.running().await;
    let calls = (site.faults.on_wrap().calls(), site.faults.on_unwrap().calls());
    assert_eq!(calls, (1, 1));
    let made = encrypt(&node).await.unwrap();
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    site.faults.on_wrap().always(Fault::hang());
    let began = Instant::now();
    assert!(fault(encrypt(&node).await).is_transient());
    assert!(began.elapsed() <= Duration::from_millis(1501));
}

fn unwraps(site: &Site) -> u64 {
    site.faults.on_unwrap().calls()
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_is_away_is_asked_after_one_that_is_not() {
    let (weu, neu) = (Site::with_local_key(), Site::with_local_key());
    let seals = Seals::new(vec![weu.seal("weu"), neu.seal("neu")]).resumed(None);
    let config = config_of(&[("unseal", COUNTED)], &["weu", "neu"]);
    let deployment = Deployment::assemble(config, seals).unwrap();
    let node =
        Node::begin(deployment, ManagedKeys::without_store(), Arc::clone(&weu.clock) as _).await;
    sleep(Duration::from_secs(1)).await;
    let made = encrypt(&node).await.unwrap();
    weu.away();
    sleep(2 * POLL).await;
    let before = unwraps(&weu);
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    assert_eq!(unwraps(&weu), before, "it is known to be away");
    neu.away();
    sleep(2 * POLL).await;
    assert!(fault(decrypt(&node, &made.ciphertext).await).is_transient());
    assert!(unwraps(&weu) > before, "it might have come back");
    weu.back();
    sleep(2 * POLL).await;
    let before = unwraps(&neu);
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    assert_eq!(unwraps(&neu), before, "there is one that is not away");
    neu.back();
    sleep(2 * POLL).await;
    let before = unwraps(&neu);
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    assert_eq!(unwraps(&neu), before, "the first by priority");
}
