//! The backup file:
//!
//! ```text
//! selkie-backup 1 LF
//! {envelope of the backup key, purpose "backup"} LF
//! chunks of the content: AES-256-GCM[backup key], see selkie_crypto::stream
//! ```
//!
//! The content is the length of the header (4 bytes), the [`Header`] as JSON, and then each record:
//! length of the key (4 bytes), key, length of the value (4 bytes), value; lengths are big endian.

use std::collections::BTreeMap;

use selkie_crypto::StateKey;
use selkie_crypto::stream::{
    CHUNK_BYTES, CHUNK_OVERHEAD_BYTES, ChunkRefused, NoSuchChunk, StreamKey, StreamOpener,
    StreamSealer,
};
use selkie_storage::{RecordKey, RecordValue};
use serde::{Deserialize, Serialize};

use super::snapshot::{Damage, Snapshot, is_copied};
use crate::state::layout::Format;

const FIRST_LINE: &[u8] = b"selkie-backup 1\n";
const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + CHUNK_OVERHEAD_BYTES;
/// Before each part of the content.
const LENGTH_BYTES: usize = 4;
/// More than an envelope of 32 bytes for 16 seals has.
const MAX_ENVELOPE_BYTES: usize = 64 * 1024;

/// What the records are.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: Format,
    /// Of the root.
    sequence: u64,
    /// All that follow, those that are not sealed included.
    records: u64,
}

/// Why a file is no backup that can be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Nothing of ours.
    #[error("this is not a backup of Selkie")]
    NotABackup,
    /// Its version is another.
    #[error("this backup is of another Selkie: its first line must be \"selkie-backup 1\"")]
    OtherVersion,
    /// It ends too early, or its frame was changed.
    #[error("the backup is cut or its frame is damaged")]
    Frame,
    /// The content was changed.
    #[error("chunk {number} of the backup does not open: {source}")]
    Chunk {
        /// Which, from 0.
        number: usize,
        /// The error behind it.
        source: ChunkRefused,
    },
    /// The content opens but is not in the form of one.
    #[error("the content of the backup is not in the form of one")]
    Malformed,
    /// The records do not add up.
    #[error("the records of the backup: {0}")]
    Damaged(#[from] Damage),
}

/// The whole file for `snapshot`, whose content is sealed under `key`; `envelope` holds that key.
///
/// # Errors
///
/// [`NoSuchChunk`]: the content is longer than a stream can be.
pub fn write(snapshot: &Snapshot, key: StreamKey, envelope: &[u8]) -> Result<Vec<u8>, NoSuchChunk> {
    let header = header(snapshot).ok_or(NoSuchChunk)?;
    let parts = snapshot
        .records
        .iter()
        .flat_map(|(key, value)| [key.as_str().as_bytes(), value.as_bytes()]);
    let parts = std::iter::once(&*header).chain(parts);
    let length: usize = parts.clone().map(|part| LENGTH_BYTES + part.len()).sum();
    let overhead = (length / CHUNK_BYTES + 1) * CHUNK_OVERHEAD_BYTES;
    let frame = [FIRST_LINE, envelope, b"\n"].concat();
    let mut file = Vec::with_capacity(frame.len().saturating_add(length).saturating_add(overhead));
    file.extend_from_slice(&frame);
    let mut writer = Writer { sealer: StreamSealer::new(key), chunk: Vec::new(), file };
    for part in parts {
        let length = u32::try_from(part.len()).map_err(|_huge| NoSuchChunk)?;
        writer.push(&length.to_be_bytes())?;
        writer.push(part)?;
    }
    writer.finish()
}

fn header(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let header = Header {
        format: snapshot.format.clone(),
        sequence: snapshot.root.sequence,
        records: u64::try_from(snapshot.records.len()).ok()?,
    };
    serde_json::to_vec(&header).ok()
}

/// Seals what it is given chunk by chunk, so that the content is never held as a whole.
struct Writer {
    sealer: StreamSealer,
    chunk: Vec<u8>,
    file: Vec<u8>,
}

