//! Connections that say what they have to say one byte at a time, and are opened again when they
//! are closed.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::Result;

use super::honest::Honest;

/// Many of them.
pub(super) struct Dribble<'a> {
    address: SocketAddr,
    text: &'a [u8],
    /// Sent at once, before the first byte of the text.
    start: &'a [u8],
    streams: Vec<(TcpStream, usize)>,
    /// How many were closed by the server.
    pub(super) closed: usize,
}

impl<'a> Dribble<'a> {
    /// Opens `count` connections that begin with `start`.
    pub(super) fn open(
        address: SocketAddr,
        count: usize,
        start: &'a [u8],
        text: &'a [u8],
    ) -> Result<Self> {
        let mut dribble = Self { address, text, start, streams: Vec::new(), closed: 0 };
        for _ in 0..count {
            let stream = dribble.connect()?;
            dribble.streams.push((stream, 0));
        }
        Ok(dribble)
    }

    fn connect(&self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        // A server that has closed it at once is found out by the next byte.
        stream.write_all(self.start).ok();
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Goes on until the honest client has been served so often.
    pub(super) fn until_served(&mut self, honest: &Honest<'_>, rounds: usize) -> Result<()> {
        let aim = honest.rounds() + rounds;
        while honest.rounds() < aim {
            self.turn()?;
            honest.is_served(1)?;
        }
        Ok(())
    }

    /// One byte on each.
    fn turn(&mut self) -> Result<()> {
        for at in 0..self.streams.len() {
            let Some((stream, sent)) = self.streams.get_mut(at) else { continue };
            let byte = self.text.get(*sent % self.text.len()..).and_then(|rest| rest.get(..1));
            match stream.write(byte.unwrap_or(b"x")) {
                Ok(_) => *sent += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.closed += 1;
                    let again = (self.connect()?, 0);
                    if let Some(place) = self.streams.get_mut(at) {
                        *place = again;
                    }
                }
            }
        }
        Ok(())
    }
}
