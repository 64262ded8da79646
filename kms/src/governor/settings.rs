//! How much of a KMS a governor lets be used.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::jitter::Backoff;

/// The limits of a [`Governor`](super::Governor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GovernorSettings {
    /// How many calls run at once while the KMS is well.
    pub concurrency: NonZeroUsize,
    /// How many callers there may be, waiting or served. One more is refused at once.
    pub callers: usize,
    /// The same for each client.
    pub callers_per_client: usize,
    /// The longest that one call to the KMS may take, a describe aside.
    pub call_time: Duration,
    /// The least time that is worth a call: with less, the caller gets the last error at once.
    pub least_call_time: Duration,
    /// How long a describe may take, its tries together. One try may take all of it: a describe is
    /// many calls to a KMS that lists its versions in pages.
    pub describe_time: Duration,
    /// How much before its deadline a caller has its answer at the latest, so that the answer is
    /// still in time where it is waited for; a tenth of the caller's time if that is less.
    pub margin: Duration,
    /// How much of a KMS's `Retry-After` is believed before the KMS is probed.
    pub longest_retry_after: Duration,
    /// The time from a failure to the next probe of a KMS that is throttling or away.
    pub probe: Backoff,
    /// The time from a failure to the same caller's next try.
    pub backoff: Backoff,
    /// How many denied callers may try again at the same time.
    pub denied_retries: usize,
}

impl Default for GovernorSettings {
    fn default() -> Self {
        Self {
            concurrency: NonZeroUsize::MIN.saturating_add(63),
            callers: 16_384,
            callers_per_client: 1_024,
            call_time: Duration::from_secs(5),
            least_call_time: Duration::from_millis(50),
            describe_time: Duration::from_secs(10),
            margin: Duration::from_millis(100),
            longest_retry_after: Duration::from_secs(5),
            probe: Backoff { first: Duration::from_millis(100), last: Duration::from_secs(1) },
            backoff: Backoff { first: Duration::from_millis(100), last: Duration::from_secs(2) },
            denied_retries: 8,
        }
    }
}
