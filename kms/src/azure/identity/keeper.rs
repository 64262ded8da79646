//! One task for each identity fetches its token, whoever asks: the endpoint sees one caller, and a
//! token is renewed before anybody misses it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::IdentityError;
use super::pace::jittered;
use super::token::Token;

/// How long a failure stands for all who ask, before they cause another attempt: at least, and at
/// most where the endpoint asks for patience.
const HOLD_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// The pauses between attempts that fail in the background.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// A token younger than this is not given up: whoever complains speaks of the one before, or a new
/// one would be no better.
const FORCED_PAUSE: Duration = Duration::from_secs(5);

/// Where tokens come from.
#[async_trait]
pub(super) trait TokenSource: Send + Sync {
    /// A new token, or why there is none, by `deadline`.
    async fn fetch(&self, deadline: Instant) -> Result<Token, IdentityError>;
}

/// What the task that keeps the token shares with all who want it.
pub(super) struct Kept {
    source: Box<dyn TokenSource>,
    deadline: Duration,
    state: Mutex<State>,
    /// Somebody wants a token and there is none.
    wanted: Notify,
    /// Changes with each attempt that has ended.
    ended: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// Of the last attempt, if it failed, and when.
    failure: Option<(IdentityError, Instant)>,
    /// Attempts that failed since the last that did not.
    failures: u32,
}

/// What there is for somebody who asks.
pub(super) enum TokenSupply {
    Token(Arc<Token>),
    Failure(IdentityError),
    Nothing,
}

impl Kept {
    pub(super) fn new(source: Box<dyn TokenSource>, deadline: Duration) -> Self {
        let (state, wanted) = (Mutex::default(), Notify::new());
        Self { source, deadline, state, wanted, ended: watch::Sender::new(()) }
    }

    /// Keeps the token fresh, forever: one attempt at a time, of which all who wait share the end.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let outcome = self.source.fetch(Instant::now() + self.deadline).await;
            let next = self.record(outcome);
            self.ended.send_replace(());
            self.rest(next).await;
        }
    }

    /// Until `next`, or until somebody wants a token that is not there.
    async fn rest(&self, next: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                () = self.wanted.notified() => {
                    // A wish may be older than the attempt that has just fulfilled it.
                    if matches!(self.find(), TokenSupply::Nothing) {
                        return;
                    }
                }
            }
        }
    }

    fn record(&self, outcome: Result<Token, IdentityError>) -> Instant {
        let mut state = self.lock();
        match outcome {
            Ok(token) => {
                let next = token.refresh();
                *state = State { token: Some(Arc::new(token)), ..State::default() };
                next
            }
            Err(error) => {
                let serves_on = state.token.as_ref().is_some_and(|token| token.is_good());
                if state.failure.as_ref().is_none_or(|(last, _)| !is_alike(last, &error)) {
                    warn!(%error, serves_on, "no new token");
                }
                let now = Instant::now();
                let (first, last) = PAUSES;
                let pause = first.saturating_mul(1 << state.failures.min(8));
                let pause = pause.max(error.retry_after().unwrap_or_default()).min(last);
                state.failures = state.failures.saturating_add(1);
                state.failure = Some((error, now));
                now + jittered(pause)
            }
        }
    }

    pub(super) fn find(&self) -> TokenSupply {
        let state = self.lock();
        match (&state.token, &state.failure) {
            (Some(token), _) if token.is_good() => TokenSupply::Token(Arc::clone(token)),
            (_, Some((error, at))) if at.elapsed() < hold_off(error) => {
                TokenSupply::Failure(error.clone())
            }
            _ => TokenSupply::Nothing,
        }
    }

    /// A token, for which it causes an attempt and waits if need be; the wait ends because the
    /// attempt has a deadline, as long as [`Self::keep`] runs.
    pub(super) async fn token(&self) -> Result<Arc<Token>, IdentityError> {
        let mut ended = self.ended.subscribe();
        loop {
            match self.find() {
                TokenSupply::Token(token) => return Ok(token),
                TokenSupply::Failure(error) => return Err(error),
                TokenSupply::Nothing => {}
            }
            self.wanted.notify_one();
            // The sender is ours, so there is no error.
            let _ = ended.changed().await;
        }
    }

    pub(super) fn invalidate(&self) {
        let mut state = self.lock();
        if state.token.as_ref().is_some_and(|token| token.age() >= FORCED_PAUSE) {
            state.token = None;
            self.wanted.notify_one();
        }
    }

    pub(super) fn held(&self) -> Option<Arc<Token>> {
        self.lock().token.clone()
    }

    pub(super) fn failure(&self) -> Option<IdentityError> {
        self.lock().failure.as_ref().map(|(error, _)| error.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hold_off(error: &IdentityError) -> Duration {
    let (least, most) = HOLD_OFF;
    error.retry_after().unwrap_or_default().clamp(least, most)
}

/// Whether two failures tell an operator the same.
fn is_alike(one: &IdentityError, other: &IdentityError) -> bool {
    let (one, other) = (one.diagnosis(), other.diagnosis());
    (one.hop, one.outcome, &one.code) == (other.hop, other.outcome, &other.code)
}
