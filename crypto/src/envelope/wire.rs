use serde::{Deserialize, Serialize};

/// A JWE in general JSON serialization; the order of the members is their order on the wire.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Jwe<'a> {
    pub(super) ciphertext: &'a str,
    pub(super) iv: &'a str,
    pub(super) protected: &'a str,
    #[serde(borrow)]
    pub(super) recipients: Vec<Recipient<'a>>,
    pub(super) tag: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) unprotected: Option<Unprotected<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipient<'a> {
    pub(super) encrypted_key: &'a str,
    #[serde(borrow)]
    pub(super) header: RecipientHeader<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipientHeader<'a> {
    pub(super) alg: &'a str,
    pub(super) kid: &'a str,
    pub(super) seal: &'a str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unprotected<'a> {
    pub(super) origin: &'a str,
}

/// The one spelling of `value`.
///
/// Invariant: structs of strings always serialise; were it ever otherwise, the empty result would
/// equal no envelope.
pub(super) fn print(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The JWE in `json`, if `json` is its one spelling.
pub(super) fn parse(json: &[u8]) -> Option<Jwe<'_>> {
    let jwe: Jwe<'_> = serde_json::from_slice(json).ok()?;
    (print(&jwe) == json).then_some(jwe)
}
