use proptest::prelude::*;

use super::*;
use crate::api::{fields::Fields, reply::Reply};

fn fields(body: &str) -> Fields<'_> {
    Fields::parse(body.as_bytes(), None).unwrap()
}

fn text(item: &BatchItem<'_>) -> String {
    item.text.expose_to_decode().to_owned()
}

#[test]
fn what_the_seal_sends_is_understood() {
    let mut fields = fields(r#"{"plaintext":"YQ=="}"#);
    let encrypt = Encrypt::decode(&mut fields).unwrap();
    let Input::Single(item) = &encrypt.input else {
        panic!("a batch");
    };
    assert_eq!((text(item).as_str(), item.key_version), ("YQ==", 0));
    assert!(item.context.is_none() && item.associated_data.is_none());
    assert_eq!(fields.into_warnings(&["name"]), crate::api::fields::Warnings::default());
}

#[test]
fn an_empty_plaintext_is_one_and_an_absent_one_is_not() {
    for body in [r#"{"plaintext":""}"#, r#"{"plaintext":null}"#] {
        assert!(matches!(
            Encrypt::decode(&mut fields(body)),
            Ok(Encrypt { input: Input::Single(_), .. })
        ));
    }
    for body in ["{}", "", "null", r#"{"batch_input":null}"#] {
        let outcome = Encrypt::decode(&mut fields(body));
        assert_eq!(outcome.err(), Some(ApiError::MissingPlaintext), "{body}");
    }
}

#[test]
fn an_empty_ciphertext_is_none() {
    for body in ["{}", r#"{"ciphertext":""}"#, r#"{"ciphertext":null}"#] {
        let outcome = Decrypt::decode(&mut fields(body));
        assert_eq!(outcome.err(), Some(ApiError::MissingCiphertext), "{body}");
        let outcome = Rewrap::decode(&mut fields(body));
        assert_eq!(outcome.err(), Some(ApiError::MissingCiphertext), "{body}");
    }
}

#[test]
fn a_batch_overrides_the_single_fields() {
    let body = r#"{"plaintext":"bad","batch_input":[{"plaintext":"YQ=="}]}"#;
    let encrypt = Encrypt::decode(&mut fields(body)).unwrap();
    assert!(matches!(&encrypt.input, Input::Batch(items) if text(&items[0]) == "YQ=="));
}

#[test]
fn a_field_error_of_encrypt_lacks_the_frameworks_prefix() {
    let body = r#"{"plaintext":"","ciphertext":"x","key_version":"x","min_available_version":"x"}"#;
    let text = "error converting input x for field \"key_version\": cannot parse '' as int: \
                strconv.ParseInt: parsing \"x\": invalid syntax";
    let encrypt = Encrypt::decode(&mut fields(body)).err().unwrap();
    assert_eq!(encrypt.message().as_deref(), Some(text));
    let rewrap = Rewrap::decode(&mut fields(body)).err().unwrap();
    assert_eq!(rewrap.message(), Some(format!("Field validation failed: {text}")));
}

#[test]
fn each_endpoint_warns_about_the_fields_it_does_not_know() {
    let body = r#"{"ciphertext":"x","associated_data":"YQ==","key_version":1,"nonce":"","zz":1}"#;
    let ignored = |decode: fn(&mut Fields<'_>) -> bool| {
        let mut fields = fields(body);
        assert!(decode(&mut fields));
        fields.into_warnings(&["name"]).0.concat()
    };
    let decrypt = ignored(|fields| Decrypt::decode(fields).is_ok());
    assert!(decrypt.ends_with("[key_version zz]"), "{decrypt}");
    let rewrap = ignored(|fields| Rewrap::decode(fields).is_ok());
    assert!(rewrap.ends_with("[associated_data zz]"), "{rewrap}");
}

#[test]
fn the_fields_of_keys_are_understood() {
    let body = r#"{"type":"aes256-gcm96","derived":"true","auto_rotate_period":"24h","context":"YQ==","managed_key_id":"x"}"#;
    let mut given = fields(body);
    let key = CreateKey::decode(&mut given).unwrap();
    assert_eq!(key.key_type.as_deref(), Some("aes256-gcm96"));
    assert_eq!((key.derived, key.exportable, key.auto_rotate_period), (true, false, 86_400));
    assert_eq!(given.into_warnings(&["name"]).0.len(), 0);

    let body = r#"{"min_decryption_version":0,"deletion_allowed":true,"min_encryption_versoin":2}"#;
    let mut given = fields(body);
    let config = ConfigureKey::decode(&mut given).unwrap();
    assert_eq!(config.min_decryption_version, Some(0));
    assert_eq!(config.min_encryption_version, None);
    assert_eq!(config.deletion_allowed, Some(true));
    assert_eq!(given.into_warnings(&["name"]).0.len(), 1);

    assert_eq!(TrimKey::decode(&mut fields("{}")).unwrap().min_available_version, None);
    assert!(decode_rotate(&mut fields("null")).is_ok());
}

#[test]
fn a_read_of_a_key_takes_its_context() {
    let read = ReadKey::decode(&mut fields(r#"{"context":"YQ=="}"#)).unwrap();
    assert_eq!(read.context.unwrap().expose_to_decode(), "YQ==");
}

#[test]
fn renew_and_lookup_take_what_clients_send() {
    for (body, increment) in [("{\"increment\":0}", 0), ("{\"increment\":\"1h\"}", 3600), ("", 0)] {
        assert_eq!(RenewSelf::decode(&mut fields(body)).unwrap().increment, increment);
    }
    assert!(decode_lookup_self(&mut fields(r#"{"token":"x"}"#)).is_ok());
}

#[test]
fn capabilities_prefer_paths_and_need_one() {
    let paths = |body: &str| Capabilities::decode(&mut fields(body)).map(|c| c.paths);
    assert_eq!(paths(r#"{"paths":["a","b"],"path":"c"}"#), Ok(vec!["a".into(), "b".into()]));
    assert_eq!(paths(r#"{"paths":[],"path":"c,d"}"#), Ok(vec!["c".into(), "d".into()]));
    assert_eq!(paths("{}"), Err(ApiError::MissingPaths));
}

/// Every endpoint's decoder over one body; the errors as the client would see them.
fn errors(body: &[u8], content_type: Option<&str>) -> String {
    type Decode = fn(&mut Fields<'_>) -> Result<(), ApiError>;
    let decoders: [Decode; 10] = [
        |fields| Encrypt::decode(fields).map(drop),
        |fields| Decrypt::decode(fields).map(drop),
        |fields| Rewrap::decode(fields).map(drop),
        |fields| CreateKey::decode(fields).map(drop),
        |fields| ReadKey::decode(fields).map(drop),
        |fields| ConfigureKey::decode(fields).map(drop),
        |fields| TrimKey::decode(fields).map(drop),
        |fields| RenewSelf::decode(fields).map(drop),
        |fields| Capabilities::decode(fields).map(drop),
        decode_rotate,
    ];
    let mut texts = String::new();
    for decode in decoders {
        let outcome = Fields::parse(body, content_type).and_then(|mut fields| decode(&mut fields));
        if let Err(error) = outcome {
            texts.push_str(&error.message().unwrap_or_default());
            texts.push_str(&format!("{error:?}{:?}", Reply::error(&error)));
        }
    }
    texts
}

/// Any JSON, with `secret` as the text of some of its leaves.
fn json(secret: &'static str) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just(format!("\"{secret}\"")),
        Just(format!("\"\\/{secret}\"")),
        Just("\"YQ==\"".to_owned()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop_oneof![Just("plaintext"), Just("ciphertext"), Just("context"), Just("x")];
        let member = (name, inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..4)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQ";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>, form: bool) {
        let content_type = form.then_some("application/x-www-form-urlencoded");
        errors(&body, content_type);
    }

    #[test]
    fn nearly_json_never_panics(body in "[\\[\\]{}\",:\\\\u0-9a-fdtn \u{e9}-]{0,40}") {
        errors(body.as_bytes(), None);
    }

    #[test]
    fn a_secret_never_gets_into_an_error(
        plaintext in json(SECRET),
        ciphertext in json(SECRET),
        context in json(SECRET),
        associated_data in json(SECRET),
        batch in json(SECRET),
        cut in 0usize..3,
    ) {
        let mut body = format!(
            "{{\"plaintext\":{plaintext},\"ciphertext\":{ciphertext},\"context\":{context},\
             \"associated_data\":{associated_data},\"nonce\":{context},\"batch_input\":{batch}}}"
        );
        body.truncate(body.len() - cut);
        let texts = errors(body.as_bytes(), None);
        prop_assert!(!texts.contains("c2VjcmV0"), "{texts}");
    }
}
