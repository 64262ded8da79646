//! Whether the HTTPS port can be reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What the HTTPS port does with connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Open,
    /// Refused.
    Closed,
    /// Accepted, and never answered.
    Silent,
}

/// Turns the port from one mode to another, and tells when it is done.
#[derive(Debug)]
pub(crate) struct Switch {
    wanted: watch::Sender<Mode>,
    reached: watch::Sender<Mode>,
}

impl Default for Switch {
    fn default() -> Self {
        Self { wanted: watch::Sender::new(Mode::Open), reached: watch::Sender::new(Mode::Open) }
    }
}

impl Switch {
    /// Turns it; whether the port has followed.
    pub(crate) async fn turn(&self, mode: Mode) -> bool {
        self.wanted.send_replace(mode);
        let mut reached = self.reached.subscribe();
        let follows = reached.wait_for(|now| *now == mode);
        matches!(tokio::time::timeout(Duration::from_secs(5), follows).await, Ok(Ok(_)))
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.reached.borrow()
    }

    pub(crate) fn wanted(&self) -> watch::Receiver<Mode> {
        self.wanted.subscribe()
    }

    pub(crate) fn has_reached(&self, mode: Mode) {
        self.reached.send_replace(mode);
    }
}
