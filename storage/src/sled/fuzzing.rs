//! The journal's bytes, without a disk.

use std::io::Cursor;

use super::codec::{FORMAT, commit_bytes, write_image};
use super::journal::{JournalContent, MAGIC, framed, parse};
use crate::commit::Commit;
use crate::fuzzing::Journal;
use crate::image::record;
use crate::record::{Record, Revision};

pub(crate) fn read(bytes: &[u8]) -> Journal {
    let (is_whole, image) = match parse(bytes) {
        Ok(JournalContent::Whole(image)) => (true, image),
        Ok(JournalContent::Torn(image)) => (false, image),
        Ok(JournalContent::Absent | JournalContent::Damaged) | Err(_) => {
            return Journal::Unreadable;
        }
    };
    let records = image.records.iter().map(|(key, stored)| record(key, stored)).collect();
    Journal::Read { is_whole, newest: image.newest, records }
}

pub(crate) fn write(newest: Revision, records: &[Record], commits: &[Commit]) -> Vec<u8> {
    let mut out = Cursor::new([&MAGIC[..], &[FORMAT]].concat());
    out.set_position(8);
    let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
    // Writing to memory does not fail.
    let _length = write_image(&mut out, newest, count, records.iter().cloned());
    let mut bytes = out.into_inner();
    commits.iter().for_each(|commit| bytes.extend_from_slice(&framed(&commit_bytes(commit))));
    bytes
}
