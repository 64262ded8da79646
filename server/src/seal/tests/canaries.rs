//! Claims about a master key that is replaced by another under the same id, where its KMS tells no
//! public key to compare.

use super::rsa_kms::Tells;
use super::*;
use crate::telemetry::captured::Log;

const DAY: Duration = Duration::from_secs(86_400);

fn site() -> Site {
    let site = Site::with_local_key();
    site.kms.tells(Tells::None);
    site
}

/// Another key under the id of the first version.
fn replaced() -> Version {
    Version { key: 2, ..Version::enabled(1) }
}

fn canaries(site: &Site) -> PathBuf {
    site.dir.path().join("pins/weu.canaries")
}

async fn assert_contradicted(node: &Node, by: Contradiction) {
    let refused = fault(encrypt(node).await);
    assert!(matches!(&refused, SealFault::Contradicted(one) if *one == by), "{refused}");
    assert!(!refused.is_transient() && refused.advice().contains("restart no Vault"));
    let known = node.deployment().seals.iter().next().unwrap().connection.health();
    assert!(known.fault.is_some(), "it needs attention");
}

#[tokio::test(start_paused = true)]
async fn another_remote_key_under_a_version_is_told_at_the_next_start() {
    let site = site();
    drop(site.running().await);
    let (pin, kept) = (fs::read(site.pin()).unwrap(), fs::read(canaries(&site)).unwrap());
    site.kms.lists(&[replaced()]);
    let node = site.running().await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
    sleep(2 * DAY).await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
    assert_eq!(fs::read(site.pin()).unwrap(), pin, "never silently replaced");
    assert_eq!(fs::read(canaries(&site)).unwrap(), kept, "never silently replaced");
    site.kms.lists(&[Version::enabled(1)]);
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok(), "the right key is back");
}

#[tokio::test(start_paused = true)]
async fn another_remote_key_under_a_version_is_told_within_a_day_without_data_dir_too() {
    let site = Site { has_data_dir: false, ..site() };
    let node = site.running().await;
    let calls = site.faults.on_unwrap().calls();
    sleep(DAY - 2 * POLL).await;
    assert_eq!(site.faults.on_unwrap().calls(), calls);
    sleep(4 * POLL).await;
    assert_eq!(site.faults.on_unwrap().calls(), calls + 1, "one unwrap a day");
    assert!(encrypt(&node).await.is_ok());
    site.kms.lists(&[replaced()]);
    sleep(DAY + 2 * POLL).await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_master_key_deleted_and_made_anew_is_told_when_it_is_there_again() {
    let site = site();
    let node = site.running().await;
    site.kms.lists(&[]);
    sleep(2 * POLL).await;
    site.kms.lists(&[replaced()]);
    site.faults.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_err(), "not before it is known to be the same");
    site.faults.on_unwrap().clear();
    sleep(2 * POLL).await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
}

/// An upstream that lets us not read its keys denies what it no longer has.
#[tokio::test(start_paused = true)]
async fn a_master_key_made_anew_while_the_kms_described_none_is_told() {
    let site = site();
    let node = site.running().await;
    site.faults.on_describe().always(Fault::fail(KmsError::Denied(None)));
    sleep(2 * POLL).await;
    site.kms.lists(&[replaced()]);
    site.faults.on_describe().clear();
    sleep(2 * POLL).await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
}

