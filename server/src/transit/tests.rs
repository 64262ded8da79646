mod absences;
mod break_glass;
pub(crate) mod faulty_store;
mod lookups;
mod replicas;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use selkie_access::{Acl, Bare, KeyName, MountPath, Permit, Policy, operation};
use selkie_config::{Config, DeclaredKey, Mount, VersionRule};
use selkie_crypto::{Kek, KekId, KeyVersion, Plaintext, RecipientSecret, SealName, os_random};
use selkie_kms::{Fault, Faulty, Kms, KmsError, StaticKms};
use selkie_storage::MemoryStore;

use super::*;
use crate::clock::Clock;
use crate::continuity::Discontinuity;
use crate::deployment::DeploymentError;
use crate::seal::{Connection, Known, Seal, Seals, Setup};

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn unix_seconds(&self) -> u64 {
        1_764_000_000
    }
}

/// A static master key, behind a fault injector that also counts its calls.
pub(crate) struct TestSeal {
    name: &'static str,
    pub(crate) kms: Arc<Faulty>,
}

impl TestSeal {
    /// `versions` are the fills of its keys, oldest first; the last is current.
    pub(crate) fn new(name: &'static str, versions: &[u8]) -> Self {
        let keys: Vec<_> = versions.iter().map(|fill| (*fill, *fill)).collect();
        Self::with_keys(name, &keys)
    }

    /// Keys by the number in their id and their fill.
    fn with_keys(name: &'static str, keys: &[(u8, u8)]) -> Self {
        let id = |number: u8| KekId::new(&format!("{name}-{number}")).unwrap();
        let kek = |fill: u8| Kek::init_with(|key| key.fill(fill)).unwrap();
        let keks = keys.iter().map(|(number, fill)| (id(*number), kek(*fill))).collect();
        let kms = StaticKms::new(keks, &id(keys.last().unwrap().0)).unwrap();
        Self { name, kms: Arc::new(Faulty::new(Arc::new(kms))) }
    }

    pub(crate) async fn connected(&self) -> Seal {
        let kms: Arc<dyn Kms> = Arc::clone(&self.kms) as _;
        let known = Known::configured(kms.describe().await.unwrap());
        let setup = Setup {
            name: SealName::new(self.name).unwrap(),
            kind: "static",
            kms,
            governor: None,
            target: String::new(),
            former_targets: Vec::new(),
            settings: [0; 32],
            fingerprints: Vec::new(),
            poll_interval: Duration::MAX,
            pin: None,
            examiner: None,
            upstream: None,
        };
        Seal::new(false, Connection::fixed(setup, known))
    }
}

