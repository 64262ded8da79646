//! Where what was seen is kept across a restart, and shared by replicas.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::memory::{KEPT_ANEW_AFTER, MOST, Subject};
use super::memory_file::MemoryFile;
use super::record::{Learning, Remembered};
use crate::seal::Keeping;
use crate::state::records::{Batch, Mirror, Records, RecordsError};
use crate::telemetry::WithCauses;

/// How many records one commit changes at most.
pub(super) const RECORDS_AT_ONCE: usize = 32;

/// The place.
#[derive(Debug)]
pub(super) enum Shelf {
    /// The storage.
    Store { records: Arc<Records>, mirror: Arc<Mirror<Remembered>> },
    /// A file.
    File(MemoryFile),
    /// None.
    Nowhere,
}

/// What is to be kept.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) learning: Learning,
    /// Whether that is what ends the learning.
    pub(super) ends: bool,
    /// Pairs that are not kept, with their times.
    pub(super) unkept: Vec<(Subject, u64)>,
    /// All pairs, for a place that is written as a whole.
    pub(super) all: Vec<(Subject, u64)>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    /// As it stands now; `None` if that was not found out.
    pub(super) learning: Option<Learning>,
    /// Whether it was us who ended it.
    pub(super) has_ended: bool,
    pub(super) kept: Vec<(Subject, u64)>,
    pub(super) is_failed: bool,
}

impl Shelf {
    /// The storage if there is one, else a file if it can be proven to be ours.
    pub(super) fn new(
        records: Arc<Records>,
        mirror: Arc<Mirror<Remembered>>,
        keeping: &Keeping,
    ) -> Self {
        match (&keeping.data_dir, &keeping.local_key) {
            _ if records.has_store() => Self::Store { records, mirror },
            (Some(dir), Some(key)) => Self::File(MemoryFile::new(dir, Arc::clone(key))),
            _ => Self::Nowhere,
        }
    }

    /// Whether it can be read: a store has to be opened first.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Store { records, .. } => records.store().is_ok(),
            Self::File(_) | Self::Nowhere => true,
        }
    }

    /// What is kept. A file that is not ours is set aside, and counts as none.
    pub(super) fn load(&self) -> (Option<Learning>, Vec<(Subject, u64)>) {
        match self {
            Self::Store { mirror, .. } => {
                let (mut learning, mut pairs) = (None, Vec::new());
                mirror.for_each(|_, record| match &**record {
                    Remembered::Learning(found) => learning = Some(*found),
                    Remembered::Seen(subject, last) => pairs.push((subject.clone(), *last)),
                });
                (learning, pairs)
            }
            Self::File(file) => read(file),
            Self::Nowhere => (None, Vec::new()),
        }
    }

    /// Calls `visit` with each pair that replicas have kept.
    pub(super) fn each_of_others(&self, mut visit: impl FnMut(&Subject, u64)) {
        if let Self::Store { mirror, .. } = self {
            mirror.for_each(|_, record| {
                if let Remembered::Seen(subject, last) = &**record {
                    visit(subject, *last);
                }
            });
        }
    }

    /// Whether another replica has seen `subject`, as far as is heard; when.
    pub(super) fn find(&self, subject: &Subject) -> Option<u64> {
        let Self::Store { mirror, .. } = self else { return None };
        match &*mirror.get(&Remembered::name_of(subject)).ok()??.value {
            Remembered::Seen(_, last) => Some(*last),
            Remembered::Learning(_) => None,
        }
    }

    /// Keeps what `work` says, as far as it can be.
    pub(super) async fn keep(self: Arc<Self>, work: Work) -> Done {
        let kept = match &*self {
            Self::Store { records, mirror } => keep_in_store(records, mirror, work).await,
            Self::File(file) => keep_in_file(file.clone(), work).await,
            Self::Nowhere => Ok(Done {
                learning: Some(work.learning),
                has_ended: work.ends,
                kept: Vec::new(),
                is_failed: false,
            }),
        };
        kept.unwrap_or(Done { learning: None, has_ended: false, kept: Vec::new(), is_failed: true })
    }
}

fn read(file: &MemoryFile) -> (Option<Learning>, Vec<(Subject, u64)>) {
    match file.read() {
        Ok(None) => (None, Vec::new()),
        Ok(Some((learning, pairs))) => (Some(learning), pairs),
        Err(error) => {
            tracing::error!(
                file = %file.path().display(),
                reason = %WithCauses(&error),
                advice = "find out who changed it; it is kept as .refused, and alerts learn anew",
                "what alerts remember is not used"
            );
            if let Err(error) = file.set_aside() {
                tracing::error!(reason = %WithCauses(&error), "the file cannot be set aside");
            }
            (None, Vec::new())
        }
    }
}