impl Writer {
    fn push(&mut self, mut rest: &[u8]) -> Result<(), NoSuchChunk> {
        while !rest.is_empty() {
            // A chunk that is full may still be the last one.
            if self.chunk.len() == CHUNK_BYTES {
                self.seal(false)?;
            }
            let room = CHUNK_BYTES - self.chunk.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            self.chunk.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, NoSuchChunk> {
        self.seal(true)?;
        Ok(self.file)
    }

    fn seal(&mut self, is_last: bool) -> Result<(), NoSuchChunk> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        self.file.extend_from_slice(&self.sealer.seal(chunk, is_last)?);
        Ok(())
    }
}

/// The envelope of a backup and its sealed content, of which nothing is opened here; what can be
/// seen from outside is checked.
///
/// # Errors
///
/// [`ContentError`].
pub fn read_frame(file: &[u8]) -> Result<(&[u8], &[u8]), ContentError> {
    let Some(rest) = file.strip_prefix(FIRST_LINE) else {
        let is_ours = file.starts_with(b"selkie-backup ");
        return Err(if is_ours { ContentError::OtherVersion } else { ContentError::NotABackup });
    };
    let head = rest.get(..rest.len().min(MAX_ENVELOPE_BYTES)).unwrap_or_default();
    let end = head.iter().position(|byte| *byte == b'\n').ok_or(ContentError::Frame)?;
    let (envelope, rest) = rest.split_at_checked(end).ok_or(ContentError::Frame)?;
    let sealed = rest.get(1..).ok_or(ContentError::Frame)?;
    let last = sealed.len() % SEALED_CHUNK_BYTES;
    let has_last = last >= CHUNK_OVERHEAD_BYTES || (last == 0 && !sealed.is_empty());
    if has_last { Ok((envelope, sealed)) } else { Err(ContentError::Frame) }
}

/// All records of the sealed content, as raw as they are in a store.
///
/// # Errors
///
/// [`ContentError`].
pub fn read(sealed: &[u8], key: StreamKey) -> Result<Opened, ContentError> {
    let mut opener = StreamOpener::new(key);
    let mut content = Vec::with_capacity(sealed.len());
    let mut chunks = sealed.chunks(SEALED_CHUNK_BYTES).enumerate().peekable();
    while let Some((number, chunk)) = chunks.next() {
        let opened = opener.open(chunk, chunks.peek().is_none());
        let opened = opened.map_err(|source| ContentError::Chunk { number, source })?;
        content.extend_from_slice(opened.expose_for_own_use());
    }
    parse(&content).ok_or(ContentError::Malformed)
}

/// A backup whose chunks all opened.
pub struct Opened {
    header: Header,
    records: BTreeMap<RecordKey, RecordValue>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.header.fmt(f)
    }
}

impl Opened {
    /// The state key as the seals have it.
    ///
    /// # Errors
    ///
    /// [`Damage::Missing`].
    pub fn sealed_state_key(&self) -> Result<&RecordValue, Damage> {
        super::snapshot::find(&self.records, "state-key").ok_or(Damage::Missing("state-key"))
    }

    /// The records, verified.
    ///
    /// # Errors
    ///
    /// [`ContentError`].
    pub fn verify(self, state_key: &StateKey) -> Result<Snapshot, ContentError> {
        let snapshot = Snapshot::verify(self.records, state_key)?;
        let is_same =
            snapshot.format == self.header.format && snapshot.root.sequence == self.header.sequence;
        if is_same { Ok(snapshot) } else { Err(ContentError::Malformed) }
    }
}

fn parse(content: &[u8]) -> Option<Opened> {
    let mut rest = content;
    let header: Header = serde_json::from_slice(pull(&mut rest)?).ok()?;
    let mut records = BTreeMap::new();
    for _ in 0..header.records {
        let key: RecordKey = str::from_utf8(pull(&mut rest)?).ok()?.parse().ok()?;
        let value = RecordValue::new(pull(&mut rest)?).ok()?;
        if !is_copied(&key) || records.insert(key, value).is_some() {
            return None;
        }
    }
    rest.is_empty().then_some(Opened { header, records })
}

fn pull<'c>(rest: &mut &'c [u8]) -> Option<&'c [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (part, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(part)
}
