//! The bodies of requests and answers: none leaves a copy of a plaintext behind, nor lets one decide
//! a branch or an index.
//!
//! Requests are written into a buffer that is wiped with its last holder. Answers lie in such a
//! buffer already; the text of `plaintext` is borrowed from it and decoded in constant time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use selkie_crypto::{Plaintext, base64};
use selkie_memory::WipedVec;
use serde::Deserialize;
use serde_json::Value;

use crate::http::object;

/// An answer holds nothing of use; says nothing more, it may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// `{"plaintext":...}`, with the version of the key if it is to be a certain one.
pub(super) fn encrypt_request(plaintext: &[u8], version: Option<NonZeroU32>) -> Bytes {
    let rest = version.map_or("}".to_owned(), |version| format!(",\"key_version\":{version}}}"));
    let start = br#"{"plaintext":""#;
    let length = start.len() + base64::encoded_len(plaintext.len()) + 1 + rest.len();
    let mut body = WipedVec::with_capacity(length);
    body.extend_from_slice(start);
    base64::encode_into(plaintext, &mut body);
    body.push(b'"');
    body.extend_from_slice(rest.as_bytes());
    Bytes::from_owner(body)
}

/// `{"ciphertext":...}`, with what the caller binds to it; none of it is secret.
pub(super) fn decrypt_request(ciphertext: &str, context: &[u8], associated_data: &[u8]) -> Bytes {
    let mut body = br#"{"ciphertext":"#.to_vec();
    body.extend_from_slice(Value::from(ciphertext).to_string().as_bytes());
    for (field, bytes) in [("context", context), ("associated_data", associated_data)] {
        if !bytes.is_empty() {
            body.extend_from_slice(format!(",\"{field}\":\"").as_bytes());
            base64::encode_into(bytes, &mut body);
            body.push(b'"');
        }
    }
    body.push(b'}');
    Bytes::from(body)
}

#[derive(Deserialize)]
struct Enveloped<D> {
    data: D,
}

fn data<'a, D: Deserialize<'a>>(body: &'a [u8]) -> Result<D, Malformed> {
    let parsed: Enveloped<D> = object(body).ok_or(Malformed)?;
    Ok(parsed.data)
}

/// The ciphertext of an answer to an encrypt.
pub(super) fn ciphertext(body: &[u8]) -> Result<String, Malformed> {
    #[derive(Deserialize)]
    struct Encrypted<'a> {
        #[serde(borrow)]
        ciphertext: Cow<'a, str>,
    }
    Ok(data::<Encrypted<'_>>(body)?.ciphertext.into_owned())
}

/// The plaintext of an answer to a decrypt.
pub(super) fn plaintext(body: &[u8]) -> Result<Plaintext, Malformed> {
    #[derive(Deserialize)]
    struct Decrypted<'a> {
        plaintext: &'a str,
    }
    base64::decode_secret(data::<Decrypted<'_>>(body)?.plaintext.as_bytes()).or(Err(Malformed))
}

/// What the server says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamKey {
    /// `latest_version`.
    pub latest: NonZeroU32,
    /// `min_decryption_version`: older ones do not decrypt.
    pub min_decryption: u32,
    /// `type`, such as `aes256-gcm96`.
    pub kind: String,
    /// Whether it encrypts, decrypts and asks for no context.
    pub is_suitable: bool,
    /// Whether `deletion_allowed` is set.
    pub is_deletable: bool,
    /// When the versions that are listed were made, as far as the server says.
    pub created: BTreeMap<NonZeroU32, SystemTime>,
}

/// What an answer to a read of a key says.
pub(super) fn key(body: &[u8]) -> Result<UpstreamKey, Malformed> {
    #[derive(Deserialize)]
    struct Key {
        latest_version: NonZeroU32,
        #[serde(default)]
        min_decryption_version: u32,
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default = "yes")]
        supports_encryption: bool,
        #[serde(default = "yes")]
        supports_decryption: bool,
        #[serde(default)]
        derived: bool,
        #[serde(default)]
        deletion_allowed: bool,
        #[serde(default)]
        keys: BTreeMap<String, Value>,
    }
    let key: Key = data(body)?;
    let created = key.keys.iter().filter_map(|(version, made)| {
        let seconds = made.as_u64().filter(|seconds| *seconds > 0)?;
        let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        Some((version.parse().ok()?, made))
    });
    Ok(UpstreamKey {
        latest: key.latest_version,
        min_decryption: key.min_decryption_version,
        is_suitable: key.supports_encryption && key.supports_decryption && !key.derived,
        is_deletable: key.deletion_allowed,
        created: created.collect(),
        kind: key.kind,
    })
}

const fn yes() -> bool {
    true
}

