//! Puts back what was read too far.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use zeroize::{Zeroize, Zeroizing};

/// A TCP stream with the bytes that were read beyond the PROXY header put back in front of it.
///
/// Over plain HTTP those bytes may be a whole request, so they are wiped as they are handed on.
#[derive(Debug)]
pub(crate) struct Preread {
    rest: Zeroizing<Vec<u8>>,
    handed_on: usize,
    stream: TcpStream,
}

impl Preread {
    pub(crate) fn new(rest: Zeroizing<Vec<u8>>, stream: TcpStream) -> Self {
        Self { rest, handed_on: 0, stream }
    }

    #[cfg(test)]
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let end = self.rest.len().min(self.handed_on.saturating_add(buf.remaining()));
        let Some(bytes) = self.rest.get_mut(self.handed_on..end).filter(|bytes| !bytes.is_empty())
        else {
            return false;
        };
        buf.put_slice(bytes);
        bytes.zeroize();
        self.handed_on = end;
        true
    }
}

impl AsyncRead for Preread {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.hand_on(buf) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Preread {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
