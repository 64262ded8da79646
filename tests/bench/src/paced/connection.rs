//! A client's connection without an HTTP library, whose own work would count as the server's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::str;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// Where `HTTP/1.1 200` has its number.
const STATUS: std::ops::Range<usize> = 9..12;
const REPLY_BYTES: usize = 64 * 1024;

/// A connection over which one request is on its way at most.
pub(super) struct Connection {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    /// What has come of the reply.
    reply: Vec<u8>,
    filled: usize,
    /// When the request that is on its way was due.
    pub(super) due: Instant,
}

impl Connection {
    pub(super) fn open(server: SocketAddr, config: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        let name = || ServerName::IpAddress(server.ip().into());
        let tls = config.map(|config| ClientConnection::new(Arc::clone(config), name()));
        let (tls, reply) = (tls.transpose()?, vec![0; REPLY_BYTES]);
        Ok(Self { stream, tls, reply, filled: 0, due: Instant::now() })
    }

    /// Sends `request` and waits for its reply, with the handshake if there was none yet.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.stream.set_nonblocking(false)?;
        self.send(request)?;
        while !self.receive()? {}
        Ok(self.stream.set_nonblocking(true)?)
    }

    pub(super) fn send(&mut self, request: &[u8]) -> Result<()> {
        self.filled = 0;
        let Some(tls) = &mut self.tls else { return Ok(self.stream.write_all(request)?) };
        tls.writer().write_all(request)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)
                .context("a request must fit into the socket's buffer")?;
        }
        Ok(())
    }

    /// Takes what has come; whether it is the whole reply.
    pub(super) fn receive(&mut self) -> Result<bool> {
        if self.read()? == 0 {
            return Ok(false);
        }
        let reply = self.reply.get(..self.filled).unwrap_or_default();
        let Some(at) = reply.windows(4).position(|bytes| bytes == END_OF_HEAD) else {
            return Ok(false);
        };
        let head = reply.get(..at).unwrap_or_default();
        let status = head.get(STATUS).unwrap_or_default();
        ensure!(status == b"200", "the answer was {}", String::from_utf8_lossy(status));
        Ok(self.filled >= at + END_OF_HEAD.len() + content_length(head)?)
    }

    fn read(&mut self) -> Result<usize> {
        let room = self.reply.get_mut(self.filled..).filter(|room| !room.is_empty());
        let room = room.context("the answer is too long")?;
        let read = match &mut self.tls {
            None => self.stream.read(room),
            Some(tls) => match tls.read_tls(&mut self.stream) {
                Ok(0) => bail!("the server closed the connection"),
                Err(error) => Err(error),
                Ok(_) => {
                    tls.process_new_packets()?;
                    tls.reader().read(room)
                }
            },
        };
        match read {
            Ok(0) => bail!("the server closed the connection"),
            Ok(read) => {
                self.filled += read;
                Ok(read)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn content_length(head: &[u8]) -> Result<usize> {
    let lines = head.split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    let value = values.next().context("the answer has no length")?;
    Ok(str::from_utf8(value)?.trim().parse()?)
}
