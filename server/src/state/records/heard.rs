//! When the store was last certainly heard of.

use std::sync::{Arc, Mutex, PoisonError};

use std::time::Duration;

use selkie_storage::Revision;
use tokio::time::Instant;

use crate::clock::Clock;

/// How long the watch may take to tell of a commit that is known by its answer, or by a look.
const WATCH_PATIENCE: Duration = Duration::from_secs(30);

/// By the watch, or by a listing of all records: both tell of what others commit. What a commit of
/// ours answers, or a look at one record, tells nothing of the other records.
#[derive(Debug)]
pub(super) struct Heard {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Moment>>,
    watched: Mutex<Watched>,
}

/// How far the watch has come, and how far it ought to.
#[derive(Clone, Copy, Debug)]
struct Watched {
    told: Revision,
    /// A commit that it has not told of yet, and since when that is known.
    owed: Option<(Revision, Instant)>,
}

/// A point of time, by both clocks: that of the process stands while the machine is suspended, and
/// wall time may be set back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    wall: u64,
}

impl Moment {
    /// By wall time.
    pub(super) const fn unix_seconds(&self) -> u64 {
        self.wall
    }
}

impl Heard {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let watched = Watched { told: Revision::ORIGIN, owed: None };
        Self { clock, last: Mutex::default(), watched: Mutex::new(watched) }
    }

    pub(super) fn now(&self) -> Moment {
        Moment { at: Instant::now(), wall: self.clock.unix_seconds() }
    }

    /// Takes note that the store was heard of, as it was at `moment`.
    pub(super) fn note(&self, moment: Moment) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.at <= moment.at) {
            *last = Some(moment);
        }
    }

    /// Takes note that the store has a commit of `revision`, as an answer or a look has shown.
    pub(super) fn note_known(&self, revision: Revision) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if revision > watched.told && watched.owed.is_none() {
            watched.owed = Some((revision, Instant::now()));
        }
    }

    /// Takes note that all commits until `revision` were told of.
    pub(super) fn told(&self, revision: Revision) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.told = watched.told.max(revision);
        watched.owed = watched.owed.filter(|(owed, _)| *owed > revision);
    }

    /// Whether the watch has not told for long of what is known to be there: it hangs, or tells of
    /// long ago.
    pub(super) fn is_overdue(&self) -> bool {
        let watched = *self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.owed.is_some_and(|(_, since)| since.elapsed() >= WATCH_PATIENCE)
    }

    /// For how many seconds nothing has been heard since, by whichever clock says more.
    pub(super) fn silence(&self) -> u64 {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(u64::MAX, |Moment { at, wall }| {
            at.elapsed().as_secs().max(self.clock.unix_seconds().saturating_sub(wall))
        })
    }
}
