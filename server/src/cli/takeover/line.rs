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
    /// Those of an object, whatever blanks are around it; `None` for anything else.
    fn of(text: &'t str) -> Option<Self> {
        let text = text.trim();
        let is_object = text.starts_with('{');
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
        match self.around() {
            Some((head, tail)) => format!("{head}{}{tail}", Value::from(ciphertext)),
            None => ciphertext.to_owned(),
        }
    }

    /// What stands in JSON before and after the value of its ciphertext.
    fn around(&self) -> Option<(&str, &str)> {
        let text = str::from_utf8(&self.bytes).ok()?;
        let old = Members::of(text)?.ciphertext?.get();
        let start = old.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        // Invariant: `old` is a part of `text`.
        let (head, rest) = text.split_at_checked(start)?;
        Some((head, rest.get(old.len()..)?))
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
        let (head, quote) = self.around().map_or(("", ""), |(head, _)| (head, "\""));
        let begins = format!("{head}{quote}vault:v").into_bytes();
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

    const ENVELOPE: &str = "vault:v10001:eyJjaXBoZXJ0ZXh0Ijoi";

    #[test]
    fn a_line_in_blanks_of_any_kind_is_rewrapped_where_it_stands() {
        for blank in ["", " ", "\t", "\r", "\u{b}", "\u{c}", "\u{85}", "\u{a0}", "\u{2003}"] {
            for (before, after) in [(blank, ""), ("", blank), (blank, blank)] {
                let with = |value: &str| {
                    format!(r#"{before}{{"id":1,"ciphertext":"{value}"}}{after}"#).into_bytes()
                };
                let line = Line::of(with("vault:v3:AAAA"));
                assert!(matches!(line.content, Content::Foreign { .. }), "{line:?}");
                let done = line.with(ENVELOPE).into_bytes();
                assert_eq!(done, with(ENVELOPE), "{blank:?}");
                assert!(line.is_rewrapped_in(&done), "{blank:?}");
                assert!(!line.is_rewrapped_in(ENVELOPE.as_bytes()), "{blank:?}");
            }
        }
    }

    #[test]
    fn a_line_may_have_been_cut_wherever_a_run_was_interrupted() {
        for (before, after) in [("", ""), ("  ", ""), ("\t", " "), ("\u{a0}", "\u{85}")] {
            for json in [
                r#"{"ciphertext":"vault:v3:AAAA","x":1}"#,
                r#"{"x":"ä", "ciphertext" :"vault:v3:AAAA"}"#,
            ] {
                let line = Line::of(format!("{before}{json}{after}").into_bytes());
                for written in [&*line.bytes, line.with(ENVELOPE).as_bytes()] {
                    for length in 0..=written.len() {
                        let cut = &written[..length];
                        assert!(line.may_begin_with(cut), "{:?}", String::from_utf8_lossy(cut));
                    }
                }
                for other in ["vault:v", "{\"y", "\u{2003}{", "x"] {
                    assert!(!line.may_begin_with(other.as_bytes()), "{line:?} {other}");
                }
            }
        }
        let line = Line::of(b" vault:v3:AAAA ".to_vec());
        assert!([" vault:v3", "vault:v10"].iter().all(|cut| line.may_begin_with(cut.as_bytes())));
        assert!(["{", "vault:x"].iter().all(|cut| !line.may_begin_with(cut.as_bytes())));
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
