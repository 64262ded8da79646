use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use selkie::api::batch::BatchItem;
use selkie::api::fields::Fields;
use selkie::api::request::token::{CreateToken, OfAccessor, OfToken, WriteTokenRole};
use selkie::api::request::{
    Capabilities, ConfigureKey, CreateKey, Decrypt, Encrypt, Input, ReadKey, RenewSelf, Rewrap,
    TrimKey, decode_lookup_self, decode_rotate,
};
use selkie::api::{ApiError, base64 as api_base64};
use serde::Deserialize;
use serde_json::Value;

/// Base64 as Go takes it, once line ends are gone: padded, unused bits ignored.
const GO: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Feeds a request's body to the decoders of all endpoints.
///
/// Whether it is an object, and each text in it that is to be encrypted or decrypted, is as a
/// second JSON parser sees it; so is the base64 of a plaintext.
pub fn json_bodies(body: &[u8]) -> bool {
    decode_others(body);
    let accepted = Fields::parse(body, None).is_ok();
    let json = match second_opinion(body) {
        Opinion::Object(json) => json,
        Opinion::NoObject => {
            assert!(!accepted, "what is no object was accepted");
            return false;
        }
        Opinion::Unable => return false,
    };
    let members = json.as_object().map_or(0, serde_json::Map::len);
    assert!(accepted || members > 1024, "an object was refused");
    let encrypt = decode(body, |fields| Ok(Encrypt::decode(fields)?.input))
        .is_some_and(|input| agrees(&input, &json, "plaintext"));
    let decrypt = decode(body, |fields| Ok(Decrypt::decode(fields)?.input))
        .is_some_and(|input| agrees(&input, &json, "ciphertext"));
    encrypt || decrypt
}

/// What the second parser makes of a body, of which nothing after the first value is read.
enum Opinion {
    /// An object; `null` and an empty body stand for an empty one.
    Object(Value),
    NoObject,
    /// It cannot say: it refuses deep nesting, large numbers and half surrogate pairs, which Go and
    /// we accept.
    Unable,
}

fn second_opinion(body: &[u8]) -> Opinion {
    if body.iter().all(|byte| b" \t\n\r".contains(byte)) {
        return Opinion::Object(Value::Object(serde_json::Map::new()));
    }
    match Value::deserialize(&mut serde_json::Deserializer::from_slice(body)) {
        Ok(Value::Null) => Opinion::Object(Value::Object(serde_json::Map::new())),
        Ok(object @ Value::Object(_)) => Opinion::Object(object),
        Ok(_) => Opinion::NoObject,
        Err(error) => {
            let text = error.to_string();
            let beyond_it = ["recursion limit", "number out of range", "hex escape", "surrogate"];
            if beyond_it.iter().any(|what| text.contains(what)) {
                Opinion::Unable
            } else {
                Opinion::NoObject
            }
        }
    }
}

fn decode<'a, T>(
    body: &'a [u8],
    decoder: impl FnOnce(&mut Fields<'a>) -> Result<T, ApiError>,
) -> Option<T> {
    let mut fields = Fields::parse(body, None).ok()?;
    let decoded = decoder(&mut fields).ok()?;
    let _ = fields.into_warnings(&["name"]);
    Some(decoded)
}

/// The endpoints of which no more is asked than that they return.
fn decode_others(body: &[u8]) {
    decode(body, |fields| Rewrap::decode(fields).map(drop));
    decode(body, |fields| CreateKey::decode(fields).map(drop));
    decode(body, |fields| ReadKey::decode(fields).map(drop));
    decode(body, |fields| ConfigureKey::decode(fields).map(drop));
    decode(body, |fields| TrimKey::decode(fields).map(drop));
    decode(body, |fields| RenewSelf::decode(fields).map(drop));
    decode(body, |fields| Capabilities::decode(fields).map(drop));
    decode(body, decode_rotate);
    decode(body, decode_lookup_self);
    decode(body, |fields| CreateToken::decode(fields).map(drop));
    decode(body, |fields| WriteTokenRole::decode(fields).map(drop));
    for has_increment in [false, true] {
        decode(body, |fields| OfToken::decode(fields, has_increment).map(drop));
        decode(body, |fields| OfAccessor::decode(fields, has_increment).map(drop));
    }
}

fn agrees(input: &Input<'_>, json: &Value, member: &str) -> bool {
    match input {
        Input::Single(item) => item_agrees(item, json, member),
        Input::Batch(items) => {
            let batch = json["batch_input"].as_array().expect("decoded from an array");
            assert_eq!(items.len(), batch.len());
            let pairs = items.iter().zip(batch);
            pairs.fold(false, |any, (item, json)| item_agrees(item, json, member) || any)
        }
    }
}

/// Whether there was text to agree on.
fn item_agrees(item: &BatchItem<'_>, json: &Value, member: &str) -> bool {
    let text = item.text.expose_to_decode();
    let Some(expected) = json[member].as_str() else {
        return false;
    };
    assert_eq!(text, expected, "{member}");
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let ours = api_base64::decode(text).ok();
    let ours = ours.as_ref().map(|plaintext| plaintext.expose_for_reply());
    assert_eq!(ours, GO.decode(joined).ok().as_deref(), "base64 of {text:?}");
    true
}