/// How long a token still lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// From the answer on; zero is for ever.
    pub(super) ttl: Duration,
    pub(super) is_renewable: bool,
}

/// The lease in an answer to a renewal.
pub(super) fn renewed(body: &[u8]) -> Result<Lease, Malformed> {
    #[derive(Deserialize)]
    struct Renewed {
        auth: Auth,
    }
    #[derive(Deserialize)]
    struct Auth {
        lease_duration: u64,
        renewable: bool,
    }
    let Renewed { auth } = object(body).ok_or(Malformed)?;
    let ttl = Duration::from_secs(auth.lease_duration);
    Ok(Lease { ttl, is_renewable: auth.renewable })
}

/// The lease in an answer to a look-up of the token itself.
pub(super) fn looked_up(body: &[u8]) -> Result<Lease, Malformed> {
    #[derive(Deserialize)]
    struct LookedUp {
        ttl: u64,
        #[serde(default)]
        renewable: bool,
    }
    let LookedUp { ttl, renewable } = data(body)?;
    Ok(Lease { ttl: Duration::from_secs(ttl), is_renewable: renewable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_that_vault_documents() {
        assert_eq!(&*encrypt_request(b"a", None), br#"{"plaintext":"YQ=="}"#);
        let version = NonZeroU32::new(7);
        assert_eq!(&*encrypt_request(b"", version), br#"{"plaintext":"","key_version":7}"#);
        assert_eq!(&*decrypt_request("vault:v1:x", b"", b""), br#"{"ciphertext":"vault:v1:x"}"#);
        let bound = decrypt_request("\"\n", b"a", b"b");
        let expected = br#"{"ciphertext":"\"\n","context":"YQ==","associated_data":"Yg=="}"#;
        assert_eq!(&*bound, expected);
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            "<html></html>",
            r#"{"data":null}"#,
            r#"{"data":{}}"#,
            r#"{"data":{"plaintext":7,"ciphertext":7,"latest_version":"1","ttl":"1"}}"#,
            r#"{"data":{"plaintext":null,"ciphertext":null,"latest_version":0,"ttl":-1}}"#,
            r#"{"data":{"plaintext":"YQ==","plaintext":"YQ=="}}"#,
            r#"{"data":{"plaintext":"YQ"}}"#,
            r#"{"data":{"plaintext":"Y Q="}}"#,
            r#"{"data":{"plaintext":"YQ==""#,
            r#"{"auth":null}"#,
        ] {
            let bytes = bad.as_bytes();
            assert!(plaintext(bytes).is_err(), "{bad}");
            assert!(ciphertext(bytes).is_err(), "{bad}");
            assert!(key(bytes).is_err(), "{bad}");
            assert!(renewed(bytes).is_err(), "{bad}");
            assert!(looked_up(bytes).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_are_read_among_whatever_else_they_hold() {
        let found = plaintext(br#"{"request_id":"x","data":{"plaintext":"YWI="},"auth":null}"#);
        assert_eq!(found.unwrap().expose_for_reply(), b"ab");
        let found = ciphertext(br#"{"data":{"ciphertext":"vault:v1:\u0061","key_version":1}}"#);
        assert_eq!(found.unwrap(), "vault:v1:a");
        let lease = Lease { ttl: Duration::from_secs(60), is_renewable: true };
        let auth =
            br#"{"data":null,"auth":{"client_token":"t","lease_duration":60,"renewable":true}}"#;
        assert_eq!(renewed(auth), Ok(lease));
        assert_eq!(looked_up(br#"{"data":{"ttl":60,"renewable":true,"id":"t"}}"#), Ok(lease));
    }

    #[test]
    fn key_of_either_shape_tells_its_versions() {
        let found = key(br#"{"data":{"type":"aes256-gcm96","latest_version":3,
            "min_decryption_version":2,"keys":{"2":1442851412,"3":0},"derived":false}}"#);
        let found = found.unwrap();
        assert_eq!((found.latest.get(), found.min_decryption), (3, 2));
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_442_851_412);
        assert_eq!(found.created, BTreeMap::from([(NonZeroU32::new(2).unwrap(), made)]));
        assert!(found.is_suitable && !found.is_deletable);
        let rsa =
            key(br#"{"data":{"type":"rsa-4096","latest_version":1,"keys":{"1":{"name":"rsa"}}}}"#);
        assert!(rsa.unwrap().created.is_empty());
        for unfit in [r#""derived":true"#, r#""supports_decryption":false"#] {
            let body = format!(r#"{{"data":{{"latest_version":1,{unfit}}}}}"#);
            assert!(!key(body.as_bytes()).unwrap().is_suitable, "{unfit}");
        }
    }
}
