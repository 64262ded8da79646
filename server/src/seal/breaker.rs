//! Remembers which seals are silent, so that nobody spends a client's patience on one that others
//! can stand in for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_kms::{GovernorCause, KmsError, LONG_CALL};
use tokio::time::Instant;

/// How long after a seal went silent it is tried again; each failure doubles it, up to the last.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LAST_PROBE: Duration = Duration::from_secs(15);
/// Remembers whether a seal answers. Open, nobody waits for it whom another seal can serve, and one
/// probe at a time finds out when it is back.
///
/// A governor's valve does not do for that: a call that was given up early tells it nothing, and
/// those are all that a decrypt makes of a KMS which hangs while another one answers.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug)]
struct State {
    is_open: bool,
    /// Since when.
    since: Instant,
    next_probe: Option<Instant>,
    failed_probes: u32,
    is_probing: bool,
}

impl Breaker {
    /// Closed: nothing speaks against a seal that nobody has asked.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            is_open: false,
            since: Instant::now(),
            next_probe: None,
            failed_probes: 0,
            is_probing: false,
        }))
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().is_open
    }

    /// For how long it has been closed; `None` if it is not.
    pub(super) fn closed_for(&self) -> Option<Duration> {
        let state = self.state();
        (!state.is_open).then(|| state.since.elapsed())
    }

    /// The seal does not answer; whether that is news.
    pub(super) fn open(&self) -> bool {
        let mut state = self.state();
        if state.is_open {
            return false;
        }
        let now = Instant::now();
        (state.is_open, state.since) = (true, now);
        (state.next_probe, state.failed_probes) = (Some(now + FIRST_PROBE), 0);
        true
    }

    /// The seal has answered; whether that is news.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        let was_open = std::mem::replace(&mut state.is_open, false);
        if was_open {
            state.since = Instant::now();
        }
        state.next_probe = None;
        was_open
    }

    /// The right to probe, if it is time and nobody does.
    pub(super) fn begin_probe(&self) -> bool {
        let mut state = self.state();
        let is_time = state.next_probe.is_none_or(|at| at <= Instant::now());
        is_time && !std::mem::replace(&mut state.is_probing, true)
    }

    /// The probe is over. If it failed, the next one waits longer.
    pub(super) fn end_probe(&self, is_well: bool) {
        let mut state = self.state();
        state.is_probing = false;
        if !is_well {
            let factor = 2_u32.saturating_pow(state.failed_probes.saturating_add(1));
            let pause = FIRST_PROBE.saturating_mul(factor).min(LAST_PROBE);
            state.failed_probes = state.failed_probes.saturating_add(1);
            state.next_probe = Some(Instant::now() + pause);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a KMS that answered so is there; `None` if that says nothing. One that refuses is there.
/// One that throttles is the governor's to judge, and nonsense may come of a forged recipient.
pub(super) fn is_there<T>(answer: &Result<T, KmsError>, allowed: Duration) -> Option<bool> {
    match answer {
        Err(KmsError::Throttled { .. } | KmsError::Misbehaved(_)) => None,
        Err(error) if had_no_turn(error) => None,
        Err(KmsError::TimedOut(_)) if allowed < LONG_CALL => None,
        Err(KmsError::TimedOut(_) | KmsError::Unavailable(_)) => Some(false),
        Ok(_)
        | Err(
            KmsError::Denied(_)
            | KmsError::Rejected(_)
            | KmsError::UnknownKek(_)
            | KmsError::Disabled(_),
        ) => Some(true),
    }
}

/// Whether the KMS was not even asked: it was busy with others until the time was over.
pub(super) fn had_no_turn(error: &KmsError) -> bool {
    let own = error.cause().and_then(|cause| cause.downcast_ref::<GovernorCause>());
    own == Some(&GovernorCause::NoTurn)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_and_each_failed_one_is_waited_for_longer() {
        let breaker = Breaker::new();
        assert!(breaker.open() && !breaker.open() && breaker.is_open());
        assert!(!breaker.begin_probe(), "it has just failed");
        for pause in [1, 2, 4, 8, 15, 15] {
            sleep(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            assert!(!breaker.begin_probe(), "{pause}");
            sleep(Duration::from_millis(1)).await;
            assert!(breaker.begin_probe() && !breaker.begin_probe(), "{pause}");
            breaker.end_probe(false);
        }
        assert!(breaker.close() && !breaker.is_open());
        sleep(FIRST_PROBE).await;
        assert_eq!(breaker.closed_for(), Some(FIRST_PROBE));
        assert!(breaker.open());
        sleep(FIRST_PROBE).await;
        assert!(breaker.begin_probe(), "a new outage is probed soon");
    }

    #[test]
    fn only_silence_speaks_against_a_kms() {
        let long = LONG_CALL;
        let hurry = LONG_CALL - Duration::from_millis(1);
        let said = |error, allowed| is_there::<()>(&Err(error), allowed);
        assert_eq!(is_there(&Ok(()), hurry), Some(true));
        assert_eq!(said(KmsError::Rejected(None), long), Some(true));
        assert_eq!(said(KmsError::Denied(None), long), Some(true));
        assert_eq!(said(KmsError::Unavailable(None), hurry), Some(false));
        assert_eq!(said(KmsError::Misbehaved(None), long), None);
        assert_eq!(said(KmsError::TimedOut(None), long), Some(false));
        assert_eq!(said(KmsError::TimedOut(None), hurry), None);
        let no_turn = KmsError::TimedOut(Some(std::sync::Arc::new(GovernorCause::NoTurn)));
        assert_eq!(said(no_turn, long), None);
        let throttled = KmsError::Throttled { retry_after: None, cause: None };
        assert_eq!(said(throttled, long), None);
    }
}
