use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use selkie_crypto::{KekId, WrapAlgorithm};
use selkie_kms::{KekState, KekVersion, Wrapping};
use tempfile::{TempDir, tempdir};

use super::*;

fn keks() -> KekDescription {
    let version = |id: &str, state| KekVersion {
        id: KekId::new(id).unwrap(),
        wrapping: Wrapping::Remote(WrapAlgorithm::A256Kw),
        state,
        created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)),
        expires: None,
    };
    let versions = vec![version("1", KekState::Expired), version("2", KekState::Enabled)];
    KekDescription::new(versions, &KekId::new("2").unwrap()).unwrap().purgeable(true)
}

fn local_key(byte: u8) -> Option<Arc<PinKey>> {
    Some(Arc::new(PinKey::init_with(|page| page.fill(byte)).unwrap()))
}

fn file(dir: &TempDir, seal: &str, target: &str, key: Option<Arc<PinKey>>) -> PinFile {
    PinFile::new(dir.path(), &SealName::new(seal).unwrap(), target, key)
}

#[test]
fn a_pin_is_read_back_as_it_was_written() {
    let dir = tempdir().unwrap();
    for (key, is_signed) in [(None, false), (local_key(1), true)] {
        let file = file(&dir, "a", "t", key);
        file.write(&keks()).unwrap();
        assert_eq!(file.read().unwrap(), Some(Pinned { keks: keks(), is_signed }));
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(dir.path().join("pins")).unwrap().count(), 1, "no file is left over");
}

#[test]
fn no_file_is_no_pin_and_no_error() {
    assert_eq!(file(&tempdir().unwrap(), "a", "t", None).read().unwrap(), None);
}

#[test]
fn a_pin_that_was_cut_or_changed_is_refused() {
    let dir = tempdir().unwrap();
    let file = file(&dir, "a", "t", local_key(1));
    file.write(&keks()).unwrap();
    let good = fs::read_to_string(file.path()).unwrap();
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(file.path(), &good[..length]).unwrap();
        assert!(matches!(file.read(), Err(PinError::Malformed(Some(_)))), "{length}");
    }
    for (was, is) in [
        ("\"current\": \"2\"", "\"current\": \"1\""),
        ("\"expired\"", "\"enabled\""),
        ("\"is_complete\": true", "\"is_complete\": false"),
        ("\"created\": 7", "\"created\": 8"),
        ("\"mac\": \"", "\"mac\": \"0"),
    ] {
        let edited = good.replacen(was, is, 1);
        assert_ne!(edited, good, "{was}");
        fs::write(file.path(), edited).unwrap();
        assert!(matches!(file.read(), Err(PinError::WrongMac)), "{is}");
    }
}

#[test]
fn a_pin_of_another_seal_key_or_local_key_is_refused() {
    let dir = tempdir().unwrap();
    let own = file(&dir, "a", "t", local_key(1));
    own.write(&keks()).unwrap();
    let read = |target, key| file(&dir, "a", target, key).read();
    assert!(matches!(read("t", local_key(2)), Err(PinError::WrongMac)));
    assert!(matches!(read("u", local_key(1)), Err(PinError::OtherKey { found }) if found == "t"));
    fs::copy(own.path(), dir.path().join("pins/b.json")).unwrap();
    let other = file(&dir, "b", "t", local_key(1)).read();
    assert!(matches!(other, Err(PinError::OtherSeal { found }) if found == "a"));
}

#[test]
fn a_pin_without_its_mac_is_merely_unsigned() {
    let dir = tempdir().unwrap();
    file(&dir, "a", "t", None).write(&keks()).unwrap();
    let read = file(&dir, "a", "t", local_key(1)).read().unwrap().unwrap();
    assert!(!read.is_signed);
}

#[test]
fn a_refused_pin_is_kept_aside() {
    let dir = tempdir().unwrap();
    let file = file(&dir, "a", "t", None);
    file.set_aside().unwrap();
    file.write(&keks()).unwrap();
    file.set_aside().unwrap();
    assert!(!file.path().exists() && dir.path().join("pins/a.json.refused").exists());
}

/// A server that waits for a writer does not start.
#[test]
fn a_named_pipe_in_the_place_of_a_pin_is_refused_at_once() {
    let dir = tempdir().unwrap();
    let file = file(&dir, "a", "t", None);
    fs::create_dir(dir.path().join("pins")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(file.path()).status().unwrap();
    assert!(made.success());
    assert!(matches!(file.read(), Err(PinError::Unreadable(_))));
}

fn canaries() -> Vec<Canary> {
    let canary = |id: &str, byte| Canary {
        kek: KekId::new(id).unwrap(),
        algorithm: WrapAlgorithm::A256Kw,
        wrapped: vec![byte; 40],
        digest: [byte; 32],
    };
    vec![canary("1", 1), canary("2", 2)]
}

/// An older release refuses a pin file with a field that it does not know.
#[test]
fn canaries_have_a_file_of_their_own_and_leave_the_pin_as_it_was() {
    let dir = tempdir().unwrap();
    let file = file(&dir, "a", "t", local_key(1));
    file.write(&keks()).unwrap();
    let pin = fs::read(file.path()).unwrap();
    assert_eq!(file.read_canaries().unwrap(), []);
    file.write_canaries(&canaries()).unwrap();
    assert_eq!(file.read_canaries().unwrap(), canaries());
    assert_eq!(fs::read(file.path()).unwrap(), pin);
    let mode = fs::metadata(file.canaries_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn canaries_that_were_cut_or_changed_are_refused_and_a_later_releases_are_not() {
    let dir = tempdir().unwrap();
    let file = file(&dir, "a", "t", local_key(1));
    file.write_canaries(&canaries()).unwrap();
    let good = fs::read_to_string(file.canaries_path()).unwrap();
    for (was, is) in
        [("0101", "0102"), ("\"id\": \"1\"", "\"id\": \"3\""), ("\"mac\": \"", "\"mac\": \"0")]
    {
        let edited = good.replacen(was, is, 1);
        assert_ne!(edited, good, "{was}");
        fs::write(file.canaries_path(), edited).unwrap();
        assert!(matches!(file.read_canaries(), Err(PinError::WrongMac)), "{is}");
    }
    fs::write(file.canaries_path(), &good[..good.len() / 2]).unwrap();
    assert!(matches!(file.read_canaries(), Err(PinError::Malformed(Some(_)))));
    fs::write(file.canaries_path(), good.replacen('{', "{ \"new\": 1,", 1)).unwrap();
    assert_eq!(file.read_canaries().unwrap(), canaries());
}
