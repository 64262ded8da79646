//! Claims about a server that has not unwrapped anything yet, and whose KMS refuses it something.

use super::*;
use crate::availability::decrypts;
use crate::seal::connection::LastAnswer;

const DENIED: KmsError = KmsError::Denied(None);
const DISABLED: KmsError = KmsError::Disabled(None);

fn is_decrypting(node: &Node) -> bool {
    node.deployment().seals.iter().all(decrypts)
}

fn rotated(site: &Site) {
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    site.kms.refuses(2, DENIED);
}

#[tokio::test(start_paused = true)]
async fn a_new_version_that_is_refused_at_a_restart_does_not_hide_that_the_old_one_opens() {
    let site = Site::new();
    drop(site.running().await);
    rotated(&site);
    let node = site.running().await;
    let fault = connection(&node).health().fault;
    assert!(matches!(fault, Some(SealFault::Kms(KmsError::Denied(_)))), "{fault:?}");
    assert!(is_decrypting(&node));
    sleep(10 * POLL).await;
    assert!(is_decrypting(&node));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_refused_at_the_first_start_does_not_hide_that_an_older_one_opens() {
    let site = Site::without_data_dir();
    rotated(&site);
    let node = site.running().await;
    assert!(is_decrypting(&node));
    sleep(10 * POLL).await;
    assert!(is_decrypting(&node), "each poll tries the refused one again");
    site.kms.refuses(1, DENIED);
    sleep(POLL).await;
    assert!(!is_decrypting(&node), "each version was tried");
    site.kms.unwraps_all();
    site.kms.refuses(2, DENIED);
    sleep(POLL).await;
    assert!(is_decrypting(&node));
    site.kms.refuses(1, DENIED);
    let node = site.running().await;
    assert!(!is_decrypting(&node), "as at a start");
}

#[tokio::test(start_paused = true)]
async fn a_kms_that_rejects_to_describe_is_asked_to_unwrap_at_a_start() {
    for error in [KmsError::Rejected(None), KmsError::Disabled(None)] {
        let site = Site::new();
        drop(site.running().await);
        site.faults.on_describe().always(Fault::fail(error));
        assert!(is_decrypting(&site.running().await));
        site.faults.on_unwrap().always(Fault::fail(DENIED));
        assert!(!is_decrypting(&site.running().await));
    }
}

/// A balancer that takes it out keeps away the decrypt that would tell.
#[tokio::test(start_paused = true)]
async fn versions_that_nothing_can_be_tried_with_count_as_opened() {
    let site = Site::of_symmetric_key();
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    site.faults.on_wrap().always(Fault::fail(DENIED));
    let node = site.running().await;
    assert_eq!(connection(&node).last_unwrap(), LastAnswer::None);
    assert!(is_decrypting(&node));
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_unwraps_to_another_secret_does_not_show_that_the_kms_unwraps() {
    let site = Site::of_symmetric_key();
    drop(site.running().await);
    site.faults.on_describe().always(Fault::fail(DENIED));
    site.faults.on_wrap().always(Fault::fail(DENIED));
    site.faults.on_unwrap().always(Fault::other_secret());
    let node = site.running().await;
    assert_ne!(connection(&node).last_unwrap(), LastAnswer::Done);
    assert!(!is_decrypting(&node));
}

fn up_to(newest: u32) -> Vec<Version> {
    (1..=newest).map(Version::enabled).collect()
}

/// A server that has seen three versions come, and that a client has shown that the last one is
/// refused.
async fn suspecting(site: &Site, refused: impl IntoIterator<Item = u32>) -> Node {
    let node = site.running().await;
    for newest in 2..=3 {
        site.kms.lists(&up_to(newest));
        sleep(2 * POLL).await;
    }
    let made = encrypt(&node).await.unwrap();
    refused.into_iter().for_each(|number| site.kms.refuses(number, DISABLED));
    assert!(is_decrypting(&node), "nobody has tried");
    fault(decrypt(&node, &made.ciphertext).await);
    sleep(Duration::from_secs(6)).await;
    let fault = connection(&node).health().fault;
    assert!(matches!(fault, Some(SealFault::Kms(KmsError::Disabled(_)))), "{fault:?}");
    node
}

/// As with Key Vault: its data plane refuses a version before the listing says so.
#[tokio::test(start_paused = true)]
async fn a_version_in_use_that_is_disabled_does_not_hide_that_the_older_ones_open() {
    for site in [Site::new(), Site::of_symmetric_key()] {
        let node = suspecting(&site, [3]).await;
        assert!(is_decrypting(&node));
        let mut listed = up_to(3);
        listed[2].state = KekState::Disabled;
        site.kms.lists(&listed);
        sleep(2 * POLL).await;
        assert!(is_decrypting(&node));
        site.faults.on_describe().always(Fault::fail(DENIED));
        site.faults.on_unwrap().always(Fault::fail(DENIED));
        sleep(2 * POLL).await;
        assert!(!is_decrypting(&node), "that is of all versions");
        site.back();
        sleep(POLL).await;
        assert!(is_decrypting(&node));
    }
}

#[tokio::test(start_paused = true)]
async fn versions_that_are_all_disabled_open_nothing() {
    for site in [Site::new(), Site::of_symmetric_key()] {
        let node = suspecting(&site, 1..=3).await;
        assert!(!is_decrypting(&node), "each was tried");
        site.kms.unwraps_all();
        sleep(POLL).await;
        assert!(is_decrypting(&node));
        let alone = Site::new();
        let node = alone.running().await;
        let made = encrypt(&node).await.unwrap();
        alone.kms.refuses(1, DISABLED);
        fault(decrypt(&node, &made.ciphertext).await);
        sleep(Duration::from_secs(6)).await;
        assert!(!is_decrypting(&node), "there is no other");
    }
}

/// Without the right to list there is one version to be seen, and it is not the only one.
#[tokio::test(start_paused = true)]
async fn a_version_that_is_disabled_says_nothing_of_those_that_are_not_listed() {
    let version = selkie_crypto::KeyVersion::new(3).unwrap();
    let site = Site { rule: VersionRule::Stated(version), ..Site::new() };
    site.kms.lists(&up_to(3));
    site.kms.may_list(false);
    let node = site.running().await;
    let made = encrypt(&node).await.unwrap();
    site.kms.refuses(3, DISABLED);
    fault(decrypt(&node, &made.ciphertext).await);
    sleep(Duration::from_secs(6)).await;
    assert!(is_decrypting(&node));
    site.faults.on_unwrap().always(Fault::fail(DENIED));
    sleep(2 * POLL).await;
    assert!(!is_decrypting(&node), "that is of all versions");
}
