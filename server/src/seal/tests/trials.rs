//! Claims about a server that has not unwrapped anything yet, and whose KMS refuses it something.

use super::*;
use crate::availability::decrypts;
use crate::seal::connection::LastAnswer;

const DENIED: KmsError = KmsError::Denied(None);

fn connection(node: &Node) -> Arc<Connection> {
    Arc::clone(&node.deployment().seals.iter().next().unwrap().connection)
}

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
