//! The PROXY header, versions 1 and 2: whose address counts is settled before a byte reaches TLS or
//! HTTP.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};
use zeroize::Zeroizing;

use crate::preread::Preread;

/// Vault's library reads no longer header either.
const LONGEST_HEADER: usize = 4096;

/// `PROXY UNKNOWN` with two full IPv6 addresses and ports, CRLF included (PROXY protocol §2.1).
const LONGEST_V1_LINE: usize = 107;

const V1_SIGNATURE: &[u8] = b"PROXY";

/// Length of the fixed part of a version 2 header, whose last two bytes count the rest (PROXY
/// protocol §2.2).
const V2_FIXED: usize = 16;

/// Where version and command stand, and what they are for a connection of the proxy's own.
const V2_COMMAND: usize = 12;
const V2_LOCAL: u8 = 0x20;

/// What to make of a PROXY protocol header (version 1 or 2) at the start of a connection: Vault's
/// `proxy_protocol_behavior`, with its `proxy_protocol_authorized_addrs`.
///
/// As in Vault a connection without the header is served under its own address, so only a firewall
/// makes [`ProxyProtocol::UseAlways`] trustworthy.
#[derive(Clone, Debug, Default)]
pub enum ProxyProtocol {
    /// The header is not looked for.
    #[default]
    Off,
    /// Believed from everybody.
    UseAlways,
    /// Believed from these, read and ignored from others.
    AllowAuthorized(Vec<IpNet>),
    /// Believed from these; others are not served at all.
    DenyUnauthorized(Vec<IpNet>),
}

/// Why a connection ends before its first byte of TLS or HTTP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the peer is not authorised to connect (proxy_protocol_behavior is deny_unauthorized)")]
    Unauthorized,
    #[error("the PROXY header is longer than any that is allowed")]
    TooLong,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the connection ended within the PROXY header")]
    Truncated,
    #[error("reading the PROXY header failed")]
    Read(#[source] io::Error),
}

impl ProxyProtocol {
    /// Reads the header, if there is one, and says who the peer is. The caller bounds the time.
    pub(crate) async fn accept(
        &self,
        mut stream: TcpStream,
        socket: SocketAddr,
    ) -> Result<(Preread, SocketAddr), ProxyError> {
        let believed = match self {
            Self::Off => return Ok((Preread::new(Zeroizing::default(), stream), socket)),
            Self::UseAlways => true,
            Self::AllowAuthorized(networks) => contain(networks, socket.ip()),
            Self::DenyUnauthorized(networks) if contain(networks, socket.ip()) => true,
            Self::DenyUnauthorized(_) => return Err(ProxyError::Unauthorized),
        };
        let (header, rest) = read_header(&mut stream).await?;
        let named = if header.is_empty() { None } else { source_address(&header)? };
        let peer = named.filter(|_| believed).unwrap_or(socket);
        Ok((Preread::new(rest, stream), peer))
    }
}

fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The header (empty if there is none) and what was read beyond it.
async fn read_header(
    stream: &mut TcpStream,
) -> Result<(Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>), ProxyError> {
    let mut read = Zeroizing::new(Vec::with_capacity(LONGEST_HEADER));
    loop {
        let length = match frame(&read) {
            Frame::Absent => 0,
            Frame::Complete(length) => length,
            Frame::TooLong => return Err(ProxyError::TooLong),
            Frame::Incomplete => {
                // Never grows the buffer: whatever fills it is complete or too long.
                if stream.read_buf(&mut *read).await.map_err(ProxyError::Read)? == 0 {
                    return Err(ProxyError::Truncated);
                }
                continue;
            }
        };
        let rest = Zeroizing::new(read.get(length..).unwrap_or_default().to_vec());
        read.truncate(length);
        return Ok((read, rest));
    }
}

pub(crate) enum Frame {
    Absent,
    Incomplete,
    Complete(usize),
    TooLong,
}

/// Where the header in `read` ends. Done here, because ppp's own streaming takes some prefixes of a
/// valid version 1 line for malformed.
pub(crate) fn frame(read: &[u8]) -> Frame {
    if read.starts_with(v2::PROTOCOL_PREFIX) {
        let Some([high, low]) = read.get(V2_FIXED - 2..V2_FIXED) else {
            return Frame::Incomplete;
        };
        match V2_FIXED + usize::from(u16::from_be_bytes([*high, *low])) {
            length if length > LONGEST_HEADER => Frame::TooLong,
            length if length > read.len() => Frame::Incomplete,
            length => Frame::Complete(length),
        }
    } else if read.starts_with(V1_SIGNATURE) {
        match read.iter().take(LONGEST_V1_LINE).position(|byte| *byte == b'\n') {
            Some(end) => Frame::Complete(end + 1),
            None if read.len() < LONGEST_V1_LINE => Frame::Incomplete,
            None => Frame::TooLong,
        }
    } else if v2::PROTOCOL_PREFIX.starts_with(read) || V1_SIGNATURE.starts_with(read) {
        Frame::Incomplete
    } else {
        Frame::Absent
    }
}

/// Whether a complete header is one that names nobody, whatever else is in it: UNKNOWN (§2.1) and
/// LOCAL (§2.2), of which ppp reads the rest and may refuse it.
fn names_nobody(header: &[u8]) -> bool {
    match header.strip_prefix(b"PROXY UNKNOWN") {
        Some(rest) => rest == b"\r\n" || rest.starts_with(b" ") && rest.ends_with(b"\r\n"),
        None => {
            header.starts_with(v2::PROTOCOL_PREFIX) && header.get(V2_COMMAND) == Some(&V2_LOCAL)
        }
    }
}

/// The client that a complete header names; none for LOCAL, UNKNOWN and families that are not IP.
pub(crate) fn source_address(header: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    if names_nobody(header) {
        return Ok(None);
    }
    let source = if header.starts_with(V1_SIGNATURE) {
        // ppp takes a CR for a space and a space for the CR, and a sign before a port.
        let line = header.strip_suffix(b"\r\n").unwrap_or(b"\r");
        if line.iter().any(|byte| matches!(byte, b'\r' | b'+')) {
            return Err(ProxyError::Malformed);
        }
        let Ok(header) = v1::Header::try_from(header) else {
            return Err(ProxyError::Malformed);
        };
        match header.addresses {
            v1::Addresses::Tcp4(ip) => Some((IpAddr::V4(ip.source_address), ip.source_port)),
            v1::Addresses::Tcp6(ip) => Some((IpAddr::V6(ip.source_address), ip.source_port)),
            v1::Addresses::Unknown => None,
        }
    } else {
        let Ok(header) = v2::Header::try_from(header) else {
            return Err(ProxyError::Malformed);
        };
        match (header.command, header.addresses) {
            (v2::Command::Local, _) => None,
            (_, v2::Addresses::IPv4(ip)) => Some((IpAddr::V4(ip.source_address), ip.source_port)),
            (_, v2::Addresses::IPv6(ip)) => Some((IpAddr::V6(ip.source_address), ip.source_port)),
            (_, v2::Addresses::Unix(_) | v2::Addresses::Unspecified) => None,
        }
    };
    Ok(source.map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port)))
}

#[cfg(test)]
mod tests;
