//! Whether a process lives.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The life of one process. A killed one reaches nothing any more: whatever it still does, in tasks
/// that nobody can end from outside, ends at the next call to the store or a KMS.
#[derive(Clone, Debug)]
pub(crate) struct Life(Arc<watch::Sender<bool>>);

impl Life {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    pub(crate) fn end(&self) {
        self.0.send_replace(false);
    }

    pub(crate) fn is_over(&self) -> bool {
        !*self.0.borrow()
    }

    pub(crate) async fn ended(&self) {
        let mut alive = self.0.subscribe();
        alive.wait_for(|is| !is).await.unwrap();
    }

    /// The way from the process to something outside of it, or back, until it arrives.
    pub(crate) async fn way(&self, arrival: Instant) {
        sleep_until(arrival).await;
        if self.is_over() {
            pending::<()>().await;
        }
    }
}
