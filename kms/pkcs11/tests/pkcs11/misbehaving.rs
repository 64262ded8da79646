//! A library that hangs, crashes and lies: nothing of that reaches us, and all of it passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use selkie_kms::pkcs11::{Class, Fault, Pkcs11Kms, Pkcs11Settings, Stage};
use selkie_kms::{Kms, KmsError};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::{Wrapped, diagnosis, provider};

/// Long enough for a library that works, on a busy machine.
const CALL_TIME: Duration = Duration::from_secs(2);

/// The library's file, compiled once.
fn library() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| compiled(&["-lpthread"]))
}

/// The same with an RSA key. The library behind it comes with SoftHSM.
fn library_of_a_pair() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| compiled(&["-DPAIR", "-lpthread", "-l:libcrypto.so.3"]))
}

fn compiled(flags: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("library.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pkcs11/misbehaving.c");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
        .arg(&library)
        .arg(source)
        .args(flags)
        .status();
    assert!(status.unwrap().success(), "cc must compile the library");
    fs::read(library).unwrap()
}

struct Bad {
    dir: TempDir,
    kms: std::sync::Arc<Pkcs11Kms>,
}

impl Bad {
    fn new() -> Self {
        Self::with_pin(crate::PIN)
    }

    fn with_pin(pin: &str) -> Self {
        Self::with(library(), pin, |_| {})
    }

    fn of_a_pair() -> Self {
        let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crypto/testkit/source/rsa.pem");
        Self::with(library_of_a_pair(), crate::PIN, |settings| {
            settings.environment.push(("PAIR".into(), key.into()));
        })
    }

    fn with(library: &[u8], pin: &str, change: impl FnOnce(&mut Pkcs11Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // By a path of its own, since a refusal counts for the library and token in all the process.
        let own = dir.path().join("library.so");
        fs::write(&own, library).unwrap();
        let mut settings = crate::settings(own, "bad");
        let file = dir.path().join("misbehaviour").display().to_string();
        settings.environment = vec![("MISBEHAVIOUR".into(), file)];
        settings.call_time = CALL_TIME;
        settings.pin = Zeroizing::new(pin.to_owned()).into();
        change(&mut settings);
        Self { dir, kms: provider(settings) }
    }

    /// From now on.
    fn misbehave(&self, how: &str) {
        let draft = self.dir.path().join("draft");
        fs::write(&draft, how).unwrap();
        fs::rename(draft, self.dir.path().join("misbehaviour")).unwrap();
    }

    fn behave(&self) {
        self.misbehave("");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("misbehaviour.log")).unwrap_or_default()
    }

    fn logins(&self) -> usize {
        self.log().lines().filter(|line| *line == "login").count()
    }

    /// The children that there were, as `/proc` names them.
    fn children(&self) -> Vec<PathBuf> {
        let log = self.log();
        let ids = log.lines().filter_map(|line| line.strip_prefix("pid "));
        ids.map(|id| Path::new("/proc").join(id)).collect()
    }

