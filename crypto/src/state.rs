//! Records of our own state, sealed in place (invariant I5): AES-256-GCM under a key of the record's
//! own, with an AAD that names its place and the commit it belongs to.

use std::fmt;

use selkie_memory::{PageError, with_scrubbed_stack};
use subtle::ConstantTimeEq;

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::mac::Absorbed;
use crate::{Plaintext, Random, RandomError, RecipientSecret};

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + 8 + SALT_BYTES + NONCE_BYTES;

/// By how many bytes a sealed record is longer than its content.
pub const SEALED_OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// The key of a store's records (256 bits), in a secret page for as long as the store is open.
///
/// A sealed record is `1 ‖ sequence (8 bytes, big endian) ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`:
///
/// ```text
/// record key        = HMAC-SHA-256[state key]("selkie record key" ‖ 0x00 ‖ salt)
/// (ciphertext, tag) = AES-256-GCM[record key](nonce, "selkie record" ‖ 0x00 ‖ 1 ‖ sequence ‖ place, content)
/// ```
///
/// The salt keeps the number of messages under one AES-GCM key at one, whatever is written for
/// however many years.
pub struct StateKey(
    /// For the MACs, one of which each request with a token costs.
    Absorbed,
);

/// A record as it was before it was sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedRecord {
    /// The commit that it belongs to.
    pub sequence: u64,
    /// What it says. State holds no secrets, so this is not wiped.
    pub content: Vec<u8>,
}

/// A sealed record is malformed, forged, or was sealed for another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRefused;

/// A record could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealRecordError {
    /// There is no randomness.
    Random(RandomError),
    /// The content is longer than AES-GCM takes.
    TooLong,
}

impl StateKey {
    /// A key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        Absorbed::init_with(fill).map(Self)
    }

    /// The key that a [`Plaintext`] of 32 bytes holds; `None` for any other length.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub fn from_plaintext(plaintext: &Plaintext) -> Result<Option<Self>, PageError> {
        let bytes = plaintext.expose_for_own_use();
        if bytes.len() != 32 {
            return Ok(None);
        }
        Self::init_with(|page| page.copy_from_slice(bytes)).map(Some)
    }

    /// The key, to be encrypted for the seals.
    #[must_use]
    pub fn to_plaintext(&self) -> Plaintext {
        Plaintext::new(self.0.expose().to_vec())
    }

    /// `content` sealed for `place`, as part of the commit `sequence`.
    ///
    /// # Errors
    ///
    /// [`SealRecordError`].
    pub fn seal_record(
        &self,
        place: &str,
        sequence: u64,
        content: Vec<u8>,
        random: &Random,
    ) -> Result<Vec<u8>, SealRecordError> {
        let mut sealed = vec![0; HEAD_BYTES];
        let (head, drawn) = sealed.split_at_mut(1 + 8);
        head.copy_from_slice(&head_of(sequence));
        random(drawn).map_err(SealRecordError::Random)?;
        let (salt, nonce) = split_drawn(drawn).ok_or(SealRecordError::TooLong)?;
        let aad = aad(sequence, place);
        let key = self.record_key(&salt);
        let encrypted = aead::encrypt(&key, &nonce, &aad, Plaintext::new(content))
            .map_err(|aead::TooLong| SealRecordError::TooLong)?;
        sealed.extend_from_slice(&encrypted.ciphertext);
        sealed.extend_from_slice(&encrypted.tag);
        Ok(sealed)
    }

    /// The inverse of [`StateKey::seal_record`].
    ///
    /// # Errors
    ///
    /// [`RecordRefused`].
    pub fn open_record(&self, place: &str, sealed: &[u8]) -> Result<OpenedRecord, RecordRefused> {
        let (head, rest) = sealed.split_at_checked(HEAD_BYTES).ok_or(RecordRefused)?;
        let (format_and_sequence, drawn) = head.split_at_checked(1 + 8).ok_or(RecordRefused)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(RecordRefused)?;
        let (salt, nonce) = split_drawn(drawn).ok_or(RecordRefused)?;
        let sequence = sequence_of(format_and_sequence).ok_or(RecordRefused)?;
        let key = self.record_key(&salt);
        let opened = aead::decrypt(&key, &nonce, &aad(sequence, place), ciphertext, tag);
        let content = opened.map_err(|aead::TagMismatch| RecordRefused)?.into_ciphertext();
        Ok(OpenedRecord { sequence, content })
    }

    /// What the record `sealed` at `place` adds to a [`StateSum`]:
    /// `HMAC-SHA-256[state key]("selkie state sum" ‖ 0x00 ‖ place ‖ 0x00 ‖ sealed)`.
    #[must_use]
    pub fn summand(&self, place: &str, sealed: &[u8]) -> StateSum {
        let parts = [place.as_bytes(), &[0], sealed];
        StateSum(self.0.mac(b"selkie state sum", parts))
    }

    /// What vouches for a checkpoint kept outside of the store:
    /// `HMAC-SHA-256[state key]("selkie state checkpoint" ‖ 0x00 ‖ content)`.
    #[must_use]
    pub fn checkpoint_mac(&self, content: &[u8]) -> [u8; 32] {
        self.0.mac(b"selkie state checkpoint", [content])
    }

    /// Whether `mac` vouches for `content`, in constant time.
    #[must_use]
    pub fn verify_checkpoint(&self, content: &[u8], mac: &[u8; 32]) -> bool {
        self.checkpoint_mac(content).ct_eq(mac).into()
    }

    /// The name under which a bearer token is kept, from which nobody without the state key can tell
    /// whether a guess was right: `HMAC-SHA-256[state key]("selkie token" ‖ 0x00 ‖ token)`.
    #[must_use]
    pub fn token_hash(&self, token: &[u8]) -> [u8; 32] {
        self.0.mac(b"selkie token", [token])
    }

    /// Whether both are the same key, in constant time.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.0.expose().ct_eq(other.0.expose()).into()
    }

    fn record_key(&self, salt: &[u8; SALT_BYTES]) -> RecipientSecret {
        with_scrubbed_stack(|| {
            RecipientSecret::init_with(|key| {
                *key = self.0.mac(b"selkie record key", [salt]);
            })
        })
    }
}

