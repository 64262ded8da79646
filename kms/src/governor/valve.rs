//! How many calls may run now.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

use super::jitter::{Backoff, Jitter};

/// This many failures without a success between them close the valve.
const FAILURES: u32 = 3;

/// What a call says of the KMS's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered, if only to refuse.
    Healthy,
    /// It wants fewer calls, and none for this time if it said so.
    Throttled(Option<Duration>),
    /// It did not answer, or not with sense.
    Failing,
    /// The caller went away first.
    Abandoned,
    /// There was no call.
    Unused,
}

/// Lets calls through: up to a limit while the KMS is well, none for a while when it throttles or
/// fails, then a single one. After that one's success the limit grows by one with each further
/// success, so that it doubles within the time of a call.
#[derive(Debug)]
pub(super) struct Valve {
    pace: Pace,
    phase: Phase,
    /// Calls that began before the last closing say nothing about what came after.
    era: u64,
    limit: usize,
    in_flight: usize,
    failures: u32,
    /// Closings without a success between them.
    closings: u32,
}

/// The part of the settings that a valve keeps to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) concurrency: NonZeroUsize,
    pub(super) longest_retry_after: Duration,
    pub(super) probe: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closed {
        until: Instant,
    },
    /// One call may go through.
    Ajar,
    /// It is on its way.
    Probing,
}

/// One call's way through; to be handed back with [`Valve::settle`].
#[derive(Debug)]
pub(super) struct Pass {
    era: u64,
}

impl Valve {
    pub(super) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            phase: Phase::Open,
            era: 0,
            limit: pace.concurrency.get(),
            in_flight: 0,
            failures: 0,
            closings: 0,
        }
    }

    /// Takes note of the time.
    pub(super) fn lapse(&mut self, now: Instant) {
        if self.closed_until().is_some_and(|until| until <= now) {
            self.phase = Phase::Ajar;
        }
    }

    pub(super) const fn closed_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed { until } => Some(until),
            Phase::Open | Phase::Ajar | Phase::Probing => None,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many calls may run at once.
    pub(super) const fn limit(&self) -> usize {
        match self.phase {
            Phase::Open => self.limit,
            Phase::Ajar | Phase::Probing => 1,
            Phase::Closed { .. } => 0,
        }
    }

    pub(super) const fn admit(&mut self) -> Option<Pass> {
        match self.phase {
            Phase::Open if self.in_flight < self.limit => {}
            Phase::Ajar => self.phase = Phase::Probing,
            Phase::Open | Phase::Closed { .. } | Phase::Probing => return None,
        }
        self.in_flight += 1;
        Some(Pass { era: self.era })
    }

    pub(super) fn settle(&mut self, pass: &Pass, verdict: Verdict, now: Instant, jitter: &Jitter) {
        self.in_flight -= 1;
        if pass.era != self.era {
            return;
        }
        let is_probe = self.phase == Phase::Probing;
        match verdict {
            Verdict::Healthy => self.succeed(),
            Verdict::Throttled(retry_after) => self.throttle(retry_after, now, jitter),
            Verdict::Failing => self.fail(is_probe, now, jitter),
            // Else a probe that nobody waits for would make room for the next at once.
            Verdict::Abandoned if is_probe => self.close(now + self.probe_after(jitter)),
            Verdict::Unused if is_probe => self.phase = Phase::Ajar,
            Verdict::Abandoned | Verdict::Unused => {}
        }
    }

    fn succeed(&mut self) {
        self.phase = Phase::Open;
        self.failures = 0;
        self.closings = 0;
        self.limit = self.limit.saturating_add(1).min(self.pace.concurrency.get());
    }

    fn fail(&mut self, is_probe: bool, now: Instant, jitter: &Jitter) {
        self.failures += 1;
        self.limit = (self.limit / 2).max(1);
        if is_probe || self.failures >= FAILURES {
            self.close(now + self.probe_after(jitter));
            self.closings = self.closings.saturating_add(1);
        }
    }

    /// Many a window ends sooner than its KMS says, and many a `Retry-After` is a constant; so
    /// only the first is believed, and not for long.
    fn throttle(&mut self, retry_after: Option<Duration>, now: Instant, jitter: &Jitter) {
        let probe_after = self.probe_after(jitter);
        let first = self.closings == 0;
        let longest = if first { self.pace.longest_retry_after } else { probe_after };
        let wait = retry_after.unwrap_or(probe_after).min(longest);
        self.close(now + wait.max(self.pace.probe.first / 2));
        self.closings = self.closings.saturating_add(1);
    }

    fn probe_after(&self, jitter: &Jitter) -> Duration {
        self.pace.probe.after(self.closings, jitter)
    }

    const fn close(&mut self, until: Instant) {
        self.phase = Phase::Closed { until };
        self.era += 1;
        self.limit = 1;
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests;
