//! Reads all records of a part of a store, whatever is wrong with single ones.

use std::num::NonZeroUsize;
use std::time::Duration;

use selkie_storage::{Page, Record, RecordKey, Revision, Store, StoreError};
use tokio::time::timeout;

/// How long the store may take for one answer.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// All records of a part of a store, as of one revision.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) records: Vec<Record>,
    /// The records that the store cannot read.
    pub(crate) unreadable: Vec<RecordKey>,
    /// The revision of the first page: a watch from there misses nothing.
    pub(crate) revision: Revision,
}

/// Every record from the page `first` on. One that cannot be read does not hide the others.
pub(crate) async fn list(store: &dyn Store, first: Page) -> Result<Listed, StoreError> {
    let whole = first.limit;
    let (mut next, mut from) = (Some(first), None);
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(page) = next {
        next = match in_time(store.list(&page)).await {
            Ok(listing) => {
                from.get_or_insert(listing.revision);
                records.extend(listing.records);
                listing.next
            }
            // By halves, until the record is found that spoils the page.
            Err(StoreError::Corrupt { key: Some(_), .. }) if page.limit > NonZeroUsize::MIN => {
                let limit = NonZeroUsize::new(page.limit.get() / 2).unwrap_or(NonZeroUsize::MIN);
                Some(Page { limit, ..page })
            }
            Err(StoreError::Corrupt { key: Some(place), .. }) if is_further(&place, &page) => {
                unreadable.push(place.clone());
                Some(Page { after: Some(place), limit: whole, ..page })
            }
            Err(error) => return Err(error),
        };
    }
    Ok(Listed { records, unreadable, revision: from.unwrap_or(Revision::ORIGIN) })
}

fn is_further(place: &RecordKey, page: &Page) -> bool {
    page.after.as_ref().is_none_or(|after| place > after)
}

/// What the store answers, if it does so in time.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |elapsed| Err(StoreError::Unavailable { source: Box::new(elapsed) });
    timeout(STORE_PATIENCE, answer).await.unwrap_or_else(late)
}
