//! Accepts only while there is room, and goes on after every error of accept(2).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tracing::{error, warn};

use super::crowd::Crowd;
use crate::{connection::Terms, phase::Phase};

/// Lets connections in as long as there is room.
#[derive(Debug)]
pub(super) struct Gate {
    socket: TcpListener,
    terms: Arc<Terms>,
    crowd: Crowd,
    crowds: Bursts,
    failures: Bursts,
}

impl Gate {
    pub(super) fn new(socket: TcpListener, terms: &Arc<Terms>) -> Self {
        Self {
            socket,
            terms: Arc::clone(terms),
            crowd: Crowd::new(terms.limits.connections),
            crowds: Bursts::default(),
            failures: Bursts::default(),
        }
    }

    /// The next connection for which there is room. It is accepted before there is, so that nobody
    /// is sent away for nobody.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr) {
        let arrived = self.arrival().await;
        if self.crowd.is_full() && self.crowds.begins() {
            let Terms { listener, limits, .. } = &*self.terms;
            warn!(
                %listener, connections = limits.connections,
                "as many connections as allowed; new ones wait, idle and slow ones are closed"
            );
        }
        while self.crowd.is_full() {
            self.crowd.make_room().await;
        }
        arrived
    }

    pub(super) fn admit(
        &mut self,
        phase: Phase,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        self.crowd.admit(phase, connection);
    }

    /// Stops to listen.
    pub(super) fn close(self) -> Crowd {
        self.crowd
    }

    async fn arrival(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.crowd.one_ends() => continue,
                accepted = self.socket.accept() => accepted,
            };
            let accepted = accepted.and_then(|(stream, socket)| {
                // Replies are written whole; Nagle would only hold back the last segment.
                stream.set_nodelay(true)?;
                Ok((stream, socket))
            });
            match accepted {
                Ok(arrived) => return arrived,
                Err(error) if concerns_one_connection(&error) => {}
                // For want of descriptors or memory, which those who leave give back.
                Err(error) => {
                    if self.failures.begins() {
                        let listener = &self.terms.listener;
                        error!(%listener, %error, "cannot accept connections; trying on");
                    }
                    self.crowd.make_room().await;
                }
            }
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
