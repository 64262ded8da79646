//! Answers about tokens in Vault's two columns; a token in them is wiped.

use std::fmt::Write;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::terminal::printable;

/// An answer about tokens in two columns, as `vault token` prints it. It may hold a token.
pub(super) fn table(answer: &Value) -> Zeroizing<String> {
    let mut rows = match (answer.get("auth"), answer.get("data")) {
        (Some(auth), _) if auth.is_object() => rows_of_auth(auth),
        (_, Some(data)) => rows_of_data(data),
        _ => Vec::new(),
    };
    if let Some(keys) = answer.pointer("/data/keys").and_then(Value::as_array) {
        rows = keys.iter().map(|key| (value(key), String::new())).collect();
        rows.insert(0, ("Accessors".to_owned(), String::new()));
        rows.insert(1, ("---------".to_owned(), String::new()));
    } else if !rows.is_empty() {
        rows.insert(0, ("Key".to_owned(), "Value".to_owned()));
        rows.insert(1, ("---".to_owned(), "-----".to_owned()));
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "WARNING: {}\n", value(warning));
    }
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in &rows {
        let line = Zeroizing::new(format!("{key:<width$}    {value}"));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Under the names that Vault's command line gives them.
fn rows_of_auth(auth: &Value) -> Vec<(String, String)> {
    let named = [
        ("token", "client_token"),
        ("token_accessor", "accessor"),
        ("token_duration", "lease_duration"),
        ("token_renewable", "renewable"),
        ("token_policies", "token_policies"),
        ("policies", "policies"),
        ("token_type", "token_type"),
    ];
    let rows = named.into_iter().filter_map(|(title, member)| Some((title, auth.get(member)?)));
    let told = |(title, one): (&str, &Value)| {
        let text = match one.as_i64().filter(|_| title == "token_duration") {
            Some(0) => "∞".to_owned(),
            Some(seconds) => format!("{seconds}s"),
            None => value(one),
        };
        (title.to_owned(), text)
    };
    rows.map(told).collect()
}

fn rows_of_data(data: &Value) -> Vec<(String, String)> {
    let members = data.as_object().into_iter().flatten();
    members.map(|(key, one)| (printable(key), value(one))).collect()
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => "<nil>".to_owned(),
        other => printable(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_new_token_is_told_under_the_names_of_vaults_command_line() {
        let answer = json!({
            "auth": { "client_token": "hvs.x", "accessor": "a", "lease_duration": 3600,
                "renewable": true, "token_policies": ["default"], "policies": ["default"],
                "token_type": "service" },
            "data": null,
            "warnings": ["careful"],
        });
        let text = table(&answer);
        assert!(text.starts_with("WARNING: careful\n\nKey"), "{}", *text);
        assert!(text.contains("token              hvs.x\n"), "{}", *text);
        assert!(text.contains("token_duration     3600s\n"), "{}", *text);
        assert!(text.contains("token_policies     [\"default\"]\n"), "{}", *text);
    }

    #[test]
    fn accessors_are_a_list() {
        let text = table(&json!({ "data": { "keys": ["a", "b"] } }));
        assert_eq!(&**text, "Accessors\n---------\na\nb\n");
    }

    #[test]
    fn control_characters_of_whoever_answers_are_left_out() {
        for answer in [
            json!({ "auth": { "client_token": "hvs.\u{1b}x", "policies": ["a\u{9b}b"] } }),
            json!({ "data": { "na\u{7}me": "val\u{1b}ue", "list": ["a\u{9b}b"] } }),
            json!({ "data": { "keys": ["a\u{7}"] } }),
            json!({ "warnings": ["care\rful"] }),
        ] {
            let text = table(&answer);
            assert!(!text.replace('\n', "").contains(char::is_control), "{:?}", *text);
        }
    }

    #[test]
    fn of_an_answer_that_is_a_warning_alone_there_is_no_table() {
        let text = table(&json!({ "auth": null, "data": null, "warnings": ["no such token"] }));
        assert_eq!(&**text, "WARNING: no such token\n\n");
    }
}