/// The sum of all records of a store: the same set of sealed records has the same sum, whatever the
/// order, and no other set can be found without the state key (Clarke et al., "Incremental Multiset
/// Hash Functions", 2003: MSet-XOR-Hash over a set, with the sum itself hidden by encryption).
///
/// It is what detects one old record put back: the sum changes with each commit in step.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct StateSum([u8; 32]);

impl StateSum {
    /// The sum as it was kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The sum, to be kept sealed.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The sum with one record more, or, if the record was in it, with one less.
    #[must_use]
    pub fn toggled(mut self, summand: Self) -> Self {
        for (byte, other) in self.0.iter_mut().zip(summand.0) {
            *byte ^= other;
        }
        self
    }
}

/// `Debug` does not print the sum, whose secrecy its strength rests on.
impl fmt::Debug for StateSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateSum")
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey")
    }
}

impl fmt::Debug for OpenedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedRecord({} bytes of commit {})", self.content.len(), self.sequence)
    }
}

impl fmt::Display for RecordRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is malformed, forged, or from another place or store")
    }
}

impl std::error::Error for RecordRefused {}

impl fmt::Display for SealRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(error) => error.fmt(f),
            Self::TooLong => f.write_str("the record is too long for AES-GCM"),
        }
    }
}

impl std::error::Error for SealRecordError {}

fn head_of(sequence: u64) -> [u8; 9] {
    let mut head = [FORMAT; 9];
    for (to, from) in head.iter_mut().skip(1).zip(sequence.to_be_bytes()) {
        *to = from;
    }
    head
}

fn sequence_of(head: &[u8]) -> Option<u64> {
    let (format, sequence) = head.split_first()?;
    let sequence = u64::from_be_bytes(sequence.try_into().ok()?);
    (*format == FORMAT).then_some(sequence)
}

fn split_drawn(drawn: &[u8]) -> Option<([u8; SALT_BYTES], [u8; NONCE_BYTES])> {
    let (salt, nonce) = drawn.split_first_chunk::<SALT_BYTES>()?;
    Some((*salt, nonce.try_into().ok()?))
}

fn aad(sequence: u64, place: &str) -> Vec<u8> {
    [b"selkie record\0".as_slice(), &head_of(sequence), place.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
