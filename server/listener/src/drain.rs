//! How listeners are told to end: they accept no more, and what is under way finishes.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use crate::limits::deadline_after;

/// Tells every listener that was given a clone to stop accepting and to let what is under way
/// finish.
#[derive(Clone, Debug)]
pub struct Drain {
    deadline: watch::Sender<Option<Instant>>,
}

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self { deadline: watch::Sender::new(None) }
    }

    /// Begins to drain; what is not finished after `grace` is cut. Called again, the new time
    /// counts: a second SIGTERM may end the patience of the first.
    pub fn begin(&self, grace: Duration) {
        self.deadline.send_replace(Some(deadline_after(grace)));
    }

    pub(crate) fn watch(&self) -> DrainWatch {
        DrainWatch { deadline: self.deadline.subscribe() }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// One listener's view of a [`Drain`].
#[derive(Debug)]
pub(crate) struct DrainWatch {
    deadline: watch::Receiver<Option<Instant>>,
}

impl DrainWatch {
    /// Waits for the drain to begin. Never ends when every [`Drain`] is gone: then nobody can ask
    /// for one.
    pub(crate) async fn begun(&mut self) {
        if self.deadline.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Once begun: waits until the last deadline that was set has passed.
    pub(crate) async fn over(&mut self) {
        loop {
            let Some(deadline) = *self.deadline.borrow_and_update() else {
                return std::future::pending().await;
            };
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                Ok(()) = self.deadline.changed() => {}
            }
        }
    }
}
