//! A long text in chunks that are sealed one by one and refused in any other order: the STREAM
//! construction (Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance", 2015) over AES-256-GCM.
//!
//! ```text
//! nonce of chunk i  = 0x00 (7 bytes) ‖ i (4 bytes, big endian) ‖ last (0x01) or not (0x00)
//! (ciphertext, tag) = AES-256-GCM[key](nonce, "selkie stream" ‖ 0x00, chunk)
//! chunk sealed      = ciphertext ‖ tag (16 bytes)
//! ```
//!
//! All chunks but the last have [`CHUNK_BYTES`]. The key is fresh for each text, so that the counter
//! alone keeps nonces apart.

use std::fmt;

use selkie_memory::with_scrubbed_stack;

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::{Plaintext, Random, RandomError, RecipientSecret};

/// Length of each chunk but the last, which may be shorter, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// By how many bytes a sealed chunk is longer.
pub const CHUNK_OVERHEAD_BYTES: usize = TAG_BYTES;

const AAD: &[u8] = b"selkie stream\0";

/// The key of one text (256 bits).
#[derive(Debug)]
pub struct StreamKey(RecipientSecret);

impl StreamKey {
    /// A key that nobody has seen.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn random(random: &Random) -> Result<Self, RandomError> {
        RecipientSecret::try_init_with(|bytes| random(bytes)).map(Self)
    }

    /// The key that a [`Plaintext`] of 32 bytes holds; `None` for any other length.
    #[must_use]
    pub fn from_plaintext(plaintext: &Plaintext) -> Option<Self> {
        let bytes: &[u8; 32] = plaintext.expose_for_own_use().try_into().ok()?;
        Some(Self(with_scrubbed_stack(|| {
            RecipientSecret::init_with(|key| key.copy_from_slice(bytes))
        })))
    }

    /// The key, to be encrypted for the seals.
    #[must_use]
    pub fn to_plaintext(&self) -> Plaintext {
        Plaintext::new(self.0.expose_as_dek().to_vec())
    }
}

/// Seals a text chunk by chunk.
#[derive(Debug)]
pub struct StreamSealer(Position);

/// Opens what a [`StreamSealer`] made.
#[derive(Debug)]
pub struct StreamOpener(Position);

#[derive(Debug)]
struct Position {
    key: StreamKey,
    /// Of the next chunk; `None` after the last one.
    next: Option<u32>,
}

/// A chunk was not sealed: it has not the length of its place, the text was at its end, or it has
/// more than 2^32 chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchChunk;

/// A chunk is cut, changed, in another's place, or not the last where the text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRefused;

impl StreamSealer {
    /// Begins a text. Its key must have sealed no other.
    #[must_use]
    pub const fn new(key: StreamKey) -> Self {
        Self(Position { key, next: Some(0) })
    }

    /// Seals the next chunk: [`CHUNK_BYTES`] long, or, if it is the `last`, up to that.
    ///
    /// # Errors
    ///
    /// [`NoSuchChunk`].
    pub fn seal(&mut self, chunk: Vec<u8>, last: bool) -> Result<Vec<u8>, NoSuchChunk> {
        if chunk.len() > CHUNK_BYTES || (!last && chunk.len() != CHUNK_BYTES) {
            return Err(NoSuchChunk);
        }
        let nonce = self.0.advance(last).ok_or(NoSuchChunk)?;
        let sealed = aead::encrypt(&self.0.key.0, &nonce, AAD, Plaintext::new(chunk));
        let aead::Encrypted { mut ciphertext, tag } =
            sealed.map_err(|aead::TooLong| NoSuchChunk)?;
        ciphertext.extend_from_slice(&tag);
        Ok(ciphertext)
    }
}

impl StreamOpener {
    /// Begins to open a text.
    #[must_use]
    pub const fn new(key: StreamKey) -> Self {
        Self(Position { key, next: Some(0) })
    }

    /// Opens the next chunk. Whoever reads says whether it is the `last`, by what follows it: the
    /// text is whole only once a last chunk has opened.
    ///
    /// # Errors
    ///
    /// [`ChunkRefused`].
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<Plaintext, ChunkRefused> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(ChunkRefused)?;
        if ciphertext.len() > CHUNK_BYTES || (!last && ciphertext.len() != CHUNK_BYTES) {
            return Err(ChunkRefused);
        }
        let nonce = self.0.advance(last).ok_or(ChunkRefused)?;
        let opened = aead::decrypt(&self.0.key.0, &nonce, AAD, ciphertext, tag);
        opened.map_err(|aead::TagMismatch| ChunkRefused)
    }
}

impl Position {
    /// The nonce of the next chunk; no nonce comes twice.
    fn advance(&mut self, last: bool) -> Option<[u8; NONCE_BYTES]> {
        let counter = self.next?;
        self.next = if last { None } else { counter.checked_add(1) };
        let [a, b, c, d] = counter.to_be_bytes();
        Some([0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(last)])
    }
}

impl fmt::Display for NoSuchChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no chunk of this length can come here")
    }
}

impl std::error::Error for NoSuchChunk {}

impl fmt::Display for ChunkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is cut, or something in it was changed or moved")
    }
}

