//! `audit "socket"`: JSON lines to a collector.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use selkie_config::{AuditSocket, AuditTarget};

use super::sink::{Failed, Ready, Sink, is_too_long};
use super::syslog::send_each;

/// How long after a failed connect the next one is tried; until then lines fail at once.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A collector. Over a stream a line counts as taken once the kernel has it: what a collector that
/// dies had not read is lost, so this is no place for the only copy.
#[derive(Debug)]
pub(super) struct SocketSink {
    settings: AuditSocket,
    connection: Option<Connection>,
    failed: Option<Instant>,
}

#[derive(Debug)]
enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
}

impl SocketSink {
    pub(super) const fn new(settings: AuditSocket) -> Self {
        Self { settings, connection: None, failed: None }
    }

    fn connect(&self) -> io::Result<Connection> {
        let timeout = self.settings.write_timeout;
        match &self.settings.target {
            AuditTarget::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, timeout)?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream))
            }
            AuditTarget::Udp(address) => {
                let own: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(own)?;
                socket.connect(address)?;
                socket.set_write_timeout(Some(timeout))?;
                Ok(Connection::Udp(socket))
            }
            AuditTarget::Unix(path) => Ok(Connection::Unix(connect_unix(path, timeout)?)),
        }
    }
}

/// Connects within `timeout`, which holds for writes too: a collector that hangs accepts nobody, and
/// with its queue full the kernel would wait for ever.
pub(super) fn connect_unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
    connect(&socket, &SocketAddrUnix::new(path)?).map_err(|error| match error {
        Errno::AGAIN => io::Error::new(io::ErrorKind::TimedOut, "its collector accepts nobody"),
        error => error.into(),
    })?;
    Ok(socket.into())
}

impl Sink for SocketSink {
    fn probe(&mut self) -> io::Result<()> {
        self.ready().map(drop)
    }

    fn ready(&mut self) -> io::Result<Ready> {
        if self.connection.is_some() {
            return Ok(Ready::AsBefore);
        }
        if self.failed.is_some_and(|failed| failed.elapsed() < RETRY_PAUSE) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.failed = Some(Instant::now());
        self.connection = Some(self.connect()?);
        self.failed = None;
        Ok(Ready::Anew(None))
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Failed> {
        let sent = match &mut self.connection {
            None => Err(Failed::with_nothing_kept(io::ErrorKind::NotConnected.into())),
            Some(Connection::Tcp(stream)) => write_all(stream, lines),
            Some(Connection::Unix(stream)) => write_all(stream, lines),
            Some(Connection::Udp(socket)) => send_each(lines, |line| socket.send(line).map(drop)),
        };
        if sent.as_ref().is_err_and(|failed| !is_too_long(&failed.source)) {
            self.connection = None;
        }
        sent
    }

    fn reopen(&mut self) {
        self.connection = None;
    }
}

/// How many lines the collector has of what broke off nobody knows: so none of their numbers is used
/// again, and nobody is told that one was taken.
fn write_all(stream: &mut impl Write, lines: &[u8]) -> Result<(), Failed> {
    let kept_bytes = lines.len();
    stream.write_all(lines).map_err(|source| Failed { kept_bytes, are_lasting: false, source })
}
