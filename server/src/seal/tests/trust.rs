//! Claims about whose public keys are trusted, how long, and what happens where knowledge is old.

use selkie_crypto::KeyVersion;
use selkie_storage::Store;

use super::rsa_kms::{Tells, spki};
use super::*;

async fn restarted(site: &Site, store: &Arc<MemoryStore>) -> Node {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    let keys = ManagedKeys::load(store).await.unwrap();
    let node = Node::begin(site.deployment(None), keys, Arc::clone(&site.clock) as _).await;
    sleep(Duration::from_secs(1)).await;
    node
}

async fn encrypt_with(node: &Node, key: &str, version: i64) -> Result<Encrypted, TransitError> {
    let item = EncryptionItem {
        plaintext: Plaintext::new(b"x".to_vec()),
        associated_data: Vec::new(),
        context: Vec::new(),
        version: Some(version),
    };
    engine(node).encryption(&permit(operation::Encrypt, key)).await?.encrypt(item).await
}

fn latest(node: &Node) -> u32 {
    node.deployment().declared_keys().next().unwrap().1.latest.get()
}

/// Invariant I2: Key Vault shows no public key of a version that is disabled.
#[tokio::test(start_paused = true)]
async fn another_key_behind_a_version_that_was_disabled_is_not_trusted() {
    let site = Site::new();
    site.kms.tells(Tells::TheCurrentOne);
    let node = site.running().await;
    site.kms.lists(&[Version { state: KekState::Disabled, ..Version::enabled(1) }]);
    sleep(2 * POLL).await;
    site.faults.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    site.kms.lists(&[Version { key: 2, ..Version::enabled(1) }]);
    sleep(2 * POLL).await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::Contradicted(Contradiction::OtherKey(_))), "{refused}");
}