    /// Unwraps until it succeeds, as clients do.
    async fn recovers(&self, wrapped: &Wrapped) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(60);
        while let Err(error) = wrapped.unwrap(&*self.kms).await {
            assert!(error.is_transient(), "{error:?}");
            assert!(tokio::time::Instant::now() < patience, "it stays so: {error:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn fails_and_recovers(how: &str, expected: fn(&KmsError) -> bool) {
    let bad = Bad::new();
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    bad.misbehave(how);
    let error = wrapped.unwrap(&*bad.kms).await.unwrap_err();
    assert!(expected(&error) && error.is_transient(), "{how}: {error:?}");
    bad.behave();
    bad.recovers(&wrapped).await;
}

#[tokio::test]
async fn a_crash_is_survived() {
    let by_signal = |error: &KmsError| {
        diagnosis(error).fault == Fault::Crashed { signal: Some(11), code: None }
    };
    fails_and_recovers("decrypt crashes", by_signal).await;
}

#[tokio::test]
async fn a_library_that_ends_its_process_is_survived() {
    let by_code =
        |error: &KmsError| diagnosis(error).fault == Fault::Crashed { signal: None, code: Some(3) };
    fails_and_recovers("decrypt exits", by_code).await;
}

#[tokio::test]
async fn a_call_that_hangs_is_ended_in_its_time() {
    let began = std::time::Instant::now();
    fails_and_recovers("decrypt hangs", |error| diagnosis(error).fault == Fault::Hung).await;
    assert!(began.elapsed() >= CALL_TIME);
}

#[tokio::test]
async fn a_length_beyond_all_memory_is_survived() {
    let aborted =
        |error: &KmsError| diagnosis(error).fault == Fault::Crashed { signal: Some(6), code: None };
    fails_and_recovers("garbage length", aborted).await;
}

#[tokio::test]
async fn attributes_of_garbage_lengths_are_survived() {
    let bad = Bad::new();
    bad.misbehave("attributes are garbage");
    assert!(bad.kms.describe().await.is_err());
    bad.behave();
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    bad.recovers(&wrapped).await;
}

#[tokio::test]
async fn answers_that_are_no_dek_are_not_taken_for_one() {
    for how in ["long answer", "no answer"] {
        fails_and_recovers(how, |error| matches!(error, KmsError::Misbehaved(_))).await;
    }
}

#[tokio::test]
async fn a_token_pulled_in_mid_call_is_found_again_when_it_is_back() {
    let bad = Bad::new();
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    bad.misbehave("removed");
    for _ in 0..3 {
        let error = wrapped.unwrap(&*bad.kms).await.unwrap_err();
        assert!(matches!(error, KmsError::Unavailable(_)), "{error:?}");
    }
    bad.behave();
    bad.recovers(&wrapped).await;
}

#[tokio::test]
async fn a_token_that_fails_everything_is_away_and_rejects_nothing() {
    let unavailable = |error: &KmsError| matches!(error, KmsError::Unavailable(_));
    fails_and_recovers("broken", unavailable).await;
    fails_and_recovers("device error", unavailable).await;
}

#[tokio::test]
async fn a_wrong_tag_is_rejected_although_the_library_speaks_of_a_general_error() {
    let bad = Bad::new();
    let mut wrapped = Wrapped::under(&*bad.kms, 7).await;
    *wrapped.bytes.last_mut().unwrap() ^= 1;
    let error = wrapped.unwrap(&*bad.kms).await.unwrap_err();
    assert!(matches!(error, KmsError::Rejected(_)), "{error:?}");
}

#[tokio::test]
async fn a_pair_whose_token_fails_is_away_and_rejects_nothing() {
    let bad = Bad::of_a_pair();
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    wrapped.unwrap(&*bad.kms).await.unwrap();
    bad.misbehave("link dead");
    let error = wrapped.unwrap(&*bad.kms).await.unwrap_err();
    assert!(matches!(error, KmsError::Unavailable(_)), "{error:?}");
    bad.behave();
    bad.recovers(&wrapped).await;
    assert_eq!(bad.children().len(), 2, "the library was loaded anew");
}

#[tokio::test]
async fn a_wrong_ciphertext_of_a_pair_is_rejected_and_ends_no_child() {
    let bad = Bad::of_a_pair();
    let mut wrapped = Wrapped::under(&*bad.kms, 7).await;
    *wrapped.bytes.last_mut().unwrap() ^= 1;
    for _ in 0..5 {
        let error = wrapped.unwrap(&*bad.kms).await.unwrap_err();
        assert!(matches!(error, KmsError::Rejected(_)), "{error:?}");
    }
    assert_eq!(bad.children().len(), 1);
}

/// Whoever sends garbage to a token at its limit must not end the calls of all others.
#[tokio::test]
async fn a_token_too_busy_to_tell_a_wrong_ciphertext_asks_for_patience_and_ends_no_child() {
    for bad in [Bad::of_a_pair(), Bad::new()] {
        let good = Wrapped::under(&*bad.kms, 7).await;
        let mut wrong = Wrapped::under(&*bad.kms, 7).await;
        *wrong.bytes.last_mut().unwrap() ^= 1;
        bad.misbehave("busy after a failure");
        let error = wrong.unwrap(&*bad.kms).await.unwrap_err();
        assert!(matches!(error, KmsError::Throttled { .. }), "{error:?}");
        bad.behave();
        good.unwrap(&*bad.kms).await.unwrap();
        assert_eq!(bad.children().len(), 1);
    }
}

/// A key that may not wrap is no proof of anything: the current one tells.
#[tokio::test]
async fn a_ciphertext_of_a_key_that_only_decrypts_is_judged_by_the_current_key() {
    let bad = Bad::with(library(), crate::PIN, |settings| {
        settings.key_id = Some(vec![1]);
        settings.previous_key_ids = vec![vec![2]];
    });
    let mut previous = Wrapped::under(&*bad.kms, 7).await;
    previous.kek = bad.kms.describe().await.unwrap().versions().first().unwrap().id.clone();
    bad.misbehave("previous decrypt only");
    *previous.bytes.last_mut().unwrap() ^= 1;
    let error = previous.unwrap(&*bad.kms).await.unwrap_err();
    assert!(matches!(error, KmsError::Rejected(_)), "{error:?}");
    assert_eq!(bad.children().len(), 1);
    *previous.bytes.last_mut().unwrap() ^= 1;
    bad.misbehave("previous decrypt only, and nothing works");
    let error = previous.unwrap(&*bad.kms).await.unwrap_err();
    assert!(matches!(error, KmsError::Unavailable(_)), "{error:?}");
    bad.misbehave("previous decrypt only");
    bad.recovers(&previous).await;
}

/// Whatever it is that the token says of one key, and no rule is known for.
#[tokio::test]
async fn a_hiccup_at_a_look_for_a_previous_key_is_never_final_for_a_client() {
    let bad = Bad::with(library(), crate::PIN, |settings| {
        settings.key_id = Some(vec![1]);
        settings.previous_key_ids = vec![vec![2]];
    });
    let current = Wrapped::under(&*bad.kms, 7).await;
    let description = bad.kms.describe().await.unwrap();
    let kek = description.versions().first().unwrap().id.clone();
    let previous = Wrapped { kek, ..current };
    bad.misbehave("previous fails");
    assert_eq!(bad.kms.describe().await.unwrap(), description);
    assert!(previous.unwrap(&*bad.kms).await.unwrap_err().is_transient());
    bad.behave();
    previous.unwrap(&*bad.kms).await.unwrap();
    // Nothing was found before, of which the next description is minutes away.
    let fresh = Bad::with(library(), crate::PIN, |settings| {
        settings.key_id = Some(vec![1]);
        settings.previous_key_ids = vec![vec![2]];
    });
    fresh.misbehave("previous fails");
    fresh.kms.describe().await.unwrap();
    let error = previous.unwrap(&*fresh.kms).await.unwrap_err();
    assert_eq!(diagnosis(&error).fault, Fault::Token(Class::Failed));
    fresh.behave();
    fresh.recovers(&previous).await;
}

/// They say nothing of the library, whose process serves the current key.
#[tokio::test]
async fn looks_for_previous_keys_that_fail_end_no_child() {
    let bad = Bad::with(library(), crate::PIN, |settings| {
        settings.key_id = Some(vec![1]);
        settings.previous_key_ids = (2..=5).map(|id| vec![id]).collect();
    });
    bad.misbehave("previous fails");
    for _ in 0..2 {
        let current = Wrapped::under(&*bad.kms, 7).await;
        current.unwrap(&*bad.kms).await.unwrap();
    }
    let previous = "pkcs11:serial=666;object=unseal;id=%02";
    let kek = selkie_crypto::KekId::new(previous).unwrap();
    let error = Wrapped { kek, ..Wrapped::under(&*bad.kms, 7).await }.unwrap(&*bad.kms).await;
    assert!(matches!(error, Err(KmsError::Misbehaved(_))), "{error:?}");
    assert_eq!(bad.children().len(), 1);
}

#[tokio::test]
async fn a_child_that_fails_again_and_again_is_replaced() {
    let bad = Bad::new();
    let current = bad.kms.describe().await.unwrap().current().id.clone();
    bad.misbehave("broken");
    for _ in 0..3 {
        let failed =
            bad.kms.wrap_dek(&current, &crate::secret(1), crate::call()).await.unwrap_err();
        assert_eq!(diagnosis(&failed).fault, Fault::Token(Class::Failed));
    }
    bad.behave();
    Wrapped::under(&*bad.kms, 7).await.unwrap(&*bad.kms).await.unwrap();
    assert_eq!(bad.children().len(), 2);
}

#[tokio::test]
async fn a_login_that_the_token_dropped_is_not_taken_for_a_missing_key() {
    let one = std::num::NonZeroU16::MIN;
    let bad = Bad::with(library(), crate::PIN, |settings| settings.max_sessions = one);
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    let logins = bad.logins();
    bad.misbehave("login dropped");
    bad.kms.describe().await.unwrap();
    assert_eq!(bad.logins(), logins + 1, "the same process has logged in anew");
    wrapped.unwrap(&*bad.kms).await.unwrap();
}

#[tokio::test]
async fn sessions_that_expire_are_opened_anew_within_the_call() {
    let bad = Bad::new();
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    wrapped.unwrap(&*bad.kms).await.unwrap();
    let logins = bad.logins();
    bad.misbehave("sessions expire");
    wrapped.unwrap(&*bad.kms).await.unwrap();
    assert_eq!(bad.logins(), logins + 1, "the same process has logged in anew");
}

#[tokio::test]
async fn a_token_without_a_session_left_asks_for_patience() {
    let bad = Bad::new();
    bad.misbehave("no session");
    let error = bad.kms.describe().await.unwrap_err();
    assert!(matches!(error, KmsError::Throttled { .. }), "{error:?}");
    bad.behave();
    Wrapped::under(&*bad.kms, 7).await;
}

#[tokio::test]
async fn a_wrong_pin_is_sent_once_whatever_happens() {
    let bad = Bad::with_pin("4321");
    let id = "pkcs11:serial=666;object=unseal;id=%01";
    let id = selkie_crypto::KekId::new(id).unwrap();
    for _ in 0..50 {
        let refused = bad.kms.describe().await.unwrap_err();
        assert!(matches!(refused, KmsError::Denied(_)), "{refused:?}");
        let refused = bad.kms.wrap_dek(&id, &crate::secret(1), crate::call()).await.unwrap_err();
        let diagnosis = diagnosis(&refused);
        assert_eq!(diagnosis.stage, Stage::Login);
        assert_eq!(diagnosis.fault, Fault::Token(Class::PinRefused));
    }
    assert_eq!(bad.logins(), 1);
}

#[tokio::test]
async fn a_wrong_pin_is_sent_once_by_many_callers_at_once() {
    let bad = Bad::with_pin("4321");
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let kms = std::sync::Arc::clone(&bad.kms);
        callers.spawn(async move { kms.describe().await.is_err() });
    }
    assert!(callers.join_all().await.into_iter().all(|refused| refused));
    assert_eq!(bad.logins(), 1);
}

#[tokio::test]
async fn a_pin_that_locks_while_the_child_runs_is_not_sent_again() {
    let bad = Bad::new();
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    bad.misbehave("sessions expire");
    wrapped.unwrap(&*bad.kms).await.unwrap();
    // The next child finds the token locked.
    bad.misbehave("decrypt crashes");
    wrapped.unwrap(&*bad.kms).await.unwrap_err();
    bad.misbehave("locked");
    let logins = bad.logins();
    for _ in 0..10 {
        let refused = wrapped.unwrap(&*bad.kms).await.unwrap_err();
        assert!(matches!(refused, KmsError::Denied(_)), "{refused:?}");
        assert_eq!(diagnosis(&refused).fault, Fault::Token(Class::PinLocked));
    }
    assert_eq!(bad.logins(), logins + 1);
    // Somebody unlocks it and says so.
    bad.behave();
    wrapped.unwrap(&*bad.kms).await.unwrap_err();
    assert_eq!(bad.logins(), logins + 1);
    selkie_kms::pkcs11::retry_locked_pins();
    // It may rest before it opens the token again.
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = wrapped.unwrap(&*bad.kms).await {
        assert!(tokio::time::Instant::now() < patience, "it stays so: {error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_last_try_is_never_made() {
    let bad = Bad::new();
    bad.misbehave("last try");
    let spared = bad.kms.describe().await.unwrap_err();
    assert!(matches!(spared, KmsError::Denied(_)), "{spared:?}");
    assert_eq!(diagnosis(&spared).fault, Fault::Token(Class::PinSpared));
    assert_eq!(bad.logins(), 0);
}

#[tokio::test]
async fn a_pin_that_was_spared_is_tried_once_the_token_forgets_the_wrong_tries() {
    let bad = Bad::new();
    bad.misbehave("last try");
    bad.kms.describe().await.unwrap_err();
    bad.behave();
    Wrapped::under(&*bad.kms, 7).await.unwrap(&*bad.kms).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beside_one_that_crashes_fail_and_all_succeed_again() {
    let bad = Bad::new();
    let wrapped = std::sync::Arc::new(Wrapped::under(&*bad.kms, 7).await);
    bad.misbehave("decrypt crashes");
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (kms, wrapped) = (std::sync::Arc::clone(&bad.kms), std::sync::Arc::clone(&wrapped));
        callers.spawn(async move { wrapped.unwrap(&*kms).await.unwrap_err().is_transient() });
    }
    assert!(callers.join_all().await.into_iter().all(|passes| passes));
    bad.behave();
    bad.recovers(&wrapped).await;
}

#[tokio::test]
async fn the_child_ends_with_its_keeper() {
    let bad = Bad::new();
    let wrapped = Wrapped::under(&*bad.kms, 7).await;
    // A call that hangs does not keep it either.
    bad.misbehave("decrypt hangs");
    let _late = tokio::time::timeout(Duration::from_millis(100), wrapped.unwrap(&*bad.kms)).await;
    let children = bad.children();
    assert!(children.len() == 1 && children[0].exists(), "control: it is there");
    let Bad { dir, kms } = bad;
    drop(kms);
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    while children.iter().any(|child| child.exists()) {
        assert!(tokio::time::Instant::now() < patience, "it is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(dir);
}
