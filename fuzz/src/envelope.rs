use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selkie_crypto::Envelope;
use selkie_crypto::envelope::Purpose;
use serde_json::Value;

use crate::deployment::{self, Origin};

/// Feeds any bytes to the envelope's parser, and once more as the protected header of an envelope
/// that is genuine otherwise, because changes seldom survive its base64.
///
/// What is accepted is the one spelling of what a second JSON parser sees, outside and inside the
/// protected header, and every name in it says the same.
pub fn envelope(data: &[u8]) -> bool {
    accepts(data) || accepts(&with_protected(data))
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
    assert_eq!(members.len(), 8, "an unknown member was accepted");
}

fn agrees_on_recipients(recipients: &Value, parsed: &Envelope) {
    let recipients = recipients.as_array().expect("accepted, so an array");
    assert!(!recipients.is_empty(), "an envelope for nobody was accepted");
    assert_eq!(recipients.len(), parsed.recipients().len());
    for (json, recipient) in recipients.iter().zip(parsed.recipients()) {
        let wrapped = text(&json["encrypted_key"]);
        assert_eq!(json["header"]["alg"], recipient.algorithm.jose_name());
        assert_eq!(json["header"]["kid"], recipient.kek.as_str());
        assert_eq!(json["header"]["seal"], recipient.seal.as_str());
        assert_eq!(wrapped, URL_SAFE_NO_PAD.encode(&recipient.wrapped_dek));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("accepted, so text")
}