#[tokio::test(start_paused = true)]
async fn the_version_before_is_asked_of_when_the_current_one_moves() {
    let site = site();
    let node = site.running().await;
    site.kms.lists(&[replaced(), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_seal_at_another_address_must_have_the_same_key() {
    for has_data_dir in [true, false] {
        let site = Site { has_data_dir, ..site() };
        let node = site.running().await;
        let moved = Site { target: "https://moved/keys/k", ..site };
        let before = node.deployment();
        node.replace(&before, moved.deployment(Some(&before))).await.unwrap();
        sleep(POLL).await;
        assert!(encrypt(&node).await.is_ok(), "the same key elsewhere");
        let other = Site { target: "https://other/keys/k", ..moved };
        other.kms.lists(&[replaced()]);
        let before = node.deployment();
        node.replace(&before, other.deployment(Some(&before))).await.unwrap();
        sleep(POLL).await;
        assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
        if has_data_dir {
            assert_contradicted(&other.running().await, Contradiction::OpensNothing(id(1))).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kms_that_is_away_or_refuses_speaks_against_no_key() {
    let site = site();
    let node = site.running().await;
    let throttled = KmsError::Throttled { retry_after: None, cause: None };
    for error in [
        KmsError::Unavailable(None),
        KmsError::TimedOut(None),
        KmsError::Denied(None),
        KmsError::Misbehaved(None),
        throttled,
    ] {
        site.faults.on_unwrap().always(Fault::fail(error));
        sleep(DAY + 2 * POLL).await;
        assert!(encrypt(&node).await.is_ok());
        assert!(encrypt(&site.running().await).await.is_ok(), "the pin is signed");
        site.faults.on_unwrap().clear();
        assert!(encrypt(&site.running().await).await.is_ok());
    }
}

fn trouble(node: &Node) -> Option<SealFault> {
    node.deployment().seals.iter().next().unwrap().connection.health().fault
}

/// An upstream may have words for its own troubles that we do not know.
#[tokio::test(start_paused = true)]
async fn a_kms_that_rejects_all_takes_no_trust_from_a_version_that_it_has_confirmed() {
    let site = site();
    let node = site.running().await;
    site.faults.on_unwrap().always(Fault::fail(KmsError::Rejected(None)));
    sleep(DAY + 2 * POLL).await;
    for _ in 0..10 {
        let fault = trouble(&node);
        assert!(matches!(fault, Some(SealFault::Unconfirmed(Some(_)))), "it is told: {fault:?}");
        assert!(encrypt(&node).await.is_ok());
        sleep(POLL).await;
    }
    site.faults.on_unwrap().clear();
    sleep(2 * POLL).await;
    assert!(trouble(&node).is_none() && encrypt(&node).await.is_ok());
    site.faults.on_unwrap().always(Fault::other_secret());
    sleep(DAY + 2 * POLL).await;
    let refused = fault(encrypt(&node).await);
    assert!(matches!(refused, SealFault::Unconfirmed(None)), "no denial says that: {refused}");
}

#[tokio::test(start_paused = true)]
async fn one_answer_alone_speaks_against_no_key() {
    let site = site();
    let node = site.running().await;
    let known = || node.deployment().seals.iter().next().unwrap().connection.known().unwrap();
    for answer in [|| Fault::fail(KmsError::Rejected(None)), Fault::other_secret] {
        let calls = site.faults.on_unwrap().calls();
        site.faults.on_unwrap().next(1, answer());
        while site.faults.on_unwrap().calls() == calls {
            sleep(POLL).await;
        }
        for _ in 0..100 {
            assert!(known().contradiction.is_none() && known().current_trust().is_some());
            sleep(Duration::from_millis(100)).await;
        }
        assert!(encrypt(&node).await.is_ok() && trouble(&node).is_none());
    }
}

/// A node that has confirmed two versions.
async fn rotated(site: &Site) -> Node {
    let node = site.running().await;
    site.kms.lists(&[1, 2].map(Version::enabled));
    sleep(2 * POLL).await;
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
    node
}

#[tokio::test(start_paused = true)]
async fn an_older_version_that_is_rejected_is_another_key_only_if_it_still_wraps() {
    for is_restarted in [false, true] {
        let site = site();
        let mut node = rotated(&site).await;
        let errors = [KmsError::Rejected(None), KmsError::Disabled(None), KmsError::Denied(None)];
        for error in errors.into_iter().take(if is_restarted { 3 } else { 1 }) {
            site.kms.refuses(1, error);
            if is_restarted {
                node = site.running().await;
            } else {
                sleep(DAY + 2 * POLL).await;
            }
            assert!(encrypt(&node).await.is_ok() && trouble(&node).is_none());
        }
        site.kms.unwraps_all();
        site.kms.lists(&[replaced(), Version::enabled(2)]);
        if is_restarted {
            node = site.running().await;
        } else {
            sleep(DAY + 2 * POLL).await;
        }
        assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_leads_away_from_a_version_that_is_rejected() {
    let site = site();
    let node = site.running().await;
    site.kms.refuses(1, KmsError::Rejected(None));
    site.kms.lists(&[1, 2].map(Version::enabled));
    sleep(2 * POLL).await;
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_proven_once_stands_until_the_key_is_back() {
    let site = site();
    let node = rotated(&site).await;
    site.kms.lists(&[replaced(), Version::enabled(2)]);
    sleep(DAY + 2 * POLL).await;
    site.kms.refuses(1, KmsError::Rejected(None));
    sleep(5 * POLL).await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(1))).await;
    site.kms.unwraps_all();
    site.kms.lists(&[1, 2].map(Version::enabled));
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_older_versions_canary_is_not_on_the_way_to_the_first_encrypt() {
    let site = Site { local_key: None, ..site() };
    drop(rotated(&site).await);
    site.kms.never_unwraps(1);
    let began = Instant::now();
    let node = site.started().await;
    assert!(encrypt(&node).await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_never_answers_keeps_no_other_from_its_turn() {
    let site = site();
    drop(rotated(&site).await);
    site.kms.lists(&[1, 2, 3].map(Version::enabled));
    drop(site.running().await);
    site.kms.never_unwraps(1);
    site.kms.lists(&[
        Version::enabled(1),
        Version { key: 3, ..Version::enabled(2) },
        Version::enabled(3),
    ]);
    let node = site.running().await;
    sleep(10 * POLL).await;
    assert_contradicted(&node, Contradiction::OpensNothing(id(2))).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_no_alarm_and_a_retired_version_stops_nothing() {
    let site = site();
    let node = site.running().await;
    site.kms.lists(&[1, 2].map(Version::enabled));
    sleep(2 * POLL).await;
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
    let kept = fs::read_to_string(canaries(&site)).unwrap();
    assert!(kept.contains("keys/k/1\"") && kept.contains("keys/k/2\""), "{kept}");
    let retired = Version { state: KekState::Disabled, ..Version::enabled(1) };
    site.kms.lists(&[retired, Version::enabled(2)]);
    sleep(2 * DAY).await;
    assert!(encrypt(&node).await.is_ok());
    let node = site.running().await;
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok());
}

/// As at an upstream whose policy lost the path of decrypt.
#[tokio::test(start_paused = true)]
async fn a_right_to_unwrap_that_is_lost_is_told_within_a_day_and_stops_no_encrypt() {
    let site = site();
    let node = site.running().await;
    let health = || node.deployment().seals.iter().next().unwrap().connection.health();
    site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
    let log = Log::start();
    sleep(DAY + 2 * POLL).await;
    assert!(matches!(health().fault, Some(SealFault::Kms(KmsError::Denied(_)))));
    assert!(log.take().contains("the master key needs attention"));
    assert!(encrypt(&node).await.is_ok());
    site.faults.on_unwrap().clear();
    sleep(POLL).await;
    assert!(health().fault.is_none(), "it is asked again soon");
}

/// As at an upstream whose key may not be read, and whose `min_decryption_version` was raised.
#[tokio::test(start_paused = true)]
async fn an_older_version_that_opens_nothing_counts_as_disabled_until_it_does() {
    let site = site();
    let node = site.running().await;
    site.kms.lists(&[1, 2].map(Version::enabled));
    sleep(2 * POLL).await;
    let disabled = || node.deployment().seals.iter().next().unwrap().connection.retired();
    site.kms.opens_from(2);
    sleep(2 * DAY).await;
    assert_eq!(disabled(), [id(1)]);
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2, "nothing else changes");
    site.kms.opens_from(1);
    sleep(DAY / 12).await;
    assert!(disabled().is_empty());
}

/// As where somebody replaced the key of an upstream and rotated it past the version in use.
#[tokio::test(start_paused = true)]
async fn a_version_that_opens_nothing_when_a_rotation_leaves_it_is_an_error_and_is_followed() {
    let site = site();
    let node = site.running().await;
    site.kms.refuses(1, KmsError::Rejected(None));
    site.kms.lists(&[1, 2].map(Version::enabled));
    let log = Log::start();
    sleep(2 * POLL).await;
    let told = log.take();
    assert!(
        told.contains("ERROR") && told.contains("the version before this rotation opens nothing")
    );
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_version_is_told_of_once_whether_or_not_it_has_a_canary() {
    for tells in [Tells::None, Tells::All] {
        let site = site();
        site.kms.tells(tells);
        let _node = site.running().await;
        site.kms.lists(&[1, 2].map(Version::enabled));
        sleep(2 * POLL).await;
        let log = Log::start();
        let retired = Version { state: KekState::Disabled, ..Version::enabled(1) };
        site.kms.lists(&[retired, Version::enabled(2)]);
        sleep(2 * POLL).await;
        let text = log.take();
        let told: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
        assert_eq!(told.len(), 1, "{tells:?}: {told:?}");
        assert!(told[0].contains("keys/k/1"), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pin_of_an_older_release_gets_its_canary_and_time_tells_of_another_key_until_then() {
    let site = site();
    let made = |key, seconds| Version { key, created: Some(seconds), ..Version::enabled(1) };
    site.kms.lists(&[made(0, 7)]);
    drop(site.running().await);
    fs::remove_file(canaries(&site)).unwrap();
    site.kms.lists(&[made(2, 8)]);
    assert_contradicted(&site.running().await, Contradiction::MadeAnew(id(1))).await;
    site.kms.lists(&[made(0, 7)]);
    assert!(encrypt(&site.running().await).await.is_ok());
    assert!(canaries(&site).exists());
    site.kms.lists(&[made(0, 9)]);
    assert!(encrypt(&site.running().await).await.is_ok(), "what it opens says more");
}

/// The way out that the log names.
#[tokio::test(start_paused = true)]
async fn who_removes_the_pin_file_accepts_another_key() {
    let site = site();
    drop(site.running().await);
    site.kms.lists(&[replaced()]);
    fs::remove_file(site.pin()).unwrap();
    let node = site.running().await;
    assert!(encrypt(&node).await.is_ok());
    assert!(encrypt(&site.running().await).await.is_ok(), "its canary is the new key's");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_of_canaries_is_kept_aside() {
    let site = site();
    drop(site.running().await);
    fs::write(canaries(&site), "{").unwrap();
    assert!(encrypt(&site.running().await).await.is_ok());
    let aside = canaries(&site).with_extension("canaries.refused");
    assert_eq!(fs::read_to_string(aside).unwrap(), "{");
    site.kms.lists(&[replaced()]);
    assert_contradicted(&site.running().await, Contradiction::OpensNothing(id(1))).await;
}
