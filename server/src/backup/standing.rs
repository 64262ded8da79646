//! What a store holds before it is filled, and what filling it would take back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use selkie_crypto::KeyVersion;
use selkie_storage::{Page, RecordKey, RecordValue, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::snapshot::{self, Snapshot, find};
use super::{BackupSealError, Damage, SnapshotError, open_state_key};
use crate::state::layout::{Format, is_presence};
use crate::state::listing::{Listed, list};
use crate::telemetry::WithCauses;
use crate::transit::Transit;

/// The record `filling`, as JSON: of which snapshot the store is being filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Filling {
    /// Its store.
    pub(super) store: String,
    /// The sequence of its root.
    pub(super) sequence: u64,
}

/// What a target holds.
#[derive(Debug)]
pub enum Standing {
    /// No record.
    Empty,
    /// A store, whole.
    Whole(Box<Snapshot>),
    /// A fill of this store that was broken off.
    BrokenOff {
        /// The name of the store.
        store: String,
        /// The sequence that it was filled up to.
        sequence: u64,
    },
    /// A store that does not open.
    Unopened(BackupSealError),
    /// A store that does not add up.
    Damaged(Damage),
    /// A store of which something cannot be read: a damaged record, or something of others.
    Corrupt(StoreError),
}

/// One thing that filling a store would take back or that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// The target is another store.
    Store {
        /// The target's.
        held: String,
        /// The copy's.
        given: String,
    },
    /// The target has seen more commits.
    Sequence {
        /// The target's.
        held: u64,
        /// The copy's.
        given: u64,
    },
    /// A managed key would lose versions.
    Key {
        /// Its mount.
        mount: MountPath,
        /// Its name.
        key: KeyName,
        /// The target's latest version.
        held: KeyVersion,
        /// The copy's; `None` if it does not have the key.
        given: Option<KeyVersion>,
    },
    /// What the target holds cannot be read, and so not compared.
    Unreadable(String),
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { held, given } => {
                write!(f, "the target is the store {held}, the copy is of {given}")
            }
            Self::Sequence { held, given } => {
                write!(f, "the target is at commit {held}, the copy at {given}")
            }
            Self::Key { mount, key, held, given: Some(given) } => {
                write!(f, "key {mount}/{key} would go back from version {held} to {given}")
            }
            Self::Key { mount, key, held, given: None } => {
                write!(f, "key {mount}/{key} at version {held} would be gone")
            }
            Self::Unreadable(why) => write!(f, "the target cannot be compared: {why}"),
        }
    }
}

/// What `target` holds, with its state key from the seals of `transit`.
///
/// # Errors
///
/// [`SnapshotError::Store`] and [`SnapshotError::TooLarge`].
pub async fn look(target: &Arc<dyn Store>, transit: &Transit) -> Result<Standing, SnapshotError> {
    let records = match snapshot::copy(target).await {
        Err(SnapshotError::Store(error @ StoreError::Corrupt { .. })) => {
            return Ok(Standing::Corrupt(error));
        }
        copied => copied?,
    };
    if records.is_empty() {
        return Ok(Standing::Empty);
    }
    if let Some(marker) = find(&records, "filling") {
        return Ok(match serde_json::from_slice(marker.as_bytes()) {
            Ok(Filling { store, sequence }) => Standing::BrokenOff { store, sequence },
            Err(_malformed) => Standing::Damaged(Damage::Filling),
        });
    }
    let Some(sealed) = find(&records, "state-key") else {
        return Ok(Standing::Damaged(Damage::Missing("state-key")));
    };
    let state_key = match open_state_key(transit, sealed).await {
        Ok(key) => Arc::new(key),
        Err(error) => return Ok(Standing::Unopened(error)),
    };
    match snapshot::take(target, &state_key).await {
        Ok(whole) => Ok(Standing::Whole(Box::new(whole))),
        Err(SnapshotError::Damaged(damage)) => Ok(Standing::Damaged(damage)),
        Err(error) => Err(error),
    }
}

/// What filling a target that stands so with `given` would take back; nothing if it is safe.
#[must_use]
pub fn compare(standing: &Standing, given: &Snapshot) -> Vec<Back> {
    let unreadable = |why: &dyn fmt::Display| vec![Back::Unreadable(why.to_string())];
    match standing {
        Standing::Empty => Vec::new(),
        Standing::Unopened(error) => unreadable(error),
        Standing::Damaged(damage) => unreadable(damage),
        Standing::Corrupt(error) => unreadable(&WithCauses(error)),
        Standing::BrokenOff { store, sequence } => {
            places(store, *sequence, &given.format, given.root.sequence)
        }
        Standing::Whole(held) => {
            let sequence = held.root.sequence;
            let mut back = places(&held.format.store, sequence, &given.format, given.root.sequence);
            back.extend(keys(&held.keys, &given.keys));
            back
        }
    }
}

fn places(held: &str, sequence: u64, given: &Format, given_sequence: u64) -> Vec<Back> {
    let mut back = Vec::new();
    if held != given.store {
        back.push(Back::Store { held: held.to_owned(), given: given.store.clone() });
    }
    if sequence > given_sequence {
        back.push(Back::Sequence { held: sequence, given: given_sequence });
    }
    back
}

type Versions = BTreeMap<(MountPath, KeyName), KeyVersion>;

fn keys<'v>(held: &'v Versions, given: &'v Versions) -> impl Iterator<Item = Back> + 'v {
    held.iter().filter_map(|((mount, key), version)| {
        let given = given.get(&(mount.clone(), key.clone())).copied();
        let goes_back = given.is_none_or(|given| given < *version);
        goes_back.then(|| Back::Key {
            mount: mount.clone(),
            key: key.clone(),
            held: *version,
            given,
        })
    })
}

/// All raw records of a store, what is not copied included, with the revisions of none. Servers that
/// use it do not count: what shows of them goes by itself.
pub(super) async fn raw(
    store: &Arc<dyn Store>,
) -> Result<BTreeMap<RecordKey, RecordValue>, StoreError> {
    let mut records = BTreeMap::new();
    let mut next = Some(Page::all_in_bulk());
    while let Some(page) = next {
        let listing = store.list(&page).await?;
        records.extend(listing.records.into_iter().map(|record| (record.key, record.value)));
        next = listing.next;
    }
    records.retain(|key, _| !is_presence(key));
    Ok(records)
}

/// As [`raw`], with the places of what cannot be read.
///
/// # Errors
///
/// [`StoreError::Corrupt`] of what has not even the place of a record.
pub(super) async fn readable(
    store: &Arc<dyn Store>,
) -> Result<(BTreeMap<RecordKey, RecordValue>, Vec<RecordKey>), StoreError> {
    let Listed { records, unreadable, .. } = list(&**store, Page::all_in_bulk()).await?;
    let records = records.into_iter().filter(|record| !is_presence(&record.key));
    Ok((records.map(|record| (record.key, record.value)).collect(), unreadable))
}
