//! Claims about a KMS that refuses clients what it did before.

use super::*;
use crate::availability::decrypts;
use crate::seal::connection::LastAnswer;
use crate::telemetry::captured::Log;

/// A short time after which a refused seal has been learned of.
const SOON: Duration = Duration::from_secs(6);

fn outcome(node: &Node) -> Option<&'static str> {
    connection(node).health().fault.map(|fault| fault.outcome())
}

#[tokio::test(start_paused = true)]
async fn a_right_to_unwrap_that_is_lost_is_told_soon_and_stops_no_encrypt() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap().ciphertext;
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    sleep(2 * POLL).await;
    assert_eq!(outcome(&node), None, "nobody has tried");
    let log = Log::start();
    fault(decrypt(&node, &made).await);
    sleep(SOON).await;
    assert_eq!(outcome(&node), Some("denied"));
    assert_eq!(connection(&node).last_unwrap(), LastAnswer::Refused);
    assert!(log.take().contains("the master key needs attention"));
    sleep(10 * POLL).await;
    assert_eq!(outcome(&node), Some("denied"), "though it is described");
    assert!(encrypt(&node).await.is_ok());
    site.faults.on_unwrap().clear();
    sleep(POLL).await;
    assert_eq!(outcome(&node), None, "it is tried by itself");
    assert_eq!(connection(&node).last_unwrap(), LastAnswer::Done);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_many_decrypts_cost_one_run_of_learning_in_seconds() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap().ciphertext;
    sleep(Duration::from_secs(10)).await;
    // What clients are refused, and we are not: as of what is refused for its own sake.
    let calls = site.faults.on_describe().calls();
    for _ in 0..100 {
        site.faults.on_unwrap().next(1, Fault::fail(KmsError::Denied(None)));
        fault(decrypt(&node, &made).await);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(outcome(&node), None, "a client makes it no fault of the seal");
    }
    let runs = site.faults.on_describe().calls() - calls;
    assert!((2..=6).contains(&runs), "{runs} in 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_seal_does_not_know_makes_nobody_learn() {
    let site = Site::new();
    let node = site.running().await;
    let connection = connection(&node);
    sleep(Duration::from_secs(10)).await;
    let calls = site.faults.on_describe().calls();
    connection.suspect(&id(7), &KmsError::Denied(None));
    connection.suspect(&id(7), &KmsError::UnknownKek(None));
    connection.suspect(&id(1), &KmsError::Rejected(None));
    connection.suspect(&id(1), &KmsError::Unavailable(None));
    sleep(SOON).await;
    assert_eq!(site.faults.on_describe().calls(), calls);
    connection.suspect(&id(1), &KmsError::Denied(None));
    sleep(SOON).await;
    assert_eq!(site.faults.on_describe().calls(), calls + 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_master_key_is_no_longer_encrypted_under_once_a_decrypt_has_found_out() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap().ciphertext;
    sleep(Duration::from_secs(10)).await;
    site.kms.lists(&[]);
    assert!(encrypt(&node).await.is_ok(), "nobody knows");
    fault(decrypt(&node, &made).await);
    sleep(SOON).await;
    assert_eq!(outcome(&node), Some("unknown_kek"));
    assert!(matches!(fault(encrypt(&node).await), SealFault::Contradicted(Contradiction::Missing)));
}

/// As an upstream whose token was revoked.
#[tokio::test(start_paused = true)]
async fn a_right_to_wrap_that_is_lost_is_told_soon_and_until_it_is_back() {
    let site = Site::of_symmetric_key();
    let node = site.running().await;
    sleep(Duration::from_secs(10)).await;
    site.faults.on_wrap().always(Fault::fail(KmsError::Denied(None)));
    fault(encrypt(&node).await);
    sleep(SOON).await;
    assert_eq!(outcome(&node), Some("denied"));
    assert_eq!(connection(&node).last_unwrap(), LastAnswer::Done);
    sleep(10 * POLL).await;
    assert_eq!(outcome(&node), Some("denied"));
    site.faults.on_wrap().clear();
    sleep(POLL).await;
    assert_eq!(outcome(&node), None);
}

/// That it wraps says nothing of what it was suspected of.
#[tokio::test(start_paused = true)]
async fn a_right_to_unwrap_that_is_lost_is_told_soon_though_the_kms_wraps_all_the_while() {
    let site = Site::of_symmetric_key();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap().ciphertext;
    sleep(Duration::from_secs(10)).await;
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    fault(decrypt(&node, &made).await);
    let until = Instant::now() + SOON;
    while Instant::now() < until {
        assert!(encrypt(&node).await.is_ok());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(outcome(&node), Some("denied"));
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_that_comes_during_a_run_is_looked_into_by_another() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap().ciphertext;
    sleep(Duration::from_secs(10)).await;
    let (learner, connection) = (engine(&node).learner(), connection(&node));
    // The run has tried the key and waits to put it to work.
    let adopting = node.keys().hold_deployment().await;
    let run = tokio::spawn(async move { learner.learn_soon(&connection).await });
    sleep(Duration::from_secs(1)).await;
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    fault(decrypt(&node, &made).await);
    sleep(Duration::from_secs(1)).await;
    drop(adopting);
    run.await.unwrap();
    assert_eq!(outcome(&node), None, "that run was too early to find out");
    sleep(SOON).await;
    assert_eq!(outcome(&node), Some("denied"));
}

/// Invariant I2: what is encrypted on would be lost.
#[tokio::test(start_paused = true)]
async fn a_key_in_use_that_unwraps_to_another_secret_is_no_longer_encrypted_under() {
    let site = Site::new();
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap().ciphertext;
    sleep(Duration::from_secs(10)).await;
    site.faults.on_unwrap().next(1, Fault::fail(KmsError::Denied(None)));
    site.faults.on_unwrap().always(Fault::other_secret());
    fault(decrypt(&node, &made).await);
    sleep(SOON).await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::Unconfirmed(None)), "{refused}");
    assert_ne!(connection(&node).last_unwrap(), LastAnswer::Refused, "it may open others");
    site.back();
    sleep(POLL).await;
    assert!(encrypt(&node).await.is_ok());
}

