//! One line of what is to be rewrapped: a ciphertext, or a JSON object with one.

use selkie_crypto::Ciphertext;
use serde_json::{Map, Value, json};

use super::failure::Unfit;
use crate::takeover::is_like_ours;

/// A line as it was read.
#[derive(Debug)]
pub(super) struct Line {
    /// Without its end; it need not be text.
    pub(super) bytes: Vec<u8>,
    pub(super) content: Content,
}

/// What stands in a line.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// Nothing, or an envelope of ours: it stays as it is.
    Done,
    /// A ciphertext to be rewrapped, and base64 of its context.
    Foreign { ciphertext: String, context: Option<String> },
    /// Nothing that could be sent.
    Unfit(Unfit),
}

impl Line {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let content = match str::from_utf8(&bytes) {
            Ok(text) => content(text.trim()),
            Err(_binary) => Content::Unfit(Unfit::Binary),
        };
        Self { bytes, content }
    }

    /// The line with `ciphertext` in place of its own; in JSON the other members stay.
    pub(super) fn with(&self, ciphertext: &str) -> String {
        match serde_json::from_slice::<Map<String, Value>>(&self.bytes) {
            Err(_plain) => ciphertext.to_owned(),
            Ok(mut members) => {
                members.insert("ciphertext".to_owned(), json!(ciphertext));
                Value::Object(members).to_string()
            }
        }
    }

    /// Whether `output` is the line with an envelope of ours in place of its ciphertext.
    pub(super) fn is_rewrapped_in(&self, output: &[u8]) -> bool {
        let Ok(text) = str::from_utf8(output) else { return false };
        let members = serde_json::from_str::<Map<String, Value>>(text);
        let ciphertext = match &members {
            Ok(members) => members.get("ciphertext").and_then(Value::as_str),
            Err(_plain) => Some(text),
        };
        let is_ours = |text: &str| !text.is_empty() && content(text) == Content::Done;
        ciphertext.is_some_and(|text| is_ours(text) && self.with(text).as_bytes() == output)
    }

    /// Whether `cut` may be where a run was interrupted that wrote this line.
    pub(super) fn may_begin_with(&self, cut: &[u8]) -> bool {
        let is_json = self.bytes.trim_ascii_start().starts_with(b"{");
        let begins = if is_json { &b"{"[..] } else { b"vault:v" };
        let length = cut.len().min(begins.len());
        let is_foreign = matches!(self.content, Content::Foreign { .. });
        self.bytes.starts_with(cut) || is_foreign && cut.get(..length) == begins.get(..length)
    }
}

fn content(text: &str) -> Content {
    if text.is_empty() {
        return Content::Done;
    }
    if !text.starts_with('{') {
        return of_ciphertext(text, None);
    }
    let Ok(members) = serde_json::from_str::<Map<String, Value>>(text) else {
        return Content::Unfit(Unfit::Malformed);
    };
    let member = |name: &str| members.get(name).and_then(Value::as_str);
    let Some(ciphertext) = member("ciphertext") else {
        return Content::Unfit(Unfit::NoCiphertext);
    };
    if members.contains_key("associated_data") {
        return Content::Unfit(Unfit::AssociatedData);
    }
    of_ciphertext(ciphertext, member("context").map(str::to_owned))
}

fn of_ciphertext(text: &str, context: Option<String>) -> Content {
    let payload = Ciphertext::parse(text).and_then(Ciphertext::into_envelope_bytes);
    match payload {
        Err(_unfit) => Content::Unfit(Unfit::NotACiphertext),
        Ok(payload) if is_like_ours(&payload) => Content::Done,
        Ok(_) => Content::Foreign { ciphertext: text.to_owned(), context },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Content {
        Line::of(text.as_bytes().to_vec()).content
    }

    #[test]
    fn ciphertexts_stand_alone_or_in_json() {
        let foreign = |context: Option<&str>| Content::Foreign {
            ciphertext: "vault:v3:AAAA".to_owned(),
            context: context.map(str::to_owned),
        };
        assert_eq!(read(" vault:v3:AAAA\r"), foreign(None));
        assert_eq!(read(r#"{"ciphertext":"vault:v3:AAAA","x":1}"#), foreign(None));
        assert_eq!(
            read(r#"{"ciphertext":"vault:v3:AAAA","context":"YQ=="}"#),
            foreign(Some("YQ=="))
        );
    }

    #[test]
    fn what_is_done_or_unfit_is_not_sent() {
        assert_eq!(read(""), Content::Done);
        assert_eq!(read("vault:v10001:eyJjaXBoZXJ0ZXh0Ijoi"), Content::Done);
        let unfit = ["x", "vault:v3", "{", "{}", r#"{"ciphertext":1}"#];
        for text in unfit.into_iter().chain([r#"{"ciphertext":"vault:v3:A","associated_data":""}"#])
        {
            assert!(matches!(read(text), Content::Unfit(_)), "{text}");
        }
    }

    #[test]
    fn the_other_members_of_a_line_stay() {
        let line = Line::of(br#"{"ciphertext":"vault:v3:AAAA","name":"a","z":[1]}"#.to_vec());
        assert_eq!(line.with("new"), r#"{"ciphertext":"new","name":"a","z":[1]}"#);
        assert_eq!(Line::of(b"vault:v3:AAAA".to_vec()).with("new"), "new");
    }
}
