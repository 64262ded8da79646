//! sled itself, with the syncs that it leaves out and its panics caught.

use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::Duration;

use ::sled::{Batch, Db};

use super::codec::{FORMAT, Image, Malformed, Reader, checksum, put_bytes, put_number, read_key};
use super::{SledError, files};
use crate::commit::{Commit, Write};
use crate::image::Records;
use crate::key::RecordKey;
use crate::record::{RecordValue, Revision};

/// No record key begins with a `/`.
const META: &[u8] = b"/meta";
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Reads come from memory of ours: sled itself only has to find the pages that it writes.
const CACHE_BYTES: u64 = 16 << 20;
/// So many records at once get as much time as one commit.
const RECORDS_IN_TIME: u32 = 10_000;
/// Values well below this stay in `db`; longer ones may get a file of their own.
const BLOB_BYTES: usize = 16 * 1024;

/// Why sled gave nothing that can be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may pass: no space, read-only, held by another.
    Passing(SledError),
    /// What is stored cannot be read.
    Damaged,
    /// It does not come back from a write, and keeps its files open.
    Stuck,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Damaged
    }
}

pub(super) struct Engine {
    db: Handle,
    /// How long a write may take.
    patience: Duration,
    file: File,
    blobs: PathBuf,
}

/// sled syncs as it is dropped, and panics if the disk then refuses.
struct Handle(Option<Db>);

impl Handle {
    fn db(&self) -> Result<&Db, Fault> {
        self.0.as_ref().ok_or(Fault::Damaged)
    }

    /// In a thread of its own, that is left behind with its files if need be: sled may wait for ever
    /// for a write that has failed in one of its threads.
    fn write(&self, batch: Batch, patience: Duration) -> Result<(), Fault> {
        let handle = Self(Some(self.db()?.clone()));
        let (tell, told) = mpsc::sync_channel(1);
        let write = move || {
            let db = handle.db();
            let done = db.and_then(|db| {
                guarded(|| db.apply_batch(batch).and_then(|()| db.flush()).map(|_bytes| ()))
            });
            drop(handle);
            // Nobody listens any more where it took too long.
            let _late = tell.send(done);
        };
        thread::Builder::new().name("sled-write".to_owned()).spawn(write).map_err(io)?;
        told.recv_timeout(patience).unwrap_or(Err(Fault::Stuck))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let db = self.0.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(db)));
        if dropped.is_err() {
            tracing::warn!("sled could not sync its files as it was closed");
        }
    }
}

/// Runs `action` on sled; a panic is damage, and so is every error that will not pass.
fn guarded<T>(action: impl FnOnce() -> ::sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if passes(&error) => Err(Fault::Passing(SledError::Engine(error))),
        Ok(Err(_)) | Err(_) => Err(Fault::Damaged),
    }
}

fn passes(error: &::sled::Error) -> bool {
    let ::sled::Error::Io(error) = error else { return false };
    is_refused(error)
        || error.raw_os_error().is_some() && error.kind() != ErrorKind::NotFound
        || locked(error)
}

/// Whether the system would not even begin, so that nothing else is in doubt.
pub(super) fn is_refused(error: &std::io::Error) -> bool {
    // No descriptors left, of the process or of the system: std has no kind for them.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    locked(error)
        || matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
        || matches!(
            error.kind(),
            ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::OutOfMemory
        )
}

