//! What cases are made of: fixed keys, fixed randomness, and recipients wrapped once for all where
//! wrapping takes randomness of its own (by Python's `cryptography`, not by us).

use selkie_crypto::base64::decode_secret;
use selkie_crypto::envelope::{Aad, Draft, Header, Part, Purpose, Quorum, Recipient};
use selkie_crypto::{
    Kek, KekId, KeyVersion, OriginKey, Plaintext, RandomError, RecipientSecret, SealName,
    WrapAlgorithm, aead,
};
use serde_json::{Value, json};

/// The DEK of every case that says no other.
pub(crate) const FILL: u8 = 0x42;
pub(crate) const ORIGIN_KEY: [u8; 32] = [9; 32];
pub(crate) const PLAINTEXT: &[u8] = b"the root key of a Vault, 32 B...";

pub(crate) fn keys() -> Value {
    json!({
        "one": { "kek": hex(&[1; 32]) },
        "two": { "kek": hex(&[2; 32]) },
        "gcm": { "gcm_kek": hex(&[3; 32]) },
        "rsa": { "rsa_private_pem": include_str!("../../testkit/source/rsa.pem") },
        "p256": { "ec_private_pem": include_str!("../../testkit/source/p256.pem") },
        "x25519": { "ec_private_pem": include_str!("../../testkit/source/x25519.pem") },
    })
}

pub(crate) fn header() -> Header<'static> {
    Header {
        purpose: Purpose::Client,
        realm: "prod".into(),
        mount: "transit".into(),
        key: "autounseal".into(),
        version: KeyVersion::FIRST,
        created: 1_764_000_000,
    }
}

pub(crate) fn header_json(header: &Header<'_>) -> Value {
    let purpose = match header.purpose {
        Purpose::Client => "client",
        Purpose::State => "state",
        Purpose::Backup => "backup",
    };
    json!({
        "purpose": purpose, "realm": header.realm, "mount": header.mount, "key": header.key,
        "version": header.version.get(), "created": header.created,
    })
}

/// What an envelope is made of; each case changes a part of it.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) header: Header<'static>,
    /// Names of keys.
    pub(crate) keys: Vec<&'static str>,
    pub(crate) needed: u8,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) associated_data: &'static [u8],
    pub(crate) context: &'static [u8],
    pub(crate) has_origin: bool,
    pub(crate) fill: u8,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            header: header(),
            keys: vec!["one"],
            needed: 1,
            plaintext: PLAINTEXT.to_vec(),
            associated_data: b"",
            context: b"",
            has_origin: false,
            fill: FILL,
        }
    }
}

impl Recipe {
    pub(crate) fn make(&self) -> String {
        let quorum = Quorum::new(self.needed, self.keys.len()).unwrap();
        let fill = self.fill;
        let draft = Draft::with_quorum(quorum, &move |buffer: &mut [u8]| {
            // Coefficients of a quorum must not all be one number, or shares would be equal.
            let is_split = buffer.len() != 44;
            for (byte, next) in buffer.iter_mut().zip(1..=u8::MAX) {
                *byte = if is_split { next } else { fill };
            }
            Ok::<(), RandomError>(())
        });
        let draft = draft.unwrap();
        let recipients = self
            .keys
            .iter()
            .enumerate()
            .map(|(at, key)| recipient(draft.part(at).unwrap(), at, key));
        let recipients: Vec<Recipient> = recipients.collect();
        let origin_key = OriginKey::init_with(|place| *place = ORIGIN_KEY).unwrap();
        let aad = Aad { associated_data: self.associated_data, context: self.context };
        let plaintext = Plaintext::new(self.plaintext.clone());
        let origin_key = self.has_origin.then_some(&origin_key);
        let made = draft.encrypt(&self.header, aad, plaintext, &recipients, origin_key).unwrap();
        String::from_utf8(made).unwrap()
    }

    /// A case of this envelope that opens.
    pub(crate) fn case(&self, name: &str, comment: &str) -> Value {
        let openers: Vec<Value> = (0..usize::from(self.needed))
            .map(|at| json!({ "recipient": at, "key": self.keys[at] }))
            .collect();
        json!({
            "name": name,
            "comment": comment,
            "envelope": self.make(),
            "header": header_json(&self.header),
            "associated_data": hex(self.associated_data),
            "context": hex(self.context),
            "origin_key": self.has_origin.then(|| hex(&ORIGIN_KEY)),
            "openers": openers,
            "expected": { "plaintext": hex(&self.plaintext) },
        })
    }
}

fn recipient(part: Part<'_>, at: usize, key: &str) -> Recipient {
    let secret = part.secret();
    let kek =
        |fill: u8| Kek::init_with(|place| place.fill(fill)).unwrap().wrap_dek(secret).to_vec();
    let (algorithm, wrapped) = match key {
        "one" => (WrapAlgorithm::A256Kw, kek(1)),
        "two" => (WrapAlgorithm::A256Kw, kek(2)),
        "gcm" => (WrapAlgorithm::A256GcmKw, gcm_wrapped(secret)),
        "rsa" => {
            (WrapAlgorithm::RsaOaep256, given(include_str!("../../testkit/source/rsa.wrapped")))
        }
        "p256" => {
            (WrapAlgorithm::EcdhEsA256Kw, given(include_str!("../../testkit/source/p256.wrapped")))
        }
        "x25519" => (
            WrapAlgorithm::EcdhEsA256Kw,
            given(include_str!("../../testkit/source/x25519.wrapped")),
        ),
        other => panic!("no key {other}"),
    };
    let seal = SealName::new(&format!("s{at}")).unwrap();
    part.recipient(seal, KekId::new(&format!("kms/{key}")).unwrap(), algorithm, wrapped)
}

fn given(text: &str) -> Vec<u8> {
    unhex(text.trim())
}

fn gcm_wrapped(secret: &RecipientSecret) -> Vec<u8> {
    let kek = RecipientSecret::init_with(|place| place.fill(3));
    let plaintext = Plaintext::new(secret.expose_for_wrap().to_vec());
    let made = aead::encrypt(&kek, &[5; 12], b"", plaintext).unwrap();
    [&[5; 12][..], &made.ciphertext, &made.tag].concat()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    base16ct::lower::decode_vec(text).unwrap()
}

pub(crate) fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    decode_secret(base64.as_bytes()).unwrap().expose_for_reply().to_vec()
}