impl std::error::Error for ChunkRefused {}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::*;

    assert_not_impl_any!(StreamKey: Clone, Copy, fmt::Display, AsRef<[u8]>, serde::Serialize);

    fn key(byte: u8) -> StreamKey {
        StreamKey(RecipientSecret::init_with(|bytes| bytes.fill(byte)))
    }

    /// Two full chunks and a short one.
    fn text() -> Vec<Vec<u8>> {
        vec![vec![1; CHUNK_BYTES], vec![2; CHUNK_BYTES], b"end".to_vec()]
    }

    fn sealed(text: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sealer = StreamSealer::new(key(1));
        let last = text.len() - 1;
        let seal = |(i, chunk): (usize, &Vec<u8>)| sealer.seal(chunk.clone(), i == last).unwrap();
        text.iter().enumerate().map(seal).collect()
    }

    fn opened(chunks: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ChunkRefused> {
        let mut opener = StreamOpener::new(key(1));
        let last = chunks.len().wrapping_sub(1);
        let chunks = chunks.iter().enumerate();
        let mut open = |(i, chunk): (usize, &Vec<u8>)| opener.open(chunk, i == last);
        chunks.map(|one| open(one).map(|text| text.expose_for_reply().to_vec())).collect()
    }

    #[test]
    fn a_text_comes_back_as_it_was_sealed() {
        assert_eq!(opened(&sealed(&text())).unwrap(), text());
        for alone in [vec![], vec![7], vec![7; CHUNK_BYTES]] {
            assert_eq!(opened(&sealed(std::slice::from_ref(&alone))).unwrap(), [alone]);
        }
    }

    #[test]
    fn a_text_cut_at_any_border_of_chunks_is_refused() {
        let whole = sealed(&text());
        for length in 1..whole.len() {
            assert_eq!(opened(&whole[..length]), Err(ChunkRefused), "{length}");
            assert_eq!(opened(&whole[length..]), Err(ChunkRefused), "{length}");
        }
    }

    #[test]
    fn chunks_moved_doubled_or_dropped_are_refused() {
        let whole = sealed(&text());
        for order in
            [&[1, 0, 2][..], &[0, 2, 1], &[0, 0, 1, 2], &[0, 1, 1, 2], &[0, 1, 2, 2], &[0, 2], &[2]]
        {
            let moved: Vec<_> = order.iter().map(|i| whole[*i].clone()).collect();
            assert_eq!(opened(&moved), Err(ChunkRefused), "{order:?}");
        }
        let mut other = StreamSealer::new(key(2));
        let stranger = other.seal(vec![1; CHUNK_BYTES], false).unwrap();
        let mixed = [&[stranger], &whole[1..]].concat();
        assert_eq!(opened(&mixed), Err(ChunkRefused), "a chunk of another text");
    }

    #[test]
    fn nothing_opens_after_the_last_chunk_and_nothing_is_sealed() {
        let mut sealer = StreamSealer::new(key(1));
        let last = sealer.seal(Vec::new(), true).unwrap();
        assert_eq!(sealer.seal(Vec::new(), true), Err(NoSuchChunk));
        let mut opener = StreamOpener::new(key(1));
        assert!(opener.open(&last, true).is_ok());
        assert!(opener.open(&last, true).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_chunk_is_refused() {
        let chunk = &sealed(&[b"content".to_vec()])[0];
        let open = |chunk: &[u8]| StreamOpener::new(key(1)).open(chunk, true).is_ok();
        assert!(open(chunk), "control");
        for bit in 0..8 * chunk.len() {
            let mut flipped = chunk.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!open(&flipped), "bit {bit}");
        }
        for length in 0..chunk.len() {
            assert!(!open(&chunk[..length]), "{length}");
        }
    }

    #[test]
    fn only_the_last_chunk_may_be_short_and_none_may_be_long() {
        let seal = |length, last| StreamSealer::new(key(1)).seal(vec![0; length], last);
        assert_eq!(seal(CHUNK_BYTES - 1, false), Err(NoSuchChunk));
        assert_eq!(seal(CHUNK_BYTES + 1, false), Err(NoSuchChunk));
        assert_eq!(seal(CHUNK_BYTES + 1, true), Err(NoSuchChunk));
    }

    #[test]
    fn counters_never_come_twice() {
        let mut end = Position { key: key(1), next: Some(u32::MAX) };
        assert_eq!(end.advance(false), Some([0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0]));
        assert_eq!(end.advance(false), None);
    }

    #[test]
    fn a_chunk_is_64_kib() {
        assert_eq!((CHUNK_BYTES, CHUNK_OVERHEAD_BYTES), (65_536, 16));
    }

    #[test]
    fn a_chunk_of_another_length_is_refused_even_where_its_seal_is_right() {
        for (length, last, opens) in [
            (CHUNK_BYTES, false, true),
            (CHUNK_BYTES - 1, false, false),
            (CHUNK_BYTES, true, true),
            (CHUNK_BYTES + 1, true, false),
        ] {
            let nonce = Position { key: key(1), next: Some(0) }.advance(last).unwrap();
            let chunk = Plaintext::new(vec![7; length]);
            let sealed = aead::encrypt(&key(1).0, &nonce, AAD, chunk).unwrap();
            let sealed = [&sealed.ciphertext[..], &sealed.tag].concat();
            let opened = StreamOpener::new(key(1)).open(&sealed, last);
            assert_eq!(opened.is_ok(), opens, "{length} {last}");
        }
    }
}
