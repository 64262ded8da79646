use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use crate::limits::{Limits, SMALLEST_BUFFER, deadline_after};

const PHASE_BITS: u64 = 2;
const PHASE_MASK: u64 = (1 << PHASE_BITS) - 1;
const HEAD: u64 = 0;
const BUSY: u64 = 1;
const IDLE: u64 = 2;

/// What a connection is doing: a head is due, a request is being worked on, or nothing is asked.
///
/// Shared by the stream, which sees bytes, and the service, which sees requests; both run in the
/// connection's task, so the atomic is for the compiler, not for contention. The upper bits count
/// changes: a wait that was measured for one request must not count against the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    word: AtomicU64,
    has_grown: AtomicBool,
}

impl Phase {
    /// The head is complete; from here the service answers for the time taken.
    pub(crate) fn request_begins(&self) {
        self.enter(BUSY);
    }

    /// The service has answered. What is still to be written is bounded by stall and idle time.
    pub(crate) fn request_ends(&self) {
        self.enter(IDLE);
    }

    /// At least one request was served, and none is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.load() & PHASE_MASK == IDLE
    }

    /// Whether hyper's buffer is larger than it begins: then earlier heads, tokens included, stay in
    /// a part of it that it does not offer for reading, where nothing wipes them.
    pub(crate) fn has_grown(&self) -> bool {
        // The build that wipes nothing leaves nothing that could be wiped out of reach either.
        !cfg!(feature = "unhygienic") && self.0.has_grown.load(Ordering::Relaxed)
    }

    fn bytes_arrived(&self) {
        if self.is_idle() {
            self.enter(HEAD);
        }
    }

    fn bytes_left(&self) {
        if self.is_idle() {
            self.enter(IDLE);
        }
    }

    fn enter(&self, phase: u64) {
        let changes = (self.load() >> PHASE_BITS).wrapping_add(1);
        self.0.word.store((changes << PHASE_BITS) | phase, Ordering::Relaxed);
    }

    fn load(&self) -> u64 {
        self.0.word.load(Ordering::Relaxed)
    }
}

/// What a peer has for its handshake and head, or to go on taking its reply, while others wait for
/// its place: some round trips from far away.
pub(crate) const HURRY: Duration = Duration::from_millis(500);

/// Whether a peer gets on, which is asked while others wait for its place.
#[derive(Debug)]
pub(crate) struct Headway {
    word: u64,
    since: Instant,
}

impl Headway {
    /// Of a connection that was accepted then.
    pub(crate) const fn since(accepted: Instant) -> Self {
        Self { word: HEAD, since: accepted }
    }

    /// Whether the peer has owed the same head, or left the same reply lying, for too long. The
    /// time in which the service works is not the peer's.
    pub(crate) fn is_missing(&mut self, phase: &Phase) -> bool {
        let word = phase.load();
        if word != self.word {
            *self = Self { word, since: Instant::now() };
        }
        word & PHASE_MASK != BUSY && self.since.elapsed() >= HURRY
    }
}

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
    silence_is_for: Option<u64>,
    /// Wakes at `silent_at` or before: a deadline that moves on, as each request's does, is found
    /// out when the timer ends, and costs no change of it.
    silence: Pin<Box<Sleep>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> PatientIo<S> {
    pub(crate) fn new(stream: S, phase: Phase, limits: &Limits) -> Self {
        let silent_at = deadline_after(limits.header);
        Self {
            stream,
            phase,
            header: limits.header,
            idle: limits.idle,
            stall: limits.stall,
            silent_at,
            silence_is_for: Some(HEAD),
            silence: Box::pin(tokio::time::sleep_until(silent_at)),
            stalled: None,
        }
    }

    /// Ready when the peer has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let word = self.phase.load();
        let allowed = match word & PHASE_MASK {
            HEAD => self.header,
            IDLE => self.idle,
            _ => return Poll::Pending,
        };
        if self.silence_is_for != Some(word) {
            self.silence_is_for = Some(word);
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
            self.phase.0.has_grown.store(true, Ordering::Relaxed);
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
                self.stalled = None;
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
