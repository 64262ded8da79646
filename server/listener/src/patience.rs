//! Ends connections whose peer is too slow, in either direction, without a timer for each request.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use crate::{
    limits::{Limits, SMALLEST_BUFFER, deadline_after},
    phase::{Kind, Phase, Word},
};

/// What a peer has for each part of its handshake, for its head, or to go on taking its reply, while
/// others wait for its place: some round trips from far away.
pub(crate) const HURRY: Duration = Duration::from_millis(500);

/// A stream that ends when its peer has been silent for longer than its phase allows, and fails
/// when its peer takes nothing for too long.
///
/// Done here and not by hyper's `header_read_timeout`, which has one time for a slow head and an
/// idle connection, and allocates a timer per request.
#[derive(Debug)]
pub(crate) struct PatientIo<S> {
    stream: S,
    phase: Phase,
    header: Duration,
    idle: Duration,
    stall: Duration,
    /// When the peer will have been silent for too long, as long as nothing changes.
    silent_at: Instant,
    silence_is_for: Word,
    /// Wakes at `silent_at` or before: a deadline that moves on, as each request's does, is found
    /// out when the timer ends, and costs no change of it.
    silence: Pin<Box<Sleep>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> PatientIo<S> {
    pub(crate) fn new(stream: S, phase: Phase, limits: &Limits) -> Self {
        let silent_at = deadline_after(limits.header);
        let silence_is_for = phase.word();
        Self {
            stream,
            phase,
            header: limits.header,
            idle: limits.idle,
            stall: limits.stall,
            silent_at,
            silence_is_for,
            silence: Box::pin(tokio::time::sleep_until(silent_at)),
            stalled: None,
        }
    }

    /// Ready when the peer has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let word = self.phase.word();
        let allowed = match word.kind() {
            Kind::Head => self.header,
            Kind::Idle => self.idle,
            Kind::Busy | Kind::Stranger | Kind::Deaf => return Poll::Pending,
        };
        if self.silence_is_for != word {
            self.silence_is_for = word;
            self.silent_at = deadline_after(allowed);
            if self.silent_at < self.silence.deadline() {
                self.silence.as_mut().reset(self.silent_at);
            }
        }
        ready!(self.silence.as_mut().poll(cx));
        if self.silence.deadline() >= self.silent_at {
            return Poll::Ready(());
        }
        self.silence.as_mut().reset(self.silent_at);
        self.silence.as_mut().poll(cx)
    }

    /// Passes on what a write came to, and turns a stall that lasts too long into an error.
    fn judge_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            self.phase.bytes_left();
            return written;
        }
        self.phase.bytes_are_not_taken();
        let stall = self.stall;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline_after(stall))));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if buf.remaining() > SMALLEST_BUFFER {
            self.phase.buffer_grows();
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if buf.filled().len() > before {
                    self.phase.bytes_arrived();
                }
                Poll::Ready(read)
            }
            // The end of the stream, not an error: hyper then closes in order, with TLS'
            // close_notify.
            Poll::Pending => self.poll_silence(cx).map(Ok),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge_write(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            // hyper flushes last whenever it is polled, but reads again only when it was woken for
            // that. So a silence that begins with the end of a reply is timed from here.
            Poll::Ready(flushed) => {
                if self.stalled.take().is_some() {
                    self.phase.bytes_left();
                }
                if self.poll_silence(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(flushed)
            }
            Poll::Pending => self.judge_write(cx, Poll::Pending),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge_write(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
