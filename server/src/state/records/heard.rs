//! When the store was last certainly heard of.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::clock::Clock;

/// By the watch, or by a listing of all records: both tell of what others commit. What a commit of
/// ours answers, or a look at one record, tells nothing of the other records.
#[derive(Debug)]
pub(super) struct Heard {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Moment>>,
}

/// A point of time, by both clocks: that of the process stands while the machine is suspended, and
/// wall time may be set back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    wall: u64,
}

impl Heard {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::default() }
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

    /// For how many seconds nothing has been heard since, by whichever clock says more.
    pub(super) fn silence(&self) -> u64 {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(u64::MAX, |Moment { at, wall }| {
            at.elapsed().as_secs().max(self.clock.unix_seconds().saturating_sub(wall))
        })
    }
}
