//! Claims about seals that are away when something is encrypted, and about those that are revoked.

use selkie_config::RevokedSeal;

use super::peer::{Peer, clock, node_of};
use super::*;
use crate::transit::{KeyChanges, RETURN_AFTER, TransitKey};

const MISSING: NewKey = NewKey { derived: false, allow_missing_seals: true };

/// By how much a clock is ahead that was never set.
const YEAR: u64 = 365 * 86_400;

/// A node with these seals, a store, and the managed key `m` for all of them.
async fn node_with_key(peers: &[Peer], new: NewKey) -> (Node, Arc<TestClock>) {
    let mut seals = Vec::new();
    for peer in peers {
        seals.push(peer.seal().await);
    }
    let deployment = Deployment::assemble(config_of(&[], &[]), Seals::new(seals)).unwrap();
    let (keys, clock) = (ManagedKeys::load(Arc::new(MemoryStore::new())).await.unwrap(), clock());
    let node = Node::begin(deployment, keys, Arc::clone(&clock) as _).await;
    engine(&node).create_key(permit(operation::CreateKey, "m"), new).await.unwrap();
    (node, clock)
}

fn key(node: &Node) -> Arc<TransitKey> {
    node.keys().managed(&"transit".parse().unwrap(), "m").unwrap()
}

fn seals_of(key: &TransitKey) -> Vec<&str> {
    key.keks(key.latest).iter().map(|kek| kek.seal.as_str()).collect()
}

async fn decrypt_under(node: &Node, key: &str, ciphertext: &str) -> Result<Vec<u8>, TransitError> {
    let engine = engine(node);
    let decryption = engine.decryption(&permit(operation::Decrypt, key)).await?;
    let item = DecryptionItem { ciphertext, associated_data: Vec::new(), context: Vec::new() };
    Ok(decryption.decrypt(&item).await?.expose_for_reply().to_vec())
}

/// Time passes by both clocks.
async fn pass(clock: &TestClock, time: Duration) {
    let steps = time.as_secs() / 10;
    for _ in 0..steps {
        clock.0.fetch_add(10, Ordering::Relaxed);
        sleep(Duration::from_secs(10)).await;
    }
}

/// The version that an encrypt is of, and how long it took.
async fn encrypted(node: &Node) -> (u32, Duration) {
    let began = Instant::now();
    let made = encrypt_under(node, "m").await.unwrap();
    (made.version.get(), began.elapsed())
}

fn metric(node: &Node, line: &str) -> bool {
    let text = node.metrics_text(&node.deployment()).unwrap();
    text.lines().any(|other| other == line)
}

