//! What `fuzz/` reaches of what is private. No part of the interface.

use std::net::SocketAddr;

use crate::proxy_protocol::{Frame, frame, source_address};

/// What the first bytes of a connection are to whoever expects a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// No header.
    Absent,
    /// What may become one.
    Incomplete,
    /// One of so many bytes, and the client that it names, if any.
    Header(usize, Option<SocketAddr>),
    /// What is refused.
    Refused,
}

/// Reads the first bytes of a connection.
#[must_use]
pub fn beginning(read: &[u8]) -> Beginning {
    match frame(read) {
        Frame::Absent => Beginning::Absent,
        Frame::Incomplete => Beginning::Incomplete,
        Frame::TooLong => Beginning::Refused,
        Frame::Complete(length) => {
            let header = read.get(..length).unwrap_or_default();
            let source = source_address(header);
            source.map_or(Beginning::Refused, |source| Beginning::Header(length, source))
        }
    }
}
