//! Makes a store the copy of a snapshot, so that a run that was killed is finished by the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use selkie_storage::{
    Guard, InvalidKey, RecordKey, RecordValue, Revision, Store, StoreError, ValueTooLarge, Write,
};

use super::Snapshot;
use super::snapshot::is_copied;
use super::standing::{Filling, raw, readable};
use crate::state::layout::reserved;
use crate::state::others;

const MARKER: &str = "filling";

/// Far below what one commit takes.
const BATCH_RECORDS: usize = 100;
const BATCH_BYTES: usize = 512 * 1024;

/// Why a store was not filled. Servers refuse it until the fill has been run to its end.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The store does not answer, or somebody else fills it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be read, and nothing has changed.
    #[error("the target cannot be read")]
    Unread(#[source] StoreError),
    /// The store has other records than were written.
    #[error("somebody else writes to the target: stop all servers that use it, and run this again")]
    Disturbed,
    /// There is something that may not be Selkie's. It is not deleted, and nothing has changed.
    #[error("the target holds what may not be Selkie's, and nothing but Selkie's own is deleted")]
    NotOurs(#[source] StoreError),
    /// A bug: a constant is no key, or a marker no value.
    #[error("the marker of the fill cannot be written")]
    Marker,
}

impl FillError {
    /// The same, once the fill has begun: nothing that is unchanged can be told of then.
    fn halfway(self) -> Self {
        match self {
            Self::Unread(error) | Self::NotOurs(error) => Self::Store(error),
            other => other,
        }
    }
}

impl From<InvalidKey> for FillError {
    fn from(_: InvalidKey) -> Self {
        Self::Marker
    }
}

impl From<ValueTooLarge> for FillError {
    fn from(_: ValueTooLarge) -> Self {
        Self::Marker
    }
}

/// Makes `target` hold the records of `wanted` and nothing else; damaged ones in their places are
/// replaced, those in places that no copy has are deleted, and whatever else is no record of ours is
/// a refusal. First comes the record `filling`, and the root goes: no server commits to the store or
/// opens it from then on. The root comes back with the commit that removes `filling`, once all else
/// is there.
///
/// `progress` hears how many writes are done and how many there are.
///
/// # Errors
///
/// [`FillError`]; running it again goes on where it ended.
pub async fn fill(
    target: &Arc<dyn Store>,
    wanted: &Snapshot,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), FillError> {
    let (held, damaged) = require_ours(target, wanted).await?;
    if damaged.is_empty() && held == wanted.records {
        return Ok(());
    }
    let (marker, root) = (reserved(MARKER)?, reserved("root")?);
    let begun = begin(target, wanted, &marker, &root).await?;
    let guards = [Guard::At(marker.clone(), begun)];
    let (held, damaged) = require_ours(target, wanted).await.map_err(FillError::halfway)?;
    let writes = writes(&held, &damaged, wanted, &[&marker, &root]);
    let total = writes.len();
    let mut done = 0;
    progress(done, total);
    for batch in batches(&writes) {
        target.commit(&guards, batch).await?;
        done += batch.len();
        progress(done, total);
    }
    let mut expected = wanted.records.clone();
    let sealed_root = expected.remove(&root).ok_or(FillError::Marker)?;
    let mut held = raw(target).await?;
    held.remove(&marker);
    if held != expected {
        return Err(FillError::Disturbed);
    }
    target.commit(&guards, &[Write::Delete(marker), Write::Put(root, sealed_root)]).await?;
    if raw(target).await? == wanted.records { Ok(()) } else { Err(FillError::Disturbed) }
}

/// What `target` holds and what cannot be read of it, if all of that stands where `wanted` has a
/// record, or where only Selkie puts one that is in no copy: elsewhere it may belong to others, and is
/// theirs to delete.
///
/// # Errors
///
/// [`FillError::NotOurs`] and [`FillError::Unread`].
pub(super) async fn require_ours(
    target: &Arc<dyn Store>,
    wanted: &Snapshot,
) -> Result<(BTreeMap<RecordKey, RecordValue>, Vec<RecordKey>), FillError> {
    let (held, damaged) = readable(target).await.map_err(|error| match error {
        StoreError::Corrupt { .. } => FillError::NotOurs(error),
        other => FillError::Unread(other),
    })?;
    for place in damaged.iter().filter(|place| !wanted.records.contains_key(*place)) {
        match target.get(place).await {
            Err(error) if is_own_damage(&error, place) => {}
            Err(error @ StoreError::Corrupt { .. }) => return Err(FillError::NotOurs(error)),
            Err(error) => return Err(FillError::Unread(error)),
            // It was mended meanwhile.
            Ok(_) => return Err(FillError::Disturbed),
        }
    }
    Ok((held, damaged))
}

/// Whether it is a damaged record where only Selkie has one, and no whole copy has.
fn is_own_damage(error: &StoreError, place: &RecordKey) -> bool {
    let is_in_no_copy = !is_copied(place) || place.as_str() == MARKER;
    is_in_no_copy && matches!(error, StoreError::Corrupt { .. }) && others::nested(error).is_none()
}

/// Writes `filling` and takes the root away, together.
async fn begin(
    target: &Arc<dyn Store>,
    wanted: &Snapshot,
    marker: &RecordKey,
    root: &RecordKey,
) -> Result<Revision, FillError> {
    let filling = Filling { store: wanted.format.store.clone(), sequence: wanted.root.sequence };
    let json = serde_json::to_vec(&filling).map_err(|_unprintable| FillError::Marker)?;
    let guards = match target.get(marker).await {
        Ok(Some(record)) => vec![Guard::At(marker.clone(), record.revision)],
        Ok(None) => vec![Guard::Absent(marker.clone())],
        // It tells no revision. Whoever else replaces it ends this fill at its next commit.
        Err(StoreError::Corrupt { .. }) => Vec::new(),
        Err(error) => return Err(FillError::Unread(error)),
    };
    let writes = [Write::Put(marker.clone(), RecordValue::new(json)?), Write::Delete(root.clone())];
    Ok(target.commit(&guards, &writes).await?)
}

/// What makes `held`, and what is `damaged`, into `wanted`, but for the records `apart`.
fn writes(
    held: &BTreeMap<RecordKey, RecordValue>,
    damaged: &[RecordKey],
    wanted: &Snapshot,
    apart: &[&RecordKey],
) -> Vec<Write> {
    let deleted = held.keys().chain(damaged).filter(|key| !wanted.records.contains_key(*key));
    let deleted = deleted.cloned().map(Write::Delete);
    let put = wanted.records.iter().filter(|(key, value)| held.get(key) != Some(value));
    let put = put.map(|(key, value)| Write::Put(key.clone(), value.clone()));
    deleted.chain(put).filter(|write| !apart.contains(&write.key())).collect()
}

/// `writes` in parts that one commit takes.
fn batches(writes: &[Write]) -> impl Iterator<Item = &[Write]> {
    let mut rest = writes;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = rest.iter().take(BATCH_RECORDS).take_while(|write| {
            // The first always goes, however long its value is.
            let fits = bytes == 0 || bytes.saturating_add(length(write)) <= BATCH_BYTES;
            bytes = bytes.saturating_add(length(write));
            fits
        });
        let (batch, after) = rest.split_at_checked(fits.count())?;
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

fn length(write: &Write) -> usize {
    let value = match write {
        Write::Put(_, value) => value.as_bytes().len(),
        Write::Delete(_) => 0,
    };
    write.key().as_str().len().saturating_add(value)
}
