//! What is allowed but worth telling.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use selkie_hcl::{Place, Position};

/// Something that works and that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file it is about.
    pub file: Arc<str>,
    /// Where in it.
    pub position: Position,
    /// What.
    pub kind: WarningKind,
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarningKind {
    /// Others than its owner may read the file of a secret.
    #[error("{path:?} is readable by others than its owner: chmod 0400 it")]
    ExposedFile {
        /// The file.
        path: PathBuf,
    },
    /// A key of 32 printable characters has far less than 256 bits.
    #[error("the key is printable text, so hardly random: make one with `openssl rand 32`")]
    PrintableKey,
    /// What is made through the API is lost at exit.
    #[error("storage \"inmem\" forgets all keys made through the API when the server stops")]
    ForgetfulStorage,
    /// Whoever reaches the port says where a connection comes from.
    #[error("proxy_protocol_behavior \"use_always\" believes everyone who reaches this listener")]
    EveryProxyBelieved,
    /// Tokens and plaintexts go over the wire unprotected.
    #[error("tls_disable on an address that others can reach: tokens and secrets travel in clear")]
    PlainHttp,
}

impl Warning {
    pub(crate) fn at(place: Place<'_>, kind: WarningKind) -> Self {
        Self { file: place.file(), position: place.position(), kind }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: warning: {}", self.file, self.position, self.kind)
    }
}
