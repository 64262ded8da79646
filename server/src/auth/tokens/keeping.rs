//! The task that keeps the token clock going and sweeps away what has ended.

use std::time::Duration;

use tokio::time::sleep;

use super::Tokens;
use super::clock::{BEAT_SECONDS, Beat};
use crate::jitter::jittered;
use crate::state::records::{Records, RecordsError};
use crate::telemetry::WithCauses;

/// How often it is looked whether the store is there.
const WAITING_PAUSE: Duration = Duration::from_secs(1);
/// After how many beats what has ended is removed.
const BEATS_PER_SWEEP: u32 = 3;

impl Tokens {
    /// Keeps the token clock running, and removes what has ended: on every replica, none of which
    /// leads, and each in its own time.
    pub(in crate::auth) async fn keep(&self, records: &Records) {
        while records.store().is_err() {
            sleep(WAITING_PAUSE).await;
        }
        let mut is_first = true;
        let mut is_told = false;
        loop {
            for _ in 0..BEATS_PER_SWEEP {
                is_told = self.beat(records, is_first, is_told).await;
                is_first = is_first && is_told;
                let pause = jittered(&*self.random, Duration::from_secs(BEAT_SECONDS));
                // A revocation does not wait for the sweep; what it left is dead, not gone.
                tokio::select! {
                    biased;
                    () = sleep(pause) => {}
                    () = self.sweep_now.notified() => break,
                }
            }
            match self.sweep(records).await {
                Ok(0) | Err(RecordsError::Store(_)) => {}
                Ok(removed) => tracing::debug!(removed, "tokens that had ended were removed"),
                Err(error) => {
                    tracing::warn!(reason = %WithCauses(&error), "ended tokens are not removed");
                }
            }
            self.tell_of_expiring();
        }
    }

    /// Whether the failure of a beat has been told.
    pub(super) async fn beat(&self, records: &Records, is_first: bool, is_told: bool) -> bool {
        // Once it has begun it goes on: batch tokens, which nobody here knows of, end by it too.
        // Marks are also how a replica knows that it hears of revocations.
        let is_needed = self.clock.has_begun()
            || self.mirror.find(|index| match self.limits().max_staleness {
                Some(_) => index.has_tokens(),
                None => index.has_ends(),
            });
        if !is_needed {
            return false;
        }
        match self.clock.beat(records, is_first).await {
            Ok(Beat::ClocksDisagree { ahead }) => {
                tracing::warn!(
                    ahead,
                    advice = "synchronise the clocks of all replicas",
                    "the wall clock of a replica was far ahead, or this one's is behind"
                );
                false
            }
            Ok(Beat::Kept | Beat::NotDue) => {
                if is_told {
                    tracing::info!("the store answers again: tokens expire again");
                }
                false
            }
            Err(error) if !is_told => {
                tracing::warn!(
                    reason = %WithCauses(&error),
                    "the token clock is not kept: no token expires until the store answers"
                );
                true
            }
            Err(_) => true,
        }
    }
}
