//! Records that belong to one mount: its roles, its configuration, what it has given out.

use selkie_storage::RecordValue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::state::records::{
    Batch, Index, Kept, Mirror, Records, RecordsError, TooLarge, to_record,
};

/// A kind of record that belongs to a mount, kept as JSON below `ROOT/<uuid of the mount>/`.
pub trait Document: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The first segment of the places of this kind, which no other kind has.
    const ROOT: &'static str;
    /// What is found by something else than the name; `()` if nothing is.
    type Index: Index<Self>;
    /// As [`Kept::JUDGED_BY`].
    const JUDGED_BY: &'static [&'static str] = &[];
}

/// Which record of which mount.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocumentName {
    /// The mount's.
    pub mount: Uuid,
    /// A role's name, or whatever tells it from the others of its kind; of visible ASCII.
    pub name: Box<str>,
}

impl DocumentName {
    /// The record `name` of the mount `mount`.
    #[must_use]
    pub fn new(mount: Uuid, name: &str) -> Self {
        Self { mount, name: name.into() }
    }
}

const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Written<'a, T> {
    format: u32,
    content: &'a T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<T> {
    format: u32,
    content: T,
}

impl<T: Document> Kept for T {
    const ROOT: &'static str = T::ROOT;
    type Name = DocumentName;
    type Index = T::Index;
    const JUDGED_BY: &'static [&'static str] = T::JUDGED_BY;

    fn place(name: &DocumentName) -> String {
        format!("{}/{}", name.mount, name.name)
    }

    fn name(place: &str) -> Option<DocumentName> {
        let (mount, name) = place.split_once('/')?;
        Some(DocumentName::new(mount.parse().ok()?, name))
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        to_record(&Written { format: FORMAT, content: self })
    }

    fn decode(_name: &DocumentName, value: &RecordValue) -> Option<Self> {
        let read: Read<T> = serde_json::from_slice(value.as_bytes()).ok()?;
        (read.format == FORMAT).then_some(read.content)
    }
}

/// How many records are deleted with one commit.
const CHUNK: usize = 64;
/// How often a record that somebody else changes at the same time is looked at again.
const ATTEMPTS: usize = 8;

/// Deletes all records of a mount, in several commits: nobody uses them any more. One that cannot be
/// read stays, as an unreadable record always does.
pub(crate) async fn forget_mount<T: Document>(
    records: &Records,
    mirror: &Mirror<T>,
    mount: Uuid,
) -> Result<(), RecordsError> {
    let names = mirror.names().into_iter().filter(|name| name.mount == mount).collect();
    forget(records, mirror, names).await
}

/// Deletes these records, in several commits.
pub(crate) async fn forget<T: Kept>(
    records: &Records,
    mirror: &Mirror<T>,
    names: Vec<T::Name>,
) -> Result<(), RecordsError> {
    for chunk in names.chunks(CHUNK) {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let mut batch = Batch::default();
            for name in chunk {
                if let Ok(Some(current)) = mirror.get(name) {
                    batch.delete::<T>(name, current.revision)?;
                }
            }
            if batch.is_empty() {
                break;
            }
            match records.commit(&batch).await {
                Ok(()) => break,
                Err(RecordsError::Conflict) if attempts.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