fn is_decrypting(node: &Node) -> bool {
    node.deployment().seals.iter().all(decrypts)
}

/// A server whose current version has expired, out of `versions`.
async fn expired(site: &Site, versions: u32) -> (Node, String) {
    let mut listed: Vec<_> = (1..=versions).map(Version::enabled).collect();
    listed.last_mut().unwrap().expires = Some(1_000_100);
    site.kms.lists(&listed);
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap().ciphertext;
    site.clock.0.store(1_000_100, Ordering::Relaxed);
    sleep(2 * POLL).await;
    assert_eq!(outcome(&node), Some("not_usable"));
    assert!(is_decrypting(&node));
    (node, made)
}

fn deny(site: &Site) {
    site.faults.on_describe().always(Fault::fail(KmsError::Denied(None)));
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
}

/// A balancer that goes by the health keeps away the decrypt that would show it.
async fn requires_that_a_short_denial_passes(site: &Site, node: &Node) {
    let before = outcome(node);
    deny(site);
    sleep(2 * POLL).await;
    assert_eq!(outcome(node), Some("denied"));
    assert!(!is_decrypting(node));
    site.back();
    sleep(POLL).await;
    assert_eq!(outcome(node), before);
    assert!(is_decrypting(node), "{before:?}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_that_was_denied_for_a_while_is_found_to_decrypt_again() {
    for versions in [1, 3] {
        let site = Site::new();
        let (node, _made) = expired(&site, versions).await;
        requires_that_a_short_denial_passes(&site, &node).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_contradicted_seal_that_was_denied_for_a_while_is_found_to_decrypt_again() {
    let (first, second) = (Version::enabled(1), Version::enabled(2));
    let replaced = Version { key: 2, ..second };
    for contradicting in [&[second][..], &[first][..], &[first, replaced][..]] {
        let site = Site::new();
        site.kms.lists(&[first, second]);
        let node = site.running().await;
        site.kms.lists(contradicting);
        sleep(2 * POLL).await;
        assert_eq!(outcome(&node), Some("contradicted"));
        requires_that_a_short_denial_passes(&site, &node).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_version_that_is_refused_for_good_does_not_hide_that_the_one_in_use_decrypts_again() {
    let site = Site::new();
    let node = site.running().await;
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    site.kms.refuses(2, KmsError::Rejected(None));
    sleep(2 * POLL).await;
    assert_eq!(outcome(&node), Some("unconfirmed"));
    requires_that_a_short_denial_passes(&site, &node).await;
}

#[tokio::test(start_paused = true)]
async fn a_right_to_unwrap_that_is_lost_is_found_out_though_encryption_has_stopped_already() {
    for versions in [1, 3] {
        let site = Site::new();
        let (node, made) = expired(&site, versions).await;
        site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
        sleep(2 * POLL).await;
        assert!(is_decrypting(&node), "nobody has tried");
        fault(decrypt(&node, &made).await);
        sleep(SOON).await;
        assert!(!is_decrypting(&node));
        sleep(10 * POLL).await;
        assert!(!is_decrypting(&node), "though it is described");
        site.faults.on_unwrap().clear();
        sleep(POLL).await;
        assert!(is_decrypting(&node), "it is tried by itself");
        let calls = site.faults.on_unwrap().calls();
        sleep(10 * POLL).await;
        assert_eq!(site.faults.on_unwrap().calls(), calls, "there is no doubt any more");
    }
}