/// sled wraps the refused lock in an error of its own kind.
fn locked(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

impl Engine {
    pub(super) fn open(dir: &Path, patience: Duration) -> Result<Self, Fault> {
        let mut tries = 1;
        let db = loop {
            let config =
                ::sled::Config::new().path(dir).flush_every_ms(None).cache_capacity(CACHE_BYTES);
            match guarded(|| config.open()) {
                // The threads of the handle before may hold the lock for a moment.
                Err(Fault::Passing(SledError::Engine(::sled::Error::Io(error))))
                    if tries < LOCK_TRIES && locked(&error) =>
                {
                    tries += 1;
                    sleep(LOCK_PAUSE);
                }
                other => break Handle(Some(other?)),
            }
        };
        let file = File::open(dir.join("db")).map_err(io)?;
        for made in [dir.join("conf"), dir.join("blobs"), dir.to_path_buf()] {
            files::sync(&made).map_err(io)?;
        }
        dir.parent().map_or(Ok(()), files::sync).map_err(io)?;
        Ok(Self { db, patience, file, blobs: dir.join("blobs") })
    }

    /// All that it holds, every checksum checked. What is in `known` too is not held twice.
    pub(super) fn load(&self, known: &Records) -> Result<Image, Fault> {
        let mut rows = self.db.db().and_then(|db| guarded(|| Ok(db.iter())))?;
        let mut records = Records::new();
        let mut meta = None;
        while let Some((key, bytes)) = guarded(|| rows.next().transpose())? {
            let (revision, body) = unframe(&key, &bytes)?;
            if *key == *META {
                meta = Some((revision, Reader(body).number()?));
            } else {
                let (key, value) = read_record(&key, body, known)?;
                records.insert(key, (value, revision));
            }
        }
        match meta {
            Some((newest, count)) if count == records.len() as u64 => Ok(Image { records, newest }),
            _ => Err(Fault::Damaged),
        }
    }

    /// Applies one commit, after which there are `count` records, and syncs.
    pub(super) fn apply(&self, commit: &Commit, count: usize) -> Result<(), Fault> {
        let mut batch = Batch::default();
        for write in &commit.writes {
            let key = write.key().as_str().as_bytes();
            match write {
                Write::Put(_, value) => {
                    batch.insert(key, framed(key, commit.revision, value.as_bytes()));
                }
                Write::Delete(_) => batch.remove(key),
            }
        }
        self.write(batch, commit.revision, count, self.patience)
    }

    /// Makes it hold these records instead of `held`, which is all that it holds.
    pub(super) fn fill(
        &self,
        held: &Records,
        records: &Records,
        newest: Revision,
    ) -> Result<(), Fault> {
        let mut batch = Batch::default();
        let gone = held.keys().filter(|key| !records.contains_key(*key));
        gone.for_each(|key| batch.remove(key.as_str()));
        let differing = records.iter().filter(|(key, stored)| held.get(*key) != Some(*stored));
        let mut changes = 0_u32;
        for (key, (value, revision)) in differing {
            changes = changes.saturating_add(1);
            let key = key.as_str().as_bytes();
            batch.insert(key, framed(key, *revision, value.as_bytes()));
        }
        let patience = self.patience * (1 + changes / RECORDS_IN_TIME);
        self.write(batch, newest, records.len(), patience)?;
        files::sync(&self.blobs).map_err(io)
    }

    fn write(
        &self,
        mut batch: Batch,
        newest: Revision,
        count: usize,
        patience: Duration,
    ) -> Result<(), Fault> {
        let count = (count as u64).to_be_bytes();
        batch.insert(META, framed(META, newest, &count));
        self.db.write(batch, patience)?;
        // sled's own flush is `sync_file_range`, which survives no power cut.
        self.file.sync_all().map_err(io)
    }

    /// Syncs what long values have made beside `db`.
    pub(super) fn sync_blobs(&self, commit: &Commit) -> Result<(), Fault> {
        let long = |write: &Write| match write {
            Write::Put(_, value) => value.as_bytes().len() >= BLOB_BYTES,
            Write::Delete(_) => false,
        };
        if commit.writes.iter().any(long) { files::sync(&self.blobs).map_err(io) } else { Ok(()) }
    }
}

fn read_record(
    key: &[u8],
    body: &[u8],
    known: &Records,
) -> Result<(RecordKey, RecordValue), Fault> {
    let key = read_key(key)?;
    match known.get_key_value(&key) {
        Some((key, (value, _))) if value.as_bytes() == body => Ok((key.clone(), value.clone())),
        _ => Ok((key, RecordValue::new(body).ok().ok_or(Fault::Damaged)?)),
    }
}

fn io(error: std::io::Error) -> Fault {
    Fault::Passing(SledError::Io(error))
}

fn framed(key: &[u8], revision: Revision, body: &[u8]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_number(&mut out, revision.number());
    put_bytes(&mut out, body);
    let sum = checksum(key, &out);
    out.extend_from_slice(&sum);
    out
}

fn unframe<'a>(key: &[u8], bytes: &'a [u8]) -> Result<(Revision, &'a [u8]), Fault> {
    let (framed, sum) = bytes.split_last_chunk::<4>().ok_or(Fault::Damaged)?;
    if checksum(key, framed) != *sum {
        return Err(Fault::Damaged);
    }
    let mut input = Reader(framed);
    match input.take(1)? {
        [FORMAT] => {}
        [found, ..] => return Err(Fault::Passing(SledError::UnknownFormat { found: *found })),
        [] => return Err(Fault::Damaged),
    }
    let revision = Revision::new(input.number()?);
    let body = input.bytes()?;
    input.end()?;
    Ok((revision, body))
}
