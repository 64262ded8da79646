use std::collections::BTreeSet;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selkie_crypto::Envelope;
use selkie_crypto::envelope::{Purpose, Recipient};
use serde_json::Value;

use crate::deployment::{self, Origin};

/// Feeds any bytes to the envelope's parser, and once more as the protected header and as the list of
/// recipients of an envelope that is genuine otherwise, because changes seldom survive its base64.
///
/// What is accepted is the one spelling of what a second JSON parser sees, outside and inside the
/// protected header, and every name in it says the same.
pub fn envelope(data: &[u8]) -> bool {
    let inside = [with_protected(data), with_recipients(data, 1), with_recipients(data, 2)];
    inside.iter().fold(accepts(data), |accepted, json| accepts(json) || accepted)
}

/// An envelope of which `needed` recipients must be unwrapped, whose list of them is `recipients`.
fn with_recipients(recipients: &[u8], needed: u8) -> Vec<u8> {
    static GENUINE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        let any = deployment::encrypt(b"root key", 3, Origin::Undeclared);
        [any, deployment::encrypt_quorum(b"root key", 3, Origin::Undeclared)]
    });
    let json = &GENUINE[usize::from(needed - 1)];
    let at = |byte| json.iter().position(|other| *other == byte).expect("it has a list");
    [&json[..at(b'[')], recipients, &json[at(b']') + 1..]].concat()
}

fn with_protected(protected: &[u8]) -> Vec<u8> {
    static GENUINE: LazyLock<Value> =
        LazyLock::new(|| canonical(&deployment::encrypt(b"root key", 3, Origin::Undeclared)));
    let mut json = GENUINE.clone();
    json["protected"] = URL_SAFE_NO_PAD.encode(protected).into();
    json.to_string().into_bytes()
}

fn accepts(data: &[u8]) -> bool {
    let parsed = match deployment::parse(data, Origin::Undeclared) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Invariant I4: one answer, whatever is wrong.
            assert_eq!(error.to_string(), "cipher: message authentication failed");
            return false;
        }
    };
    let json = canonical(data);
    let protected =
        URL_SAFE_NO_PAD.decode(text(&json["protected"])).expect("accepted, so base64url");
    agrees_on_header(&canonical(&protected), &parsed);
    agrees_on_recipients(&json["recipients"], &parsed);
    for member in ["ciphertext", "iv", "tag"] {
        let text = text(&json[member]);
        assert!(URL_SAFE_NO_PAD.decode(text).is_ok(), "{member} is not base64url");
    }
    true
}

/// `json` as a second parser sees it. Its objects are sorted and without white space, as ours are.
fn canonical(json: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(json).expect("accepted, so JSON");
    assert_eq!(value.to_string().as_bytes(), json, "another spelling was accepted");
    value
}

fn agrees_on_header(protected: &Value, parsed: &Envelope) {
    let (selkie, header) = (&protected["selkie"], parsed.header());
    assert_eq!(protected["enc"], "A256GCM");
    assert_eq!(selkie["format"], 1);
    assert_eq!(selkie["realm"], *header.realm);
    assert_eq!(selkie["mount"], *header.mount);
    assert_eq!(selkie["key"], *header.key);
    assert_eq!(selkie["version"], header.version.get());
    assert_eq!(selkie["created"], header.created);
    assert_eq!(selkie["purpose"], "client");
    assert_eq!(header.purpose, Purpose::Client);
    let members = selkie.as_object().expect("accepted, so an object");
    let has_quorum = parsed.needed() > 1;
    assert_eq!(has_quorum, members.contains_key("quorum"));
    assert!(!has_quorum || selkie["quorum"] == parsed.needed());
    assert_eq!(members.len(), 8 + usize::from(has_quorum), "an unknown member was accepted");
}

fn agrees_on_recipients(recipients: &Value, parsed: &Envelope) {
    let recipients = recipients.as_array().expect("accepted, so an array");
    assert!(!recipients.is_empty(), "an envelope for nobody was accepted");
    assert_eq!(recipients.len(), parsed.recipients().len());
    assert!(recipients.len() >= usize::from(parsed.needed()), "a quorum that cannot be met");
    for (json, recipient) in recipients.iter().zip(parsed.recipients()) {
        assert_eq!(json["header"]["alg"], recipient.algorithm.jose_name());
        assert_eq!(json["header"]["kid"], recipient.kek.as_str());
        assert_eq!(json["header"]["seal"], recipient.seal.as_str());
        assert_eq!(wrapped_dek(json), recipient.wrapped_dek);
        agrees_on_share(&json["header"], recipient, parsed);
    }
    let seals: BTreeSet<_> = parsed.recipients().iter().map(|one| &one.seal).collect();
    assert!(parsed.needed() == 1 || seals.len() == recipients.len(), "two shares for one seal");
}

/// The wrapped DEK as the JOSE members make it up, by the second parser.
fn wrapped_dek(json: &Value) -> Vec<u8> {
    let (header, key) = (&json["header"], bytes(&json["encrypted_key"]));
    let epk = &header["epk"];
    match text(&header["alg"]) {
        "A256GCMKW" => [bytes(&header["iv"]), key, bytes(&header["tag"])].concat(),
        "ECDH-ES+A256KW" if epk["crv"] == "P-256" => {
            assert_eq!(epk["kty"], "EC");
            [vec![4], bytes(&epk["x"]), bytes(&epk["y"]), key].concat()
        }
        "ECDH-ES+A256KW" => {
            assert_eq!((&epk["crv"], &epk["kty"]), (&"X25519".into(), &"OKP".into()));
            [bytes(&epk["x"]), key].concat()
        }
        _ => key,
    }
}

fn agrees_on_share(header: &Value, recipient: &Recipient, parsed: &Envelope) {
    assert_eq!(recipient.share.is_some(), parsed.needed() > 1, "a share without a quorum");
    match &recipient.share {
        None => assert!(header.get("share").is_none()),
        Some(share) => {
            assert_eq!(header["share"]["index"], share.index);
            assert_eq!(bytes(&header["share"]["mac"]), share.mac);
            assert!((1..=16).contains(&share.index));
        }
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text(value)).expect("accepted, so base64url")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("accepted, so text")
}