/// Invariant I7.
#[tokio::test(start_paused = true)]
async fn left_out_seal_raises_version_and_its_return_again() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, clock) = node_with_key(&peers, MISSING).await;
    let whole = encrypt_under(&node, "m").await.unwrap();
    assert_eq!(whole.version.get(), 1);
    peers[1].faults.on_wrap().always(Fault::hang());
    let began = Instant::now();
    let partial = encrypt_under(&node, "m").await.unwrap();
    assert!(began.elapsed() <= Duration::from_millis(1005), "{:?}", began.elapsed());
    assert_eq!((partial.version.get(), seals_of(&key(&node))), (2, vec!["a"]));
    assert!(metric(&node, r#"selkie_seal_left_out_keys{seal="b"} 1"#));
    let (version, took) = encrypted(&node).await;
    assert_eq!((version, took), (2, Duration::ZERO), "it is not waited for again");
    pass(&clock, 3 * RETURN_AFTER).await;
    assert_eq!(encrypted(&node).await.0, 2, "it is still away");
    peers[1].faults.on_wrap().clear();
    pass(&clock, RETURN_AFTER - Duration::from_secs(60)).await;
    assert_eq!(encrypted(&node).await.0, 2, "not steadily back");
    pass(&clock, Duration::from_secs(180)).await;
    assert_eq!(encrypted(&node).await.0, 3);
    assert_eq!(seals_of(&key(&node)), ["a", "b"]);
    assert!(metric(&node, r#"selkie_seal_left_out_keys{seal="b"} 0"#));
    for made in [whole, partial] {
        assert_eq!(decrypt_under(&node, "m", &made.ciphertext).await.unwrap(), b"x");
    }
}

/// A host whose clock is ahead until NTP sets it reaches no KMS by TLS, and leaves seals out next year.
#[tokio::test(start_paused = true)]
async fn a_seal_left_out_by_a_clock_that_was_ahead_returns_as_any_other() {
    let (peer, site) = (Peer::new("a"), Site::new());
    let seals = Seals::new(vec![peer.seal().await, site.seal("weu")]);
    let deployment = Deployment::assemble(config_of(&[], &[]), seals).unwrap();
    let (keys, clock) = (ManagedKeys::load(Arc::new(MemoryStore::new())).await.unwrap(), clock());
    clock.0.fetch_add(YEAR, Ordering::Relaxed);
    site.away();
    let node = Node::begin(deployment, keys, Arc::clone(&clock) as _).await;
    engine(&node).create_key(permit(operation::CreateKey, "m"), MISSING).await.unwrap();
    assert_eq!((encrypted(&node).await.0, seals_of(&key(&node))), (1, vec!["a"]));
    // It is well again before the clock is.
    site.back();
    pass(&clock, Duration::from_secs(120)).await;
    clock.0.fetch_sub(YEAR, Ordering::Relaxed);
    pass(&clock, RETURN_AFTER - Duration::from_secs(60)).await;
    assert_eq!(encrypted(&node).await.0, 1, "not steadily back, whatever the clocks say");
    pass(&clock, Duration::from_secs(180)).await;
    assert_eq!((encrypted(&node).await.0, seals_of(&key(&node))), (2, vec!["a", "weu"]));
}

/// Its seals are in use again at other replicas all the time.
#[tokio::test(start_paused = true)]
async fn a_replica_whose_clock_stays_ahead_moves_the_version_a_few_times_a_day() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, clock) = node_with_key(&peers, MISSING).await;
    for _ in 0..24 * 4 {
        clock.0.fetch_add(YEAR, Ordering::Relaxed);
        peers[1].faults.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
        encrypted(&node).await;
        clock.0.fetch_sub(YEAR, Ordering::Relaxed);
        peers[1].faults.on_wrap().clear();
        pass(&clock, Duration::from_secs(15 * 60)).await;
    }
    let versions = key(&node).latest.get();
    assert!((4..=20).contains(&versions), "{versions}");
}

#[tokio::test(start_paused = true)]
async fn a_key_made_by_a_clock_that_was_ahead_follows_its_seal_to_another_master_key() {
    let (before, after) = (Site::new(), Site { target: "https://kms/keys/other", ..Site::new() });
    after.kms.lists(&[Version::enabled(2)]);
    let node = before.running().await;
    before.clock.0.fetch_add(YEAR, Ordering::Relaxed);
    engine(&node).create_key(permit(operation::CreateKey, "m"), NewKey::default()).await.unwrap();
    before.clock.0.fetch_sub(YEAR, Ordering::Relaxed);
    let next = Deployment::assemble(config_of(&[], &[]), after.seals()).unwrap();
    node.replace(&node.deployment(), next).await.unwrap();
    pass(&before.clock, Duration::from_secs(600)).await;
    assert_eq!(encrypted(&node).await.0, 2);
    assert_eq!(key(&node).keks(key(&node).latest)[0].kek, id(2));
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_comes_and_goes_moves_the_version_a_few_times_a_day() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, clock) = node_with_key(&peers, MISSING).await;
    // Well whenever it is tried, and away for an encrypt.
    for _ in 0..24 * 4 {
        peers[1].faults.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
        encrypted(&node).await;
        peers[1].faults.on_wrap().clear();
        pass(&clock, Duration::from_secs(15 * 60)).await;
    }
    let versions = key(&node).latest.get();
    assert!((4..=20).contains(&versions), "{versions}");
}

#[tokio::test(start_paused = true)]
async fn a_key_without_the_setting_is_made_for_all_its_seals_or_not_at_all() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, _) = node_with_key(&peers, NewKey::default()).await;
    peers[1].faults.on_wrap().always(Fault::hang());
    let began = Instant::now();
    assert!(fault(encrypt_under(&node, "m").await).is_transient());
    assert!(began.elapsed() <= Duration::from_millis(1505));
    assert_eq!(key(&node).latest.get(), 1);
    let changes = KeyChanges { allow_missing_seals: Some(true), ..KeyChanges::default() };
    engine(&node).configure_key(permit(operation::ConfigureKey, "m"), changes).await.unwrap();
    assert_eq!(encrypted(&node).await.0, 2);
    let (declared, _) = node_of(&peers[..1]).await;
    peers[0].faults.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    assert!(fault(encrypt(&declared).await).is_transient(), "a declared key leaves nothing out");
}

