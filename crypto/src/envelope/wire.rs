//! The envelope's text as a whole. Printing and parsing are inverse: there is no other text for the
//! same envelope.

use super::cursor::Cursor;
use super::{MAX_RECIPIENTS, Recipient};
use crate::WrapAlgorithm;
use crate::base64::{encoded_len, push_url};

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

/// Room for what stands in every envelope beside its variable parts, the origin included.
const FIXED_BYTES: usize = 192;

/// An envelope before it has an origin, without its last brace.
pub(super) fn print_unsigned(
    ciphertext: &[u8],
    iv: &[u8],
    protected: &[u8],
    recipients_json: &[u8],
    tag: &[u8],
) -> Vec<u8> {
    let encoded = [ciphertext, iv, tag].map(|part| encoded_len(part.len()));
    let length = encoded.iter().fold(FIXED_BYTES, |sum, part| sum.saturating_add(*part));
    let length = length.saturating_add(protected.len()).saturating_add(recipients_json.len());
    let mut text = Vec::with_capacity(length);
    text.extend_from_slice(br#"{"ciphertext":""#);
    push_url(ciphertext, &mut text);
    text.extend_from_slice(br#"","iv":""#);
    push_url(iv, &mut text);
    text.extend_from_slice(br#"","protected":""#);
    text.extend_from_slice(protected);
    text.extend_from_slice(br#"","recipients":"#);
    text.extend_from_slice(recipients_json);
    text.extend_from_slice(br#","tag":""#);
    push_url(tag, &mut text);
    text.push(b'"');
    text
}

/// Makes [`print_unsigned`] whole.
pub(super) fn push_end(text: &mut Vec<u8>, origin: Option<[u8; 32]>) {
    if let Some(origin) = origin {
        text.extend_from_slice(br#","unprotected":{"origin":""#);
        push_url(&origin, text);
        text.extend_from_slice(br#""}"#);
    }
    text.push(b'}');
}

/// Room for a recipient with a symmetric master key; others have their text grow.
const RECIPIENT_BYTES: usize = 256;

/// The text of the member `recipients`, or the algorithm whose wrapped DEK has not its shape.
pub(super) fn print_recipients(recipients: &[Recipient]) -> Result<Vec<u8>, WrapAlgorithm> {
    let mut text = Vec::with_capacity(recipients.len().saturating_mul(RECIPIENT_BYTES));
    text.push(b'[');
    for (index, recipient) in recipients.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        recipient.print(&mut text).ok_or(recipient.algorithm)?;
    }
    text.push(b']');
    Ok(text)
}

/// The parts of `json`; `None` for any other spelling, for a name or algorithm outside the fixed
/// lists, for a wrapped DEK that has not its algorithm's shape, for two recipients of one seal and
/// KEK, and for more than [`MAX_RECIPIENTS`]: the first one too many ends the work.
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
