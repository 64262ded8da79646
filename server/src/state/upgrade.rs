//! What a Selkie of today wrote must be readable by every later one: the files in `fixtures/`.

use std::path::PathBuf;
use std::sync::Arc;

use selkie_access::operation;
use selkie_crypto::{Plaintext, base64};
use selkie_storage::{MemoryStore, Page, RecordKey, RecordValue, Store, Write};
use serde::{Deserialize, Serialize};

use super::opening::{OpenError, Opened, State};
use crate::backup::tests::engine;
use crate::backup::{self, Target};
use crate::transit::tests::permit;
use crate::transit::{DecryptionItem, EncryptionItem, KeyChanges, ManagedKeys, NewKey, Transit};

const STORE: &str = include_str!("fixtures/format-1/store.jsonl");
const BACKUP: &[u8] = include_bytes!("fixtures/format-1/backup");
const ENVELOPES: &str = include_str!("fixtures/format-1/envelopes.json");

/// Keys, their oldest version that decrypts, and their versions.
const KEYS: [(&str, u32, u32); 2] = [("payments", 2, 3), ("unseal", 1, 2)];

#[derive(Serialize, Deserialize)]
struct RawRecord {
    key: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
struct Sample {
    key: String,
    version: u32,
    ciphertext: String,
    plaintext: String,
}

/// The engine of the fixture's site, without its keys.
async fn site() -> Transit {
    engine("upgrade", &[("a", 1)]).await
}

fn records() -> Vec<Write> {
    let record = |line: &str| {
        let RawRecord { key, value } = serde_json::from_str(line).unwrap();
        let value = base64::decode_secret(value.as_bytes()).unwrap();
        let value = RecordValue::new(value.expose_for_own_use()).unwrap();
        Write::Put(key.parse().unwrap(), value)
    };
    STORE.lines().map(record).collect()
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn fixture() -> Arc<dyn Store> {
    let raw = memory();
    raw.commit(&[], &records()).await.unwrap();
    raw
}

async fn everything(raw: &Arc<dyn Store>) -> Vec<(RecordKey, RecordValue)> {
    let listing = raw.list(&Page::all()).await.unwrap();
    listing.records.into_iter().map(|record| (record.key, record.value)).collect()
}

async fn open(raw: &Arc<dyn Store>) -> (Opened, Transit) {
    let transit = site().await;
    let opened = State::new(Arc::clone(raw), None, None).open(&transit).await.unwrap();
    let keys = ManagedKeys::load(Arc::clone(&opened.store) as _).await.unwrap();
    (opened, Transit { keys: Arc::new(keys), ..transit })
}

/// The keys of the fixture with their versions, and what was encrypted under them.
async fn assert_all_is_there(raw: &Arc<dyn Store>) {
    let (opened, transit) = open(raw).await;
    assert_eq!(opened.format.realm, "upgrade");
    assert_eq!(opened.store.seen().root.records, 2);
    for (name, oldest, latest) in KEYS {
        let key = transit.read_key(permit(operation::ReadKey, name)).await.unwrap().unwrap();
        let versions: Vec<_> = key.versions.keys().map(|version| version.get()).collect();
        assert_eq!(versions, (1..=latest).collect::<Vec<_>>(), "{name}");
        assert_eq!((key.min_decryption.get(), key.latest.get()), (oldest, latest), "{name}");
    }
    let samples: Vec<Sample> = serde_json::from_str(ENVELOPES).unwrap();
    assert_eq!(samples.len(), 2);
    for Sample { key, version, ciphertext, plaintext } in samples {
        assert!(ciphertext.starts_with(&format!("vault:v{version}:")), "{ciphertext}");
        let item = DecryptionItem {
            ciphertext: &ciphertext,
            associated_data: Vec::new(),
            context: Vec::new(),
        };
        let decryption = transit.decryption(&permit(operation::Decrypt, &key)).await.unwrap();
        let opened = decryption.decrypt(&item).await.unwrap();
        assert_eq!(opened.expose_for_reply(), plaintext.as_bytes());
    }
}

#[tokio::test]
async fn i5_a_store_of_format_1_opens_with_all_its_keys() {
    assert_all_is_there(&fixture().await).await;
}

#[tokio::test]
async fn i5_a_backup_of_format_1_restores_to_the_store_it_was_made_of() {
    let raw = memory();
    let transit = site().await;
    let target = Target { store: &raw, transit: &transit, force: false };
    backup::restore(BACKUP, target, &mut |_, _| {}).await.unwrap();
    assert_eq!(everything(&raw).await, everything(&fixture().await).await);
    assert_all_is_there(&raw).await;
}

#[tokio::test]
async fn i5_a_store_of_format_2_is_refused_as_it_is() {
    let raw = fixture().await;
    let place: RecordKey = "format".parse().unwrap();
    let ours = raw.get(&place).await.unwrap().unwrap();
    let text = str::from_utf8(ours.value.as_bytes()).unwrap();
    let newer = text.replace(r#""format":1"#, r#""format":2"#);
    assert_ne!(newer, text);
    let put = Write::Put(place, RecordValue::new(newer.into_bytes()).unwrap());
    raw.commit(&[], &[put]).await.unwrap();
    let before = everything(&raw).await;
    let refused = State::new(Arc::clone(&raw), None, None).open(&site().await).await.unwrap_err();
    assert!(matches!(refused, OpenError::OtherFormat { found: 2, known: 1 }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("format 2") && text.contains("format 1"), "{text}");
    assert_eq!(everything(&raw).await, before);
}

async fn sample(transit: &Transit, key: &str, plaintext: &str) -> Sample {
    let item = EncryptionItem {
        plaintext: Plaintext::new(plaintext.as_bytes().to_vec()),
        associated_data: Vec::new(),
        context: Vec::new(),
        version: None,
    };
    let encryption = transit.encryption(&permit(operation::Encrypt, key)).await.unwrap();
    let made = encryption.encrypt(item).await.unwrap();
    let version = made.version.get();
    Sample { key: key.into(), version, ciphertext: made.ciphertext, plaintext: plaintext.into() }
}

/// Not a claim: it overwrites the fixture, by hand only.
#[tokio::test]
#[ignore = "writes the fixture that the other tests read"]
async fn make_the_fixture() {
    if std::env::var_os("UPDATE_FIXTURES").is_none() {
        return;
    }
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/state/fixtures/format-1");
    let raw = memory();
    let (opened, transit) = open(&raw).await;
    let mut samples = Vec::new();
    for (name, oldest, latest) in KEYS {
        transit.create_key(permit(operation::CreateKey, name), NewKey::default()).await.unwrap();
        for version in 2..=latest {
            transit.rotate_key(permit(operation::RotateKey, name)).await.unwrap();
            if version == 2 {
                samples.push(sample(&transit, name, &format!("secret of {name}")).await);
            }
        }
        let changes =
            KeyChanges { min_decryption_version: Some(oldest.into()), ..KeyChanges::default() };
        transit.configure_key(permit(operation::ConfigureKey, name), changes).await.unwrap();
    }
    let line = |(key, value): (RecordKey, RecordValue)| {
        let mut text = Vec::new();
        base64::encode_into(value.as_bytes(), &mut text);
        let value = String::from_utf8(text).unwrap();
        serde_json::to_string(&RawRecord { key: key.as_str().into(), value }).unwrap() + "\n"
    };
    let lines: String = everything(&raw).await.into_iter().map(line).collect();
    let (key, envelope) = backup::new_key(&transit).await.unwrap();
    let snapshot = backup::take(&raw, &opened.key).await.unwrap();
    let file = backup::write(&snapshot, key, &envelope).unwrap();
    std::fs::write(dir.join("store.jsonl"), lines).unwrap();
    std::fs::write(dir.join("backup"), file).unwrap();
    let samples = serde_json::to_string_pretty(&samples).unwrap() + "\n";
    std::fs::write(dir.join("envelopes.json"), samples).unwrap();
}