#[tokio::test(start_paused = true)]
async fn the_last_seal_is_never_left_out_nor_one_that_only_refuses() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, _) = node_with_key(&peers, MISSING).await;
    peers[1].faults.on_wrap().always(Fault::fail(KmsError::Disabled(None)));
    assert!(!fault(encrypt_under(&node, "m").await).is_transient());
    for peer in &peers {
        peer.faults.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    }
    assert!(fault(encrypt_under(&node, "m").await).is_transient());
    assert_eq!(key(&node).latest.get(), 1);
}

/// A replica's envelopes of one version are all for the same seals, whoever encrypts at that time.
#[tokio::test(start_paused = true)]
async fn those_who_encrypt_at_the_same_time_move_the_version_once() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, _) = node_with_key(&peers, MISSING).await;
    peers[1].faults.on_wrap().always(Fault::hang());
    let made = futures_util::future::join_all((0..20).map(|_| encrypt_under(&node, "m"))).await;
    assert!(made.into_iter().all(|made| made.unwrap().version.get() == 2));
    assert_eq!(key(&node).latest.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_without_a_seal_that_nobody_has_described() {
    let (peer, site) = (Peer::new("a"), Site::new());
    site.away();
    let seals = Seals::new(vec![peer.seal().await, site.seal("weu")]);
    let deployment = Deployment::assemble(config_of(&[], &[]), seals).unwrap();
    let (keys, clock) = (ManagedKeys::load(Arc::new(MemoryStore::new())).await.unwrap(), clock());
    let node = Node::begin(deployment, keys, Arc::clone(&clock) as _).await;
    engine(&node).create_key(permit(operation::CreateKey, "m"), MISSING).await.unwrap();
    assert_eq!((encrypted(&node).await.0, seals_of(&key(&node))), (1, vec!["a"]));
    site.back();
    pass(&clock, 2 * RETURN_AFTER).await;
    assert_eq!((encrypted(&node).await.0, seals_of(&key(&node))), (2, vec!["a", "weu"]));
}

fn revoked(name: &str) -> RevokedSeal {
    RevokedSeal { name: SealName::new(name).unwrap(), aliases: Vec::new(), kind: "peer".into() }
}

/// A node with the first of `peers`, and `b` revoked.
async fn without_b(peers: &[Peer]) -> Node {
    let seals = Seals::new(vec![peers[0].seal().await]).beside_revoked(vec![revoked("b")]);
    let rule = VersionRule::Counted { generation: 1 };
    let next = Deployment::assemble(config_of(&[("unseal", rule)], &["a"]), seals).unwrap();
    Node::begin(next, ManagedKeys::without_store(), clock() as _).await
}

#[tokio::test(start_paused = true)]
async fn nothing_decrypts_through_a_revoked_seal() {
    let peers = ["a", "b"].map(Peer::new);
    let (both, for_both) = node_of(&peers).await;
    let (_, for_b_alone) = node_of(&peers[1..]).await;
    assert_eq!(decrypt(&both, &for_b_alone).await.unwrap(), b"x", "it does until it is revoked");
    let node = without_b(&peers).await;
    let before = peers[1].unwraps();
    assert_eq!(decrypt(&node, &for_both).await.unwrap(), b"x");
    let refused = decrypt(&node, &for_b_alone).await;
    let is_b = |name: &SealName| name.as_str() == "b";
    assert!(matches!(&refused, Err(TransitError::SealRevoked(name)) if is_b(name)), "{refused:?}");
    peers[0].fails(KmsError::Unavailable(None));
    assert!(fault(decrypt(&node, &for_both).await).is_transient());
    assert_eq!(peers[1].unwraps(), before, "nor is it asked");
}

#[tokio::test(start_paused = true)]
async fn revoking_a_seal_moves_the_version_and_tells_what_is_lost() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, _) = node_with_key(&peers[1..], NewKey::default()).await;
    let alone = encrypt_under(&node, "m").await.unwrap();
    let reload = async |seals: Seals| {
        let next = Deployment::assemble(config_of(&[], &[]), seals).unwrap();
        node.replace(&node.deployment(), next).await.unwrap();
    };
    reload(Seals::new(vec![peers[0].seal().await, peers[1].seal().await])).await;
    assert_eq!((key(&node).latest.get(), seals_of(&key(&node))), (2, vec!["a", "b"]));
    assert!(node.keys().lost_versions(&node.deployment().seals).is_empty());
    reload(Seals::new(vec![peers[0].seal().await]).beside_revoked(vec![revoked("b")])).await;
    assert_eq!((key(&node).latest.get(), seals_of(&key(&node))), (3, vec!["a"]));
    let lost = node.keys().lost_versions(&node.deployment().seals);
    assert_eq!(lost.len(), 1);
    assert_eq!((&*lost[0].key, &*lost[0].versions), ("transit/m", "1"));
    assert_eq!(lost[0].seals, ["b"]);
    assert!(decrypt_under(&node, "m", &alone.ciphertext).await.is_err());
    let changes = KeyChanges { min_decryption_version: Some(2), ..KeyChanges::default() };
    engine(&node).configure_key(permit(operation::ConfigureKey, "m"), changes).await.unwrap();
    assert!(node.keys().lost_versions(&node.deployment().seals).is_empty(), "retired by hand");
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_last_present_seal_is_revoked_is_for_those_that_were_left_out() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, _) = node_with_key(&peers, MISSING).await;
    peers[0].faults.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    encrypted(&node).await;
    assert_eq!(seals_of(&key(&node)), ["b"]);
    let seals = Seals::new(vec![peers[0].seal().await]).beside_revoked(vec![revoked("b")]);
    let next = Deployment::assemble(config_of(&[], &[]), seals).unwrap();
    node.replace(&node.deployment(), next).await.unwrap();
    assert_eq!((key(&node).latest.get(), seals_of(&key(&node))), (3, vec!["a"]));
    assert!(key(&node).left_out().is_empty());
    peers[0].faults.on_wrap().clear();
    assert_eq!(encrypted(&node).await.0, 3, "as soon as it is back");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_must_not_miss_seals_any_more_takes_them_back_at_once() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, clock) = node_with_key(&peers, MISSING).await;
    peers[1].faults.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    assert_eq!(encrypted(&node).await.0, 2);
    let changes = KeyChanges { allow_missing_seals: Some(false), ..KeyChanges::default() };
    engine(&node).configure_key(permit(operation::ConfigureKey, "m"), changes).await.unwrap();
    pass(&clock, Duration::from_secs(60)).await;
    assert_eq!((key(&node).latest.get(), seals_of(&key(&node))), (3, vec!["a", "b"]));
    assert!(fault(encrypt_under(&node, "m").await).is_transient(), "for all seals or not at all");
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_is_busy_with_others_is_not_left_out() {
    let peers = [Peer::new("a"), Peer::governed("b")];
    let (node, _) = node_with_key(&peers, MISSING).await;
    // Two rounds of 64 calls, and hardly time for a third.
    peers[1].faults.on_wrap().always(Fault::delay(Duration::from_millis(440)));
    let made = futures_util::future::join_all((0..200).map(|_| encrypt_under(&node, "m"))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 128);
    assert_eq!(key(&node).latest.get(), 1);
    peers[1].faults.on_wrap().always(Fault::hang());
    let made = futures_util::future::join_all((0..200).map(|_| encrypt_under(&node, "m"))).await;
    assert!(made.into_iter().any(|made| made.is_ok()));
    assert_eq!(encrypted(&node).await.0, 2);
}

