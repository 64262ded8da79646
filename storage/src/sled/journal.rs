//! The journal: an image of all records, and after it each commit, framed and synced.
//!
//! `SELKIEJ`, the format byte, then frames of length, checksum and body; the first frame is the
//! image. It is replaced as a whole when it is compacted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::codec::{
    FORMAT, FRAME_HEAD_BYTES, Image, Malformed, Reader, checksum, commit_bytes, put_number,
    read_commit, read_image, write_image,
};
use super::newest::Newest;
use super::{SledError, files};
use crate::commit::Commit;
use crate::image::{Records, apply};
use crate::record::Record;

pub(super) const NAME: &str = "journal";

pub(super) const MAGIC: &[u8; 7] = b"SELKIEJ";

/// What the journal's bytes say.
pub(super) enum JournalContent {
    /// There is no journal.
    Absent,
    /// Every byte is accounted for.
    Whole(Image),
    /// The first frames are whole, and something follows that is not.
    Torn(Image),
    /// Not even the image can be read.
    Damaged,
}

pub(super) struct Journal {
    file: File,
    /// Bytes of the image.
    image: u64,
    /// Bytes of commits that follow the image.
    tail: u64,
}

impl JournalContent {
    /// What it holds, be it all or not.
    pub(super) const fn records(&self) -> Option<&Records> {
        match self {
            Self::Whole(image) | Self::Torn(image) => Some(&image.records),
            Self::Absent | Self::Damaged => None,
        }
    }
}

pub(super) fn read(dir: &Path) -> Result<JournalContent, SledError> {
    files::read(&dir.join(NAME))?.map_or(Ok(JournalContent::Absent), |bytes| parse(&bytes))
}

pub(super) fn parse(bytes: &[u8]) -> Result<JournalContent, SledError> {
    let Some((&format, frames)) = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first())
    else {
        return Ok(JournalContent::Damaged);
    };
    let mut input = Reader(frames);
    let first = frame(&mut input).and_then(read_image);
    match first {
        // The checksum covers the format byte: a flipped one is damage, a true one another format.
        Ok(image) if format == FORMAT => Ok(replay(input, image)),
        _ if format != FORMAT && checked(frames, format) => {
            Err(SledError::UnknownFormat { found: format })
        }
        _ => Ok(JournalContent::Damaged),
    }
}

fn checked(frames: &[u8], format: u8) -> bool {
    frame_of(&mut Reader(frames), format).is_ok()
}

fn replay(mut input: Reader<'_>, mut image: Image) -> JournalContent {
    while input.end().is_err() {
        let commit = match frame(&mut input).and_then(read_commit) {
            Ok(commit) if commit.revision.number() == image.newest.number() + 1 => commit,
            _ => return JournalContent::Torn(image),
        };
        apply(&mut image.records, &commit);
        image.newest = commit.revision;
    }
    JournalContent::Whole(image)
}

fn frame<'a>(input: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    frame_of(input, FORMAT)
}

fn frame_of<'a>(input: &mut Reader<'a>, format: u8) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(input.number()?).ok().ok_or(Malformed)?;
    let sum = input.take(4)?;
    let body = input.take(length)?;
    if checksum(&[format], body) == *sum { Ok(body) } else { Err(Malformed) }
}

pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + FRAME_HEAD_BYTES);
    put_number(&mut out, body.len() as u64);
    out.extend_from_slice(&checksum(&[FORMAT], body));
    out.extend_from_slice(body);
    out
}

impl Journal {
    /// A journal of this image alone, in place of whatever there was.
    pub(super) fn rewrite(
        dir: &Path,
        Newest { revision, count }: Newest,
        records: impl Iterator<Item = Record>,
    ) -> io::Result<Self> {
        let mut image = 0;
        files::replace_with(dir, NAME, |out| {
            out.write_all(MAGIC)?;
            out.write_all(&[FORMAT])?;
            image = write_image(out, revision, count, records)?;
            Ok(())
        })?;
        // Opened anew to append: the handle that wrote the file has a position of its own.
        let file = OpenOptions::new().append(true).open(dir.join(NAME))?;
        Ok(Self { file, image, tail: 0 })
    }

    /// Whether more than `least` bytes of commits follow the image, and more than it has itself: so
    /// the work of compaction is in proportion to what was committed, however many records there are.
    pub(super) fn is_long(&self, least: u64) -> bool {
        self.tail > least.max(self.image)
    }

    /// Adds a commit, and returns once it is on the disk.
    pub(super) fn append(&mut self, commit: &Commit) -> io::Result<()> {
        let bytes = framed(&commit_bytes(commit));
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.tail += bytes.len() as u64;
        Ok(())
    }
}
