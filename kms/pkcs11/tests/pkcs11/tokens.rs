//! Tokens as they are: keys that suit and keys that do not, PINs, people who rotate.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use selkie_crypto::WrapAlgorithm;
use selkie_kms::pkcs11::{
    Class, Fault, Finding, Mechanism, Pkcs11Settings, Stage, Step, Unsuitable, Warning,
};
use selkie_kms::{KekState, Kms, KmsError};
use zeroize::Zeroizing;

use crate::softhsm::SoftHsm;
use crate::{Wrapped, diagnosis, provider};

#[tokio::test]
async fn the_only_key_of_a_label_is_found_and_named_by_a_uri() {
    let Some(hsm) = SoftHsm::with(&[("aes", "0a")]) else { return };
    let kms = provider(hsm.settings());
    let wrapped = Wrapped::under(&*kms, 7).await;
    assert_eq!((wrapped.algorithm, wrapped.bytes.len()), (WrapAlgorithm::A256GcmKw, 60));
    let (start, end) = wrapped.kek.as_str().split_once(';').unwrap();
    assert!(start.starts_with("pkcs11:serial=") && start.len() > 20, "{start}");
    assert_eq!(end, "object=unseal;id=%0A");
    wrapped.unwrap(&*kms).await.unwrap();
}

#[tokio::test]
async fn a_rotation_is_the_operators_word_and_the_old_version_still_opens() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let before = provider(hsm.settings());
    let old = Wrapped::under(&*before, 7).await;
    hsm.tool(&["aes", "unseal", "02"]);
    let several = provider(hsm.settings()).describe().await.unwrap_err();
    assert_eq!(diagnosis(&several).fault, Fault::Token(Class::SeveralKeys));
    assert!(diagnosis(&several).to_string().contains("id 01") && !several.is_transient());
    let mut settings = hsm.settings();
    (settings.key_id, settings.previous_key_ids) = (Some(vec![2]), vec![vec![1]]);
    let after = provider(settings);
    let description = after.describe().await.unwrap();
    assert_eq!(description.versions().len(), 2);
    assert!(description.current().id.as_str().ends_with("id=%02"));
    old.unwrap(&*after).await.unwrap();
    Wrapped::under(&*after, 8).await.unwrap(&*after).await.unwrap();
}

#[tokio::test]
async fn a_changed_mechanism_loses_nothing() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let by = |mechanism| {
        let mut settings = hsm.settings();
        settings.mechanism = Some(mechanism);
        provider(settings)
    };
    let (gcm, key_wrap) = (by(Mechanism::AesGcm), by(Mechanism::AesKeyWrap));
    let (by_gcm, by_key_wrap) =
        (Wrapped::under(&*gcm, 1).await, Wrapped::under(&*key_wrap, 2).await);
    assert_eq!(by_key_wrap.algorithm, WrapAlgorithm::A256Kw);
    by_gcm.unwrap(&*key_wrap).await.unwrap();
    by_key_wrap.unwrap(&*gcm).await.unwrap();
}

#[tokio::test]
async fn keys_that_do_not_suit_are_refused_with_the_reason() {
    for (kind, reason) in [("rsa", Unsuitable::OaepSha1Alone), ("aes128", Unsuitable::AesSize)] {
        let Some(hsm) = SoftHsm::with(&[(kind, "01")]) else { return };
        let refused = provider(hsm.settings()).describe().await.unwrap_err();
        assert!(matches!(refused, KmsError::Disabled(_)), "{refused:?}");
        assert_eq!(diagnosis(&refused).fault, Fault::Unsuitable(reason));
    }
}

#[tokio::test]
async fn a_missing_key_is_unknown() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let mut settings = hsm.settings();
    settings.key_id = Some(vec![9]);
    let missing = provider(settings).describe().await.unwrap_err();
    assert!(matches!(missing, KmsError::UnknownKek(_)), "{missing:?}");
    assert!(diagnosis(&missing).to_string().contains("id 09"));
}

/// The current version 02 of `hsm`, with 01 before it.
fn rotated(hsm: &SoftHsm) -> Pkcs11Settings {
    let (key_id, previous_key_ids) = (Some(vec![2]), vec![vec![1]]);
    Pkcs11Settings { key_id, previous_key_ids, ..hsm.settings() }
}

