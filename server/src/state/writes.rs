//! How writing to the storage goes: what can be read may lie on a disk that is full.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_storage::{
    Guard, Limits, Listing, Page, Record, RecordKey, Revision, Store, StoreError, StoreFuture,
    Watch, Write,
};
use tokio::time::Instant;

/// A store that fails now and then does not work again because its last write happened to pass.
const FAILS_FOR: Duration = Duration::from_secs(5 * 60);

/// What came of the writes since the start.
#[derive(Debug, Default)]
pub struct Writes(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    made: u64,
    failed: u64,
    failed_at: Option<Instant>,
    is_last_failed: bool,
}

/// The same, as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteFigures {
    /// Commits that were made.
    pub made: u64,
    /// Commits that the storage did not make, or did not answer.
    pub failed: u64,
    /// How long ago the last of them failed.
    pub since_failed: Option<Duration>,
    /// Whether no commit was made since.
    pub is_last_failed: bool,
}

impl WriteFigures {
    /// Whether the storage is to be seen to: the last write failed, or one of late.
    #[must_use]
    pub fn are_failing(&self) -> bool {
        self.is_last_failed || self.have_failed_lately()
    }

    /// Whether one failed within the last minutes, so that this passes without another write.
    #[must_use]
    pub fn have_failed_lately(&self) -> bool {
        self.since_failed.is_some_and(|since| since < FAILS_FOR)
    }
}

impl Writes {
    /// What has come of them so far.
    #[must_use]
    pub fn figures(&self) -> WriteFigures {
        let Counted { made, failed, failed_at, is_last_failed } = *self.counted();
        let since_failed = failed_at.map(|at| at.elapsed());
        WriteFigures { made, failed, since_failed, is_last_failed }
    }

    fn note(&self, is_made: bool) {
        let mut counted = self.counted();
        counted.is_last_failed = !is_made;
        if is_made {
            counted.made = counted.made.saturating_add(1);
        } else {
            counted.failed = counted.failed.saturating_add(1);
            counted.failed_at = Some(Instant::now());
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store whose commits are counted.
#[derive(Debug)]
pub(super) struct CountedStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) writes: Arc<Writes>,
}

/// A commit under way, which has failed if nobody waits for it any longer.
struct UnderWay<'a>(Option<&'a Writes>);

impl UnderWay<'_> {
    fn end(mut self, outcome: &Result<Revision, StoreError>) {
        use StoreError::{Corrupt, Unavailable, Undecided};
        let Some(writes) = self.0.take() else { return };
        match outcome {
            Ok(_) => writes.note(true),
            Err(Corrupt { .. } | Unavailable { .. } | Undecided { .. }) => writes.note(false),
            // An answer, which tells nothing of the disk.
            Err(_) => {}
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.into_iter().for_each(|writes| writes.note(false));
    }
}

impl Store for CountedStore {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn answers_from_memory(&self) -> bool {
        self.inner.answers_from_memory()
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.inner.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        if writes.is_empty() {
            return self.inner.commit(guards, writes);
        }
        Box::pin(async move {
            let under_way = UnderWay(Some(&self.writes));
            let outcome = self.inner.commit(guards, writes).await;
            under_way.end(&outcome);
            outcome
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.inner.watch(from)
    }
}

#[cfg(test)]
mod tests {
    use selkie_storage::{MemoryStore, RecordValue};
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::transit::tests::faulty_store::{FaultyStore, Mood};

    struct Site {
        faulty: Arc<FaultyStore>,
        store: CountedStore,
    }

    impl Site {
        fn new() -> Self {
            let faulty = FaultyStore::new(&Arc::new(MemoryStore::new()));
            let store = CountedStore { inner: Arc::clone(&faulty) as _, writes: Arc::default() };
            Self { faulty, store }
        }

        async fn put(&self, guards: &[Guard]) -> Result<Revision, StoreError> {
            let key: RecordKey = "a".parse().unwrap();
            let value = RecordValue::new(vec![1]).unwrap();
            self.store.commit(guards, &[Write::Put(key, value)]).await
        }

        fn figures(&self) -> WriteFigures {
            self.store.writes.figures()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_fails_counts_and_is_told_until_another_is_made_and_some_minutes_after() {
        let site = Site::new();
        site.put(&[]).await.unwrap();
        assert_eq!(site.figures(), WriteFigures { made: 1, ..WriteFigures::default() });
        site.faulty.is(Mood::Away);
        site.put(&[]).await.unwrap_err();
        advance(Duration::from_secs(3_600)).await;
        let figures = site.figures();
        assert_eq!((figures.made, figures.failed), (1, 1));
        assert_eq!(figures.since_failed, Some(Duration::from_secs(3_600)));
        assert!(figures.are_failing(), "nothing was written since");
        assert!(!figures.have_failed_lately());
        site.put(&[]).await.unwrap_err();
        site.faulty.is(Mood::Well);
        site.put(&[]).await.unwrap();
        assert!(site.figures().are_failing(), "one in two passes");
        advance(FAILS_FOR).await;
        assert!(!site.figures().are_failing());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_given_up_has_failed() {
        let site = Site::new();
        site.faulty.is(Mood::Hanging);
        timeout(Duration::from_secs(1), site.put(&[])).await.unwrap_err();
        assert_eq!(site.figures().failed, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_writes_nothing_or_is_refused_tells_nothing_of_the_disk() {
        let site = Site::new();
        site.put(&[]).await.unwrap();
        site.faulty.loses_answer(false);
        site.put(&[]).await.unwrap_err();
        site.store.commit(&[], &[]).await.unwrap();
        let absent = Guard::Absent("a".parse().unwrap());
        assert!(matches!(site.put(&[absent]).await, Err(StoreError::GuardFailed { .. })));
        let figures = site.figures();
        assert_eq!((figures.made, figures.failed, figures.is_last_failed), (1, 1, true));
    }
}
