//! Claims about a server that starts while the newest version cannot be used.

use super::*;

fn newest(state: KekState) -> [Version; 2] {
    [Version::enabled(1), Version { state, ..Version::enabled(2) }]
}

async fn encrypts_under(node: &Node) -> (u32, KekId) {
    (encrypt(node).await.unwrap().version.get(), kek(node))
}

fn staged(node: &Node) -> Option<KekId> {
    connection(node).known().unwrap().staged().cloned()
}

#[tokio::test(start_paused = true)]
async fn a_restart_beside_a_new_version_that_may_not_be_used_leaves_the_old_one_in_use() {
    for tells in [rsa_kms::Tells::All, rsa_kms::Tells::TheCurrentOne, rsa_kms::Tells::None] {
        for state in [KekState::Disabled, KekState::NotYetValid, KekState::Expired] {
            let site = Site::new();
            site.kms.tells(tells);
            drop(site.running().await);
            let pin = fs::read_to_string(site.pin()).unwrap();
            site.kms.lists(&newest(state));
            let node = site.running().await;
            assert_eq!(encrypts_under(&node).await, (1, id(1)), "{tells:?} {state:?}");
            if state != KekState::NotYetValid {
                let fault = connection(&node).health().fault;
                assert!(matches!(fault, Some(SealFault::NotUsable { .. })), "{fault:?}");
            }
            assert_eq!(fs::read_to_string(site.pin()).unwrap(), pin);
            site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
            sleep(2 * POLL).await;
            assert_eq!(encrypts_under(&node).await, (2, id(2)));
        }
    }
}

/// As Key Vault's newest version is of an unfit type, or its `key_ops` lack unwrapKey.
#[tokio::test(start_paused = true)]
async fn a_restart_beside_a_new_version_that_is_unfit_leaves_the_old_one_in_use() {
    for tells in [rsa_kms::Tells::All, rsa_kms::Tells::None] {
        let site = Site::new();
        site.kms.tells(tells);
        drop(site.running().await);
        site.faults.on_describe().always(Fault::fail(KmsError::Disabled(None)));
        let node = site.running().await;
        assert_eq!(encrypts_under(&node).await, (1, id(1)), "{tells:?}");
        site.back();
        site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
        sleep(2 * POLL).await;
        assert_eq!(encrypts_under(&node).await, (2, id(2)));
    }
}

/// Invariant I2: the unsigned pin file's word is not enough, nor is that the KMS does something.
#[tokio::test(start_paused = true)]
async fn an_old_version_that_the_kms_does_not_confirm_is_not_in_use_beside_an_unusable_one() {
    let site = Site::new();
    drop(site.running().await);
    site.kms.lists(&newest(KekState::NotYetValid));
    site.faults.on_unwrap().always(Fault::other_secret());
    let refused = fault(encrypt(&site.running().await).await);
    assert!(matches!(refused, SealFault::Unconfirmed(None)), "{refused}");
    site.faults.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    let refused = fault(encrypt(&site.running().await).await);
    assert!(refused.is_transient(), "it passes: {refused}");
}

/// Replicas that run are at the new version; this one would be at the old one for one poll.
#[tokio::test(start_paused = true)]
async fn a_new_version_that_fails_for_a_moment_does_not_bring_back_the_old_one_at_a_restart() {
    let site = Site::new();
    drop(site.running().await);
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    site.kms.refuses(2, KmsError::Unavailable(None));
    let node = site.running().await;
    let refused = fault(encrypt(&node).await);
    assert!(refused.is_transient(), "{refused}");
    site.kms.unwraps_all();
    sleep(2 * POLL).await;
    assert_eq!(encrypts_under(&node).await, (2, id(2)));
}