/// Invariant I2: what the KMS wrapped itself says nothing of a public key.
#[tokio::test(start_paused = true)]
async fn a_confirmed_remote_wrap_does_not_vouch_for_a_public_key() {
    let site = Site::new();
    site.kms.tells(Tells::None);
    let node = site.running().await;
    assert!(encrypt(&node).await.is_ok());
    site.kms.tells(Tells::All);
    site.faults.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    let site = Site { settings: [1; 32], ..site };
    let before = node.deployment();
    node.replace(&before, site.deployment(Some(&before))).await.unwrap();
    sleep(2 * POLL).await;
    assert!(fault(encrypt(&node).await).is_transient());
    site.faults.on_unwrap().clear();
    assert!(encrypt(&node).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_fingerprint_that_is_no_longer_declared_vouches_for_nothing() {
    let site = Site { fingerprints: vec![fingerprint(0)], ..Site::new() };
    drop(site.running().await);
    site.away();
    let node = site.running().await;
    assert!(encrypt(&node).await.is_ok());
    let site = Site { fingerprints: Vec::new(), ..site };
    let before = node.deployment();
    node.replace(&before, site.deployment(Some(&before))).await.unwrap();
    assert!(fault(encrypt(&node).await).is_transient());
}

#[tokio::test(start_paused = true)]
async fn a_reload_with_other_fingerprints_ends_the_trust_of_a_signed_pin() {
    let site = Site::with_local_key();
    drop(site.running().await);
    site.away();
    let node = site.running().await;
    assert!(encrypt(&node).await.is_ok());
    let site = Site { fingerprints: vec![fingerprint(1)], ..site };
    let before = node.deployment();
    node.replace(&before, site.deployment(Some(&before))).await.unwrap();
    assert!(fault(encrypt(&node).await).is_transient());
}

/// Invariant I2: what is said to outlast a restart does.
#[tokio::test(start_paused = true)]
async fn trust_that_is_said_to_outlast_a_restart_outlasts_it_for_the_version_in_use() {
    for site in [Site::new(), Site::with_local_key()] {
        let site = Site { fingerprints: vec![fingerprint(0)], ..site };
        let says_that_it_encrypts = |node: &Node| {
            let deployment = node.deployment();
            let connection = &deployment.seals.iter().next().unwrap().connection;
            assert_eq!(
                connection.lasting_trust().starts_with("encrypts"),
                connection.has_lasting_trust()
            );
            connection.has_lasting_trust()
        };
        for (versions, outlasts) in [(1..=1, true), (1..=2, false)] {
            let listed: Vec<_> = versions.map(Version::enabled).collect();
            site.kms.lists(&listed);
            let node = site.running().await;
            assert!(encrypt(&node).await.is_ok());
            assert_eq!(says_that_it_encrypts(&node), outlasts);
            drop(node);
            site.away();
            let node = site.running().await;
            assert_eq!(encrypt(&node).await.is_ok(), outlasts);
            assert_eq!(says_that_it_encrypts(&node), outlasts);
            site.back();
        }
    }
}

/// Invariant I2: a pin that is not believed lets nothing encrypt.
#[tokio::test(start_paused = true)]
async fn a_refused_pin_is_not_said_to_outlast_a_restart() {
    for site in [Site::with_local_key(), Site { fingerprints: vec![fingerprint(0)], ..Site::new() }]
    {
        drop(site.running().await);
        fs::write(site.pin(), "{}").unwrap();
        site.away();
        let node = site.running().await;
        assert!(encrypt(&node).await.is_err());
        let connection = Arc::clone(&node.deployment().seals.iter().next().unwrap().connection);
        let said = connection.lasting_trust();
        assert!(said.starts_with("does not encrypt: the pin file is not used"), "{said}");
        site.back();
        let mut steps = Vec::new();
        connection.examine(&selkie_crypto::os_random, 1, &mut |step| steps.push(step)).await;
        assert!(warned(&steps, "trust").is_some(), "{steps:?}");
        sleep(2 * POLL).await;
        assert!(connection.lasting_trust().starts_with("encrypts"));
    }
}

/// Invariant I1: the name of a seal is in every envelope.
#[tokio::test(start_paused = true)]
async fn a_renamed_seal_opens_what_was_made_under_its_old_name_by_an_alias_alone() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap();
    let renamed = |aliases: &[&str]| {
        let aliases = aliases.iter().map(|alias| SealName::new(alias).unwrap());
        let seals = Seals::new(vec![site.seal("north").known_as(aliases.collect())]);
        let before = node.deployment();
        let config = config_of(&[("unseal", site.rule)], &["north"]);
        let after = Deployment::assemble(config, seals.resumed(Some(&before.seals))).unwrap();
        (before, after)
    };
    let (before, after) = renamed(&["weu"]);
    node.replace(&before, after).await.unwrap();
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    let anew = encrypt(&node).await.unwrap();
    assert_eq!(anew.version, made.version, "a new name alone moves no Vault");
    assert_eq!(decrypt(&node, &anew.ciphertext).await.unwrap(), b"x");
    let (before, after) = renamed(&[]);
    node.replace(&before, after).await.unwrap();
    let refused = decrypt(&node, &made.ciphertext).await;
    assert!(matches!(refused, Err(TransitError::NoUsableRecipient)), "{refused:?}");
    assert_eq!(decrypt(&node, &anew.ciphertext).await.unwrap(), b"x");
}

/// Who can write the data directory must not get a MAC for a public key of their own.
#[tokio::test(start_paused = true)]
async fn an_untrusted_public_key_never_gets_into_a_signed_pin() {
    let site = Site::new();
    let planted = Version { key: 3, ..Version::enabled(1) };
    site.kms.lists(&[planted, Version::enabled(2)]);
    drop(site.running().await);
    let mut text = Vec::new();
    selkie_crypto::base64::encode_into(&spki(3), &mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(fs::read_to_string(site.pin()).unwrap().contains(&text));
    site.kms.tells(Tells::TheCurrentOne);
    for may_list in [true, false] {
        site.kms.may_list(may_list);
        site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
        let key = PinKey::init_with(|page| page.fill(1)).unwrap();
        let signing = Site { local_key: Some(Arc::new(key)), ..Site::new() };
        let signing = Site { faults: Arc::clone(&site.faults), ..signing };
        fs::create_dir(signing.dir.path().join("pins")).unwrap();
        fs::copy(site.pin(), signing.pin()).unwrap();
        drop(signing.running().await);
        let pin = fs::read_to_string(signing.pin()).unwrap();
        assert!(pin.contains("\"mac\"") && !pin.contains(&text), "{pin}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_version_is_proven_each_time_before_its_ciphertext_leaves() {
    let (site, store) = (Site::new(), Arc::new(MemoryStore::new()));
    site.kms.tells(Tells::TheCurrentOne);
    let node = restarted(&site, &store).await;
    engine(&node).create_key(permit(operation::CreateKey, "m"), NewKey::default()).await.unwrap();
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert_eq!(encrypt_under(&node, "m").await.unwrap().version.get(), 2);
    fs::remove_file(site.pin()).unwrap();
    let node = restarted(&site, &store).await;
    let made = encrypt_with(&node, "m", 1).await.unwrap();
    let transit = engine(&node);
    let decryption = transit.decryption(&permit(operation::Decrypt, "m")).await.unwrap();
    let ciphertext = &*made.ciphertext;
    let item = DecryptionItem { ciphertext, associated_data: Vec::new(), context: Vec::new() };
    assert_eq!(decryption.decrypt(&item).await.unwrap().expose_for_reply(), b"x");
    site.faults.on_unwrap().always(Fault::other_secret());
    let refused = fault(encrypt_with(&node, "m", 1).await);
    assert!(matches!(refused, SealFault::Unconfirmed(None)), "{refused}");
    site.faults.on_unwrap().always(Fault::hang());
    let began = Instant::now();
    assert!(fault(encrypt_with(&node, "m", 1).await).is_transient());
    assert!(began.elapsed() <= Duration::from_millis(1501));
}

/// A newest version that is disabled or unfit says nothing of the one that the envelope names.
#[tokio::test(start_paused = true)]
async fn decrypt_asks_for_no_description() {
    let site = Site::new();
    let made = encrypt(&site.running().await).await.unwrap();
    fs::remove_file(site.pin()).unwrap();
    for error in [KmsError::Disabled(None), KmsError::Denied(None), KmsError::Unavailable(None)] {
        site.faults.on_describe().always(Fault::fail(error));
        let node = site.running().await;
        assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    }
}

/// Invariant I7: replicas agree within a poll interval, and decrypt meanwhile.
#[tokio::test(start_paused = true)]
async fn a_replica_that_has_not_seen_a_rotation_decrypts_what_another_made() {
    let one = Site::new();
    let other = Site { kms: Arc::clone(&one.kms), ..Site::new() };
    let other = Site { faults: Arc::new(Faulty::new(Arc::clone(&one.kms) as _)), ..other };
    let (behind, ahead) = (other.running().await, one.running().await);
    other.faults.on_describe().always(Fault::hang());
    one.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    let made = encrypt(&ahead).await.unwrap();
    assert_eq!((made.version.get(), latest(&behind)), (2, 1));
    assert_eq!(decrypt(&behind, &made.ciphertext).await.unwrap(), b"x");
}

#[tokio::test(start_paused = true)]
async fn a_pin_older_than_the_minimum_does_not_keep_a_server_from_starting() {
    let site = Site::with_local_key();
    drop(site.running().await);
    site.away();
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    let mut config = config_of(&[("unseal", COUNTED)], &["weu"]);
    config.keys[0].min_decryption_version = KeyVersion::new(2).unwrap();
    let next = Deployment::assemble(config, site.seals().resumed(None)).unwrap();
    let keys = ManagedKeys::load(Arc::new(MemoryStore::new())).await.unwrap();
    let node = Node::begin(next, keys, Arc::clone(&site.clock) as _).await;
    let refused = fault(encrypt(&node).await);
    assert!(refused.is_transient(), "{refused}");
    site.back();
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
}

/// Invariant I7: what is counted in part is judged by what clients have seen, not by a part.
#[tokio::test(start_paused = true)]
async fn version_never_goes_back_when_new_seals_are_described_one_by_one() {
    let (site, one, two) = (Site::new(), Site::new(), Site::new());
    site.kms.lists(&[1, 2, 3].map(Version::enabled));
    let node = site.running().await;
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 3);
    one.away();
    two.away();
    let before = node.deployment();
    let seals = Seals::new(vec![one.seal("neu"), two.seal("sea")]);
    let config = config_of(&[("unseal", COUNTED)], &["neu", "sea"]);
    let next = Deployment::assemble(config, seals.resumed(Some(&before.seals))).unwrap();
    node.replace(&before, next).await.unwrap();
    one.back();
    sleep(2 * POLL).await;
    two.back();
    sleep(2 * POLL).await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::NotAdopted(_)), "{refused}");
    assert_eq!(latest(&node), 3);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_enabled_again_wraps_at_the_first_try() {
    let site = Site::with_local_key();
    site.kms.lists(&[Version { state: KekState::Disabled, ..Version::enabled(1) }]);
    let node = site.running().await;
    assert!(!fault(encrypt(&node).await).is_transient());
    site.kms.lists(&[Version::enabled(1)]);
    assert!(encrypt(&node).await.is_ok());
    site.kms.lists(&[]);
    sleep(2 * POLL).await;
    assert!(!fault(encrypt(&node).await).is_transient());
    site.kms.lists(&[Version::enabled(1)]);
    assert!(encrypt(&node).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pin_edited_while_the_server_runs_is_kept_aside() {
    let site = Site::with_local_key();
    let node = site.running().await;
    let good = fs::read_to_string(site.pin()).unwrap();
    let edited = good.replace("\"is_complete\": true", "\"is_complete\": false");
    fs::write(site.pin(), &edited).unwrap();
    sleep(2 * POLL).await;
    assert_eq!(fs::read_to_string(site.refused_pin()).unwrap(), edited);
    assert_eq!(fs::read_to_string(site.pin()).unwrap(), good);
    assert!(encrypt(&node).await.is_ok());
}

/// The seal's next stanza is about another key: the file is no longer the old connection's.
#[tokio::test(start_paused = true)]
async fn a_run_that_outlives_its_seal_writes_no_pin() {
    let site = Site::new();
    site.faults.on_describe().always(Fault::delay(Duration::from_secs(5)));
    let node = site.started().await;
    let before = node.deployment();
    let next = Deployment::assemble(
        config_of(&[("unseal", VersionRule::Counted { generation: 1 })], &["weu"]),
        Site::new().seals(),
    );
    sleep(Duration::from_secs(1)).await;
    node.replace(&before, next.unwrap()).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(site.faults.on_unwrap().calls(), 1, "the run came to its end");
    assert!(!site.pin().exists());
}
