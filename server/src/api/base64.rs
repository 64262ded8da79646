//! Base64 as Go's `StdEncoding` takes it: the constant-time decoder of `selkie_crypto` first, and
//! for what that refuses either the canonical form (Go skips line ends and unused bits) or the
//! place of the fault, which Vault names to the client.

use std::fmt;

use selkie_crypto::{Plaintext, base64::decode_secret};
use selkie_memory::WipedVec;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Where Go's decoder stops; its display is Vault's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalByte(pub usize);

impl fmt::Display for IllegalByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "illegal base64 data at input byte {}", self.0)
    }
}

/// Decodes what Go would decode.
///
/// Canonical base64 is decoded in constant time. Only text that is not canonical, and so was not
/// written by an encoder, is looked at byte by byte.
///
/// # Errors
///
/// [`IllegalByte`] with Go's offset.
pub fn decode(text: &str) -> Result<Plaintext, IllegalByte> {
    decode_secret(text.as_bytes()).or_else(|_| {
        let canonical = canonical(text.as_bytes())?;
        decode_secret(&canonical).or(Err(IllegalByte(text.len())))
    })
}

/// The same text without line ends and with the unused bits of its last character cleared.
fn canonical(text: &[u8]) -> Result<WipedVec, IllegalByte> {
    if let Some(offset) = corrupt_offset(text) {
        return Err(IllegalByte(offset));
    }
    let mut canonical = WipedVec::with_capacity(text.len());
    for line in text.split(|byte| is_line_end(*byte)) {
        canonical.extend_from_slice(line);
    }
    if let [.., last, b'=', b'='] = &mut *canonical {
        *last = without_unused_bits(*last, 0b11_0000);
    } else if let [.., last, b'='] = &mut *canonical {
        *last = without_unused_bits(*last, 0b11_1100);
    }
    Ok(canonical)
}

/// Walks the whole alphabet, so that the time does not tell which character it was.
fn without_unused_bits(character: u8, used: usize) -> u8 {
    ALPHABET.iter().enumerate().fold(0, |found, (value, candidate)| {
        let is_it = u8::from(*candidate == character).wrapping_neg();
        let replacement = ALPHABET.get(value & used).copied().unwrap_or_default();
        found | (replacement & is_it)
    })
}

/// Go's `CorruptInputError` for `text`, or `None` where Go accepts it: a transcription of
/// `encoding/base64`'s `decodeQuantum`, whose offsets follow its own rules.
fn corrupt_offset(text: &[u8]) -> Option<usize> {
    let mut input = text.iter().copied().enumerate();
    let mut in_quantum: usize = 0;
    while let Some((offset, byte)) = input.next() {
        match byte {
            _ if ALPHABET.contains(&byte) => in_quantum = (in_quantum + 1) % 4,
            b'\n' | b'\r' => {}
            b'=' if in_quantum == 2 => return second_padding(text, offset),
            b'=' if in_quantum == 3 => return garbage_after(input),
            _ => return Some(offset),
        }
    }
    // Line ends count towards the offset, not towards the quantum, in Go's `si - j`.
    (in_quantum != 0).then(|| text.len().saturating_sub(in_quantum))
}

fn second_padding(text: &[u8], first: usize) -> Option<usize> {
    let mut after = text
        .iter()
        .copied()
        .enumerate()
        .skip(first.saturating_add(1))
        .skip_while(|(_, byte)| is_line_end(*byte));
    match after.next() {
        None => Some(text.len()),
        Some((_, b'=')) => garbage_after(after),
        Some((offset, _)) => offset.checked_sub(1),
    }
}

fn garbage_after(mut rest: impl Iterator<Item = (usize, u8)>) -> Option<usize> {
    rest.find(|(_, byte)| !is_line_end(*byte)).map(|(offset, _)| offset)
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
