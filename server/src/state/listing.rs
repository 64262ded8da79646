//! Reads all records of a part of a store, whatever is wrong with single ones.

use std::num::NonZeroUsize;
use std::time::Duration;

use selkie_storage::{Listing, Page, Record, RecordKey, Revision, Store, StoreError};
use tokio::time::timeout;

use super::opening::place;

/// How long the store may take for one answer.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take for one page of many records.
const PAGE_PATIENCE: Duration = Duration::from_secs(30);

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
    let half = |limit: NonZeroUsize| NonZeroUsize::new(limit.get() / 2);
    let mut is_first_alone = false;
    while let Some(page) = next {
        next = match list_page(store, &page).await {
            Ok(listing) => {
                from.get_or_insert(listing.revision);
                records.extend(listing.records);
                let limit = match std::mem::take(&mut is_first_alone) {
                    true => half(whole).unwrap_or(whole),
                    false => page.limit,
                };
                listing.next.map(|next| Page { limit, ..next })
            }
            // It is the first of the page in most cases, as a sealed store ends a page before it; else by
            // halves, until the record is found that spoils the page.
            Err(StoreError::Corrupt { key: Some(_), .. }) if page.limit > NonZeroUsize::MIN => {
                is_first_alone = page.limit == whole;
                let limit = half(page.limit).filter(|_| !is_first_alone);
                Some(Page { limit: limit.unwrap_or(NonZeroUsize::MIN), ..page })
            }
            Err(StoreError::Corrupt { key: Some(place), .. }) if is_further(&place, &page) => {
                is_first_alone = false;
                unreadable.push(place.clone());
                Some(Page { after: Some(place), limit: whole, ..page })
            }
            Err(error) => return Err(error),
        };
    }
    Ok(Listed { records, unreadable, revision: from.unwrap_or(Revision::ORIGIN) })
}

/// Whether `place` is in the part that is listed, behind what was listed already. It may be that of the
/// root, without which a sealed store can say of no record whether it is ours: to go on behind that one
/// would be to pass over all that lies between.
fn is_further(place: &RecordKey, page: &Page) -> bool {
    page.under.as_ref().is_none_or(|under| place.is_under(under))
        && page.after.as_ref().is_none_or(|after| place > after)
}

/// The newest revision. It is that of a page on which nothing ever stands, so that no damage hides it.
pub(crate) async fn newest(store: &dyn Store) -> Result<Revision, StoreError> {
    let nowhere = Page { limit: NonZeroUsize::MIN, ..Page::under(place("nowhere")?) };
    in_time(store.list(&nowhere)).await.map(|listing| listing.revision)
}

/// What the store answers, if it does so in time.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    within(STORE_PATIENCE, answer).await
}