#[tokio::test]
async fn a_previous_version_that_cannot_be_used_takes_nothing_else_with_it() {
    let spoilt: [(&str, &[&str]); 3] = [
        ("missing", &[]),
        ("unsuitable", &["aes128", "unseal", "01"]),
        ("of another kind", &["rsa", "unseal", "01"]),
    ];
    for (how, command) in spoilt {
        let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
        let old = Wrapped::under(&*provider(hsm.settings()), 7).await;
        hsm.tool(&["aes", "unseal", "02"]);
        hsm.tool(&["delete", "unseal", "01"]);
        if !command.is_empty() {
            hsm.tool(command);
        }
        let settings = Pkcs11Settings { mechanism: Some(Mechanism::AesGcm), ..rotated(&hsm) };
        let kms = provider(settings);
        let description = kms.describe().await.unwrap();
        let states: Vec<_> = description.versions().iter().map(|version| version.state).collect();
        assert_eq!(states, [KekState::Disabled, KekState::Enabled], "{how}");
        assert_eq!(description.versions()[0].id, old.kek, "{how}: it is still the same version");
        assert!(description.is_complete(), "{how}");
        Wrapped::under(&*kms, 8).await.unwrap(&*kms).await.unwrap();
        let refused = old.unwrap(&*kms).await.unwrap_err();
        assert!(matches!(refused, KmsError::Disabled(_)), "{how}: {refused:?}");
    }
}

#[tokio::test]
async fn a_previous_version_that_two_keys_share_takes_nothing_else_with_it() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01"), ("aes", "01"), ("aes", "02")]) else { return };
    let kms = provider(rotated(&hsm));
    Wrapped::under(&*kms, 8).await.unwrap(&*kms).await.unwrap();
    let steps = walked(rotated(&hsm)).await;
    let is_told = |step: &Step| {
        matches!(&step.finding, Finding::Warned(Warning::PreviousUnusable(why))
            if why.fault == Fault::Token(Class::SeveralKeys))
    };
    assert!(steps.iter().any(is_told), "{steps:?}");
    assert_eq!(steps.last().map(|step| step.hop), Some("unwrap"));
}

#[tokio::test]
async fn a_version_that_only_decrypts_opens_what_it_wrapped() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let old = Wrapped::under(&*provider(hsm.settings()), 7).await;
    hsm.tool(&["aes", "unseal", "02"]);
    hsm.tool(&["retire", "unseal", "01"]);
    let kms = provider(rotated(&hsm));
    old.unwrap(&*kms).await.unwrap();
    let description = kms.describe().await.unwrap();
    assert_eq!(description.versions()[0].state, KekState::Enabled);
}

/// The program under a name that notes the process of each child.
fn counted(mut settings: Pkcs11Settings, dir: &Path) -> Pkcs11Settings {
    let (script, children) = (dir.join("program"), dir.join("children"));
    let text = format!(
        "#!/bin/sh\necho $$ >> {}\nexec {} \"$@\"\n",
        children.display(),
        settings.program.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
    settings.program = script;
    settings
}

/// Whoever has a wrong ciphertext of such a key must not end the calls of all others.
#[tokio::test]
async fn a_wrong_ciphertext_of_a_version_that_only_decrypts_is_rejected_and_ends_no_child() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let old = Wrapped::under(&*provider(hsm.settings()), 7).await;
    hsm.tool(&["aes", "unseal", "02"]);
    hsm.tool(&["retire", "unseal", "01"]);
    let dir = tempfile::tempdir().unwrap();
    let kms = provider(counted(rotated(&hsm), dir.path()));
    let mut flipped = old.bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let wrong = [
        (WrapAlgorithm::A256GcmKw, flipped),
        (WrapAlgorithm::A256GcmKw, vec![0x5a; 60]),
        (WrapAlgorithm::A256Kw, vec![0x5a; 40]),
    ];
    for (algorithm, bytes) in wrong {
        let refused = kms.unwrap_dek(&old.kek, algorithm, &bytes, crate::call()).await.unwrap_err();
        assert!(matches!(refused, KmsError::Rejected(_)), "{algorithm:?}: {refused:?}");
    }
    old.unwrap(&*kms).await.unwrap();
    let children = fs::read_to_string(dir.path().join("children")).unwrap();
    assert_eq!(children.lines().count(), 1);
}

