//! Tokens that are kept nowhere: the text carries all they are, sealed under the state key.

use selkie_access::TokenText;
use selkie_crypto::{Random, StateKey, base64};
use selkie_memory::WipedVec;

use super::record::{from_json, to_json};
use super::{Token, TokenError, TokenKind};
use crate::state::records::RecordsError;

/// What the text of every batch token begins with.
pub(super) const PREFIX: &str = "hvb.";
/// Where a batch token is sealed for: no place of the store has a space, so no record is a token.
const PLACE: &str = "batch token";

/// The text of `token`.
pub(super) fn seal(
    key: &StateKey,
    token: &Token,
    random: &Random,
) -> Result<TokenText, TokenError> {
    let json = to_json(token).map_err(RecordsError::from)?;
    let sealed = key.seal_record(PLACE, 0, json, random)?;
    let mut text = WipedVec::with_capacity(PREFIX.len() + base64::encoded_len(sealed.len()));
    text.extend_from_slice(PREFIX.as_bytes());
    base64::encode_into(&sealed, &mut text);
    while text.last() == Some(&b'=') {
        text.pop();
    }
    for byte in text.iter_mut() {
        match byte {
            b'+' => *byte = b'-',
            b'/' => *byte = b'_',
            _ => {}
        }
    }
    TokenText::from_header(&text).map_err(|_too_long| TokenError::TooLong)
}

/// The token of which this is the text.
pub(super) fn open(key: &StateKey, text: &TokenText) -> Option<Token> {
    let digits = text.expose_for_reply().strip_prefix(PREFIX)?;
    let sealed = decode(digits)?;
    let opened = key.open_record(PLACE, &sealed).ok()?;
    from_json(&opened.content).filter(|token| token.made.kind == TokenKind::Batch)
}

/// The inverse of what [`seal`] makes of base64.
fn decode(digits: &str) -> Option<Vec<u8>> {
    let mut text = WipedVec::with_capacity(digits.len().next_multiple_of(4));
    for byte in digits.bytes() {
        text.push(match byte {
            b'-' => b'+',
            b'_' => b'/',
            // One token has one text.
            b'+' | b'/' | b'=' => return None,
            other => other,
        });
    }
    text.resize(digits.len().next_multiple_of(4), b'=');
    let sealed = base64::decode_secret(&text).ok()?;
    Some(sealed.expose_for_reply().to_vec())
}
