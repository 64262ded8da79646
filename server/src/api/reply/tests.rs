use std::collections::BTreeMap;

use http_body_util::BodyExt;

use super::*;
use crate::api::base64::IllegalByte;
use crate::api::data::{Auth, Encrypted, EncryptedBatch, EncryptedItem, Token};
use crate::api::error::ItemError;

const ID: &str = "c522ec2c-4db1-6fa6-233e-5255dc483b44";

fn body(reply: &Reply) -> &str {
    match &reply.body {
        ReplyBody::Public(body) => str::from_utf8(body).unwrap(),
        ReplyBody::Secret(body) => str::from_utf8(body).unwrap(),
    }
}

fn answer(with: impl FnOnce(ReplyFrame<'_>) -> Reply) -> String {
    let warnings = Warnings::default();
    let reply = with(ReplyFrame { request_id: ID, warnings: &warnings });
    body(&reply).to_owned()
}

/// As [`answer`], of a body that must leave no copy of itself where it grew, and be wiped.
fn secret_answer(with: impl FnOnce(ReplyFrame<'_>) -> Reply) -> String {
    answer(|frame| {
        let reply = with(frame);
        let ReplyBody::Secret(body) = &reply.body else {
            panic!("not wiped");
        };
        assert_eq!(body.capacity(), body.len());
        reply
    })
}

fn plaintext(bytes: &[u8]) -> Plaintext {
    Plaintext::new(bytes.to_vec())
}

const HEAD: &str = r#"{"request_id":"c522ec2c-4db1-6fa6-233e-5255dc483b44","lease_id":"","renewable":false,"lease_duration":0,"data":"#;
const TAIL: &str = r#","wrap_info":null,"warnings":null,"auth":null}"#;

#[test]
fn data_stands_in_vaults_envelope() {
    let encrypted = Encrypted { ciphertext: "vault:v1:YQ==", key_version: 1 };
    let expected = format!(r#"{HEAD}{{"ciphertext":"vault:v1:YQ==","key_version":1}}{TAIL}"#);
    assert_eq!(answer(|frame| frame.data(&encrypted)), expected + "\n");
}

#[test]
fn a_plaintext_is_encoded_in_place() {
    for (bytes, text) in [(&b""[..], ""), (b"a", "YQ=="), (b"\xff\xfe\xfd", "//79")] {
        let expected = format!("{HEAD}{{\"plaintext\":\"{text}\"}}{TAIL}\n");
        assert_eq!(secret_answer(|frame| frame.plaintext(&plaintext(bytes))), expected);
    }
}

#[test]
fn a_decrypt_batch_shows_plaintexts_and_errors_in_order() {
    let secret = plaintext(b"a");
    let items = [
        DecryptedItem { result: Ok(&secret), reference: "<1>" },
        DecryptedItem { result: Err(ItemError::Authentication), reference: "" },
    ];
    let expected = format!(
        "{HEAD}{{\"batch_results\":[{{\"plaintext\":\"YQ==\",\"reference\":\"\\u003c1\\u003e\"}},\
         {{\"plaintext\":\"\",\"error\":\"cipher: message authentication failed\",\
         \"reference\":\"\"}}]}}{TAIL}"
    );
    assert_eq!(secret_answer(|frame| frame.plaintexts(&items, None)), expected.clone() + "\n");
    let failure = Some(StatusCode::BAD_REQUEST);
    assert_eq!(secret_answer(|frame| frame.plaintexts(&items, failure)), expected);
}

#[test]
fn an_encrypt_batch_omits_what_an_item_has_not() {
    let items = [
        EncryptedItem {
            result: Ok(Encrypted { ciphertext: "vault:v2:YQ==", key_version: 2 }),
            reference: "r",
        },
        EncryptedItem { result: Err(ItemError::IllegalBase64(IllegalByte(3))), reference: "" },
    ];
    let batch = EncryptedBatch { batch_results: &items };
    let expected = format!(
        "{HEAD}{{\"batch_results\":[{{\"ciphertext\":\"vault:v2:YQ==\",\"key_version\":2,\
         \"reference\":\"r\"}},{{\"error\":\"illegal base64 data at input byte 3\",\
         \"reference\":\"\"}}]}}{TAIL}"
    );
    assert_eq!(answer(|frame| frame.encrypted(&batch, None)), expected.clone() + "\n");
    let failure = Some(StatusCode::BAD_REQUEST);
    assert_eq!(answer(|frame| frame.encrypted(&batch, failure)), expected);
}

/// Byte for byte what Vault 1.14.0 answered.
#[test]
fn auth_stands_in_vaults_order() {
    let auth = Auth {
        client_token: "hvs.secret",
        accessor: "5Tg5DvhAkOGedae3kqhDLNsS",
        policies: &["default"],
        token_policies: &["default"],
        metadata: Some(BTreeMap::from([("b".into(), "1".into()), ("a".into(), "2".into())])),
        lease_duration: 3600,
        renewable: true,
        entity_id: "",
        token_type: "service",
        orphan: true,
        mfa_requirement: None,
        num_uses: 0,
    };
    let expected = format!(
        r#"{HEAD}null,"wrap_info":null,"warnings":null,"auth":{{"client_token":"hvs.secret","accessor":"5Tg5DvhAkOGedae3kqhDLNsS","policies":["default"],"token_policies":["default"],"metadata":{{"a":"2","b":"1"}},"lease_duration":3600,"renewable":true,"entity_id":"","token_type":"service","orphan":true,"mfa_requirement":null,"num_uses":0}}}}"#
    );
    assert_eq!(secret_answer(|frame| frame.auth(&auth)), expected + "\n");
}

/// Byte for byte what Vault 1.14.0 answered.
#[test]
fn a_token_is_shown_as_vault_shows_it() {
    let token = Token {
        accessor: "5Tg5DvhAkOGedae3kqhDLNsS",
        bound_cidrs: None,
        role: None,
        creation_time: 1_795_420_453,
        creation_ttl: 3600,
        display_name: "token",
        entity_id: "",
        expire_time: Some("2026-11-23T08:54:13.792084028Z".to_owned()),
        explicit_max_ttl: 0,
        id: "hvs.secret",
        issue_time: Some("2026-11-23T07:54:13.600060871Z".to_owned()),
        last_renewal: Some("2026-11-23T07:54:13.792084113Z".to_owned()),
        last_renewal_time: Some(1_795_420_453),
        meta: Some(BTreeMap::from([("b".into(), "1".into()), ("a".into(), "2".into())])),
        num_uses: 0,
        orphan: true,
        path: "auth/token/create",
        period: Some(3600),
        policies: &["default"],
        renewable: Some(true),
        ttl: 3599,
        token_type: "service",
    };
    let expected = format!(
        r#"{HEAD}{{"accessor":"5Tg5DvhAkOGedae3kqhDLNsS","creation_time":1795420453,"creation_ttl":3600,"display_name":"token","entity_id":"","expire_time":"2026-11-23T08:54:13.792084028Z","explicit_max_ttl":0,"id":"hvs.secret","issue_time":"2026-11-23T07:54:13.600060871Z","last_renewal":"2026-11-23T07:54:13.792084113Z","last_renewal_time":1795420453,"meta":{{"a":"2","b":"1"}},"num_uses":0,"orphan":true,"path":"auth/token/create","period":3600,"policies":["default"],"renewable":true,"ttl":3599,"type":"service"}}{TAIL}"#
    );
    assert_eq!(secret_answer(|frame| frame.token(&token)), expected + "\n");
}

#[test]
fn some_paths_show_their_data_twice() {
    let data = [("a<b", ["deny"]), ("warnings", ["deny"])];
    let expected = format!(
        "{{\"a\\u003cb\":[\"deny\"],\"warnings\":[\"deny\"],{}{{\"a\\u003cb\":[\"deny\"],\
         \"warnings\":[\"deny\"]}}{TAIL}\n",
        &HEAD[1..]
    );
    assert_eq!(answer(|frame| frame.data_twice(&data)), expected);
}

#[test]
fn warnings_are_a_list() {
    let mut warnings = Warnings::default();
    warnings.add("first".to_owned());
    let frame = ReplyFrame { request_id: ID, warnings: &warnings };
    assert!(body(&frame.data(&())).contains(r#","warnings":["first"],"#));
    assert!(body(&frame.plaintext(&plaintext(b""))).contains(r#","warnings":["first"],"#));
}

#[test]
fn errors_have_vaults_form() {
    assert_eq!(body(&Reply::error(&ApiError::NotFound)), "{\"errors\":[]}\n");
    assert_eq!(
        body(&Reply::error(&ApiError::PolicyDenies)),
        "{\"errors\":[\"1 error occurred:\\n\\t* permission denied\\n\\n\"]}\n"
    );
}

#[tokio::test]
async fn every_response_has_vaults_headers() {
    let namespace = HeaderValue::from_static("ns1");
    let response = Reply::error(&ApiError::NotFound).into_response(Some(&namespace));
    assert_eq!(response.status(), 404);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["strict-transport-security"], "max-age=31536000; includeSubDomains");
    assert_eq!(headers["x-vault-namespace"], "ns1");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "{\"errors\":[]}\n");
}

#[test]
fn no_content_still_has_a_content_type() {
    let response = Reply::no_content().into_response(None);
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(!response.headers().contains_key("x-vault-namespace"));
}

#[test]
fn debug_shows_no_body() {
    let reply = answer_reply();
    assert!(!format!("{reply:?}").contains("YQ=="));
}

fn answer_reply() -> Reply {
    let warnings = Warnings::default();
    ReplyFrame { request_id: ID, warnings: &warnings }.plaintext(&plaintext(b"a"))
}
