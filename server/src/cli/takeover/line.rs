//! One line of what is to be rewrapped: a ciphertext, or a JSON object with one.

use selkie_crypto::Ciphertext;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Unfit;
use crate::takeover::is_like_ours;

/// A line as it was read.
#[derive(Debug)]
pub(super) struct Line {
    /// Without its end; it need not be text.
    pub(super) bytes: Vec<u8>,
    pub(super) content: Content,
}

/// The members of an object that matter here, as its text has them; none of them comes twice.
#[derive(Deserialize)]
struct Members<'t> {
    #[serde(borrow)]
    ciphertext: Option<&'t RawValue>,
    #[serde(borrow)]
    context: Option<&'t RawValue>,
    associated_data: Option<IgnoredAny>,
}

impl<'t> Members<'t> {
    /// Those of an object; `None` for anything else.
    fn of(text: &'t str) -> Option<Self> {
        let is_object = text.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(text).ok()).flatten()
    }

    fn ciphertext(&self) -> Option<String> {
        self.ciphertext.and_then(text_of)
    }
}

/// The text that a value is.
fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
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

    /// The line with `ciphertext` in place of its own; in JSON all else stays as it is written.
    pub(super) fn with(&self, ciphertext: &str) -> String {
        let plain = || ciphertext.to_owned();
        let Ok(text) = str::from_utf8(&self.bytes) else { return plain() };
        let old = Members::of(text).and_then(|members| members.ciphertext);
        let Some(old) = old.map(RawValue::get) else { return plain() };
        let start = old.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let around = text.split_at_checked(start);
        let around = around.and_then(|(head, rest)| Some((head, rest.get(old.len()..)?)));
        // Invariant: `old` is a part of `text`.
        let Some((head, tail)) = around else { return plain() };
        format!("{head}{}{tail}", Value::from(ciphertext))
    }

    /// Whether `output` is the line with an envelope of ours in place of its ciphertext.
    pub(super) fn is_rewrapped_in(&self, output: &[u8]) -> bool {
        let Ok(text) = str::from_utf8(output) else { return false };
        let ciphertext = match Members::of(text) {
            Some(members) => members.ciphertext(),
            None => Some(text.to_owned()),
        };
        let is_ours = |text: &str| !text.is_empty() && content(text) == Content::Done;
        ciphertext.is_some_and(|text| is_ours(&text) && self.with(&text).as_bytes() == output)
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
    let Some(members) = Members::of(text) else {
        let is_object = serde_json::from_str::<IgnoredAny>(text).is_ok();
        return Content::Unfit(if is_object { Unfit::Repeated } else { Unfit::Malformed });
    };
    let Some(ciphertext) = members.ciphertext() else {
        return Content::Unfit(Unfit::NoCiphertext);
    };
    if members.associated_data.is_some() {
        return Content::Unfit(Unfit::AssociatedData);
    }
    of_ciphertext(&ciphertext, members.context.and_then(text_of))
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

    #[test]
    fn all_but_the_ciphertext_stays_as_it_is_written() {
        for (head, tail) in [
            (r#"{"id":12345678901234567890123,"#, "}"),
            (r#"{"z":1.0,"a":1e400, "#, r#","a":2}"#),
            (r#" {"x":{"ciphertext":"vault:v1:AAAA","ciphertext":2},"#, r#", "y":"\u00e4\/"} "#),
        ] {
            let with = |value: &str| format!(r#"{head}"ciphertext" : {value}{tail}"#);
            for old in [r#""vault:v3:AAAA""#, r#""\u0076ault:v3:AAAA""#] {
                let line = Line::of(with(old).into_bytes());
                assert!(matches!(line.content, Content::Foreign { .. }), "{line:?}");
                assert_eq!(line.with("new\""), with(&Value::from("new\"").to_string()));
                let done = line.with("vault:v10001:eyJjaXBoZXJ0ZXh0Ijoi");
                assert!(line.is_rewrapped_in(done.as_bytes()), "{done}");
            }
        }
    }

    #[test]
    fn what_has_two_ciphertexts_or_contexts_is_not_sent() {
        for text in [
            r#"{"ciphertext":"vault:v3:AAAA","ciphertext":"vault:v3:AAAB"}"#,
            r#"{"ciphertext":"vault:v3:AAAA","c\u0069phertext":"vault:v3:AAAA"}"#,
            r#"{"ciphertext":"vault:v3:AAAA","context":"YQ==","context":"Yg=="}"#,
        ] {
            assert_eq!(read(text), Content::Unfit(Unfit::Repeated), "{text}");
        }
    }
}
