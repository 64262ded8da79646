use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tracing::{error, warn};

use crate::connection::{Pace, Terms};

/// The pause after an accept that failed for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// How often a full listener makes room. It wakes every connection, so it is not done for each that
/// waits.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Lets connections in as long as there is room.
#[derive(Debug)]
pub(super) struct Gate {
    socket: TcpListener,
    terms: Arc<Terms>,
    slots: Arc<Semaphore>,
    pace: watch::Sender<Pace>,
    asked: Option<Instant>,
    crowds: Bursts,
    failures: Bursts,
}

impl Gate {
    pub(super) fn new(socket: TcpListener, terms: &Arc<Terms>) -> Self {
        let slots = terms.limits.connections.min(Semaphore::MAX_PERMITS);
        Self {
            socket,
            terms: Arc::clone(terms),
            slots: Arc::new(Semaphore::new(slots)),
            pace: watch::Sender::default(),
            asked: None,
            crowds: Bursts::default(),
            failures: Bursts::default(),
        }
    }

    pub(super) fn pace(&self) -> watch::Receiver<Pace> {
        self.pace.subscribe()
    }

    /// The next connection, with its place among those allowed. Dropped while it waits, it loses
    /// nothing.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let slot = self.room().await;
        loop {
            let accepted = self.socket.accept().await.and_then(|(stream, socket)| {
                // Replies are written whole; Nagle would only hold back the last segment.
                stream.set_nodelay(true)?;
                Ok((stream, socket))
            });
            match accepted {
                Ok((stream, socket)) => return (stream, socket, slot),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if self.failures.begins() {
                        let listener = &self.terms.listener;
                        error!(%listener, %error, "cannot accept connections; trying on");
                    }
                    self.ask_for_room();
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// Stops to listen and tells the connections to finish.
    pub(super) fn close(self) {
        self.pace.send_modify(|pace| pace.draining = true);
    }

    async fn room(&mut self) -> OwnedSemaphorePermit {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return slot;
        }
        if self.crowds.begins() {
            let Terms { listener, limits, .. } = &*self.terms;
            warn!(
                %listener, connections = limits.connections,
                "as many connections as allowed; new ones wait, idle and slow ones are closed"
            );
        }
        loop {
            self.ask_for_room();
            let free = Arc::clone(&self.slots).acquire_owned();
            if let Ok(Ok(slot)) = tokio::time::timeout(ASK_AGAIN, free).await {
                return slot;
            }
        }
    }

    fn ask_for_room(&mut self) {
        let now = Instant::now();
        if self.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_AGAIN) {
            self.asked = Some(now);
            self.pace.send_modify(|pace| pace.crowded = pace.crowded.wrapping_add(1));
        }
    }
}

/// Errors that accept(2) passes on from the connection that it was about to return: the next one
/// may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Tells the first event of a burst from the rest, so that the log has one line for each burst.
#[derive(Debug, Default)]
struct Bursts {
    last: Option<Instant>,
}

impl Bursts {
    const QUIET: Duration = Duration::from_secs(10);

    fn begins(&mut self) -> bool {
        let now = Instant::now();
        let goes_on = self.last.is_some_and(|last| now.duration_since(last) < Self::QUIET);
        self.last = Some(now);
        !goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_told_once_however_long_it_lasts() {
        let mut bursts = Bursts::default();
        assert!(bursts.begins());
        for _ in 0..100 {
            tokio::time::advance(Bursts::QUIET / 2).await;
            assert!(!bursts.begins());
        }
        tokio::time::advance(Bursts::QUIET).await;
        assert!(bursts.begins());
    }

    #[test]
    fn running_out_of_descriptors_is_no_matter_of_one_connection() {
        for (errno, of_one) in [(24, false), (23, false), (105, false), (12, false), (103, true)] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(concerns_one_connection(&error), of_one, "{error}");
        }
    }
}
