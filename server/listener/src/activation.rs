//! Sockets that systemd opened. Each is taken once.

use std::{fmt, io, net::TcpListener};

use listenfd::ListenFd;

/// The sockets that the service manager has opened for us: systemd's `LISTEN_FDS` protocol,
/// `sd_listen_fds(3)`.
pub struct ActivatedSockets {
    sockets: ListenFd,
    names: Vec<String>,
}

/// Which of the sockets is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivatedSocket {
    /// By its place in the unit files' order, from 0.
    Index(usize),
    /// By `FileDescriptorName=`; of several with that name the first.
    Name(String),
}

/// Why a listener cannot have an activated socket.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// There is none at that place or of that name, or it was taken before.
    #[error("no such socket was passed, or another listener has it")]
    Absent,
    /// It cannot be used as a TCP listener.
    #[error("the socket that was passed cannot be used")]
    Unusable(#[source] io::Error),
}

impl ActivatedSockets {
    /// Takes over what was passed to this process, if anything was. `names` is the value of
    /// `LISTEN_FDNAMES`.
    ///
    /// The caller owes to call it once, before there are threads: it removes the variables from the
    /// environment, so that no child takes them for its own.
    #[must_use]
    pub fn inherit(names: Option<&str>) -> Self {
        let names = names.map(|all| all.split(':').map(str::to_owned).collect());
        Self { sockets: ListenFd::from_env(), names: names.unwrap_or_default() }
    }

    /// How many were passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.sockets.len()
    }

    /// Takes one out.
    ///
    /// # Errors
    /// [`ActivationError`] when there is no such socket or it is no TCP listener.
    pub fn take(&mut self, socket: &ActivatedSocket) -> Result<TcpListener, ActivationError> {
        let place = match socket {
            ActivatedSocket::Index(index) => *index,
            ActivatedSocket::Name(name) => {
                self.names.iter().position(|other| other == name).ok_or(ActivationError::Absent)?
            }
        };
        self.sockets
            .take_tcp_listener(place)
            .map_err(ActivationError::Unusable)?
            .ok_or(ActivationError::Absent)
    }
}

impl fmt::Debug for ActivatedSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActivatedSockets").field("names", &self.names).finish_non_exhaustive()
    }
}
