//! What a peer may hold, and for how long (invariant I10).

use std::time::Duration;

use tokio::time::Instant;

/// Beyond any configured time that means something; keeps additions to the clock from overflowing.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The read buffer that hyper begins with, and the smallest that it accepts.
pub(crate) const SMALLEST_BUFFER: usize = 8 * 1024;

/// Hyper reads into a larger buffer next time if a read has filled the one before; a read never does.
pub(crate) const MOST_AT_ONCE: usize = SMALLEST_BUFFER - 1;

/// What one listener lets its peers hold, and for how long.
///
/// A request has at most 100 header fields, which is hyper's own limit: any other number would cost
/// an allocation per request.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections that are served; one more may be accepted and wait. At the limit others are
    /// sent away for those who wait, see [`Listener::serve`](crate::Listener::serve).
    pub connections: usize,
    /// Bytes of a request's head (request line and header fields); more is answered with 431.
    pub header_bytes: usize,
    /// For a PROXY header to arrive, and again for the TLS handshake.
    pub handshake: Duration,
    /// From the start of a connection to the end of its first head, and from the first byte of each
    /// later head to its end.
    pub header: Duration,
    /// Between the end of one request and the first byte of the next.
    pub idle: Duration,
    /// How long a peer may refuse to take a single byte of a reply.
    pub stall: Duration,
}

impl Limits {
    /// The read buffer that hyper may grow to: a whole head must fit into it.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.header_bytes.max(SMALLEST_BUFFER)
    }
}

impl Default for Limits {
    /// Vault's own times; fewer header bytes than Go's 1 MiB.
    fn default() -> Self {
        Self {
            connections: 4096,
            header_bytes: 64 * 1024,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            stall: Duration::from_secs(30),
        }
    }
}

/// The instant at which a wait of this length, beginning now, is over.
pub(crate) fn deadline_after(wait: Duration) -> Instant {
    Instant::now() + wait.min(LONGEST_WAIT)
}
