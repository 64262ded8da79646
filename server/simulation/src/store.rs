//! The way from one replica to the store that all share, and what happens on it.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selkie_storage::{
    Commit, Guard, Listing, MemoryStore, Page, Record, RecordKey, Revision, Store, StoreError,
    StoreFuture, Watch, Write,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::chance::Chance;
use crate::life::Life;

/// How the store does, as one replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Every way takes up to 1.5 s.
    Slow,
    Away,
    /// Nothing is answered until this passes.
    Partitioned,
    /// Of three commits, one is made and its answer lost, and of another one is not made and nobody
    /// can tell.
    LosesAnswers,
    /// The watch tells of commits up to 20 s late.
    StaleWatch,
    /// Nobody can watch; all else is well.
    NoWatch,
}

/// More than there are replicas.
const SLOTS: u64 = 4;

/// What the way to the store has come to: shared by all lives of a replica.
#[derive(Debug)]
pub(crate) struct Road {
    pub(crate) inner: Arc<MemoryStore>,
    /// Which replica's it is: see [`Road::arrival`].
    number: u64,
    began: Instant,
    mood: watch::Sender<Mood>,
    chance: Chance,
    /// For what the watch tells: the order in which it wakes others is tokio's own chance.
    news: Chance,
    pub(crate) counts: Mutex<Counts>,
}

/// What happened on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) commits: u64,
    pub(crate) slow: u64,
    pub(crate) refused: u64,
    pub(crate) hung: u64,
    pub(crate) made_and_lost: u64,
    pub(crate) not_made_and_lost: u64,
    pub(crate) late_news: u64,
    pub(crate) unwatched: u64,
}

impl Road {
    pub(crate) fn new(inner: Arc<MemoryStore>, seed: u64, number: usize) -> Arc<Self> {
        let (mood, counts) = (watch::Sender::new(Mood::Well), Mutex::default());
        let chance = |purpose: &str| Chance::new(seed, &format!("{purpose} {number}"));
        let (chance, news) = (chance("store"), chance("news"));
        let (number, began) = (number as u64, Instant::now());
        Arc::new(Self { inner, number, began, mood, chance, news, counts })
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub(crate) fn mood(&self) -> Mood {
        *self.mood.borrow()
    }

    fn hung(&self) -> u64 {
        self.counts.lock().unwrap().hung
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.counts.lock().unwrap());
    }

    fn takes(&self) -> Duration {
        match self.mood() {
            Mood::Slow => Duration::from_millis(self.chance.below(1500)),
            _ => Duration::from_millis(self.chance.below(3)),
        }
    }

    /// When what leaves now and takes so long arrives. No two replicas reach the store in the same
    /// millisecond: which of them was first would be tokio's to say, and not the seed's.
    fn arrival(&self, takes: Duration) -> Instant {
        let millis = u64::try_from((self.began.elapsed() + takes).as_millis()).unwrap() + 1;
        let slot = (self.number + SLOTS - millis % SLOTS) % SLOTS;
        self.began + Duration::from_millis(millis + slot)
    }
}

/// What a server is given for its store.
#[derive(Clone, Debug)]
pub(crate) struct SimStore {
    road: Arc<Road>,
    life: Life,
}

impl SimStore {
    pub(crate) fn new(road: &Arc<Road>, life: &Life) -> Arc<Self> {
        Arc::new(Self { road: Arc::clone(road), life: life.clone() })
    }

    async fn there(&self) -> Result<(), StoreError> {
        self.life.way(self.road.arrival(self.road.takes())).await;
        match self.road.mood() {
            Mood::Away => {
                self.road.count(|counts| counts.refused += 1);
                Err(StoreError::Unavailable { source: "away".into() })
            }
            Mood::Partitioned => {
                self.road.count(|counts| counts.hung += 1);
                // Each in its own time, whoever of them is woken first.
                let after = Duration::from_millis(SLOTS * (self.road.hung() % 512));
                let mut mood = self.road.mood.subscribe();
                drop(mood.wait_for(|mood| *mood != Mood::Partitioned).await);
                self.life.way(self.road.arrival(after)).await;
                Err(StoreError::Unavailable { source: "the connection broke".into() })
            }
            Mood::Slow => {
                self.road.count(|counts| counts.slow += 1);
                Ok(())
            }
            Mood::Well | Mood::LosesAnswers | Mood::StaleWatch | Mood::NoWatch => Ok(()),
        }
    }

    async fn back(&self) {
        self.life.way(self.road.arrival(self.road.takes())).await;
    }
}

impl Store for SimStore {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            self.there().await?;
            let found = self.road.inner.get(key).await;
            self.back().await;
            found
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            self.there().await?;
            let found = self.road.inner.list(page).await;
            self.back().await;
            found
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            self.there().await?;
            let lost = || StoreError::Undecided { source: "the answer was lost".into() };
            let fate = match (self.road.mood(), writes.is_empty()) {
                (Mood::LosesAnswers, false) => self.road.chance.below(3),
                _ => 2,
            };
            if fate == 0 {
                self.road.count(|counts| counts.not_made_and_lost += 1);
                return Err(lost());
            }
            let done = self.road.inner.commit(guards, writes).await;
            self.back().await;
            if fate == 1 {
                self.road.count(|counts| counts.made_and_lost += u64::from(done.is_ok()));
                return Err(lost());
            }
            self.road.count(|counts| counts.commits += u64::from(done.is_ok()));
            done
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(async move {
            self.there().await?;
            if self.road.mood() == Mood::NoWatch {
                self.road.count(|counts| counts.unwatched += 1);
                return Err(broke());
            }
            let inner = self.road.inner.watch(from).await?;
            let (mood, store) = (self.road.mood.subscribe(), self.clone());
            Ok(Box::new(SimWatch { inner, mood, store, held: None }) as Box<dyn Watch>)
        })
    }
}

fn broke() -> StoreError {
    StoreError::Unavailable { source: "the watch broke".into() }
}

#[derive(Debug)]
struct SimWatch {
    inner: Box<dyn Watch>,
    mood: watch::Receiver<Mood>,
    store: SimStore,
    /// The next commit, and when it is told.
    held: Option<(Commit, Instant)>,
}

impl Watch for SimWatch {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(async move {
            loop {
                if self.store.life.is_over() {
                    pending::<()>().await;
                }
                let is_cut =
                    |mood: &Mood| matches!(mood, Mood::Away | Mood::Partitioned | Mood::NoWatch);
                let mut mood = self.mood.clone();
                match self.store.road.mood() {
                    Mood::Away | Mood::NoWatch => return Err(broke()),
                    Mood::Partitioned => {
                        // As a connection that says nothing more until it is found dead.
                        let _passed = mood.wait_for(|mood| !is_cut(mood)).await;
                        return Err(broke());
                    }
                    _ => {}
                }
                if let Some((_, at)) = &self.held {
                    let at = *at;
                    tokio::select! {
                        biased;
                        _cut = mood.wait_for(is_cut) => continue,
                        () = sleep_until(at) => {}
                    }
                    if let Some((commit, _)) = self.held.take() {
                        return Ok(commit);
                    }
                    continue;
                }
                let commit = tokio::select! {
                    biased;
                    _cut = mood.wait_for(is_cut) => continue,
                    commit = self.inner.next() => commit?,
                };
                let road = &self.store.road;
                let late = match road.mood() {
                    Mood::StaleWatch => {
                        road.count(|counts| counts.late_news += 1);
                        Duration::from_millis(road.news.below(20_000))
                    }
                    _ => Duration::from_millis(road.news.below(3)),
                };
                self.held = Some((commit, road.arrival(late)));
            }
        })
    }
}
