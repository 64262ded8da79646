//! The body of an answer: whole, cut off, or stalled.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    /// Half of it, then the connection is closed.
    Cut,
    /// Half of it, then nothing.
    Stalled,
}

/// A body.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    chunk: Option<Bytes>,
    announced: u64,
    end: End,
    pause: Option<Pin<Box<Sleep>>>,
}

/// The body was cut off on purpose.
#[derive(Debug, thiserror::Error)]
#[error("cut off by a fault rule")]
pub(crate) struct CutOff;

impl AnswerBody {
    pub(crate) fn new(bytes: Bytes, end: End) -> Self {
        let announced = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let sent = if end == End::Whole { bytes } else { bytes.slice(..bytes.len() / 2) };
        let chunk = Some(sent).filter(|bytes| !bytes.is_empty());
        Self { chunk, announced, end, pause: None }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(chunk) = self.chunk.take() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Stalled => Poll::Pending,
            End::Cut => {
                // The half that is sent has to leave before the error discards what is buffered.
                let pause = self
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(20))));
                ready!(pause.as_mut().poll(cx));
                Poll::Ready(Some(Err(CutOff)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == End::Whole && self.chunk.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (self.end, &self.chunk) {
            (End::Whole, None) => SizeHint::with_exact(0),
            _ => SizeHint::with_exact(self.announced),
        }
    }
}
