//! `audit "syslog"`: a datagram for each line to the daemon of this machine.

use std::io;
use std::os::unix::net::UnixDatagram;

use selkie_config::AuditSyslog;

use super::sink::{Failed, Ready, Sink, is_too_long};

/// RFC 5424 §6.2.1: severity "informational".
const SEVERITY: u8 = 6;

/// The syslog daemon. Messages have the form that daemons expect at `/dev/log` (RFC 3164 without a
/// host: `<PRI>TAG[PID]: JSON`); they stamp the time themselves, and the line has its own.
///
/// A line that is longer than a datagram may be (about 200 KB on Linux) is refused by the kernel: that
/// line alone is not taken, and no part of it is sent.
#[derive(Debug)]
pub(super) struct SyslogSink {
    settings: AuditSyslog,
    head: Vec<u8>,
    socket: Option<UnixDatagram>,
}

impl SyslogSink {
    pub(super) fn new(settings: AuditSyslog) -> Self {
        let priority = u16::from(settings.facility) * 8 + u16::from(SEVERITY);
        let head = format!("<{priority}>{}[{}]: ", settings.tag, std::process::id());
        Self { settings, head: head.into_bytes(), socket: None }
    }
}

impl Sink for SyslogSink {
    fn probe(&mut self) -> io::Result<()> {
        self.ready().map(drop)
    }

    fn ready(&mut self) -> io::Result<Ready> {
        if self.socket.is_some() {
            return Ok(Ready::AsBefore);
        }
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.settings.socket)?;
        self.socket = Some(socket);
        Ok(Ready::Anew(None))
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Failed> {
        let sent = match &self.socket {
            None => Err(Failed::with_nothing_kept(io::ErrorKind::NotConnected.into())),
            Some(socket) => {
                send_each(lines, |line| socket.send(&[&self.head, line].concat()).map(|_all| ()))
            }
        };
        if sent.as_ref().is_err_and(|failed| !is_too_long(&failed.source)) {
            self.socket = None;
        }
        sent
    }

    fn reopen(&mut self) {
        self.socket = None;
    }
}

/// Sends each of `lines` without its line end, up to the first that is not taken.
pub(super) fn send_each(
    lines: &[u8],
    send: impl Fn(&[u8]) -> io::Result<()>,
) -> Result<(), Failed> {
    let mut kept_bytes = 0_usize;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        send(text).map_err(|source| Failed { kept_bytes, are_lasting: true, source })?;
        kept_bytes = kept_bytes.saturating_add(line.len());
    }
    Ok(())
}
