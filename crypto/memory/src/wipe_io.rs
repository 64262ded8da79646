//! Wipes the buffers of libraries that know nothing of secrets, from below: by the reads that they
//! make.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that zeroes the buffer it is asked to read into before it reads, because the free part
/// of a reused buffer still holds what lay there before: an earlier request in hyper's buffer, a
/// decrypted record in rustls' (which decrypts in place). So it stands both below TLS and below
/// HTTP.
///
/// Not covered: the part of a buffer that its owner has not offered for reading again.
#[derive(Debug)]
pub struct WipeIo<S> {
    stream: S,
    most: usize,
    /// Address and length of a destination that was zeroed and into which nothing was read then:
    /// offered again, it still is. Its owner has no other way to fill it, and if the memory was
    /// somebody else's meanwhile, the allocator has wiped it since.
    zeroed: Option<(usize, usize)>,
}

impl<S> WipeIo<S> {
    /// Wraps a stream.
    pub const fn new(stream: S) -> Self {
        Self { stream, most: usize::MAX, zeroed: None }
    }

    /// The same, which reads at most so many bytes at a time: for an owner who enlarges a buffer
    /// that was filled, and then no longer offers all of it.
    #[must_use]
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// The stream inside.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WipeIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if cfg!(feature = "unhygienic") {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let most = self.most;
        let used_before = buf.initialized().len().saturating_sub(buf.filled().len());
        // Zeroes only what was never initialised; what was used before is the part that matters. A
        // plain fill stays: the buffer outlives the call, so no store to it is dead. (`zeroize`
        // writes byte by byte.)
        let free = buf.initialize_unfilled();
        let place = Some((free.as_ptr().addr(), free.len()));
        if self.zeroed != place
            && let Some(stale) = free.get_mut(..used_before)
        {
            stale.fill(0);
        }
        let (offered, _) = free.split_at_mut(most.min(free.len()));
        let mut part = ReadBuf::new(offered);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        let filled = part.filled().len();
        buf.advance(filled);
        self.zeroed = place.filter(|_| read.is_pending());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WipeIo<S> {
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

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn poll_once(io: &mut WipeIo<impl AsyncRead + Unpin>, buf: &mut ReadBuf<'_>) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Pin::new(io).poll_read(&mut cx, buf).is_ready()
    }

    #[test]
    fn a_read_that_finds_nothing_still_zeroes_the_destination() {
        let (ours, _peer) = duplex(64);
        let mut memory = *b"secret of an earlier request";
        assert!(!poll_once(&mut WipeIo::new(ours), &mut ReadBuf::new(&mut memory)));
        assert_eq!(memory, [0; 28]);
    }

    #[test]
    fn a_read_leaves_what_is_filled_and_zeroes_the_rest() {
        let (ours, _peer) = duplex(64);
        let mut memory = *b"keepsecret";
        let mut buf = ReadBuf::new(&mut memory);
        buf.set_filled(4);
        assert!(!poll_once(&mut WipeIo::new(ours), &mut buf));
        assert_eq!(&memory, b"keep\0\0\0\0\0\0");
    }

    #[tokio::test]
    async fn what_was_read_and_used_is_zeroed_where_it_lay() {
        let (ours, mut peer) = duplex(64);
        let mut io = WipeIo::new(ours);
        let mut memory = *b"stale";
        assert!(!poll_once(&mut io, &mut ReadBuf::new(&mut memory)));
        peer.write_all(b"new").await.unwrap();
        assert!(poll_once(&mut io, &mut ReadBuf::new(&mut memory)));
        assert_eq!(&memory, b"new\0\0");
        assert!(!poll_once(&mut io, &mut ReadBuf::new(&mut memory)));
        assert_eq!(memory, [0; 5]);
    }

    #[tokio::test]
    async fn a_short_read_leaves_nothing_behind_it() {
        let (ours, mut peer) = duplex(64);
        peer.write_all(b"new").await.unwrap();
        let mut memory = *b"old secret";
        assert!(poll_once(&mut WipeIo::new(ours), &mut ReadBuf::new(&mut memory)));
        assert_eq!(&memory, b"new\0\0\0\0\0\0\0");
    }

    #[tokio::test]
    async fn no_more_is_read_than_was_asked_for_and_all_of_the_rest_is_zeroed() {
        let (ours, mut peer) = duplex(64);
        peer.write_all(b"first and next").await.unwrap();
        let mut io = WipeIo::new(ours).at_most(5);
        let mut memory = *b"an old secret of somebody";
        let mut buf = ReadBuf::new(&mut memory);
        assert!(poll_once(&mut io, &mut buf));
        assert_eq!(buf.filled(), b"first");
        assert_eq!(memory[5..], [0; 20]);
    }

    #[test]
    fn uninitialised_memory_becomes_zero() {
        let (ours, _peer) = duplex(64);
        let mut memory = [MaybeUninit::new(0xa5_u8); 16];
        let mut buf = ReadBuf::uninit(&mut memory);
        assert!(!poll_once(&mut WipeIo::new(ours), &mut buf));
        assert_eq!(buf.initialize_unfilled(), [0; 16]);
        assert_eq!(buf.initialized().len(), 16);
    }
}
