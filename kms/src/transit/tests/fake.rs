//! A transit engine in a few lines, with faults on request. The real ones are met in tests/.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

/// The path of each request, and what it is answered instead of the truth, if anything.
type Fault = dyn Fn(&str) -> Option<(u16, String)> + Send + Sync;

pub(super) struct FakeEngine {
    latest: AtomicU32,
    min_decryption: AtomicU32,
    nonces: AtomicU64,
    fault: Mutex<Box<Fault>>,
}

impl FakeEngine {
    /// An engine with a key of so many versions, and the server it answers on.
    pub(super) async fn start(latest: u32) -> (Arc<Self>, TestServer) {
        let engine = Arc::new(Self {
            latest: AtomicU32::new(latest),
            min_decryption: AtomicU32::new(1),
            nonces: AtomicU64::new(0),
            fault: Mutex::new(Box::new(|_| None)),
        });
        let answering = Arc::clone(&engine);
        let server = TestServer::plain(move |request| answering.reply(request)).await;
        (engine, server)
    }

    pub(super) fn rotate(&self) {
        self.latest.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn require(&self, min_decryption: u32) {
        self.min_decryption.store(min_decryption, Ordering::Relaxed);
    }

    /// From now on it answers as `fault` says.
    pub(super) fn fails(
        &self,
        fault: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static,
    ) {
        *self.fault.lock().unwrap() = Box::new(fault);
    }

    fn reply(&self, request: &Received) -> Reply {
        let path = request.text.split(' ').nth(1).unwrap();
        let (status, body) = (self.fault.lock().unwrap())(path).unwrap_or_else(|| {
            let sent = request.text.split("\r\n\r\n").nth(1).unwrap();
            match self.answer(path, &serde_json::from_str(sent).unwrap_or_default()) {
                Ok(data) => (200, json!({ "data": data }).to_string()),
                Err(text) => (400, json!({ "errors": [text] }).to_string()),
            }
        });
        answer(status, &body)
    }

    fn answer(&self, path: &str, sent: &Value) -> Result<Value, &'static str> {
        let latest = self.latest.load(Ordering::Relaxed);
        match path {
            "/v1/a/b/keys/unseal" => {
                let oldest = self.min_decryption.load(Ordering::Relaxed);
                let keys = (oldest..=latest).map(|one| (one.to_string(), (1000 + one).into()));
                let keys: serde_json::Map<String, Value> = keys.collect();
                Ok(json!({"latest_version": latest, "min_decryption_version": oldest,
                    "keys": keys, "type": "aes256-gcm96"}))
            }
            "/v1/a/b/encrypt/unseal" => {
                let version =
                    sent["key_version"].as_u64().map_or(latest, |one| one.try_into().unwrap());
                let plaintext = STANDARD.decode(sent["plaintext"].as_str().unwrap()).unwrap();
                Ok(json!({"ciphertext": self.encrypt(version, plaintext)}))
            }
            "/v1/a/b/decrypt/unseal" => {
                let plaintext = self.decrypt(sent["ciphertext"].as_str().unwrap())?;
                Ok(json!({"plaintext": STANDARD.encode(plaintext)}))
            }
            _ => Err("unexpected path"),
        }
    }

    pub(super) fn encrypt(&self, version: u32, mut bytes: Vec<u8>) -> String {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonces.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let seal = Nonce::assume_unique_for_key(nonce);
        key_of(version).seal_in_place_append_tag(seal, Aad::empty(), &mut bytes).unwrap();
        format!("vault:v{version}:{}", STANDARD.encode([&nonce[..], &bytes].concat()))
    }

    fn decrypt(&self, ciphertext: &str) -> Result<Vec<u8>, &'static str> {
        let (version, payload) = ciphertext[7..].split_once(':').ok_or("invalid ciphertext")?;
        let version: u32 = version.parse().or(Err("invalid ciphertext"))?;
        if version > self.latest.load(Ordering::Relaxed) {
            return Err("invalid ciphertext: version is too new");
        }
        if version < self.min_decryption.load(Ordering::Relaxed) {
            return Err("ciphertext or signature version is disallowed by policy (too old)");
        }
        let bytes = STANDARD.decode(payload).or(Err("invalid ciphertext"))?;
        let (nonce, sealed) = bytes.split_at_checked(12).ok_or("invalid ciphertext length")?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
        let mut sealed = sealed.to_vec();
        let opened = key_of(version).open_in_place(nonce, Aad::empty(), &mut sealed);
        opened.map(|one| one.to_vec()).or(Err("cipher: message authentication failed"))
    }
}

fn key_of(version: u32) -> LessSafeKey {
    let key = [u8::try_from(version % 256).unwrap(); 32];
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap())
}
