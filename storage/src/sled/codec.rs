//! Records and commits as bytes, for the journal and for sled: numbers are big-endian `u64`.

use std::io::{self, Seek, SeekFrom};

use crate::commit::{Commit, Write};
use crate::image::Records;
use crate::key::RecordKey;
use crate::record::{Record, RecordValue, Revision};

/// The first byte of each value in sled, and the journal's format.
pub(super) const FORMAT: u8 = 1;

/// Length and checksum, before the body of a frame.
pub(super) const FRAME_HEAD_BYTES: usize = 8 + 4;

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// All records at one revision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) records: Records,
    pub(super) newest: Revision,
}

/// The bytes cannot be what was written.
#[derive(Debug)]
pub(super) struct Malformed;

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Writes an image of `count` records as a frame, record by record; answers the frame's length.
pub(super) fn write_image<W: io::Write + Seek>(
    out: &mut W,
    newest: Revision,
    count: u64,
    records: impl Iterator<Item = Record>,
) -> io::Result<u64> {
    let start = out.stream_position()?;
    out.write_all(&[0; FRAME_HEAD_BYTES])?;
    let mut sum = Checksum::new(&[FORMAT]);
    let mut piece = Vec::new();
    put_number(&mut piece, newest.number());
    put_number(&mut piece, count);
    let mut length = 0;
    for record in records.map(Some).chain([None]) {
        sum.update(&piece);
        out.write_all(&piece)?;
        length += piece.len() as u64;
        piece.clear();
        if let Some(record) = record {
            put_bytes(&mut piece, record.key.as_str().as_bytes());
            put_number(&mut piece, record.revision.number());
            put_bytes(&mut piece, record.value.as_bytes());
        }
    }
    put_number(&mut piece, length);
    piece.extend_from_slice(&sum.finish());
    out.seek(SeekFrom::Start(start))?;
    out.write_all(&piece)?;
    out.seek(SeekFrom::End(0))?;
    Ok(FRAME_HEAD_BYTES as u64 + length)
}

pub(super) fn read_image(bytes: &[u8]) -> Result<Image, Malformed> {
    let mut input = Reader(bytes);
    let newest = Revision::new(input.number()?);
    let count = input.number()?;
    let mut records = Records::new();
    for _ in 0..count {
        let key = input.key()?;
        let revision = Revision::new(input.number()?);
        records.insert(key, (input.value()?, revision));
    }
    input.end()?;
    Ok(Image { records, newest })
}

pub(super) fn commit_bytes(commit: &Commit) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, commit.revision.number());
    put_number(&mut out, commit.writes.len() as u64);
    for write in &commit.writes {
        out.push(if matches!(write, Write::Put(..)) { PUT } else { DELETE });
        put_bytes(&mut out, write.key().as_str().as_bytes());
        if let Write::Put(_, value) = write {
            put_bytes(&mut out, value.as_bytes());
        }
    }
    out
}

pub(super) fn read_commit(bytes: &[u8]) -> Result<Commit, Malformed> {
    let mut input = Reader(bytes);
    let revision = Revision::new(input.number()?);
    let count = input.number()?;
    let mut writes = Vec::new();
    for _ in 0..count {
        let kind = input.take(1)?;
        let key = input.key()?;
        writes.push(match kind {
            [PUT] => Write::Put(key, input.value()?),
            [DELETE] => Write::Delete(key),
            _ => return Err(Malformed),
        });
    }
    input.end()?;
    Ok(Commit { revision, writes })
}

/// A checksum over a key and bytes, so that a value under a wrong key shows.
struct Checksum(crc32fast::Hasher);

impl Checksum {
    fn new(key: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&(key.len() as u64).to_be_bytes());
        hasher.update(key);
        Self(hasher)
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 4] {
        self.0.finalize().to_be_bytes()
    }
}

/// The [`Checksum`] of `bytes` under `key`.
pub(super) fn checksum(key: &[u8], bytes: &[u8]) -> [u8; 4] {
    let mut sum = Checksum::new(key);
    sum.update(bytes);
    sum.finish()
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*taken))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = usize::try_from(self.number()?).ok().ok_or(Malformed)?;
        self.take(count)
    }

    fn key(&mut self) -> Result<RecordKey, Malformed> {
        read_key(self.bytes()?)
    }

    pub(super) fn value(&mut self) -> Result<RecordValue, Malformed> {
        RecordValue::new(self.bytes()?).ok().ok_or(Malformed)
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

pub(super) fn read_key(bytes: &[u8]) -> Result<RecordKey, Malformed> {
    let text = std::str::from_utf8(bytes).ok().ok_or(Malformed)?;
    text.parse().ok().ok_or(Malformed)
}
