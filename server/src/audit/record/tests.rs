use std::net::Ipv4Addr;

use base16ct::HexDisplay;
use serde_json::{Value, json};

use super::*;

fn key() -> AuditKey {
    AuditKey::init_with(|page| page.fill(3)).unwrap()
}

fn hash(text: &str) -> Value {
    json!(format!("hmac-sha256:{:x}", HexDisplay(&key().value_hash(text.as_bytes()))))
}

/// What the line tells of a reply to a stranger whose request takes as much as a line tells.
fn told(answered: &Answered<'_>) -> Value {
    let mut data = Data::new();
    data.add(&"u".repeat(32_000), |out| out.push(b'1'));
    let path = "p".repeat(MOST_TEXT_BYTES);
    let asked = Asked {
        id: "1",
        operation: "update",
        mount: (&"m".repeat(MOST_NAME_BYTES), "approle"),
        path: &path,
        address: Ipv4Addr::LOCALHOST.into(),
        port: 1,
        token: None,
        client: None,
        certificate: None,
    };
    let record = Record::new(&asked, &data, &KnownHashes::default(), &key());
    let mut line = record.response_line(0, answered, &key());
    assert!(line.len() < MOST_LINE_BYTES, "{}", line.len());
    line.push(b'}');
    serde_json::from_slice::<Value>(&line).unwrap()["response"].clone()
}

#[test]
fn an_auth_that_has_no_room_is_told_member_by_member() {
    let policies: Vec<_> = (0..450).map(|number| format!("{number:0250}")).collect();
    let metadata = json!({ "x": "y".repeat(41_000), "role_name": "web" });
    let auth = json!({
        "client_token": "hvs.secret",
        "accessor": "of-the-token",
        "policies": policies,
        "token_policies": policies,
        "metadata": metadata,
        "lease_duration": 60,
        "token_type": "service",
        "orphan": false,
    });
    let text = auth.to_string();
    let told = told(&Answered { auth: Some(&text), status: 200, ..Answered::default() });
    let left_out = |value: &Value| {
        let text = value.to_string();
        json!({ "left_out_bytes": text.len(), "hash": hash(&text) })
    };
    let expected = json!({
        "client_token": hash("hvs.secret"),
        "accessor": hash("of-the-token"),
        "policies": left_out(&auth["policies"]),
        "token_policies": left_out(&auth["policies"]),
        "metadata": left_out(&metadata),
        "lease_duration": 60,
        "token_type": "service",
        "orphan": false,
    });
    assert_eq!(told["auth"], expected);
}

#[test]
fn a_wrapping_token_is_told_whatever_room_there_is() {
    let wrap_info = json!({
        "token": "hvs.secret",
        "accessor": "of-the-wrapping-token",
        "creation_path": "p".repeat(30_000),
        "wrapped_accessor": "of-the-token",
    });
    let text = wrap_info.to_string();
    let told = told(&Answered { wrap_info: Some(&text), status: 200, ..Answered::default() });
    assert_eq!(told["wrap_info"]["token"], hash("hvs.secret"));
    assert_eq!(told["wrap_info"]["accessor"], hash("of-the-wrapping-token"));
    assert_eq!(told["wrap_info"]["wrapped_accessor"], hash("of-the-token"));
    assert!(told["wrap_info"]["creation_path"]["left_out_bytes"].is_u64());
}

#[test]
fn metadata_that_has_no_room_still_tells_the_role() {
    let mut metadata: BTreeMap<_, _> =
        (0..64).map(|number| (format!("a{number}"), "x".repeat(500))).collect();
    metadata.insert("role_name".to_owned(), "web".to_owned());
    let mut out = Vec::new();
    push_metadata(&metadata, &key(), &mut out);
    let told: Value = serde_json::from_slice(&out).unwrap();
    let whole = serde_json::to_string(&metadata).unwrap();
    let expected =
        json!({ "role_name": "web", "left_out_bytes": whole.len(), "hash": hash(&whole) });
    assert_eq!(told, expected);
}