/// The start asks nobody, and the first of three seals hangs in whatever it is asked.
#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_a_dead_seal_no_longer_than_a_decrypt() {
    let sites = ["weu", "neu", "ceu"].map(|name| (name, Site::with_local_key()));
    let seals = || Seals::new(sites.iter().map(|(name, site)| site.seal(name)).collect());
    let start = async || {
        let config = config_of(&[("unseal", COUNTED)], &["weu", "neu", "ceu"]);
        let deployment = Deployment::assemble(config, seals().resumed(None)).unwrap();
        Node::begin(deployment, ManagedKeys::without_store(), clock() as _).await
    };
    let node = start().await;
    sleep(Duration::from_secs(1)).await;
    let made = encrypt(&node).await.unwrap();
    drop(node);
    let dead = &sites[0].1.faults;
    dead.on_describe().always(Fault::hang());
    dead.on_unwrap().always(Fault::hang());
    let began = Instant::now();
    let node = start().await;
    assert_eq!(encrypt(&node).await.unwrap().version, made.version);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
    assert!(began.elapsed() <= Duration::from_millis(305), "{:?}", began.elapsed());
}

/// A node whose managed key `m` was for `before`, and whose configuration now has those of `kept`
/// and a new seal `weu`, whose KMS is away.
async fn node_with_newcomer(before: &[Peer], kept: &[Peer], site: &Site) -> Node {
    let (node, _) = node_with_key(before, NewKey::default()).await;
    site.away();
    let mut seals = Vec::new();
    for peer in kept {
        seals.push(peer.seal().await);
    }
    seals.push(site.seal("weu"));
    let next = Deployment::assemble(config_of(&[], &[]), Seals::new(seals)).unwrap();
    node.replace(&node.deployment(), next).await.unwrap();
    node
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_seal_that_is_gone_waits_for_the_new_one_and_nothing_is_final() {
    let (peers, site) = (["a", "b"].map(Peer::new), Site::new());
    let node = node_with_newcomer(&peers, &peers[..1], &site).await;
    for _ in 0..3 {
        assert!(fault(encrypt_under(&node, "m").await).is_transient());
        sleep(POLL).await;
    }
    site.back();
    sleep(POLL).await;
    assert_eq!((encrypted(&node).await.0, seals_of(&key(&node))), (2, vec!["a", "weu"]));
}

#[tokio::test(start_paused = true)]
async fn a_new_seal_that_answers_is_followed_in_one_version() {
    let (peers, site) = (["a", "b"].map(Peer::new), Site::new());
    let (node, _) = node_with_key(&peers, NewKey::default()).await;
    site.faults.on_describe().always(Fault::delay(Duration::from_millis(300)));
    let seals = Seals::new(vec![peers[0].seal().await, site.seal("weu")]);
    let next = Deployment::assemble(config_of(&[], &[]), seals).unwrap();
    node.replace(&node.deployment(), next).await.unwrap();
    assert_eq!((encrypted(&node).await.0, seals_of(&key(&node))), (2, vec!["a", "weu"]));
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_only_seal_is_new_and_away_is_to_be_tried_again() {
    let (peers, site) = (["b"].map(Peer::new), Site::new());
    let node = node_with_newcomer(&peers, &[], &site).await;
    for _ in 0..2 {
        match encrypt_under(&node, "m").await {
            Err(TransitError::Seal(error)) => {
                assert_eq!(error.seal.as_str(), "weu");
                assert!(error.source.is_transient());
            }
            other => panic!("{other:?}"),
        }
        sleep(POLL).await;
    }
    site.back();
    assert_eq!((encrypted(&node).await.0, seals_of(&key(&node))), (2, vec!["weu"]));
}

/// A change by a client holds on to that while the store does not answer it.
#[tokio::test(start_paused = true)]
async fn a_master_key_is_adopted_while_a_change_of_a_key_is_under_way() {
    let site = Site::new();
    let node = site.running().await;
    engine(&node).create_key(permit(operation::CreateKey, "m"), NewKey::default()).await.unwrap();
    let change = node.keys().hold_changes().await;
    site.kms.lists(&[1, 2].map(Version::enabled));
    sleep(2 * POLL).await;
    assert_eq!(kek(&node), id(2));
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
    assert!(node.deployment().seals.iter().all(|seal| seal.connection.health().fault.is_none()));
    assert_eq!(key(&node).latest.get(), 1, "a key that somebody changes waits for its turn");
    drop(change);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(key(&node).latest.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_far_ahead_makes_no_other_long_past() {
    let connection = Site::new().seal("weu").connection;
    assert_eq!(connection.when(9_000_000, 1_000_000), 1_000_000);
    sleep(Duration::from_secs(5_000)).await;
    assert_eq!(connection.when(2_000_000, 1_005_000), 1_005_000, "first met now");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(connection.when(2_000_000, 1_005_010), 1_005_000);
    let next = Site::new().seal("weu").connection;
    next.inherit(&connection);
    assert_eq!(next.when(2_000_000, 1_005_010), 1_005_000, "a reload forgets nothing");
    for noted in 3_000_000..3_000_100 {
        assert_eq!(connection.when(noted, 1_005_010), 1_005_010);
    }
    assert_eq!(connection.when(9_000_000, 1_005_010), 1_000_000, "the first are kept");
}

/// What it was noted for would wait for that time itself.
#[tokio::test(start_paused = true)]
async fn each_of_many_times_ahead_is_left_behind() {
    let connection = Site::new().seal("weu").connection;
    for _each_hour in 0..2 {
        for noted in 2_000_000..2_000_200 {
            connection.when(noted, 1_000_000);
        }
        sleep(Duration::from_secs(3_600)).await;
    }
    for noted in 2_000_000..2_000_200 {
        assert_eq!(connection.when(noted, 1_007_200), 1_000_000, "{noted}");
    }
    assert_eq!(connection.when(3_000_000, 2_500_000), 2_500_000, "those have passed");
}
