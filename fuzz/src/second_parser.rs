use serde::de::IgnoredAny;
use serde_json::Value;

/// Whether `data` is JSON of which the second parser, a `Value`, cannot say what it holds. It decodes
/// also what a reader passes over by its grammar alone: half surrogate pairs, bytes that are no
/// UTF-8, numbers beyond a float, deep nesting.
pub(crate) fn is_beyond(data: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(data).is_ok()
        && serde_json::from_slice::<Value>(data).is_err()
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
