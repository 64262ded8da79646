use std::sync::Arc;
use std::time::Duration;

use selkie_config::VersionRule;
use selkie_kms::{Fault, KmsError};
use tokio::time::sleep;

use super::*;
use crate::clock::SystemClock;
use crate::node::Node;
use crate::seal::tests::Site;
use crate::transit::ManagedKeys;
use crate::transit::tests::config_of;

/// A server without a database, on what is kept of the site, after it had time to learn.
async fn running(site: &Site) -> Node {
    let config = config_of(&[("unseal", VersionRule::Counted { generation: 0 })], &["weu"]);
    let deployment = Deployment::assemble(config, site.seals().resumed(None)).unwrap();
    let node = Node::begin(deployment, ManagedKeys::without_store(), Arc::new(SystemClock)).await;
    sleep(Duration::from_secs(100)).await;
    node
}

fn is_served(node: &Node) -> bool {
    is_anything_served(&node.deployment(), false, 1_000_000)
}

fn describe_fails(site: &Site, error: KmsError) {
    site.faults.on_describe().clear();
    site.faults.on_describe().always(Fault::fail(error));
}

#[tokio::test(start_paused = true)]
async fn without_any_description_nothing_is_served() {
    for error in [KmsError::Unavailable(None), KmsError::Denied(None)] {
        let site = Site::new();
        describe_fails(&site, error);
        assert!(!is_served(&running(&site).await));
    }
}

#[tokio::test(start_paused = true)]
async fn a_trusted_public_key_serves_while_its_kms_is_away() {
    let site = Site::new();
    let node = running(&site).await;
    assert!(is_served(&node));
    describe_fails(&site, KmsError::Unavailable(None));
    sleep(Duration::from_secs(600)).await;
    assert!(!node.deployment().seals.iter().any(decrypts));
    assert!(is_served(&node));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_master_key_serves_nothing_although_it_is_known() {
    let site = Site::new();
    let node = running(&site).await;
    describe_fails(&site, KmsError::UnknownKek(None));
    sleep(Duration::from_secs(600)).await;
    assert!(!is_served(&node));
}

/// From an unsigned pin file a key is known and not trusted: only its KMS can make it useful. One that
/// does not describe it and unwraps has proven it by that.
#[tokio::test(start_paused = true)]
async fn an_untrusted_pin_serves_as_long_as_its_kms_may_still_unwrap() {
    let site = Site::new();
    drop(running(&site).await);
    for (error, is_serving) in [
        (KmsError::Unavailable(None), false),
        (KmsError::TimedOut(None), false),
        (KmsError::Denied(None), true),
        (KmsError::Throttled { retry_after: None, cause: None }, true),
    ] {
        describe_fails(&site, error.clone());
        let node = running(&site).await;
        let seals: Vec<_> = node.deployment().seals.iter().cloned().collect();
        let is_proven = matches!(error, KmsError::Denied(_));
        assert!(seals.iter().all(|seal| seal.known.is_some()));
        assert!(seals.iter().all(|seal| is_trusted(seal, 1_000_000) == is_proven), "{error}");
        assert_eq!(is_served(&node), is_serving, "{error}");
    }
}

/// As a new replica that got the right to see its master key and not to use it.
#[tokio::test(start_paused = true)]
async fn a_kms_that_describes_and_denies_serves_nothing_until_it_unwraps() {
    let site = Site::new();
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    let node = running(&site).await;
    assert!(!is_served(&node));
    site.faults.on_unwrap().clear();
    sleep(Duration::from_secs(60)).await;
    assert!(is_served(&node));
}

/// Who may unwrap and no longer describe is the last replica that decrypts.
#[tokio::test(start_paused = true)]
async fn a_kms_that_denies_to_describe_is_asked_to_unwrap_and_serves_while_it_does() {
    let site = Site::new();
    drop(running(&site).await);
    describe_fails(&site, KmsError::Denied(None));
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    let node = running(&site).await;
    assert!(!is_served(&node), "nothing has succeeded in this process");
    site.faults.on_unwrap().clear();
    sleep(Duration::from_secs(60)).await;
    assert!(is_served(&node));
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    sleep(Duration::from_secs(60)).await;
    assert!(!node.deployment().seals.iter().any(decrypts), "it was only before that it succeeded");
    assert!(is_served(&node), "it encrypts under the public key that proved itself");
}

/// As an upstream where the token of the seal was revoked.
#[tokio::test(start_paused = true)]
async fn a_kms_that_wraps_by_itself_and_denies_all_serves_nothing() {
    let site = Site::of_symmetric_key();
    let node = running(&site).await;
    assert!(is_served(&node));
    let denied = || KmsError::Denied(None);
    site.faults.on_unwrap().always(Fault::fail(denied()));
    describe_fails(&site, denied());
    sleep(Duration::from_secs(120)).await;
    assert!(!node.deployment().seals.iter().any(decrypts));
    assert!(is_served(&node), "it wraps");
    assert!(
        node.deployment().seals.iter().all(|seal| is_wrapping(seal, 1_000_000)),
        "status says so too"
    );
    site.faults.on_wrap().always(Fault::fail(denied()));
    sleep(Duration::from_secs(60)).await;
    assert!(!is_served(&node));
    site.faults.on_unwrap().clear();
    sleep(Duration::from_secs(60)).await;
    assert!(is_served(&node), "it unwraps again, which its canary shows");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_seal_still_serves_what_it_decrypts() {
    let site = Site::new();
    let node = running(&site).await;
    let deployment = node.deployment();
    let enabled = deployment.seals.iter().next().unwrap();
    let disabled = Seal { disabled: true, ..enabled.clone() };
    assert!(decrypts(&disabled) && !is_wrapping(&disabled, 1_000_000));
    assert!(is_wrapping(enabled, 1_000_000));
}