#[tokio::test]
async fn a_missing_version_of_an_unknown_label_leaves_the_list_incomplete() {
    let Some(hsm) = SoftHsm::with(&[("aes", "02")]) else { return };
    let kms = provider(Pkcs11Settings { key_label: None, ..rotated(&hsm) });
    let description = kms.describe().await.unwrap();
    assert_eq!(description.versions().len(), 1);
    assert!(!description.is_complete());
}

#[tokio::test]
async fn a_key_that_is_deleted_under_way_is_unknown() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let kms = provider(hsm.settings());
    let wrapped = Wrapped::under(&*kms, 7).await;
    hsm.tool(&["delete", "unseal", "01"]);
    let gone = kms.describe().await.unwrap_err();
    assert!(matches!(gone, KmsError::UnknownKek(_)), "{gone:?}");
    assert!(wrapped.unwrap(&*kms).await.is_err());
    hsm.tool(&["aes", "unseal", "02"]);
    Wrapped::under(&*kms, 8).await.unwrap(&*kms).await.unwrap();
}

#[tokio::test]
async fn a_wrong_pin_is_told_and_a_right_one_works_afterwards() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let mut settings = hsm.settings();
    settings.pin = Zeroizing::new("4321".to_owned()).into();
    let kms = provider(settings);
    for _ in 0..20 {
        let refused = kms.describe().await.unwrap_err();
        assert!(matches!(refused, KmsError::Denied(_)), "{refused:?}");
        assert_eq!(diagnosis(&refused).fault, Fault::Token(Class::PinRefused));
    }
    Wrapped::under(&*provider(hsm.settings()), 7).await;
}

#[tokio::test]
async fn a_token_that_is_not_there_is_told_with_those_that_are() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let mut settings = hsm.settings();
    settings.slot.token_label = Some("another".into());
    let missing = provider(settings).describe().await.unwrap_err();
    let diagnosis = diagnosis(&missing);
    assert_eq!(diagnosis.fault, Fault::Token(Class::NoSlot));
    assert!(diagnosis.to_string().contains("selkie test"), "{diagnosis}");
}

#[tokio::test]
async fn a_library_that_is_none_is_told() {
    for path in ["/nowhere/hsm.so", "/etc/passwd", "/lib/x86_64-linux-gnu/libc.so.6"] {
        let settings = crate::settings(path.into(), "any");
        let error = provider(settings).describe().await.unwrap_err();
        let diagnosis = diagnosis(&error);
        assert_eq!(diagnosis.fault, Fault::Token(Class::NoLibrary), "{path}: {diagnosis}");
        assert_eq!(diagnosis.stage, Stage::Library);
    }
}

async fn walked(settings: Pkcs11Settings) -> Vec<Step> {
    let mut steps = Vec::new();
    let kms = provider(settings);
    kms.check(&selkie_crypto::os_random, &mut |step| steps.push(step)).await.unwrap();
    steps
}

#[tokio::test]
async fn the_walk_passes_all_hops_and_ends_where_it_fails() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let steps = walked(hsm.settings()).await;
    let hops: Vec<_> = steps.iter().map(|step| step.hop).collect();
    assert_eq!(hops, ["library", "slot", "login", "key", "wrap", "unwrap"]);
    assert!(steps.iter().all(|step| matches!(step.finding, Finding::Passed(_))), "{steps:?}");
    let mut settings = hsm.settings();
    settings.key_label = Some("other".into());
    let steps = walked(settings).await;
    let last = steps.last().unwrap();
    assert_eq!((steps.len(), last.hop), (4, "key"));
    assert!(matches!(last.finding, Finding::Failed(_)), "{last:?}");
}

#[tokio::test]
async fn a_token_by_its_slots_number_is_warned_of() {
    let Some(hsm) = SoftHsm::with(&[("aes", "01")]) else { return };
    let slot = walked(hsm.settings()).await.into_iter().find(|step| step.hop == "slot");
    let Some(Finding::Passed(told)) = slot.map(|step| step.finding) else { panic!("no slot") };
    let mut settings = hsm.settings();
    settings.slot.token_label = None;
    settings.slot.id = told.split_once(':').and_then(|(number, _)| number.parse().ok());
    let steps = walked(settings).await;
    let warned = Finding::Warned(Warning::SlotByNumber);
    assert!(steps.iter().any(|step| step.finding == warned), "{steps:?}");
    assert_eq!(steps.last().map(|step| step.hop), Some("unwrap"));
}
