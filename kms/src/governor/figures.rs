//! What a governor tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::KmsError;

/// A governor at one moment. Totals count from its making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GovernorFigures {
    /// Calls that the KMS is working on.
    pub in_flight: usize,
    /// Operations that wait for their turn.
    pub waiting: usize,
    /// Callers, waiting or served, Selkie itself not counted.
    pub callers: usize,
    /// How many calls may run at once now: 0 while none may.
    pub limit: usize,
    /// Whether calls are held back because the KMS throttles or fails, but for probes.
    pub is_closed: bool,
    /// Calls made, by what became of them.
    pub calls_total: CallOutcomes,
    /// Callers that shared another one's call.
    pub shared_flights_total: u64,
    /// Callers that were refused because too many were there.
    pub refused_total: u64,
    /// Callers whose deadline passed before there was an answer.
    pub overdue_total: u64,
}

/// How many calls came to which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOutcomes {
    /// The KMS did what it was asked.
    pub ok: u64,
    /// [`KmsError::Denied`].
    pub denied: u64,
    /// [`KmsError::Rejected`].
    pub rejected: u64,
    /// [`KmsError::UnknownKek`].
    pub unknown_kek: u64,
    /// [`KmsError::Disabled`].
    pub disabled: u64,
    /// [`KmsError::Throttled`].
    pub throttled: u64,
    /// [`KmsError::Unavailable`].
    pub unavailable: u64,
    /// [`KmsError::TimedOut`].
    pub timed_out: u64,
    /// [`KmsError::Misbehaved`].
    pub misbehaved: u64,
    /// Nobody waited for the answer any longer.
    pub abandoned: u64,
}

impl CallOutcomes {
    /// All calls that have ended.
    pub const fn sum(&self) -> u64 {
        self.ok
            + self.denied
            + self.rejected
            + self.unknown_kek
            + self.disabled
            + self.throttled
            + self.unavailable
            + self.timed_out
            + self.misbehaved
            + self.abandoned
    }

    pub(super) const fn count(&mut self, error: Option<&KmsError>) {
        let counter = match error {
            None => &mut self.ok,
            Some(KmsError::Denied(_)) => &mut self.denied,
            Some(KmsError::Rejected(_)) => &mut self.rejected,
            Some(KmsError::UnknownKek(_)) => &mut self.unknown_kek,
            Some(KmsError::Disabled(_)) => &mut self.disabled,
            Some(KmsError::Throttled { .. }) => &mut self.throttled,
            Some(KmsError::Unavailable(_)) => &mut self.unavailable,
            Some(KmsError::TimedOut(_)) => &mut self.timed_out,
            Some(KmsError::Misbehaved(_)) => &mut self.misbehaved,
        };
        *counter += 1;
    }
}

/// Counts callers; calls are counted where they end.
#[derive(Debug, Default)]
pub(super) struct CallerCounts {
    pub(super) shared_flights: Counter,
    pub(super) refused: Counter,
    pub(super) overdue: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