/// Nothing could be kept; it was told of.
struct NotKept;

async fn keep_in_file(file: MemoryFile, work: Work) -> Result<Done, NotKept> {
    let Work { learning, ends, unkept, all } = work;
    let written = spawn_blocking(move || (file.write(learning, &all), file)).await;
    match written {
        Ok((Ok(()), _)) => {
            let learning = Some(learning);
            Ok(Done { learning, has_ended: ends, kept: unkept, is_failed: false })
        }
        Ok((Err(error), file)) => {
            tracing::debug!(file = %file.path().display(), reason = %WithCauses(&error), "not kept");
            Err(NotKept)
        }
        Err(_panicked) => Err(NotKept),
    }
}

async fn keep_in_store(
    records: &Records,
    mirror: &Mirror<Remembered>,
    work: Work,
) -> Result<Done, NotKept> {
    let (learning, has_ended) = keep_learning(records, mirror, &work).await?;
    let mut batch = Batch::default();
    let mut kept = Vec::new();
    for (subject, last) in work.unkept {
        let name = Remembered::name_of(&subject);
        let at = match mirror.get(&name) {
            // Nothing is made anew in place of what cannot be read.
            Err(_unreadable) => None,
            Ok(None) => Some(None),
            Ok(Some(found)) => match &*found.value {
                Remembered::Seen(_, kept) if last.saturating_sub(*kept) < KEPT_ANEW_AFTER => None,
                _ => Some(Some(found.revision)),
            },
        };
        if let Some(at) = at {
            let record = Remembered::Seen(subject.clone(), last);
            // A name that is too long for the store is not kept, and not tried again.
            let _too_large = batch.put(&name, &record, at);
        }
        kept.push((subject, last));
    }
    forget_oldest(mirror, &mut batch);
    match commit(records, &batch).await? {
        true => Ok(Done { learning, has_ended, kept, is_failed: false }),
        // Another replica was faster: what it has written shows at the next attempt.
        false => Ok(Done { learning, has_ended, kept: Vec::new(), is_failed: false }),
    }
}

/// What the record says in the end, and whether it was us who ended the learning.
async fn keep_learning(
    records: &Records,
    mirror: &Mirror<Remembered>,
    work: &Work,
) -> Result<(Option<Learning>, bool), NotKept> {
    let name = Remembered::learning_name();
    // Nothing is made anew in place of what cannot be read.
    let Ok(found) = mirror.get(&name) else { return Ok((Some(work.learning), work.ends)) };
    let at = match &found {
        None => None,
        Some(found) => match &*found.value {
            Remembered::Learning(kept) if *kept == work.learning => {
                return Ok((Some(*kept), false));
            }
            Remembered::Learning(kept) if kept.is_over || kept.since != work.learning.since => {
                return Ok((Some(*kept), false));
            }
            _ => Some(found.revision),
        },
    };
    let mut batch = Batch::default();
    let put = batch.put(&name, &Remembered::Learning(work.learning), at);
    put.map_err(|_never| NotKept)?;
    let is_ours = commit(records, &batch).await?;
    Ok((is_ours.then_some(work.learning), is_ours && work.ends))
}

/// Deletes some of the records that were written longest ago, if there are too many.
fn forget_oldest(mirror: &Mirror<Remembered>, batch: &mut Batch) {
    let mut count = 0_usize;
    mirror.for_each(|_, _| count += 1);
    if count <= 2 * MOST {
        return;
    }
    let mut all = Vec::with_capacity(count);
    mirror.for_each(|name, record| {
        if let Remembered::Seen(_, last) = &**record {
            all.push((*last, name.clone()));
        }
    });
    let too_many = all.len().saturating_sub(2 * MOST).min(RECORDS_AT_ONCE);
    all.sort_unstable();
    for (_, name) in all.into_iter().take(too_many) {
        if let Ok(Some(found)) = mirror.get(&name) {
            // It was written under this name.
            let _never = batch.delete::<Remembered>(&name, found.revision);
        }
    }
}

/// Whether the batch was committed; not if somebody else was faster.
async fn commit(records: &Records, batch: &Batch) -> Result<bool, NotKept> {
    if batch.is_empty() {
        return Ok(true);
    }
    match records.commit(batch).await {
        Ok(()) => Ok(true),
        Err(RecordsError::Conflict) => Ok(false),
        Err(error) => {
            tracing::debug!(reason = %WithCauses(&error), "what alerts remember is not written");
            Err(NotKept)
        }
    }
}
