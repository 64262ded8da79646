//! How each algorithm's wrapped DEK stands in an envelope.

use serde_json::{Value, json};

use super::*;

fn recipient(algorithm: WrapAlgorithm, wrapped_dek: Vec<u8>) -> Recipient {
    let (seal, kek) = (SealName::new("s").unwrap(), KekId::new("k").unwrap());
    Recipient { seal, kek, algorithm, wrapped_dek, share: None }
}

/// Bytes of which the first is 4, as in an uncompressed point, and none else is ASCII.
fn bytes(length: usize) -> Vec<u8> {
    std::iter::once(4).chain((128..=u8::MAX).cycle()).take(length).collect()
}

fn url(bytes: &[u8]) -> String {
    String::from_utf8(crate::base64::encode_url(bytes)).unwrap()
}

/// An envelope for `recipients`, of which nobody asks whether it opens.
fn envelope(recipients: &[Recipient]) -> Vec<u8> {
    let draft = Draft::new(&os_random).unwrap();
    let plaintext = Plaintext::new(b"x".to_vec());
    draft.encrypt(&header(), Aad::default(), plaintext, recipients, None).unwrap()
}

/// Of each algorithm a wrapped DEK, and what JOSE makes of it.
fn spellings() -> Vec<(Recipient, Value)> {
    use WrapAlgorithm::{A256GcmKw, A256Kw, EcdhEsA256Kw, RsaOaep256, Transit};
    let spelling = |algorithm: WrapAlgorithm, wrapped_dek: &[u8], key: &[u8], more: Value| {
        let mut header = json!({ "alg": algorithm.jose_name(), "kid": "k", "seal": "s" });
        header.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        let json = json!({ "encrypted_key": url(key), "header": header });
        (recipient(algorithm, wrapped_dek.to_vec()), json)
    };
    let (gcm, p256, x25519) = (bytes(60), bytes(105), bytes(72));
    let gcm_header = json!({ "iv": url(&gcm[..12]), "tag": url(&gcm[44..]) });
    let p256_header = json!({ "epk": {
        "crv": "P-256", "kty": "EC", "x": url(&p256[1..33]), "y": url(&p256[33..65]),
    } });
    let x25519_header =
        json!({ "epk": { "crv": "X25519", "kty": "OKP", "x": url(&x25519[..32]) } });
    vec![
        spelling(A256Kw, &bytes(40), &bytes(40), json!({})),
        spelling(RsaOaep256, &bytes(384), &bytes(384), json!({})),
        spelling(Transit, b"vault:v1:AAAA", b"vault:v1:AAAA", json!({})),
        spelling(A256GcmKw, &gcm, &gcm[12..44], gcm_header),
        spelling(EcdhEsA256Kw, &p256, &p256[65..], p256_header),
        spelling(EcdhEsA256Kw, &x25519, &x25519[32..], x25519_header),
    ]
}

#[test]
fn every_algorithm_has_the_spelling_of_rfc_7518_and_is_read_back() {
    for (recipient, expected) in spellings() {
        let json = envelope(std::slice::from_ref(&recipient));
        let seen: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(seen["recipients"], json!([expected]));
        let parsed = Place::default().parse(&json, None).unwrap();
        assert_eq!(parsed.recipients(), [recipient]);
    }
}

#[test]
fn a_wrapped_dek_of_another_shape_is_never_printed() {
    for (algorithm, wrapped_dek) in [
        (WrapAlgorithm::A256Kw, bytes(41)),
        (WrapAlgorithm::RsaOaep256, bytes(255)),
        (WrapAlgorithm::A256GcmKw, bytes(40)),
        (WrapAlgorithm::EcdhEsA256Kw, bytes(40)),
        (WrapAlgorithm::EcdhEsA256Kw, vec![2; 105]),
        (WrapAlgorithm::Transit, b"vault:v1:\"".repeat(10_000)),
        (WrapAlgorithm::Transit, Vec::new()),
    ] {
        let draft = Draft::new(&os_random).unwrap();
        let recipients = [recipient(algorithm, wrapped_dek)];
        let plaintext = Plaintext::new(b"x".to_vec());
        let made = draft.encrypt(&header(), Aad::default(), plaintext, &recipients, None);
        assert_eq!(made.unwrap_err(), EncryptError::WrappedDekShape(algorithm));
    }
}

/// `one` in an envelope whose text says `changed` instead.
fn accepts(one: &Recipient, json: &Value, changed: &Value) -> bool {
    let text = String::from_utf8(envelope(std::slice::from_ref(one))).unwrap();
    let (genuine, changed) = (json.to_string(), changed.to_string());
    assert!(text.contains(&genuine), "control");
    Place::default().parse(text.replace(&genuine, &changed).as_bytes(), None).is_ok()
}

#[test]
fn a_header_of_another_algorithm_is_refused() {
    for (one, json) in spellings() {
        for (other, other_json) in spellings() {
            let mut changed = json.clone();
            changed["header"] = other_json["header"].clone();
            // A256KW alone and after ECDH-ES makes 40 bytes of whatever it wraps.
            let length = |json: &Value| json["encrypted_key"].as_str().unwrap().len();
            let same = length(&json) == length(&other_json);
            assert_eq!(accepts(&one, &json, &changed), same, "{one:?} as {other:?}");
        }
    }
}

#[test]
fn an_encrypted_key_of_another_length_is_refused() {
    for (one, json) in spellings() {
        if one.algorithm == WrapAlgorithm::Transit {
            continue;
        }
        let right = json["encrypted_key"].as_str().unwrap().len();
        for length in 0..120 {
            let mut changed = json.clone();
            changed["encrypted_key"] = url(&bytes(length)).into();
            let same = url(&bytes(length)).len() == right;
            assert_eq!(accepts(&one, &json, &changed), same, "{one:?} with {length} bytes");
        }
    }
}

/// The paths to all members of `json` that are no objects.
fn leaves(json: &Value, path: &str) -> Vec<String> {
    json.as_object().map_or_else(
        || vec![path.to_owned()],
        |members| {
            let below =
                |(name, member): (&String, &Value)| leaves(member, &format!("{path}/{name}"));
            members.iter().flat_map(below).collect()
        },
    )
}

#[test]
fn a_member_that_is_missing_too_long_or_too_many_is_refused() {
    for (one, json) in spellings() {
        for path in leaves(&json, "") {
            let (parent, name) = path.rsplit_once('/').unwrap();
            let members = |json: &mut Value| -> serde_json::Map<String, Value> {
                json.pointer_mut(parent).unwrap().as_object().unwrap().clone()
            };
            let mut changed = json.clone();
            let mut fewer = members(&mut changed);
            fewer.remove(name);
            *changed.pointer_mut(parent).unwrap() = fewer.into();
            assert!(!accepts(&one, &json, &changed), "{path} is missing");

            let mut changed = json.clone();
            let mut more = members(&mut changed);
            more.insert(format!("{name}2"), "AAAA".into());
            *changed.pointer_mut(parent).unwrap() = more.into();
            assert!(!accepts(&one, &json, &changed), "more than {path}");

            let is_name = ["/header/kid", "/header/seal"].contains(&path.as_str());
            if !is_name && one.algorithm != WrapAlgorithm::Transit {
                let mut changed = json.clone();
                let longer = format!("{}AAAA", json.pointer(&path).unwrap().as_str().unwrap());
                *changed.pointer_mut(&path).unwrap() = longer.into();
                assert!(!accepts(&one, &json, &changed), "{path} is longer");
            }
        }
    }
}
