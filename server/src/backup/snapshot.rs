//! All records of a store at one moment, proved whole by its root.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KeyVersion, StateKey};
use selkie_storage::{
    Commit, InvalidKey, Page, RecordKey, RecordValue, Revision, Store, StoreError, Write,
};
use tokio::task::{JoinError, yield_now};
use tokio::time::timeout;

use crate::byte_budget::Taken;
use crate::state::layout::{FORMAT, Format, is_reserved};
use crate::state::{KeyRecord, Root};

/// The most bytes of keys and values that a snapshot holds in memory.
pub const MAX_SNAPSHOT_BYTES: usize = 192 << 20;

/// How often a snapshot is begun anew while others commit.
const ATTEMPTS: usize = 16;
/// How long a commit that the listing already knows of may take to come from the watch.
const WATCH_PATIENCE: Duration = Duration::from_secs(1);

/// All records of a store, `format`, `state-key` and `root` among them, verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) records: BTreeMap<RecordKey, RecordValue>,
    /// Whose store it is.
    pub format: Format,
    /// What its records add up to.
    pub root: Root,
    /// The latest version of each managed key.
    pub keys: BTreeMap<(MountPath, KeyName), KeyVersion>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} at {})", self.format.store, self.root.sequence)
    }
}

/// What is wrong with a set of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A record without which nothing can be read is not there.
    #[error("there is no record {0:?}")]
    Missing(&'static str),
    /// `format` is none.
    #[error("the record \"format\" cannot be read")]
    Format,
    /// The layout is of a later Selkie.
    #[error("the state has format {found}, and this Selkie reads {FORMAT}: use a later one")]
    LaterFormat {
        /// As found.
        found: u32,
    },
    /// A restore or a migration has been broken off.
    #[error("a restore or migration was broken off: run it again to its end")]
    Filling,
    /// The state key does not belong to the records, or one was changed.
    #[error("the record {0} does not open under the state key")]
    Refused(RecordKey),
    /// Records are missing, put back or added.
    #[error("the records are not those that the root was made for: some is missing, old or added")]
    NotOfRoot,
    /// The record of a managed key is in no known form.
    #[error("the record {0} is not one of a key that this Selkie knows")]
    KeyRecord(RecordKey),
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records do not add up.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// There is more than a snapshot holds.
    #[error(
        "the store has more than {} MiB, the most that a backup holds: back up the storage itself, \
         with etcd's snapshots or as a copy of its directory while Selkie is stopped",
        MAX_SNAPSHOT_BYTES >> 20
    )]
    TooLarge,
    /// The thread that verified the records is gone.
    #[error("the verification of the records was broken off")]
    BrokenOff(#[from] JoinError),
}

impl Snapshot {
    /// `records`, if all of them open under `state_key` and add up to their root.
    ///
    /// # Errors
    ///
    /// [`Damage`].
    pub fn verify(
        records: BTreeMap<RecordKey, RecordValue>,
        state_key: &StateKey,
    ) -> Result<Self, Damage> {
        if find(&records, "filling").is_some() {
            return Err(Damage::Filling);
        }
        let format = format(find(&records, "format").ok_or(Damage::Missing("format"))?)?;
        find(&records, "state-key").ok_or(Damage::Missing("state-key"))?;
        let root = open_root(&records, state_key)?;
        let mut sum = Root::EMPTY;
        let mut keys = BTreeMap::new();
        for (place, value) in records.iter().filter(|(place, _)| !is_reserved(place)) {
            let refused = |_refused| Damage::Refused(place.clone());
            let opened = state_key.open_record(place.as_str(), value.as_bytes());
            let content = opened.map_err(refused)?.content;
            sum.sum = sum.sum.toggled(state_key.summand(place.as_str(), value.as_bytes()));
            sum.records = sum.records.saturating_add(1);
            if let Some((mount, name)) = KeyRecord::place(place) {
                keys.insert((mount, name.clone()), latest(place, name, content)?);
            }
        }
        if (sum.records, sum.sum) != (root.records, root.sum) {
            return Err(Damage::NotOfRoot);
        }
        Ok(Self { records, format, root, keys })
    }

    /// The state key as its seals have it.
    pub(super) fn sealed_state_key(&self) -> Option<&RecordValue> {
        find(&self.records, "state-key")
    }
}

/// The record of this name among the reserved ones.
pub(super) fn find<'r>(
    records: &'r BTreeMap<RecordKey, RecordValue>,
    name: &str,
) -> Option<&'r RecordValue> {
    let name: Result<RecordKey, InvalidKey> = name.parse();
    name.ok().and_then(|name| records.get(&name))
}

