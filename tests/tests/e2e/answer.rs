//! What an answer must look like, whatever it says.

use anyhow::{Context, Result};
use selkie_tests::Answer;
use serde_json::{Value, json};

/// Checks status, the exact text of the only error, and what every answer under `/v1/` carries.
pub(crate) fn assert_refused(answer: &Answer, status: u16, text: &str) {
    let expected = format!("{}\n", json!({ "errors": [text] }));
    assert_eq!((answer.status, answer.text()), (status, go_json(&expected)));
    assert_headers(answer);
}

/// Checks an answer whose list of errors is empty, as Vault's 404 is.
pub(crate) fn assert_empty_refusal(answer: &Answer, status: u16) {
    assert_eq!((answer.status, answer.text().as_str()), (status, "{\"errors\":[]}\n"));
    assert_headers(answer);
}

/// Checks the headers of every answer under `/v1/`. hvac compares the content type exactly.
pub(crate) fn assert_headers(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let transport = answer.header("strict-transport-security");
    assert_eq!(transport, Some("max-age=31536000; includeSubDomains"));
}

/// Checks that an answer is Vault's envelope, field for field in its order, and returns its `data`.
pub(crate) fn assert_envelope(answer: &Answer) -> Result<Value> {
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert_headers(answer);
    assert_eq!(text.matches('\n').count(), 1, "one line: {text:?}");
    assert!(text.ends_with('\n'), "{text:?}");
    let body = answer.json();
    let id = body["request_id"].as_str().context("no request_id")?;
    assert_eq!(id.len(), 36, "a UUID: {id}");
    let start = format!(
        "\"request_id\":\"{id}\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":0,\"data\":"
    );
    // Some answers of `sys/` repeat their data before the envelope (§3.1).
    let mut after = text.find(&start).with_context(|| text.clone())?;
    for field in ["\"wrap_info\":null", "\"warnings\":", "\"auth\":"] {
        let at = text.rfind(field).with_context(|| format!("no {field} in {text}"))?;
        assert!(at > after, "{field} is out of order: {text}");
        after = at;
    }
    Ok(body["data"].clone())
}

/// Go escapes these in JSON; `serde_json` does not.
fn go_json(text: &str) -> String {
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
