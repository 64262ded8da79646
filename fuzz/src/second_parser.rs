use serde::de::IgnoredAny;
use serde_json::Value;

/// Whether `data` is JSON of which the second parser, a `Value`, cannot say what it holds. It decodes
/// also what a reader passes over by its grammar alone: half surrogate pairs, bytes that are no
/// UTF-8, numbers beyond a float, deep nesting.
pub(crate) fn is_beyond(data: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(data).is_ok()
        && serde_json::from_slice::<Value>(data).is_err()
}

/// Whether `data` says `value` without detours: no member stands twice and nothing is escaped, so
/// that no two readers can differ over it.
pub(crate) fn is_plain(data: &[u8], value: &Value) -> bool {
    let letters = |text: &[u8]| text.iter().filter(|byte| !byte.is_ascii_whitespace()).count();
    letters(data) == letters(value.to_string().as_bytes())
}

#[test]
fn is_beyond_it_what_it_decodes_and_a_reader_passes_over() {
    for json in [&br#"{"a":"\ud800"}"#[..], b"{\"a\":\"\xff\"}", br#"{"a":1e999}"#] {
        assert!(is_beyond(json), "{}", String::from_utf8_lossy(json));
    }
    assert!(is_beyond(&[[b'['; 200], [b']'; 200]].concat()));
    for json in ["{}", r#"{"a":"\ud83d\ude00"}"#, "", "{", r#"{"a":"\u12"}"#] {
        assert!(!is_beyond(json.as_bytes()), "{json}");
    }
}

#[test]
fn is_plain_what_has_one_reading() {
    let is = |text: &str| is_plain(text.as_bytes(), &serde_json::from_str(text).expect("JSON"));
    assert!(is(r#" { "a" : [1, "b c"] } "#));
    assert!(!is(r#"{"a":1,"a":1}"#) && !is(r#"{"\u0061":1}"#));
}