/// The same key cannot be told from another by a round trip where nobody sees it.
#[tokio::test(start_paused = true)]
async fn another_key_under_the_old_id_is_not_in_use_beside_an_unusable_one() {
    for is_described in [true, false] {
        let site = Site::of_symmetric_key();
        drop(site.running().await);
        let replaced = Version { key: 2, ..Version::enabled(1) };
        site.kms.lists(&[replaced, newest(KekState::Disabled)[1]]);
        if !is_described {
            site.faults.on_describe().always(Fault::fail(KmsError::Disabled(None)));
        }
        let node = site.running().await;
        fault(encrypt(&node).await);
        sleep(2 * POLL).await;
        fault(encrypt(&node).await);
    }
}

/// Invariant I7: a data directory from before a rotation does not lower N.
#[tokio::test(start_paused = true)]
async fn a_pin_from_before_a_rotation_does_not_bring_back_the_version_of_then() {
    let site = Site::new();
    drop(site.running().await);
    let [one, three] = [Version::enabled(1), Version::enabled(3)];
    let three = Version { state: KekState::NotYetValid, ..three };
    site.kms.lists(&[one, Version::enabled(2), three]);
    let node = site.running().await;
    assert_eq!(encrypts_under(&node).await, (2, id(2)));
    site.kms.lists(&[one, Version::enabled(2), Version::enabled(3)]);
    sleep(2 * POLL).await;
    assert_eq!(encrypts_under(&node).await, (3, id(3)));
}

/// Invariant I7: what came between was in use elsewhere.
#[tokio::test(start_paused = true)]
async fn a_pin_from_before_a_version_that_expired_does_not_bring_back_the_version_of_then() {
    let site = Site::new();
    drop(site.running().await);
    let three = Version { state: KekState::NotYetValid, ..Version::enabled(3) };
    site.kms.lists(&[Version::enabled(1), newest(KekState::Expired)[1], three]);
    fault(encrypt(&site.running().await).await);
}

/// Invariant I7's exception: who has not followed a disabled version goes on under the one before.
#[tokio::test(start_paused = true)]
async fn a_rotation_that_was_called_off_stops_no_restart_beside_the_next_one() {
    for state in [KekState::NotYetValid, KekState::Disabled] {
        let site = Site::new();
        drop(site.running().await);
        let three = Version { state, ..Version::enabled(3) };
        site.kms.lists(&[Version::enabled(1), newest(KekState::Disabled)[1], three]);
        let node = site.running().await;
        assert_eq!(encrypts_under(&node).await, (1, id(1)), "{state:?}");
        sleep(2 * POLL).await;
        assert_eq!(encrypts_under(&node).await, (1, id(1)), "{state:?}");
    }
}

/// Versions count from when they are valid, also where none is yet.
#[tokio::test(start_paused = true)]
async fn a_first_start_before_the_time_of_any_version_follows_each_as_its_time_comes() {
    let to_come = |number| Version { state: KekState::NotYetValid, ..Version::enabled(number) };
    let site = Site::without_data_dir();
    site.kms.lists(&[to_come(1), to_come(2)]);
    let node = site.running().await;
    fault(encrypt(&node).await);
    site.kms.lists(&[Version::enabled(1), to_come(2)]);
    sleep(2 * POLL).await;
    assert_eq!(encrypts_under(&node).await, (1, id(1)));
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert_eq!(encrypts_under(&node).await, (2, id(2)));
}

