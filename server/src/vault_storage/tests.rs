use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

fn blob(ciphertext: &str) -> Vec<u8> {
    let key_info = Some(KeyInfo { key_id: "v7".into() });
    BlobInfo { ciphertext: ciphertext.into(), key_info }.encode_to_vec()
}

fn sealed(name: &str, ciphertext: &str) -> SealedRecord {
    SealedRecord { name: name.into(), key_id: "v7".into(), ciphertext: ciphertext.into() }
}

/// A snapshot with these records behind others, as Vault writes it.
fn snapshot(records: &[(&str, Vec<u8>)]) -> Vec<u8> {
    archive(&[("meta.json", b"{}"), ("state.bin", &state(records))], &[])
}

fn state(records: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut state = Vec::new();
    for (key, value) in records {
        // `StorageEntry`: a string and bytes, each after its tag and length.
        let mut message = vec![0x0a];
        prost::encoding::encode_varint(key.len() as u64, &mut message);
        message.extend_from_slice(key.as_bytes());
        message.push(0x12);
        prost::encoding::encode_varint(value.len() as u64, &mut message);
        message.extend_from_slice(value);
        prost::encoding::encode_varint(message.len() as u64, &mut state);
        state.extend_from_slice(&message);
    }
    state
}

/// These files; before the last one `long_name` in GNU's manner, if it is not empty.
fn archive(files: &[(&str, &[u8])], long_name: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (index, (name, content)) in files.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        if index + 1 == files.len() && !long_name.is_empty() {
            header.set_entry_type(tar::EntryType::GNULongName);
            header.set_size(long_name.len() as u64);
            archive.append_data(&mut header, "././@LongLink", long_name).unwrap();
            header.set_entry_type(tar::EntryType::Regular);
        }
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn read_snapshot(bytes: &[u8]) -> Result<Vec<SealedRecord>, VaultStorageError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    from_raft_snapshot(file.path())
}

#[test]
fn a_snapshot_gives_its_sealed_records_and_no_other() {
    let others = vec![0; 3 << 20];
    let records = [
        ("core/audit", others),
        (RECORDS[0], blob("vault:v7:AAAA")),
        (RECORDS[1], blob("vault:v7:BBBB")),
        ("sys/policy/a", blob("vault:v7:CCCC")),
    ];
    let read = read_snapshot(&snapshot(&records)).unwrap();
    let expected = [sealed(RECORDS[0], "vault:v7:AAAA"), sealed(RECORDS[1], "vault:v7:BBBB")];
    assert_eq!(read, expected);
}

#[test]
fn a_long_name_before_an_entry_is_not_read() {
    let state = state(&[(RECORDS[0], blob("vault:v7:AAAA"))]);
    let bytes = archive(&[("meta.json", b"{}"), ("state.bin", &state)], &[b'n'; 9000]);
    assert_eq!(read_snapshot(&bytes).unwrap(), [sealed(RECORDS[0], "vault:v7:AAAA")]);
}

#[test]
fn a_record_that_is_there_again_and_again_is_kept_once() {
    let again = |text| (RECORDS[0], blob(text));
    let records = [again("vault:v7:AAAA"), again("vault:v7:BBBB"), again("vault:v7:CCCC")];
    let read = read_snapshot(&snapshot(&records)).unwrap();
    assert_eq!(read, [sealed(RECORDS[0], "vault:v7:AAAA")]);
}

#[test]
fn a_file_without_an_end_is_too_large() {
    let error = from_record_file(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(error, VaultStorageError::TooLarge { .. }), "{error}");
}

#[test]
fn a_snapshot_that_breaks_off_is_told_as_such() {
    let whole = snapshot(&[("core/audit", vec![7; 9000]), (RECORDS[0], blob("vault:v7:AAAA"))]);
    for length in [0, 5, whole.len() / 2] {
        let error = read_snapshot(&whole[..length]).unwrap_err();
        assert!(matches!(error, VaultStorageError::NotASnapshot { .. }), "{length}: {error}");
    }
    let error = read_snapshot(&snapshot(&[("core/audit", Vec::new())])).unwrap_err();
    assert!(matches!(error, VaultStorageError::Nothing { .. }), "{error}");
}

#[test]
fn file_storage_gives_its_sealed_records() {
    let dir = tempfile::tempdir().unwrap();
    let error = from_file_storage(dir.path()).unwrap_err();
    assert!(matches!(error, VaultStorageError::Nothing { .. }), "{error}");
    fs::create_dir_all(dir.path().join("core/hsm")).unwrap();
    let mut value = Vec::new();
    base64::encode_into(&blob("vault:v7:AAAA"), &mut value);
    let entry = format!("{{\"Value\":\"{}\"}}\n", String::from_utf8(value).unwrap());
    let path = dir.path().join("core/hsm/_barrier-unseal-keys");
    fs::write(&path, &entry).unwrap();
    assert_eq!(from_file_storage(dir.path()).unwrap(), [sealed(RECORDS[0], "vault:v7:AAAA")]);
    fs::write(&path, &entry[..entry.len() - 9]).unwrap();
    let error = from_file_storage(dir.path()).unwrap_err();
    assert!(matches!(error, VaultStorageError::NotARecord { .. }), "{error}");
}

#[test]
fn a_record_of_another_seal_is_named() {
    for other in ["", "\u{fffd}", "shamir", "vault:v1:A A", "vault:v1:\u{1b}[2J"] {
        let error = record(RECORDS[1], &blob(other)).unwrap_err();
        assert!(matches!(error, VaultStorageError::NotTransit { .. }), "{other:?}: {error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = record("x", &bytes);
        prop_assert!(read_snapshot(&bytes).is_err());
    }
}
