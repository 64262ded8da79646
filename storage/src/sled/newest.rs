//! The witness `newest`: which commit was the last to be answered, told apart from what it held.
//!
//! Two slots of revision, count of records and checksum, each in a sector of its own: a commit
//! writes the slot that the one before did not. A part that holds less has lost something, however
//! whole it looks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::codec::{Image, Malformed, Reader, checksum, put_number};
use super::files;
use crate::image::Records;
use crate::record::Revision;

pub(super) const NAME: &str = "newest";

const SECTOR: usize = 512;
/// What the checksum begins with, so that no other bytes pass for a slot.
const DOMAIN: &[u8] = b"selkie newest";

/// What was answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) revision: Revision,
    pub(super) count: u64,
}

impl Newest {
    pub(super) fn of(records: &Records, revision: Revision) -> Self {
        Self { revision, count: records.len() as u64 }
    }

    /// Whether `image` holds all that was answered; it may hold the commit after.
    pub(super) fn is_in(self, image: &Image) -> bool {
        let held = Self::of(&image.records, image.newest);
        held.revision > self.revision || held == self
    }
}

/// The file, open to be written.
pub(super) struct Witness {
    file: File,
}

/// What the file says; `None` if it is not there or neither slot is whole.
pub(super) fn read(dir: &Path) -> io::Result<Option<Newest>> {
    let bytes = files::read(&dir.join(NAME))?.unwrap_or_default();
    let slots = bytes.chunks(SECTOR).filter_map(|slot| read_slot(slot).ok());
    Ok(slots.max_by_key(|slot| slot.revision))
}

fn read_slot(slot: &[u8]) -> Result<Newest, Malformed> {
    let mut input = Reader(slot);
    let body = input.take(16)?;
    if *input.take(4)? != checksum(DOMAIN, body) {
        return Err(Malformed);
    }
    let mut body = Reader(body);
    Ok(Newest { revision: Revision::new(body.number()?), count: body.number()? })
}

fn slot_bytes(newest: Newest) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, newest.revision.number());
    put_number(&mut out, newest.count);
    let sum = checksum(DOMAIN, &out);
    out.extend_from_slice(&sum);
    out
}

impl Witness {
    /// A file that says this alone, in place of whatever there was.
    pub(super) fn rewrite(dir: &Path, newest: Newest) -> io::Result<Self> {
        let (mut this, other) = (slot_bytes(newest), vec![0; SECTOR]);
        this.resize(SECTOR, 0);
        let second = newest.revision.number() % 2 == 1;
        files::replace(dir, NAME, &if second { [other, this] } else { [this, other] }.concat())?;
        Ok(Self { file: OpenOptions::new().write(true).open(dir.join(NAME))? })
    }

    /// Says what is now the newest, and returns once that is on the disk.
    pub(super) fn tell(&self, newest: Newest) -> io::Result<()> {
        let offset = newest.revision.number() % 2 * SECTOR as u64;
        self.file.write_all_at(&slot_bytes(newest), offset)?;
        self.file.sync_data()
    }
}
