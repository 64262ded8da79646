//! What happens to keys, for whoever watches within this process.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast::{self, error::RecvError};

use super::trail::KeyUse;

/// How many events a watcher may be behind; it misses older ones.
const CAPACITY: usize = 1024;

/// A finished request that used a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// In seconds since 1970.
    pub time: u64,
    /// The id in the reply and in the audit lines.
    pub request_id: String,
    /// `encrypt`, `decrypt` or `rewrap`: the name of the endpoint.
    pub operation: &'static str,
    /// The name of the client.
    pub client: Arc<str>,
    /// What makes it the same client as in another event.
    pub identity: Arc<str>,
    /// Names the client's token without being one; empty without a token.
    pub accessor: Arc<str>,
    /// Where it asked from.
    pub address: IpAddr,
    /// What it used, and how that went.
    pub used: KeyUse,
    /// The status of the reply.
    pub status: u16,
}

/// Where events are told. Telling one never waits.
#[derive(Debug)]
pub struct Events {
    sender: broadcast::Sender<Arc<KeyEvent>>,
    missed: Arc<AtomicU64>,
}

/// Events from when it was made on.
#[derive(Debug)]
pub struct Watch {
    receiver: broadcast::Receiver<Arc<KeyEvent>>,
    missed: Arc<AtomicU64>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(CAPACITY), missed: Arc::default() }
    }
}

impl Events {
    /// Begins to watch.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { receiver: self.sender.subscribe(), missed: Arc::clone(&self.missed) }
    }

    /// How many events all watchers together were too slow for.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub(crate) fn tell(&self, event: KeyEvent) {
        // Nobody watches any more: that is no failure.
        let _ = self.sender.send(Arc::new(event));
    }
}

impl Watch {
    /// How many events all watchers together were too slow for.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// The next event; `None` once the server has ended. What this watcher was too slow for is
    /// counted and left out.
    pub async fn next(&mut self) -> Option<Arc<KeyEvent>> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => {
                    self.missed.fetch_add(missed, Ordering::Relaxed);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn event(time: u64) -> KeyEvent {
        KeyEvent {
            time,
            request_id: "r".to_owned(),
            operation: "decrypt",
            client: "vault".into(),
            identity: "vault".into(),
            accessor: "a".into(),
            address: Ipv4Addr::LOCALHOST.into(),
            used: KeyUse::default(),
            status: 200,
        }
    }

    #[tokio::test]
    async fn a_slow_watcher_misses_events_which_are_counted_and_nobody_waits() {
        let events = Events::default();
        events.tell(event(0));
        let mut watch = events.watch();
        let all = u64::try_from(CAPACITY).unwrap() + 5;
        (1..=all).for_each(|time| events.tell(event(time)));
        assert_eq!(watch.next().await.unwrap().time, 6);
        assert_eq!(events.missed(), 5);
        drop(events);
        let mut left = 0;
        while watch.next().await.is_some() {
            left += 1;
        }
        assert_eq!(left, CAPACITY - 1);
    }
}