fn format(value: &RecordValue) -> Result<Format, Damage> {
    #[derive(serde::Deserialize)]
    struct Number {
        format: u32,
    }
    // The number first: a later format may have members of its own.
    let number: Number = serde_json::from_slice(value.as_bytes()).map_err(|_not| Damage::Format)?;
    if number.format != FORMAT {
        return Err(Damage::LaterFormat { found: number.format });
    }
    serde_json::from_slice(value.as_bytes()).map_err(|_not| Damage::Format)
}

fn open_root(
    records: &BTreeMap<RecordKey, RecordValue>,
    state_key: &StateKey,
) -> Result<Root, Damage> {
    let place = "root";
    let sealed = find(records, place).ok_or(Damage::Missing(place))?;
    let opened = state_key.open_record(place, sealed.as_bytes()).ok();
    let root = opened.and_then(|opened| {
        let root = Root::decode(&opened.content)?;
        (root.sequence == opened.sequence).then_some(root)
    });
    root.ok_or(Damage::NotOfRoot)
}

fn latest(place: &RecordKey, name: KeyName, content: Vec<u8>) -> Result<KeyVersion, Damage> {
    let unknown = || Damage::KeyRecord(place.clone());
    let value = RecordValue::new(content).map_err(|_large| unknown())?;
    let key = KeyRecord::decode(name, &value).map_err(|_malformed| unknown())?;
    Ok(key.latest)
}

/// All of `store` at one moment, while others may commit to it.
///
/// # Errors
///
/// [`SnapshotError`].
pub async fn take(
    store: &Arc<dyn Store>,
    state_key: &Arc<StateKey>,
) -> Result<Snapshot, SnapshotError> {
    take_in(&Arc::default(), store, state_key).await
}

/// As [`take`], in `room` of the memory that requests share. To verify many records takes seconds, so that
/// is done where no request waits for its turn.
///
/// # Errors
///
/// [`SnapshotError`].
pub async fn take_in(
    room: &Arc<Taken>,
    store: &Arc<dyn Store>,
    state_key: &Arc<StateKey>,
) -> Result<Snapshot, SnapshotError> {
    let mut attempt = 1;
    loop {
        let failed = match copy(store).await {
            Ok(records) => {
                let key = Arc::clone(state_key);
                match room.hold_for(move || Snapshot::verify(records, &key)).await? {
                    Ok(snapshot) => return Ok(snapshot),
                    Err(damage) => damage.into(),
                }
            }
            Err(error @ SnapshotError::Store(StoreError::Compacted { .. })) => error,
            Err(error) => return Err(error),
        };
        // Only what a copy taken among commits looks like is worth another try.
        let passes = matches!(
            failed,
            SnapshotError::Damaged(Damage::NotOfRoot | Damage::Missing("root"))
                | SnapshotError::Store(_)
        );
        if attempt == ATTEMPTS || !passes {
            return Err(failed);
        }
        attempt += 1;
    }
}

/// All records as they stood after one commit, without those that are not copied: page by page, and
/// then what was committed meanwhile.
pub(super) async fn copy(
    store: &Arc<dyn Store>,
) -> Result<BTreeMap<RecordKey, RecordValue>, SnapshotError> {
    let mut records = BTreeMap::new();
    let (mut first, mut last) = (None, Revision::ORIGIN);
    let mut next = Some(Page::all_in_bulk());
    let mut bytes = 0_usize;
    while let Some(page) = next {
        let listing = store.list(&page).await?;
        first.get_or_insert(listing.revision);
        last = listing.revision;
        for record in listing.records {
            let length = record.key.as_str().len().saturating_add(record.value.as_bytes().len());
            bytes = bytes.saturating_add(length);
            records.insert(record.key, record.value);
        }
        if bytes > MAX_SNAPSHOT_BYTES {
            return Err(SnapshotError::TooLarge);
        }
        next = listing.next;
        // A store in memory answers at once.
        yield_now().await;
    }
    if let Some(first) = first.filter(|first| *first < last) {
        catch_up(store, first, last, &mut records).await?;
    }
    records.retain(|key, _| is_copied(key));
    Ok(records)
}

/// What a local key of one machine protects stays with that machine. So do the servers, which show below
/// the same place.
pub(super) fn is_copied(key: &RecordKey) -> bool {
    !key.as_str().starts_with("state-key-local/")
}

/// Applies the commits after `first` up to `last`. A revision of a store that others share may be
/// theirs and never come: then the root decides whether the copy is whole.
async fn catch_up(
    store: &Arc<dyn Store>,
    first: Revision,
    last: Revision,
    records: &mut BTreeMap<RecordKey, RecordValue>,
) -> Result<(), StoreError> {
    let mut watch = store.watch(first).await?;
    while let Ok(commit) = timeout(WATCH_PATIENCE, watch.next()).await {
        let Commit { revision, writes } = commit?;
        for write in writes {
            match write {
                Write::Put(key, value) => drop(records.insert(key, value)),
                Write::Delete(key) => drop(records.remove(&key)),
            }
        }
        if revision >= last {
            break;
        }
    }
    Ok(())
}
