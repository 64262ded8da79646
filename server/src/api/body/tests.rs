use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};

use super::*;

/// A body that yields what it is told to, then ends, breaks or hangs.
struct Scripted {
    frames: VecDeque<Bytes>,
    end: End,
    declared: u64,
}

#[derive(Clone, Copy)]
enum End {
    Whole,
    Broken,
    Hanging,
}

struct Broken;

impl Body for Scripted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match (self.frames.pop_front(), self.end) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, End::Whole) => Poll::Ready(None),
            (None, End::Broken) => Poll::Ready(Some(Err(Broken))),
            (None, End::Hanging) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.declared);
        hint
    }
}

fn scripted(frames: &[&'static [u8]], end: End) -> Scripted {
    let frames = frames.iter().map(|frame| Bytes::from_static(frame)).collect();
    Scripted { frames, end, declared: 0 }
}

const LIMITS: BodyLimits = BodyLimits { bytes: 10, time: Duration::from_secs(30) };

#[tokio::test]
async fn a_chunked_body_up_to_the_limit_is_read_whole() {
    let body = scripted(&[b"12345", b"", b"67", b"890"], End::Whole);
    assert_eq!(read(body, LIMITS).await.as_deref(), Ok(&b"1234567890"[..]));
}

#[tokio::test]
async fn one_byte_over_the_limit_is_too_large() {
    let body = scripted(&[b"12345", b"678901"], End::Whole);
    assert_eq!(read(body, LIMITS).await.unwrap_err(), BodyError::TooLarge);
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_unread() {
    let mut body = scripted(&[], End::Hanging);
    body.declared = 11;
    assert_eq!(read(body, LIMITS).await.unwrap_err(), BodyError::TooLarge);
}

#[tokio::test]
async fn a_huge_declaration_reserves_little() {
    let mut body = scripted(&[b"{}"], End::Whole);
    body.declared = 32 << 20;
    let whole = read(body, BodyLimits::default()).await.unwrap();
    assert!(whole.capacity() <= LARGEST_RESERVE_BYTES);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_incomplete() {
    let body = scripted(&[b"1234"], End::Broken);
    assert_eq!(read(body, LIMITS).await.unwrap_err(), BodyError::Incomplete);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_times_out() {
    let body = scripted(&[b"1234"], End::Hanging);
    assert_eq!(read(body, LIMITS).await.unwrap_err(), BodyError::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn only_what_the_client_took_to_send_counts_as_its_time() {
    let whole = scripted(&[b"12345"], End::Whole);
    assert_eq!(read_timed(whole, LIMITS).await.unwrap().1, Duration::ZERO);
    let (seconds, frame) = (Duration::from_secs(3), Bytes::from(b"12345".to_vec()));
    let late = async move {
        tokio::time::sleep(seconds).await;
        Ok::<_, Broken>(Frame::data(frame))
    };
    let late = http_body_util::StreamBody::new(Box::pin(futures_util::stream::once(late)));
    let (body, waited) = read_timed(late, LIMITS).await.unwrap();
    assert_eq!((&body[..], waited), (&b"12345"[..], seconds));
}
