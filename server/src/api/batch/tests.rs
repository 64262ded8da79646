use serde_json::value::RawValue;

use super::*;

fn decoded(json: &str, operation: BatchOperation) -> Result<Vec<(String, i64, String)>, ApiError> {
    let raw: &RawValue = serde_json::from_str(json).unwrap();
    let items = decode(&Value::from_json(raw), operation)?;
    let facts = items.into_iter().map(|item| {
        let text = item.text.expose_to_decode().to_owned();
        (text, item.key_version, item.reference.into_owned())
    });
    Ok(facts.collect())
}

fn message(json: &str, operation: BatchOperation) -> String {
    let error = decoded(json, operation).unwrap_err();
    assert_eq!(error.status().as_u16(), 500);
    error.message().unwrap()
}

#[test]
fn items_keep_their_order_and_reference() {
    let json = r#"[{"plaintext":"YQ==","reference":"one","key_version":2},{"plaintext":""}]"#;
    assert_eq!(
        decoded(json, BatchOperation::Encrypt),
        Ok(vec![("YQ==".to_owned(), 2, "one".to_owned()), (String::new(), 0, String::new())])
    );
}

#[test]
fn an_empty_batch_and_mixed_contexts_are_refused() {
    assert_eq!(decoded("[]", BatchOperation::Encrypt), Err(ApiError::EmptyBatch));
    for json in [
        r#"[{"plaintext":"","context":"YQ=="},{"plaintext":""}]"#,
        r#"[{"plaintext":""},{"plaintext":"","context":"YQ=="}]"#,
    ] {
        assert_eq!(decoded(json, BatchOperation::Encrypt), Err(ApiError::MixedContexts));
    }
    let none = r#"[{"plaintext":"","context":""},{"plaintext":"","context":null}]"#;
    assert!(decoded(none, BatchOperation::Encrypt).is_ok());
}

#[test]
fn a_batch_that_is_no_list_of_maps_has_vaults_text() {
    use BatchOperation::{Encrypt, Rewrap};
    for (json, operation, text) in [
        ("\"x\"", Encrypt, "source data must be an array or slice, got string"),
        ("7", Encrypt, "source data must be an array or slice, got json.Number"),
        ("true", Encrypt, "source data must be an array or slice, got bool"),
        ("{}", Encrypt, "source data must be an array or slice, got map[string]interface {}"),
        ("{}", Rewrap, "'': source data must be an array or slice, got map"),
        ("7", Rewrap, "'': source data must be an array or slice, got string"),
        ("[{\"plaintext\":\"\"},\"x\"]", Encrypt, "[1] expected a map, got 'string'"),
        ("[null]", Encrypt, "[0] expected a map, got '<nil>'"),
        ("[[]]", Encrypt, "[0] expected a map, got '[]interface {}'"),
        ("[7]", Rewrap, "1 error(s) decoding:\n\n* '[0]' expected a map, got 'string'"),
    ] {
        let expected = format!("1 error occurred:\n\t* failed to parse batch input: {text}\n\n");
        assert_eq!(message(json, operation), expected, "{json}");
    }
}

#[test]
fn every_fault_of_every_item_is_named_in_vaults_order() {
    let json = r#"[{"context":1,"key_version":"x"},{"plaintext":null},{"plaintext":"","key_version":1.5}]"#;
    assert_eq!(
        message(json, BatchOperation::Encrypt),
        "1 error occurred:\n\t* failed to parse batch input: 5 error(s) decoding:\n\n\
         * '[0].context' expected type 'string', got unconvertible type 'json.Number'\n\
         * '[0].key_version' expected type 'int', got unconvertible type 'string'\n\
         * '[0].plaintext' missing plaintext to encrypt\n\
         * '[1].plaintext' expected type 'string', got unconvertible type '<nil>'\n\
         * error decoding json.Number into [2].key_version: strconv.ParseInt: parsing \"1.5\": \
         invalid syntax\n\n"
    );
    assert_eq!(
        message("[{}]", BatchOperation::Decrypt),
        "1 error occurred:\n\t* failed to parse batch input: 1 error(s) decoding:\n\n\
         * '[0].ciphertext' missing ciphertext to decrypt\n\n"
    );
}

#[test]
fn rewrap_takes_items_without_ciphertext_and_numbers_for_text() {
    let json = r#"[{},null,{"ciphertext":7}]"#;
    let texts: Vec<_> = decoded(json, BatchOperation::Rewrap).unwrap();
    assert_eq!(texts.iter().map(|item| item.0.as_str()).collect::<Vec<_>>(), ["", "", "7"]);
}

#[test]
fn ten_thousand_items_are_fine_and_too_many_are_refused() {
    let batch = |count| format!("[{}]", vec!["{\"plaintext\":\"\"}"; count].join(","));
    let items = decoded(&batch(10_000), BatchOperation::Encrypt);
    assert_eq!(items.map(|items| items.len()), Ok(10_000));
    assert!(message(&batch(MOST_ITEMS + 1), BatchOperation::Encrypt).contains("more than"));
}

#[test]
fn the_text_about_a_thousand_faults_stays_short_and_counts_them() {
    let json = format!("[{}]", vec!["{}"; 1000].join(","));
    let text = message(&json, BatchOperation::Encrypt);
    assert!(text.contains("1000 error(s) decoding"));
    assert_eq!(text.matches("missing plaintext").count(), MOST_FAULTS_SHOWN);
}