fn config(declared: &[(&'static str, u32)], seals: &[TestSeal]) -> Config {
    let counted = |(name, generation): &(&'static str, u32)| {
        (*name, VersionRule::Counted { generation: *generation })
    };
    let declared: Vec<_> = declared.iter().map(counted).collect();
    let seals: Vec<_> = seals.iter().map(|seal| seal.name).collect();
    config_of(&declared, &seals)
}

/// Declared keys under all of these seals, and nothing else.
pub(crate) fn config_of(declared: &[(&str, VersionRule)], seals: &[&str]) -> Config {
    let names = || seals.iter().map(|name| SealName::new(name).unwrap()).collect();
    let key = |(name, version): &(&str, VersionRule)| DeclaredKey {
        name: name.parse().unwrap(),
        mount: "transit".parse().unwrap(),
        seals: names(),
        quorum: 1,
        version: *version,
        min_decryption_version: KeyVersion::FIRST,
        min_encryption_version: None,
    };
    Config {
        realm: "test".into(),
        realm_aliases: Vec::new(),
        origin_key: None,
        logging: selkie_config::Logging::default(),
        sandbox: selkie_config::SandboxMode::Off,
        api_addr: None,
        cluster_name: None,
        pid_file: None,
        data_dir: None,
        local_key: None,
        lock_all_memory: false,
        audit: selkie_config::Audit::default(),
        listeners: Vec::new(),
        seals: Vec::new(),
        revoked_seals: Vec::new(),
        storage: None,
        alerts: None,
        telemetry: selkie_config::Telemetry::default(),
        mounts: Mount::default_list(),
        keys: declared.iter().map(key).collect(),
        takeovers: Vec::new(),
        clients: Vec::new(),
        policies: Vec::new(),
        auth: Vec::new(),
        leases: selkie_config::LeaseTimes::default(),
        allow_faults: false,
        faults: None,
        warnings: Vec::new(),
    }
}

async fn deployment(declared: &[(&'static str, u32)], seals: &[TestSeal]) -> Arc<Deployment> {
    let mut connected = Vec::new();
    for seal in seals {
        connected.push(seal.connected().await);
    }
    Arc::new(Deployment::assemble(config(declared, seals), Seals::new(connected)).unwrap())
}

/// An engine with the declared key `unseal`, and room for managed keys.
pub(crate) async fn engine(seals: &[TestSeal]) -> Transit {
    let deployment = deployment(&[("unseal", 0)], seals).await;
    Transit {
        current: Arc::new(ArcSwap::new(Arc::clone(&deployment))),
        deployment,
        keys: Arc::new(ManagedKeys::load(Arc::new(MemoryStore::new())).await.unwrap()),
        clock: Arc::new(FixedClock),
        random: Arc::new(os_random),
        client: ClientTag::SELKIE,
        metrics: Metrics::new(),
        until: Instant::now() + Transit::REQUEST_PATIENCE,
        trail: Some(Arc::default()),
        unwraps: None,
    }
}

pub(crate) fn permit<O: operation::KeyOperation>(operation: O, key: &str) -> Permit<O> {
    let acl = Acl::new([&Policy::root()]);
    let (mount, key): (MountPath, KeyName) = ("transit".parse().unwrap(), key.parse().unwrap());
    acl.on(Bare).permit(operation, mount, key).unwrap()
}

fn item(text: &str) -> EncryptionItem {
    EncryptionItem {
        plaintext: Plaintext::new(text.as_bytes().to_vec()),
        associated_data: Vec::new(),
        context: Vec::new(),
        version: None,
    }
}

async fn encrypt(engine: &Transit, key: &str, text: &str) -> Result<Encrypted, TransitError> {
    engine.encryption(&permit(operation::Encrypt, key)).await?.encrypt(item(text)).await
}

async fn decrypt(engine: &Transit, key: &str, ciphertext: &str) -> Result<Vec<u8>, TransitError> {
    let decryption = engine.decryption(&permit(operation::Decrypt, key)).await?;
    let item = DecryptionItem { ciphertext, associated_data: Vec::new(), context: Vec::new() };
    Ok(decryption.decrypt(&item).await?.expose_for_reply().to_vec())
}

async fn create(engine: &Transit, key: &str) -> Arc<TransitKey> {
    engine.create_key(permit(operation::CreateKey, key), NewKey::default()).await.unwrap()
}

#[tokio::test]
async fn a_declared_key_opens_what_it_encrypted_and_counts_its_versions() {
    let engine = engine(&[TestSeal::new("a", &[1, 2]), TestSeal::new("b", &[3])]).await;
    let made = encrypt(&engine, "unseal", "root key").await.unwrap();
    assert_eq!(made.version.get(), 3, "three master-key versions are listed");
    assert!(made.ciphertext.starts_with("vault:v3:"));
    assert_eq!(decrypt(&engine, "unseal", &made.ciphertext).await.unwrap(), b"root key");
}

/// Invariant I1.
#[tokio::test]
async fn self_contained_a_ciphertext_opens_with_configuration_and_one_master_key_alone() {
    let both = || [TestSeal::new("a", &[1]), TestSeal::new("b", &[2])];
    let made = encrypt(&engine(&both()).await, "unseal", "x").await.unwrap();
    for survivor in 0..2 {
        let seals = both();
        let lost = &seals[1 - survivor].kms;
        lost.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
        let elsewhere = engine(&seals).await;
        assert_eq!(decrypt(&elsewhere, "unseal", &made.ciphertext).await.unwrap(), b"x");
    }
}

/// Invariant I1: losing a seal, and taking it out of the configuration, is what the others are for.
#[tokio::test]
async fn a_seal_taken_away_leaves_what_the_others_open() {
    let both = engine(&[TestSeal::new("a", &[1]), TestSeal::new("b", &[2])]).await;
    let made = encrypt(&both, "unseal", "x").await.unwrap();
    let mut one = engine(&[TestSeal::new("b", &[2])]).await;
    one.deployment = deployment(&[("unseal", 1)], &[TestSeal::new("b", &[2])]).await;
    assert_eq!(decrypt(&one, "unseal", &made.ciphertext).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_change_that_waited_for_a_reload_is_made_for_the_new_seals() {
    let mut engine = engine(&[TestSeal::new("a", &[1])]).await;
    let after = deployment(&[], &[TestSeal::new("a", &[1, 2])]).await;
    engine.current.store(Arc::clone(&after));
    let key = create(&engine, "k").await;
    assert_eq!(key.keks(key.latest), after.seals.current_keks().unwrap());
    engine.deployment = after;
    assert!(encrypt(&engine, "k", "x").await.is_ok());
}

/// A reload from `before` to `after`, each a generation and seals.
async fn reloaded(
    before: (u32, &[TestSeal]),
    after: (u32, &[TestSeal]),
) -> Result<(), Discontinuity> {
    let was = deployment(&[("unseal", before.0)], before.1).await;
    let is = deployment(&[("unseal", after.0)], after.1).await;
    is.require_continuity(&was, &ManagedKeys::without_store(), &os_random).await
}

/// Invariant I7.
#[tokio::test]
async fn a_reload_never_turns_a_declared_version_back_nor_keeps_it_for_other_master_keys() {
    let seal = |versions| [TestSeal::new("a", versions)];
    assert_eq!(reloaded((0, &seal(&[1])), (0, &seal(&[1]))).await, Ok(()));
    assert_eq!(reloaded((0, &seal(&[1])), (0, &seal(&[1, 2]))).await, Ok(()));
    let back = reloaded((0, &seal(&[1, 2])), (0, &seal(&[2]))).await;
    assert!(matches!(back, Err(Discontinuity::VersionGoesBack { .. })), "{back:?}");
    let promoted = reloaded((0, &seal(&[2, 1])), (0, &seal(&[1, 2]))).await;
    assert!(matches!(promoted, Err(Discontinuity::VersionStays { .. })), "{promoted:?}");
    assert_eq!(reloaded((0, &seal(&[2, 1])), (1, &seal(&[1, 2]))).await, Ok(()));
}

#[tokio::test]
async fn a_reload_refuses_another_key_under_a_known_id() {
    let was = [TestSeal::new("a", &[1])];
    let is = [TestSeal::with_keys("a", &[(1, 9)])];
    let refused = reloaded((0, &was), (0, &is)).await;
    assert!(matches!(refused, Err(Discontinuity::OtherKeyUnderId { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_declared_key_must_decrypt_what_it_encrypts() {
    let seals = [TestSeal::new("a", &[1])];
    let mut config = config(&[("unseal", 0)], &seals);
    config.keys[0].min_decryption_version = KeyVersion::new(2).unwrap();
    let connected = Seals::new(vec![seals[0].connected().await]);
    let refused = Deployment::assemble(config, connected);
    assert!(matches!(refused, Err(DeploymentError::MinimumAboveLatest { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_new_master_key_version_moves_the_declared_key_and_the_old_ciphertext_still_opens() {
    let before = engine(&[TestSeal::new("a", &[1])]).await;
    let old = encrypt(&before, "unseal", "x").await.unwrap();
    let after = engine(&[TestSeal::new("a", &[1, 2])]).await;
    let new = encrypt(&after, "unseal", "x").await.unwrap();
    assert!(new.version > old.version);
    assert_eq!(decrypt(&after, "unseal", &old.ciphertext).await.unwrap(), b"x");
    let error = decrypt(&before, "unseal", &new.ciphertext).await.unwrap_err();
    let TransitError::NewerVersion(reason) = error else { panic!("{error}") };
    assert!(matches!(*reason, TransitError::NoUsableRecipient), "{reason}");
}

/// Invariant I1: what it was made for is all there.
#[tokio::test]
async fn a_ciphertext_newer_than_its_key_opens_with_the_master_key_that_is_left() {
    let seals = [TestSeal::new("a", &[1, 2])];
    let before = engine(&seals).await;
    let made = encrypt(&before, "unseal", "x").await.unwrap();
    let after = engine(&[TestSeal::new("a", &[2])]).await;
    assert!(encrypt(&after, "unseal", "x").await.unwrap().version < made.version);
    assert_eq!(decrypt(&after, "unseal", &made.ciphertext).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_ciphertext_of_another_key_is_refused_without_asking_a_kms() {
    let seals = [TestSeal::new("a", &[1])];
    let kms = Arc::clone(&seals[0].kms);
    let engine = engine(&seals).await;
    create(&engine, "one").await;
    create(&engine, "two").await;
    let made = encrypt(&engine, "one", "x").await.unwrap();
    let calls = kms.calls();
    let error = decrypt(&engine, "two", &made.ciphertext).await.unwrap_err();
    assert!(matches!(error, TransitError::Refused(_)), "{error}");
    assert_eq!(kms.calls(), calls);
}

/// Invariant I4: garbage never costs a KMS call.
#[tokio::test]
async fn garbage_costs_no_kms_call() {
    let seals = [TestSeal::new("a", &[1])];
    let kms = Arc::clone(&seals[0].kms);
    let engine = engine(&seals).await;
    let calls = kms.calls();
    for garbage in
        ["", "vault:v1", "vault:v1:AAAA", "vault:v0:e30=", "vault:v9:e30=", "vault:v1:e30="]
    {
        assert!(decrypt(&engine, "unseal", garbage).await.is_err(), "{garbage}");
    }
    assert_eq!(kms.calls(), calls);
}

#[tokio::test]
async fn version_zero_is_not_another_spelling_of_one() {
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    let made = encrypt(&engine, "unseal", "x").await.unwrap();
    let zero = made.ciphertext.replacen("v1", "v0", 1);
    let error = decrypt(&engine, "unseal", &zero).await.unwrap_err();
    assert!(matches!(error, TransitError::VersionSpelling));
}

#[tokio::test]
async fn rotation_raises_the_version_and_settings_bound_it() {
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    create(&engine, "k").await;
    let first = encrypt(&engine, "k", "x").await.unwrap();
    let rotated = engine.rotate_key(permit(operation::RotateKey, "k")).await.unwrap();
    assert_eq!(rotated.latest.get(), 2);
    assert_eq!(encrypt(&engine, "k", "x").await.unwrap().version.get(), 2);
    assert_eq!(decrypt(&engine, "k", &first.ciphertext).await.unwrap(), b"x");

    let changes = KeyChanges { min_decryption_version: Some(2), ..KeyChanges::default() };
    engine.configure_key(permit(operation::ConfigureKey, "k"), changes).await.unwrap();
    let error = decrypt(&engine, "k", &first.ciphertext).await.unwrap_err();
    assert!(matches!(error, TransitError::VersionTooOld));
}

async fn trim(engine: &Transit, to: Option<i64>) -> Result<Arc<TransitKey>, SettingError> {
    let trimmed = engine.trim_key(permit(operation::TrimKey, "k"), to).await;
    trimmed.map_err(|error| match error {
        TransitError::Setting(error) => error,
        other => panic!("{other}"),
    })
}

async fn set_minima(engine: &Transit, decryption: i64, encryption: i64) -> Result<(), String> {
    let changes = KeyChanges {
        min_decryption_version: Some(decryption),
        min_encryption_version: Some(encryption),
        ..KeyChanges::default()
    };
    let configured = engine.configure_key(permit(operation::ConfigureKey, "k"), changes).await;
    configured.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn trimming_follows_vaults_order_of_checks() {
    use SettingError as E;
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    create(&engine, "k").await;
    for _ in 0..3 {
        engine.rotate_key(permit(operation::RotateKey, "k")).await.unwrap();
    }
    assert_eq!(trim(&engine, None).await, Err(E::MinAvailableMissing));
    assert_eq!(trim(&engine, Some(2)).await, Err(E::MinAvailableWithoutMinEncryption));
    set_minima(&engine, 2, 3).await.unwrap();
    for (to, error) in [
        (4, E::MinAvailableAboveMinEncryption),
        (3, E::MinAvailableAboveMinDecryption),
        (0, E::MinAvailableZero),
        (-1, E::MinAvailableDecremented),
    ] {
        assert_eq!(trim(&engine, Some(to)).await, Err(error), "{to}");
    }
}

#[tokio::test]
async fn trimmed_versions_are_gone_and_stay_gone() {
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    create(&engine, "k").await;
    for _ in 0..3 {
        engine.rotate_key(permit(operation::RotateKey, "k")).await.unwrap();
    }
    set_minima(&engine, 2, 3).await.unwrap();
    let trimmed = trim(&engine, Some(2)).await.unwrap();
    assert_eq!(trimmed.versions.keys().map(|one| one.get()).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(trim(&engine, Some(1)).await, Err(SettingError::MinAvailableDecremented));
    let below = SettingError::MinDecryptionBelowAvailable.to_string();
    assert_eq!(set_minima(&engine, 1, 3).await, Err(below));
}

#[tokio::test]
async fn deletion_needs_permission_by_the_keys_settings() {
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    create(&engine, "k").await;
    let delete = async || engine.delete_key(permit(operation::DeleteKey, "k")).await;
    assert!(matches!(delete().await, Err(TransitError::Setting(SettingError::DeletionNotAllowed))));
    let allow = KeyChanges { deletion_allowed: Some(true), ..KeyChanges::default() };
    engine.configure_key(permit(operation::ConfigureKey, "k"), allow).await.unwrap();
    delete().await.unwrap();
    assert!(engine.read_key(permit(operation::ReadKey, "k")).await.unwrap().is_none());
    assert!(matches!(delete().await, Err(TransitError::KeyNotFound)));
}

/// Invariant I6.
#[tokio::test]
async fn declared_wins_and_cannot_be_changed_through_the_api() {
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    let before = engine.read_key(permit(operation::ReadKey, "unseal")).await.unwrap();
    assert_eq!(create(&engine, "unseal").await.source, KeySource::Declared);
    let rotated = engine.rotate_key(permit(operation::RotateKey, "unseal")).await;
    assert!(matches!(rotated, Err(TransitError::Declared)));
    let deleted = engine.delete_key(permit(operation::DeleteKey, "unseal")).await;
    assert!(matches!(deleted, Err(TransitError::Declared)));
    assert_eq!(engine.read_key(permit(operation::ReadKey, "unseal")).await.unwrap(), before);
}

#[tokio::test]
async fn without_a_store_only_declared_keys_exist() {
    let mut engine = engine(&[TestSeal::new("a", &[1])]).await;
    engine.keys = Arc::new(ManagedKeys::without_store());
    assert!(encrypt(&engine, "unseal", "x").await.is_ok());
    let upsert = permit(operation::EncryptUpsert, "new");
    let error = engine.upsert_key(upsert, NewKey::default()).await.unwrap_err();
    assert!(matches!(error, TransitError::NoStorage));
    assert!(matches!(encrypt(&engine, "new", "x").await, Err(TransitError::KeyNotFound)));
}

#[tokio::test]
async fn managed_keys_survive_in_their_store() {
    let store: Arc<MemoryStore> = Arc::new(MemoryStore::new());
    let seals = [TestSeal::new("a", &[1])];
    let mut engine = engine(&seals).await;
    engine.keys = Arc::new(ManagedKeys::load(Arc::clone(&store) as _).await.unwrap());
    create(&engine, "k").await;
    let rotated = engine.rotate_key(permit(operation::RotateKey, "k")).await.unwrap();
    engine.keys = Arc::new(ManagedKeys::load(store).await.unwrap());
    assert_eq!(engine.read_key(permit(operation::ReadKey, "k")).await.unwrap(), Some(rotated));
}

/// Invariant I7.
#[tokio::test]
async fn a_managed_key_gets_a_new_version_when_its_seals_change_and_only_then() {
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    create(&engine, "k").await;
    let latest = |engine: &Transit| {
        engine.keys.managed(&"transit".parse().unwrap(), "k").unwrap().latest.get()
    };
    for (seals, expected) in [
        (vec![TestSeal::new("a", &[1])], 1),
        (vec![TestSeal::new("a", &[1, 2])], 2),
        (vec![TestSeal::new("a", &[1, 2]), TestSeal::new("b", &[3])], 3),
        (vec![TestSeal::new("b", &[3])], 4),
    ] {
        engine.current.store(deployment(&[], &seals).await);
        engine.keys.follow_seals(&engine.current, 5).await;
        engine.keys.follow_seals(&engine.current, 5).await;
        assert_eq!(latest(&engine), expected);
    }
}

#[tokio::test]
async fn a_derived_key_demands_its_context_and_binds_it() {
    let engine = engine(&[TestSeal::new("a", &[1])]).await;
    let new = NewKey { derived: true, ..NewKey::default() };
    engine.create_key(permit(operation::CreateKey, "d"), new).await.unwrap();
    let encryption = engine.encryption(&permit(operation::Encrypt, "d")).await.unwrap();
    let error = encryption.encrypt(item("x")).await.unwrap_err();
    assert!(matches!(error, TransitError::ContextMissing));
    let bound = EncryptionItem { context: b"ctx".to_vec(), ..item("x") };
    let made = encryption.encrypt(bound).await.unwrap();
    let decryption = engine.decryption(&permit(operation::Decrypt, "d")).await.unwrap();
    let with = |context: &[u8]| DecryptionItem {
        ciphertext: &made.ciphertext,
        associated_data: Vec::new(),
        context: context.to_vec(),
    };
    assert!(decryption.decrypt(&with(b"ctx")).await.is_ok());
    let error = decryption.decrypt(&with(b"other")).await.unwrap_err();
    assert!(matches!(error, TransitError::Refused(_)));
    assert!(matches!(decryption.decrypt(&with(b"")).await, Err(TransitError::ContextMissing)));
}

#[tokio::test]
async fn a_seal_that_answers_with_another_secret_does_not_hide_the_one_that_can_open() {
    let seals = [TestSeal::new("a", &[1]), TestSeal::new("b", &[2])];
    let lying = Arc::clone(&seals[0].kms);
    let engine = engine(&seals).await;
    let made = encrypt(&engine, "unseal", "x").await.unwrap();
    lying
        .on_unwrap()
        .always(Fault::alter(|_| Arc::new(RecipientSecret::init_with(|key| key.fill(0)))));
    assert_eq!(decrypt(&engine, "unseal", &made.ciphertext).await.unwrap(), b"x");
}

/// Invariant I10.
#[tokio::test(start_paused = true)]
async fn bounded_a_hanging_seal_is_given_up_inside_the_clients_patience() {
    let seals = [TestSeal::new("a", &[1])];
    let hanging = Arc::clone(&seals[0].kms);
    let engine = engine(&seals).await;
    let made = encrypt(&engine, "unseal", "x").await.unwrap();
    hanging.on_wrap().always(Fault::hang());
    hanging.on_unwrap().always(Fault::hang());
    let began = Instant::now();
    let error = encrypt(&engine, "unseal", "x").await.unwrap_err();
    assert!(matches!(error, TransitError::Seal(error) if error.source.is_transient()));
    assert!(began.elapsed() <= Duration::from_millis(1501));
    let began = Instant::now();
    let error = decrypt(&engine, "unseal", &made.ciphertext).await.unwrap_err();
    assert!(matches!(error, TransitError::Seal(error) if error.source.is_transient()));
    assert!(began.elapsed() <= Duration::from_millis(15_001));
}

/// Invariant I10.
#[tokio::test(start_paused = true)]
async fn a_request_of_many_items_ends_when_its_own_patience_does() {
    let seals = [TestSeal::new("a", &[1])];
    let hanging = Arc::clone(&seals[0].kms);
    let engine = engine(&seals).await;
    let made = encrypt(&engine, "unseal", "x").await.unwrap();
    hanging.on_unwrap().always(Fault::hang());
    let began = Instant::now();
    let engine = engine.for_batch();
    for _ in 0..100 {
        let error = decrypt(&engine, "unseal", &made.ciphertext).await.unwrap_err();
        assert!(matches!(error, TransitError::Seal(error) if error.source.is_transient()));
        engine.forget_unwraps();
    }
    assert!(began.elapsed() <= Transit::REQUEST_PATIENCE + Duration::from_millis(100));
}

/// Invariant I10.
#[tokio::test(start_paused = true)]
async fn a_hanging_seal_leaves_the_next_one_its_time() {
    let seals = [TestSeal::new("a", &[1]), TestSeal::new("b", &[2])];
    let (hanging, slow) = (Arc::clone(&seals[0].kms), Arc::clone(&seals[1].kms));
    let engine = engine(&seals).await;
    let made = encrypt(&engine, "unseal", "x").await.unwrap();
    hanging.on_unwrap().always(Fault::hang());
    slow.on_unwrap().always(Fault::delay(Duration::from_secs(7)));
    let began = Instant::now();
    assert_eq!(decrypt(&engine, "unseal", &made.ciphertext).await.unwrap(), b"x");
    assert!(began.elapsed() <= Duration::from_millis(15_001));
}
