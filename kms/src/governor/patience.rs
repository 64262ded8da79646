//! Whether, and when, an operation is tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::jitter::{Backoff, Jitter};
use crate::KmsError;

/// When a denied operation is tried again: an assignment of a role takes effect within minutes, and
/// most within seconds.
const AFTER_DENIED: [Duration; 3] =
    [Duration::from_millis(750), Duration::from_secs(2), Duration::from_millis(3_500)];

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the failure is the answer.
    Answer,
    /// The gate knows when.
    AtGate,
    /// Another try, after this time.
    After(Duration),
}

/// One operation's failures so far.
#[derive(Debug)]
pub(super) struct Patience {
    backoff: Backoff,
    jitter: Jitter,
    denied_retries: Arc<Semaphore>,
    failures: u32,
    denials: usize,
    denied: Option<OwnedSemaphorePermit>,
}

impl Patience {
    /// `denied_retries` has as many permits as denied operations may try again at the same time.
    pub(super) const fn new(
        backoff: Backoff,
        jitter: Jitter,
        denied_retries: Arc<Semaphore>,
    ) -> Self {
        Self { backoff, jitter, denied_retries, failures: 0, denials: 0, denied: None }
    }

    pub(super) fn next(&mut self, error: &KmsError) -> Next {
        match error {
            KmsError::Throttled { .. } => Next::AtGate,
            KmsError::Unavailable(_) | KmsError::TimedOut(_) | KmsError::Misbehaved(_) => {
                let wait = self.backoff.after(self.failures, &self.jitter);
                self.failures = self.failures.saturating_add(1);
                Next::After(wait)
            }
            KmsError::Denied(_) => self.after_denied(),
            KmsError::Rejected(_) | KmsError::UnknownKek(_) | KmsError::Disabled(_) => Next::Answer,
        }
    }

    /// A missing role must not multiply the load, so only a few wait for it to appear.
    fn after_denied(&mut self) -> Next {
        let Some(wait) = AFTER_DENIED.get(self.denials) else { return Next::Answer };
        if self.denied.is_none() {
            self.denied = Arc::clone(&self.denied_retries).try_acquire_owned().ok();
        }
        if self.denied.is_none() {
            return Next::Answer;
        }
        self.denials += 1;
        Next::After(self.jitter.draw(*wait))
    }
}
