//! `batch_input`.

use anyhow::Result;
use serde_json::{Value, json};

use super::dev;
use crate::answer::{assert_envelope, assert_refused};

fn results(data: &Value) -> Vec<Value> {
    data["batch_results"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_batch_keeps_its_order_and_its_references() -> Result<()> {
    let (_selkie, root) = dev()?;
    let items = (0..50).map(|i| json!({ "plaintext": "YQ==", "reference": i.to_string() }));
    let items: Vec<_> = items.collect();
    let answer = root.put("transit/encrypt/autounseal", &json!({ "batch_input": items }))?;
    let sealed = results(&assert_envelope(&answer)?);
    assert_eq!(sealed.len(), 50);
    for (i, item) in sealed.iter().enumerate() {
        assert_eq!(item["reference"], i.to_string());
        assert!(item["key_version"].is_u64(), "{item}");
    }
    let items: Vec<_> = sealed.iter().map(|i| json!({ "ciphertext": i["ciphertext"] })).collect();
    let answer = root.put("transit/decrypt/autounseal", &json!({ "batch_input": items }))?;
    let opened = results(&assert_envelope(&answer)?);
    assert_eq!(opened, vec![json!({ "plaintext": "YQ==", "reference": "" }); 50]);
    let answer = root.put("transit/rewrap/autounseal", &json!({ "batch_input": items }))?;
    assert_eq!(results(&assert_envelope(&answer)?).len(), 50);
    Ok(())
}

#[test]
fn a_batch_with_a_bad_item_is_a_400_with_all_results() -> Result<()> {
    let (_selkie, root) = dev()?;
    let items = json!([{ "plaintext": "YQ==" }, { "plaintext": "!" }]);
    let answer = root.put("transit/encrypt/autounseal", &json!({ "batch_input": items }))?;
    assert_eq!(answer.status, 400);
    assert!(!answer.text().ends_with('\n'), "a status override has no line end");
    assert_eq!(answer.json().get("errors"), None);
    let results = results(&answer.json()["data"]);
    assert!(results[0]["ciphertext"].is_string(), "{results:?}");
    assert_eq!(results[1]["error"], "illegal base64 data at input byte 0");
    Ok(())
}

#[test]
fn a_decrypt_batch_with_a_bad_item_still_has_a_plaintext_field_for_it() -> Result<()> {
    let (_selkie, root) = dev()?;
    let good = super::encrypted(&root, "autounseal", "YQ==")?;
    let items = json!([{ "ciphertext": "nonsense" }, { "ciphertext": good }]);
    let answer = root.put("transit/decrypt/autounseal", &json!({ "batch_input": items }))?;
    assert_eq!(answer.status, 400);
    let results = results(&answer.json()["data"]);
    let refused =
        json!({ "plaintext": "", "error": "invalid ciphertext: no prefix", "reference": "" });
    assert_eq!(results, [refused, json!({ "plaintext": "YQ==", "reference": "" })]);
    Ok(())
}

#[test]
fn the_code_for_partial_failure_is_the_clients_to_choose() -> Result<()> {
    let (_selkie, root) = dev()?;
    let with = |items: Value, code: i64| {
        let body = json!({ "batch_input": items, "partial_failure_response_code": code });
        root.put("transit/encrypt/autounseal", &body)
    };
    let partly = json!([{ "plaintext": "YQ==" }, { "plaintext": "!" }]);
    assert_eq!(with(partly.clone(), 202)?.status, 202);
    assert_eq!(with(json!([{ "plaintext": "!" }]), 202)?.status, 400, "not partial");
    let answer = with(partly, 700)?;
    assert_eq!(answer.status, 400);
    let warning = "invalid HTTP response code override from partial_failure_response_code, \
                   reverting to 400";
    assert_eq!(answer.json()["warnings"], json!([warning]));
    Ok(())
}

#[test]
fn a_rewrap_batch_with_a_bad_item_is_a_200() -> Result<()> {
    let (_selkie, root) = dev()?;
    let items = json!([{ "ciphertext": "nonsense" }]);
    let answer = root.put("transit/rewrap/autounseal", &json!({ "batch_input": items }))?;
    let results = results(&assert_envelope(&answer)?);
    assert_eq!(results[0]["error"], "invalid ciphertext: no prefix");
    Ok(())
}

#[test]
fn the_shape_of_a_batch_is_checked() -> Result<()> {
    let (_selkie, root) = dev()?;
    let with =
        |items: Value| root.put("transit/encrypt/autounseal", &json!({"batch_input": items}));
    assert_refused(&with(json!([]))?, 400, "missing batch input to process");
    let mixed = json!([{ "plaintext": "YQ==", "context": "YQ==" }, { "plaintext": "YQ==" }]);
    let text = "context should be set either in all the request blocks or in none";
    assert_refused(&with(mixed)?, 400, text);
    for malformed in [json!(["text"]), json!([{}]), json!([{ "plaintext": 5 }])] {
        let answer = with(malformed.clone())?;
        assert_eq!(answer.status, 500, "{malformed}");
        let text = answer.text();
        assert!(text.contains("failed to parse batch input: "), "{malformed}: {text}");
    }
    let missing = with(json!([{ "plaintext": "YQ==" }, {}]))?.text();
    assert!(missing.contains("'[1].plaintext' missing plaintext to encrypt"), "{missing}");
    Ok(())
}

#[test]
fn a_batch_wins_over_a_single_item() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = json!({ "plaintext": "!", "batch_input": [{ "plaintext": "YQ==" }] });
    let answer = root.put("transit/encrypt/autounseal", &body)?;
    assert_eq!(results(&assert_envelope(&answer)?).len(), 1);
    Ok(())
}
