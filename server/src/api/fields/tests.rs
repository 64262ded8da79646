use std::fmt;

use super::*;

fn fields(body: &str) -> Fields<'_> {
    Fields::parse(body.as_bytes(), None).unwrap()
}

fn error(result: Result<impl fmt::Debug, FieldError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn scalars_are_text_as_in_vault() {
    for (json, expected) in [
        ("\"x\"", "x"),
        ("123", "123"),
        ("1.50", "1.50"),
        ("true", "1"),
        ("false", "0"),
        ("null", ""),
    ] {
        let body = format!("{{\"plaintext\":{json}}}");
        let text = fields(&body).secret("plaintext").unwrap().unwrap();
        assert_eq!(text.expose_to_decode(), expected, "{json}");
    }
    assert!(fields("{}").secret("plaintext").unwrap().is_none());
}

#[test]
fn ints_are_weakly_typed_as_in_vault() {
    for (json, expected) in [
        ("3", 3),
        ("-3", -3),
        ("\"7\"", 7),
        ("\"+7\"", 7),
        ("\"0x1F\"", 31),
        ("\"0b11\"", 3),
        ("\"0o17\"", 15),
        ("\"017\"", 15),
        ("\"0\"", 0),
        ("\"\"", 0),
        ("true", 1),
        ("false", 0),
        ("null", 0),
        ("-9223372036854775808", i64::MIN),
    ] {
        let body = format!("{{\"v\":{json}}}");
        assert_eq!(fields(&body).int("v"), Ok(Some(expected)), "{json}");
    }
    for json in
        ["\"--1\"", "\"+-1\"", "\"0x\"", "\"-\"", "\"1 \"", "\"0x+1\"", "1.0", "1e3", "\"é0\""]
    {
        let body = format!("{{\"v\":{json}}}");
        assert!(fields(&body).int("v").is_err(), "{json}");
    }
}

#[test]
fn bools_are_weakly_typed_as_in_vault() {
    for (json, expected) in [
        ("true", true),
        ("\"T\"", true),
        ("1", true),
        ("\"true\"", true),
        ("0", false),
        ("\"False\"", false),
        ("\"\"", false),
        ("null", false),
    ] {
        let body = format!("{{\"v\":{json}}}");
        assert_eq!(fields(&body).bool("v"), Ok(Some(expected)), "{json}");
    }
}

#[test]
fn lists_come_as_arrays_text_or_single_values() {
    for (json, expected) in [
        ("\"a, b,\"", vec!["a", "b", ""]),
        ("\"\"", vec![]),
        ("null", vec![]),
        ("{}", vec![]),
        ("[]", vec![]),
        ("[\" a\",1,true,null]", vec!["a", "1", "1", ""]),
        ("[\"a,b\"]", vec!["a,b"]),
        ("7", vec!["7"]),
    ] {
        let body = format!("{{\"v\":{json}}}");
        let list = fields(&body).list("v").unwrap().unwrap_or_default();
        assert_eq!(list, expected, "{json}");
    }
}

#[test]
fn conversion_errors_have_vaults_text() {
    assert_eq!(
        error(fields(r#"{"key_version":"x"}"#).int("key_version")),
        "error converting input x for field \"key_version\": cannot parse '' as int: \
         strconv.ParseInt: parsing \"x\": invalid syntax"
    );
    assert_eq!(
        error(fields(r#"{"v":99999999999999999999}"#).int("v")),
        "error converting input 99999999999999999999 for field \"v\": cannot parse '' as int: \
         strconv.ParseInt: parsing \"99999999999999999999\": value out of range"
    );
    assert_eq!(
        error(fields(r#"{"v":2}"#).bool("v")),
        "error converting input 2 for field \"v\": cannot parse '' as bool: strconv.ParseBool: \
         parsing \"2\": invalid syntax"
    );
    assert_eq!(
        error(fields(r#"{"increment":"x"}"#).seconds("increment")),
        "error converting input x for field \"increment\": time: invalid duration \"x\""
    );
    assert_eq!(
        error(fields(r#"{"increment":-5}"#).seconds("increment")),
        "error converting input -5 for field \"increment\": cannot provide negative value '-5'"
    );
    assert_eq!(
        error(fields(r#"{"increment":true}"#).seconds("increment")),
        "error converting input true for field \"increment\": could not parse duration from input"
    );
}

#[test]
fn what_has_no_scalar_text_and_what_is_long_is_not_quoted() {
    assert_eq!(
        error(fields(r#"{"plaintext":["c2VjcmV0"]}"#).secret("plaintext")),
        "error converting input for field \"plaintext\": '' expected type 'string', got \
         unconvertible type '[]interface {}'"
    );
    assert_eq!(
        error(fields(r#"{"paths":{"a":1}}"#).list("paths")),
        "error converting input for field \"paths\": 1 error(s) decoding:\n\n* '[0]' expected \
         type 'string', got unconvertible type 'map[string]interface {}'"
    );
    let body = format!("{{\"v\":\"{}\"}}", "x".repeat(65));
    assert_eq!(
        error(fields(&body).int("v")),
        "error converting input for field \"v\": cannot parse '' as int: strconv.ParseInt: \
         invalid syntax"
    );
}

#[test]
fn what_is_left_is_warned_about_in_order() {
    let warnings = fields(r#"{"b":1,"a":null,"name":"x"}"#).into_warnings(&["name"]);
    assert_eq!(
        warnings.0,
        [
            "Endpoint ignored these unrecognized parameters: [a b]",
            "Endpoint replaced the value of these parameters with the values captured from the \
             endpoint's path: [name]",
        ]
    );
    let warnings = fields(r#"{"name":null}"#).into_warnings(&["name"]);
    assert_eq!(warnings, Warnings::default());
}

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

#[test]
fn json_under_a_forms_content_type_is_json() {
    let mut fields = Fields::parse(b" {\"plaintext\":\"YQ==\"}", FORM).unwrap();
    let text = fields.secret("plaintext").unwrap().unwrap();
    assert_eq!(text.expose_to_decode(), "YQ==");
    assert!(matches!(Fields::parse(b"[1]", FORM), Err(ApiError::MalformedJson)));
}

#[test]
fn a_form_is_decoded_and_repeated_fields_are_joined() {
    let form = Some("Application/X-WWW-Form-URLencoded; charset=utf-8");
    let mut fields = Fields::parse(b"plaintext=YQ%3D%3D&a=1&a=2&b", form).unwrap();
    let text = fields.secret("plaintext").unwrap().unwrap();
    assert_eq!(text.expose_to_decode(), "YQ==");
    assert_eq!(fields.text("a").unwrap().as_deref(), Some("1,2"));
    assert_eq!(fields.text("b").unwrap().as_deref(), Some(""));
}

#[test]
fn a_broken_form_is_malformed() {
    for body in [&b"a=%zz"[..], b"a=1;b=2", b"a=\xff", b"a=%ff"] {
        assert!(matches!(Fields::parse(body, FORM), Err(ApiError::MalformedForm)));
    }
    assert!(Fields::parse(b"", FORM).unwrap().members.is_empty());
}

#[test]
fn a_form_without_its_content_type_is_malformed_json() {
    for content_type in [None, Some("application/json"), Some("")] {
        let parsed = Fields::parse(b"plaintext=YQ", content_type);
        assert!(matches!(parsed, Err(ApiError::MalformedJson)));
    }
}

#[test]
fn a_query_is_fields_without_its_reserved_words() {
    let query = || Query::parse(Some("list=true&help=1&foo=1&foo=2&context=YQ"));
    let mut fields = Fields::from_query(query(), true);
    assert_eq!(fields.text("context").unwrap().as_deref(), Some("YQ"));
    assert_eq!(
        error(fields.text("foo")),
        "error converting input for field \"foo\": '' expected type 'string', got unconvertible \
         type '[]string'"
    );
    assert_eq!(fields.into_warnings(&[]), Warnings::default());
    assert!(!Fields::from_query(query(), false).into_warnings(&[]).0.is_empty());
}

/// What Vault's own framework (sdk of 1.14.0) makes of each value: type wanted, JSON, outcome. A Go
/// program wrote it, with `FieldData.Validate` and `GetOkErr`.
const GO: &str = include_str!("go.jsonl");

#[test]
fn every_conversion_of_the_table_comes_out_as_in_vault() {
    for line in GO.lines() {
        let (kind, json, outcome, text): (String, String, String, String) =
            serde_json::from_str(line).unwrap();
        let body = format!("{{\"v\":{json}}}");
        let mut fields = fields(&body);
        let ours = match kind.as_str() {
            "Text" => fields.text("v").map(|text| text.map(Cow::into_owned)),
            "Int" => fields.int("v").map(|int| int.map(|int| int.to_string())),
            "Bool" => fields.bool("v").map(|truth| truth.map(|truth| truth.to_string())),
            "Seconds" => fields.seconds("v").map(|int| int.map(|int| int.to_string())),
            "List" => fields.list("v").map(|list| {
                Some(format!("{:?}", list.unwrap_or_default()).replace("\", \"", "\" \""))
            }),
            other => panic!("{other}"),
        };
        let ours = ours
            .map(|text| text.unwrap_or_else(|| "absent".to_owned()))
            .map_err(|error| error.to_string());
        let theirs = match outcome.as_str() {
            "Ok" => Ok(text),
            _ => Err(without_composite(&json, &text)),
        };
        assert_eq!(ours, theirs, "{kind} of {json}");
    }
}

/// The one thing left out on purpose: Vault prints arrays and objects, whatever is in them.
fn without_composite(json: &str, text: &str) -> String {
    if !json.starts_with(['[', '{']) {
        return text.to_owned();
    }
    let (_, after) = text.split_once(" for field").unwrap();
    let before_value = after.split(", value: '").next().unwrap();
    format!("error converting input for field{before_value}")
}

#[test]
fn a_list_has_so_many_elements_however_it_is_sent() {
    let body = |list: &str| format!("{{\"v\":{list}}}");
    let text = |count: usize| body(&format!("\"{}\"", ",".repeat(count - 1)));
    let array = |count: usize| body(&format!("[{}0]", "0,".repeat(count - 1)));
    for most in [text(10_000), array(10_000)] {
        assert_eq!(fields(&most).list("v").unwrap().unwrap().len(), 10_000);
    }
    for more in [text(10_001), array(10_001)] {
        let told = "error converting input for field \"v\": too many elements";
        assert_eq!(error(fields(&more).list("v")), told);
    }
}

#[test]
fn a_value_of_any_form_is_taken_up_to_a_size() {
    let told = "error converting input for field \"v\": too large";
    let array = |count: usize| format!("{{\"v\":[{}0]}}", "0,".repeat(count - 1));
    assert!(fields(&array(60_000)).json("v").is_ok());
    assert_eq!(error(fields(&array(70_000)).json("v")), told);
    let text = format!("{{\"v\":\"{}\"}}", "x".repeat(140_000));
    assert_eq!(error(fields(&text).json("v")), told);
    let object = format!("{{\"v\":{{\"a\":\"{}\"}}}}", "x".repeat(140_000));
    assert_eq!(error(fields(&object).json("v")), told);
    assert_eq!(error(fields(&object).json_object("v")), told);
}