/// Invariant I7: of two versions with a time each, the first is in use between the two.
#[tokio::test(start_paused = true)]
async fn replicas_follow_one_version_after_the_other_as_its_time_comes_whatever_they_knew() {
    for tells in [rsa_kms::Tells::All, rsa_kms::Tells::TheCurrentOne, rsa_kms::Tells::None] {
        let to_come = |number| Version { state: KekState::NotYetValid, ..Version::enabled(number) };
        let is_there = Version::enabled;
        let (running, pinned) = (Site::new(), Site::new());
        let (signed, stateless) = (Site::with_local_key(), Site::without_data_dir());
        let sites = [&running, &pinned, &signed, &stateless];
        let list = |versions: [Version; 3]| sites.iter().for_each(|site| site.kms.lists(&versions));
        sites.iter().for_each(|site| site.kms.tells(tells));
        drop((pinned.running().await, signed.running().await));
        list([is_there(1), to_come(2), to_come(3)]);
        let node = running.running().await;
        assert_eq!(encrypts_under(&node).await, (1, id(1)), "{tells:?}");
        list([is_there(1), is_there(2), to_come(3)]);
        sleep(2 * POLL).await;
        let started = [pinned.running().await, signed.running().await, stateless.running().await];
        let nodes = [&node, &started[0], &started[1], &started[2]];
        for node in nodes {
            assert_eq!(encrypts_under(node).await, (2, id(2)), "{tells:?}");
            assert_eq!(staged(node), Some(id(3)), "{tells:?}");
        }
        list([1, 2, 3].map(is_there));
        sleep(2 * POLL).await;
        for node in nodes {
            assert_eq!(encrypts_under(node).await, (3, id(3)), "{tells:?}");
        }
        // The time of one that was in use is moved.
        list([is_there(1), is_there(2), to_come(3)]);
        sleep(2 * POLL).await;
        for node in nodes {
            fault(encrypt(node).await);
            assert_eq!(node.deployment().declared_keys().next().unwrap().1.latest.get(), 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_whose_time_has_come_and_that_fails_is_not_in_use() {
    let site = Site::new();
    let to_come = |number| Version { state: KekState::NotYetValid, ..Version::enabled(number) };
    let node = site.running().await;
    site.kms.lists(&[Version::enabled(1), Version::enabled(2), to_come(3)]);
    site.kms.refuses(2, KmsError::Rejected(None));
    sleep(2 * POLL).await;
    assert_eq!(encrypts_under(&node).await, (1, id(1)));
    let fault = connection(&node).health().fault;
    assert!(matches!(fault, Some(SealFault::Unconfirmed(_))), "{fault:?}");
    site.kms.unwraps_all();
    sleep(2 * POLL).await;
    assert_eq!(encrypts_under(&node).await, (2, id(2)));
}

#[tokio::test(start_paused = true)]
async fn a_first_start_beside_versions_whose_time_has_not_come_encrypts_under_the_one_before() {
    for tells in [rsa_kms::Tells::All, rsa_kms::Tells::TheCurrentOne] {
        let site = Site::without_data_dir();
        site.kms.tells(tells);
        let to_come = |number| Version { state: KekState::NotYetValid, ..Version::enabled(number) };
        site.kms.lists(&[Version::enabled(1), to_come(2), to_come(3)]);
        let node = site.running().await;
        assert_eq!(encrypts_under(&node).await, (1, id(1)), "{tells:?}");
        sleep(2 * POLL).await;
        assert_eq!(encrypts_under(&node).await, (1, id(1)));
        site.kms.lists(&[Version::enabled(1), Version::enabled(2), Version::enabled(3)]);
        sleep(2 * POLL).await;
        assert_eq!(encrypts_under(&node).await, (3, id(3)));
    }
}

/// Invariant I7: a disabled or expired version may have been in use, and a server that knows nothing
/// from before cannot tell.
#[tokio::test(start_paused = true)]
async fn a_first_start_beside_a_disabled_or_expired_version_encrypts_nothing() {
    for state in [KekState::Disabled, KekState::Expired] {
        let site = Site::without_data_dir();
        site.kms.lists(&newest(state));
        let node = site.running().await;
        let refused = fault(encrypt(&node).await);
        assert!(matches!(&refused, SealFault::NotUsable { kek, .. } if *kek == id(2)), "{refused}");
        assert_eq!(node.deployment().declared_keys().next().unwrap().1.latest.get(), 2);
    }
}

/// What is done as it should be is no trouble: not in `status`, nor for the keys that wait until the
/// seal is steadily well.
#[tokio::test(start_paused = true)]
async fn a_seal_is_well_while_a_version_is_staged() {
    let site = Site::new();
    let node = site.running().await;
    site.kms.lists(&newest(KekState::NotYetValid));
    sleep(2 * POLL).await;
    let (seal, asked) = (connection(&node), site.faults.on_describe().calls());
    sleep(20 * POLL).await;
    assert!(seal.health().fault.is_none() && seal.well_for() >= 20 * POLL, "{:?}", seal.health());
    assert_eq!(staged(&node), Some(id(2)));
    let asked = site.faults.on_describe().calls() - asked;
    assert!((15..=27).contains(&asked), "asked {asked} times");
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert_eq!((encrypts_under(&node).await, staged(&node)), ((2, id(2)), None));
}

/// It hides nothing that is wrong with the version in use.
#[tokio::test(start_paused = true)]
async fn a_version_in_use_that_fails_is_told_while_another_one_is_staged() {
    let site = Site::new();
    let node = site.running().await;
    site.kms.lists(&newest(KekState::NotYetValid));
    sleep(2 * POLL).await;
    let made = encrypt(&node).await.unwrap();
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    fault(decrypt(&node, &made.ciphertext).await);
    sleep(2 * POLL).await;
    let told = connection(&node).health().fault;
    assert!(told.as_ref().is_some_and(|told| told.outcome() == "denied"), "{told:?}");
    site.back();
    sleep(2 * POLL).await;
    assert!(connection(&node).health().fault.is_none());
    let expired = Version { state: KekState::Expired, ..Version::enabled(1) };
    site.kms.lists(&[expired, newest(KekState::NotYetValid)[1]]);
    sleep(2 * POLL).await;
    let told = connection(&node).health().fault;
    assert!(matches!(&told, Some(SealFault::NotUsable { kek, .. }) if *kek == id(1)), "{told:?}");
}

/// Where nobody sees the key, when it was made tells of another one, as ever.
#[tokio::test(start_paused = true)]
async fn a_key_made_anew_is_told_while_a_version_is_staged() {
    let site = Site::of_symmetric_key();
    let made = |key, seconds| Version { key, created: Some(seconds), ..Version::enabled(1) };
    let to_come = newest(KekState::NotYetValid)[1];
    site.kms.lists(&[made(0, 7), to_come]);
    let node = site.running().await;
    assert_eq!(encrypts_under(&node).await, (1, id(1)));
    site.kms.lists(&[made(2, 8), to_come]);
    sleep(2 * POLL).await;
    fault(encrypt(&node).await);
    let told = connection(&node).health().fault;
    assert!(matches!(told, Some(SealFault::Contradicted(_))), "{told:?}");
}

/// A right that comes while a version is staged counts at once; one that is missing is told.
#[tokio::test(start_paused = true)]
async fn the_right_to_list_counts_while_a_version_is_staged() {
    let site = Site::without_data_dir();
    site.kms.may_list(false);
    let node = site.running().await;
    assert!(matches!(fault(encrypt(&node).await), SealFault::Unlisted));
    site.kms.lists(&newest(KekState::NotYetValid));
    sleep(2 * POLL).await;
    assert!(matches!(connection(&node).health().fault, Some(SealFault::Unlisted)));
    site.kms.may_list(true);
    sleep(2 * POLL).await;
    assert!(connection(&node).health().fault.is_none());
    assert_eq!(encrypts_under(&node).await, (1, id(1)));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_serves_no_longer_though_another_one_is_staged() {
    let site = Site::new();
    let node = site.running().await;
    site.kms.may_list(false);
    site.kms.lists(&newest(KekState::NotYetValid));
    sleep(2 * POLL).await;
    assert_eq!(encrypts_under(&node).await, (1, id(1)));
    site.kms.lists(&newest(KekState::NotYetValid)[1..]);
    sleep(2 * POLL).await;
    fault(encrypt(&node).await);
}
