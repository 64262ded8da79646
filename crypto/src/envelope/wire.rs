use super::cursor::Cursor;
use super::{MAX_RECIPIENTS, Recipient};
use crate::WrapAlgorithm;

/// The parts of an envelope in its one spelling, as they stand in its text.
///
/// There is nothing to choose in that spelling, so it is read by expecting it, letter by letter;
/// every variable part is checked by whoever decodes it.
pub(super) struct Jwe<'a> {
    pub(super) ciphertext: &'a str,
    pub(super) iv: &'a str,
    pub(super) protected: &'a str,
    pub(super) recipients: Vec<Recipient>,
    /// The text of the member `recipients`, which the commitment covers.
    pub(super) recipients_json: &'a str,
    pub(super) tag: &'a str,
    pub(super) origin: Option<&'a str>,
    /// Everything before `,"unprotected"` or the last brace, which the origin covers.
    pub(super) signed: &'a str,
}

/// An envelope before it has an origin, without its last brace.
pub(super) fn print_unsigned(
    ciphertext: &str,
    iv: &str,
    protected: &str,
    recipients_json: &str,
    tag: &str,
) -> String {
    [
        r#"{"ciphertext":""#,
        ciphertext,
        r#"","iv":""#,
        iv,
        r#"","protected":""#,
        protected,
        r#"","recipients":"#,
        recipients_json,
        r#","tag":""#,
        tag,
        "\"",
    ]
    .concat()
}

/// What makes [`print_unsigned`] whole.
pub(super) fn print_end(origin: Option<&str>) -> String {
    match origin {
        None => "}".to_owned(),
        Some(origin) => [r#","unprotected":{"origin":""#, origin, r#""}}"#].concat(),
    }
}

/// The text of the member `recipients`, or the algorithm whose wrapped DEK has not its shape.
pub(super) fn print_recipients(recipients: &[Recipient]) -> Result<String, WrapAlgorithm> {
    let mut text = String::from("[");
    for (index, recipient) in recipients.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        recipient.print(&mut text).ok_or(recipient.algorithm)?;
    }
    text.push(']');
    Ok(text)
}

/// The parts of `json`; `None` for any other spelling, for a name or algorithm outside the fixed
/// lists, for a wrapped DEK that has not its algorithm's shape, for two recipients of one seal and KEK, and for more than [`MAX_RECIPIENTS`]: the first
/// one too many ends the work.
pub(super) fn parse(json: &[u8]) -> Option<Jwe<'_>> {
    let whole = str::from_utf8(json).ok()?;
    let mut cursor = Cursor::new(whole);
    let ciphertext = cursor.value(r#"{"ciphertext":""#)?;
    let iv = cursor.value(r#","iv":""#)?;
    let protected = cursor.value(r#","protected":""#)?;
    cursor.literal(r#","recipients":"#)?;
    let (recipients, recipients_json) = cursor.recipients()?;
    let tag = cursor.value(r#","tag":""#)?;
    let signed = cursor.behind(whole)?;
    let origin = cursor.origin()?;
    cursor.literal("}")?;
    let parsed =
        Jwe { ciphertext, iv, protected, recipients, recipients_json, tag, origin, signed };
    cursor.is_at_end().then_some(parsed)
}

impl<'a> Cursor<'a> {
    fn recipients(&mut self) -> Option<(Vec<Recipient>, &'a str)> {
        let from = self.rest();
        self.literal("[")?;
        let mut recipients: Vec<Recipient> = Vec::with_capacity(1);
        loop {
            let next = Recipient::parse(self)?;
            let is_twin = |one: &Recipient| one.seal == next.seal && one.kek == next.kek;
            if recipients.iter().any(is_twin) {
                return None;
            }
            if recipients.len() == MAX_RECIPIENTS {
                return None;
            }
            recipients.push(next);
            if self.literal("]").is_some() {
                return Some((recipients, self.behind(from)?));
            }
            self.literal(",")?;
        }
    }

    fn origin(&mut self) -> Option<Option<&'a str>> {
        if !self.rest().starts_with(',') {
            return Some(None);
        }
        let origin = self.value(r#","unprotected":{"origin":""#)?;
        self.literal("}")?;
        Some(Some(origin))
    }
}
