//! What our own implementation makes of a case.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use selkie_crypto::envelope::{Aad, EnvelopeRefusal, Expected, Purpose, Recipient};
use selkie_crypto::{EcPrivateKey, Envelope, Kek, KeyVersion, OriginKey, RecipientSecret, aead};
use serde_json::{Value, json};

use crate::cases::{der, hex, unhex};

/// All that an envelope is refused for, by the names that the kit uses.
pub(crate) const REASONS: [&str; 12] = [
    "malformed",
    "origin",
    "purpose",
    "realm",
    "mount",
    "key",
    "version",
    "unwrap",
    "share",
    "quorum",
    "commitment",
    "tag",
];

fn named(refusal: EnvelopeRefusal) -> &'static str {
    match refusal {
        EnvelopeRefusal::Malformed => "malformed",
        EnvelopeRefusal::Origin => "origin",
        EnvelopeRefusal::Purpose => "purpose",
        EnvelopeRefusal::Realm => "realm",
        EnvelopeRefusal::Mount => "mount",
        EnvelopeRefusal::Key => "key",
        EnvelopeRefusal::Version => "version",
        EnvelopeRefusal::Share => "share",
        EnvelopeRefusal::Quorum => "quorum",
        EnvelopeRefusal::Commitment => "commitment",
        EnvelopeRefusal::Tag => "tag",
    }
}

pub(crate) fn outcome(keys: &Value, case: &Value) -> Value {
    match open(keys, case) {
        Ok(plaintext) => json!({ "plaintext": hex(&plaintext) }),
        Err(reason) => json!({ "refused": reason }),
    }
}

fn open(keys: &Value, case: &Value) -> Result<Vec<u8>, &'static str> {
    let header = &case["header"];
    let text = |name: &str| header[name].as_str().unwrap().to_owned();
    let origin_key = case["origin_key"]
        .as_str()
        .map(|key| OriginKey::init_with(|place| place.copy_from_slice(&unhex(key))).unwrap());
    let expected = Expected {
        purpose: match &*text("purpose") {
            "client" => Purpose::Client,
            "state" => Purpose::State,
            _ => Purpose::Backup,
        },
        realms: &[text("realm")],
        mounts: &[text("mount")],
        key: &text("key"),
        version: KeyVersion::new(header["version"].as_u64().unwrap().try_into().unwrap()).unwrap(),
        origin_key: origin_key.as_ref(),
    };
    let refused = |error: selkie_crypto::DecryptError| named(error.refusal_for_log());
    let envelope = case["envelope"].as_str().unwrap();
    let envelope = Envelope::parse(envelope.as_bytes(), &expected).map_err(refused)?;
    let bytes = |name: &str| unhex(case[name].as_str().unwrap_or_default());
    let (associated_data, context) = (bytes("associated_data"), bytes("context"));
    let aad = Aad { associated_data: &associated_data, context: &context };
    let mut unwrapped = Vec::new();
    for opener in case["openers"].as_array().unwrap() {
        let at = usize::try_from(opener["recipient"].as_u64().unwrap()).unwrap();
        let recipient = &envelope.recipients()[at];
        let key = &keys[opener["key"].as_str().unwrap()];
        unwrapped.push((recipient, unwrap(recipient, key).ok_or("unwrap")?));
    }
    let dek = match envelope.needed() {
        1 => unwrapped.pop().unwrap().1,
        _ => {
            let shares = unwrapped
                .iter()
                .map(|(recipient, secret)| envelope.verify_share(recipient, secret));
            let shares = shares.collect::<Result<Vec<_>, _>>().map_err(refused)?;
            envelope.combine(&shares).map_err(refused)?
        }
    };
    let plaintext = envelope.decrypt(&dek, aad).map_err(refused)?;
    Ok(plaintext.expose_for_reply().to_vec())
}

/// What a KMS does.
fn unwrap(recipient: &Recipient, key: &Value) -> Option<RecipientSecret> {
    let wrapped = &recipient.wrapped_dek;
    let text = |name: &str| key[name].as_str();
    if let Some(kek) = text("kek") {
        let kek = Kek::init_with(|place| place.copy_from_slice(&unhex(kek))).unwrap();
        return kek.unwrap_dek(wrapped).ok();
    }
    if let Some(kek) = text("gcm_kek") {
        let kek = secret(&unhex(kek))?;
        let (nonce, rest) = wrapped.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        let opened = aead::decrypt(&kek, nonce, b"", ciphertext, tag).ok()?;
        return secret(opened.expose_for_reply());
    }
    if let Some(pem) = text("ec_private_pem") {
        return EcPrivateKey::from_pkcs8(&der(pem)).unwrap().unwrap_dek(wrapped).ok();
    }
    let key = PrivateDecryptingKey::from_pkcs8(&der(text("rsa_private_pem")?)).unwrap();
    let key = OaepPrivateDecryptingKey::new(key).unwrap();
    let mut output = vec![0; key.min_output_size()];
    secret(key.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut output, None).ok()?)
}

fn secret(bytes: &[u8]) -> Option<RecipientSecret> {
    let bytes: &[u8; 32] = bytes.try_into().ok()?;
    Some(RecipientSecret::init_with(|place| *place = *bytes))
}
