//! Tokens that are kept nowhere: the text carries all they are, sealed under the state key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use selkie_access::TokenText;
use selkie_crypto::{Random, StateKey, base64};
use selkie_memory::WipedVec;

use super::record::{from_json, to_json};
use super::{Token, TokenError, TokenId, TokenKind};
use crate::state::records::RecordsError;

/// What the text of every batch token begins with.
pub(super) const PREFIX: &str = "hvb.";
/// Where a batch token is sealed for: no place of the store has a space, so no record is a token.
const PLACE: &str = "batch token";

/// How many opened tokens are remembered: at least those that were used last, and at most twice as many.
const TOKENS: usize = 4096;

/// Whether a batch token was let in before, and what it names was heard of.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsKnown(pub(super) bool);

/// Batch tokens that were opened, by the keyed hash of their text. Nothing but their end takes a batch
/// token back, and that is looked at with each use.
#[derive(Default)]
pub(super) struct Opened(Mutex<Generations>);

/// Whoever is asked for moves among the young; when those are many, the old are forgotten as a whole
/// and the young are the old. So no use costs a look at all.
#[derive(Default)]
struct Generations {
    young: HashMap<TokenId, Arc<Token>>,
    old: HashMap<TokenId, Arc<Token>>,
}

impl Opened {
    /// The token of which this is the text, whose keyed hash is `id`, and whether it was let in
    /// before.
    pub(super) fn token(
        &self,
        key: &StateKey,
        id: &TokenId,
        text: &TokenText,
    ) -> Option<(Arc<Token>, IsKnown)> {
        if !text.expose_for_own_use().starts_with(PREFIX) {
            return None;
        }
        match self.lock().look(id) {
            Some(token) => Some((token, IsKnown(true))),
            None => Some((Arc::new(open(key, text)?), IsKnown(false))),
        }
    }

    /// Remembers a token that was let in.
    pub(super) fn hold(&self, id: TokenId, token: &Arc<Token>) {
        self.lock().hold(id, Arc::clone(token));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn look(&mut self, id: &TokenId) -> Option<Arc<Token>> {
        if let Some(token) = self.young.get(id) {
            return Some(Arc::clone(token));
        }
        let token = self.old.remove(id)?;
        self.hold(*id, Arc::clone(&token));
        Some(token)
    }

    fn hold(&mut self, id: TokenId, token: Arc<Token>) {
        if self.young.len() >= TOKENS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, token);
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

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
    let digits = text.expose_for_own_use().strip_prefix(PREFIX)?;
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
    while !text.len().is_multiple_of(4) {
        text.push(b'=');
    }
    let sealed = base64::decode_secret(&text).ok()?;
    Some(sealed.expose_for_own_use().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tokens::tests::{state_key, wanted};

    #[test]
    fn those_used_last_are_remembered_and_never_more_than_twice_as_many() {
        let key = state_key();
        let id = |number: usize| {
            TokenId::of(&key, &TokenText::from_header(number.to_string().as_bytes()).unwrap())
        };
        let token = Arc::new(Token::begin(wanted(), 0, 0));
        let mut held = Generations::default();
        for number in 0..3 * TOKENS {
            held.hold(id(number), Arc::clone(&token));
            assert!(held.look(&id(0)).is_some(), "it is used all the time");
        }
        let known = |held: &mut Generations, number| held.look(&id(number)).is_some();
        assert!((2 * TOKENS + 1..3 * TOKENS).all(|number| known(&mut held, number)));
        assert!(held.young.len() + held.old.len() <= 2 * TOKENS);
        assert!(!known(&mut held, 1));
    }
}