/// One page of many records, if it comes in time.
pub(crate) async fn list_page(store: &dyn Store, page: &Page) -> Result<Listing, StoreError> {
    within(PAGE_PATIENCE, store.list(page)).await
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |elapsed| Err(StoreError::Unavailable { source: Box::new(elapsed) });
    timeout(patience, answer).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use selkie_storage::{Guard, MemoryStore, RecordValue, StoreFuture, Watch, Write};

    use super::*;
    use crate::state::sealed_store::tests::on as sealed_over;

    /// A store of which some records cannot be read.
    #[derive(Debug)]
    struct Damaged {
        inner: MemoryStore,
        records: [&'static str; 3],
        pages: AtomicUsize,
        /// Whether they can be read all the same, and say something else.
        is_altered: bool,
    }

    impl Store for Damaged {
        fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
            self.inner.get(key)
        }

        fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
            self.pages.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                let mut listing = self.inner.list(page).await?;
                let is_damaged = |record: &&Record| self.records.contains(&record.key.as_str());
                if self.is_altered {
                    for record in &mut listing.records {
                        if is_damaged(&&*record) {
                            record.value = RecordValue::new(b"altered".to_vec()).unwrap();
                        }
                    }
                }
                match listing.records.iter().find(|one| !self.is_altered && is_damaged(one)) {
                    Some(Record { key, .. }) => {
                        let (key, source) = (Some(key.clone()), "damaged".into());
                        Err(StoreError::Corrupt { key, source })
                    }
                    None => Ok(listing),
                }
            })
        }

        fn commit<'a>(
            &'a self,
            guards: &'a [Guard],
            writes: &'a [Write],
        ) -> StoreFuture<'a, Revision> {
            self.inner.commit(guards, writes)
        }

        fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
            self.inner.watch(from)
        }
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_hides_no_other_and_is_found_in_few_pages() {
        let (records, pages) = (["k/0000", "k/0777", "k/1999"], AtomicUsize::new(0));
        let (inner, is_altered) = (MemoryStore::new(), false);
        let store = Arc::new(Damaged { inner, records, pages, is_altered });
        for from in (0..2000).step_by(50) {
            let put = |number: usize| {
                let key = format!("k/{number:04}").parse().unwrap();
                Write::Put(key, RecordValue::new(b"x".to_vec()).unwrap())
            };
            let writes: Vec<_> = (from..from + 50).map(put).collect();
            store.commit(&[], &writes).await.unwrap();
        }
        let listed = list(&*store, Page::under_in_bulk("k".parse().unwrap())).await.unwrap();
        assert_eq!(listed.records.len(), 1997);
        let unreadable: Vec<_> = listed.unreadable.iter().map(RecordKey::as_str).collect();
        assert_eq!(unreadable, records);
        let pages = store.pages.load(Ordering::Relaxed);
        assert!(pages < 100, "{pages} pages");
    }

    /// As the root that is gone, which a sealed store looks at for a record that is new.
    #[tokio::test]
    async fn damage_outside_the_listed_part_is_an_error_and_hides_nothing_of_it() {
        for (elsewhere, part) in [("root", "policy"), ("policy", "policy"), ("policy-b", "policy")]
        {
            let store = DamagedElsewhere(elsewhere.parse().unwrap());
            let listed = list(&store, Page::under_in_bulk(part.parse().unwrap())).await;
            let error = listed.map(|listed| listed.records.len()).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{elsewhere}: {error:?}");
        }
    }

    /// A store that lists nothing up to a record, for its damage.
    #[derive(Debug)]
    struct DamagedElsewhere(RecordKey);

    impl Store for DamagedElsewhere {
        fn get<'a>(&'a self, _key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
            Box::pin(async { Ok(None) })
        }

        fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
            let (key, source) = (self.0.clone(), "gone".into());
            let is_behind = page.after.as_ref().is_some_and(|after| *after >= key);
            let (records, revision) = (Vec::new(), Revision::ORIGIN);
            Box::pin(async move {
                match is_behind {
                    true => Ok(Listing { records, next: None, revision }),
                    false => Err(StoreError::Corrupt { key: Some(key), source }),
                }
            })
        }

        fn commit<'a>(
            &'a self,
            _guards: &'a [Guard],
            _writes: &'a [Write],
        ) -> StoreFuture<'a, Revision> {
            Box::pin(async { Ok(Revision::ORIGIN) })
        }

        fn watch(&self, _from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
            Box::pin(std::future::pending())
        }
    }

    /// Pages of a sealed store are wider below it, for the records that it does not show.
    #[tokio::test]
    async fn a_record_that_cannot_be_read_hides_none_before_it_in_a_sealed_store() {
        for is_altered in [false, true] {
            let (inner, records) = (MemoryStore::new(), ["k/0000", "k/0700", "k/0999"]);
            let raw = Arc::new(Damaged { inner, records, pages: AtomicUsize::new(0), is_altered });
            let store = sealed_over(&(Arc::clone(&raw) as _)).await;
            for from in (0..1000).step_by(50) {
                let put = |number: usize| {
                    let key = format!("k/{number:04}").parse().unwrap();
                    Write::Put(key, RecordValue::new(b"x".to_vec()).unwrap())
                };
                store.commit(&[], &(from..from + 50).map(put).collect::<Vec<_>>()).await.unwrap();
            }
            let before = raw.pages.load(Ordering::Relaxed);
            let listed = list(&store, Page::under_in_bulk("k".parse().unwrap())).await.unwrap();
            assert_eq!(listed.records.len(), 997, "{is_altered}");
            let unreadable: Vec<_> = listed.unreadable.iter().map(RecordKey::as_str).collect();
            assert_eq!(unreadable, records, "{is_altered}");
            let pages = raw.pages.load(Ordering::Relaxed) - before;
            assert!(!is_altered || pages <= 3 * records.len() + 1, "{pages} pages");
        }
    }
}
