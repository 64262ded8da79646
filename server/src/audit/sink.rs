//! What every kind of audit device can do.

use std::io;

use super::chain::End;

/// Where a device's lines go at last. It may block: it has a thread of its own.
pub(super) trait Sink: Send {
    /// Opens it as far as that leaves nothing behind if it is dropped then.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn probe(&mut self) -> io::Result<()>;

    /// Makes it ready to take lines; whether it is what it was before.
    ///
    /// # Errors
    ///
    /// What the system says; the next attempt may do better.
    fn ready(&mut self) -> io::Result<Ready>;

    /// Writes `lines`, each with its line end, and makes them as lasting as was asked for.
    ///
    /// # Errors
    ///
    /// [`Failed`].
    fn write(&mut self, lines: &[u8]) -> Result<(), Failed>;

    /// Forgets what it is open at, so that it opens it anew.
    fn reopen(&mut self);
}

/// What a sink is once it is ready.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// The same as for the lines before.
    AsBefore,
    /// Another file or connection. If it can be read: where the chain in it ends.
    Anew(Option<End>),
}

/// Not all lines were taken.
#[derive(Debug)]
pub(super) struct Failed {
    /// How many bytes from the start, whole lines, are there all the same.
    pub(super) kept_bytes: usize,
    /// Whether these are as lasting as was asked for; if not, nobody may be told that they are there.
    pub(super) are_lasting: bool,
    pub(super) source: io::Error,
}

/// Whether a datagram cannot hold what it was to hold: what it is sent to is sound, and takes others.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

impl Failed {
    pub(super) const fn with_nothing_kept(source: io::Error) -> Self {
        Self { kept_bytes: 0, are_lasting: false, source }
    }
}
