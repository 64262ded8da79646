//! A store that misbehaves as told, around a store in memory that several replicas share.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use selkie_storage::{
    Commit, Guard, Listing, MemoryStore, Page, Record, RecordKey, Revision, Store, StoreError,
    StoreFuture, Watch, Write,
};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Away,
    /// Nothing is ever answered.
    Hanging,
    /// Its watches tell of nothing.
    Deaf,
    /// The same, and it lists nothing.
    Unlisted,
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<MemoryStore>,
    mood: watch::Sender<Mood>,
    /// What happens to the next commits: each is made or not, and then its answer is lost.
    lost: Mutex<Vec<bool>>,
    /// How many records were asked for.
    gets: AtomicUsize,
}

impl FaultyStore {
    pub(crate) fn new(inner: &Arc<MemoryStore>) -> Arc<Self> {
        let (inner, lost) = (Arc::clone(inner), Mutex::default());
        Arc::new(Self {
            inner,
            mood: watch::Sender::new(Mood::Well),
            lost,
            gets: AtomicUsize::new(0),
        })
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// The answer to the next commit is lost.
    pub(crate) fn loses_answer(&self, is_made: bool) {
        self.lost.lock().unwrap().push(is_made);
    }

    /// How many records were asked for so far.
    pub(crate) fn gets(&self) -> usize {
        self.gets.load(Ordering::Relaxed)
    }

    async fn take_part(&self) -> Result<(), StoreError> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Well | Mood::Deaf | Mood::Unlisted => Ok(()),
            Mood::Away => Err(away()),
            Mood::Hanging => pending().await,
        }
    }
}

fn away() -> StoreError {
    StoreError::Unavailable { source: "away".into() }
}

impl Store for FaultyStore {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            self.gets.fetch_add(1, Ordering::Relaxed);
            self.take_part().await?;
            self.inner.get(key).await
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            self.take_part().await?;
            if *self.mood.borrow() == Mood::Unlisted {
                return Err(away());
            }
            self.inner.list(page).await
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            let lost = self.lost.lock().unwrap().pop();
            match lost {
                Some(is_made) => {
                    if is_made {
                        self.inner.commit(guards, writes).await?;
                    }
                    Err(StoreError::Undecided { source: "lost".into() })
                }
                None => {
                    self.take_part().await?;
                    self.inner.commit(guards, writes).await
                }
            }
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(async move {
            self.take_part().await?;
            if matches!(*self.mood.borrow(), Mood::Deaf | Mood::Unlisted) {
                pending::<()>().await;
            }
            let inner = self.inner.watch(from).await?;
            Ok(Box::new(FaultyWatch { inner, mood: self.mood.subscribe() }) as Box<dyn Watch>)
        })
    }
}

#[derive(Debug)]
struct FaultyWatch {
    inner: Box<dyn Watch>,
    mood: watch::Receiver<Mood>,
}

impl Watch for FaultyWatch {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(async move {
            tokio::select! {
                biased;
                _ = self.mood.wait_for(|mood| *mood == Mood::Away) => Err(away()),
                commit = self.inner.next() => commit,
            }
        })
    }
}
