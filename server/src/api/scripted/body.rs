//! True answers that are changed on their way, and bodies that break off.

use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};

/// So long the half that was sent has to leave before the connection ends.
const LEAVING: Duration = Duration::from_millis(100);

/// Announces `length` bytes, sends some, and fails.
struct Broken {
    sent: Option<Bytes>,
    length: u64,
    /// When it fails; at once without it.
    end: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.sent.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(end) = &mut self.end {
            ready!(end.as_mut().poll(context));
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// Nothing at all: a body that fails at once takes the head with it, and the connection.
pub(super) fn broken() -> Response {
    Response::new(Body::new(Broken { sent: None, length: 1, end: None }))
}

/// The first half, and then the connection ends.
pub(super) async fn truncated(answer: Response) -> Response {
    let (parts, bytes) = whole(answer).await;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).max(1);
    let half = bytes.slice(..bytes.len() / 2);
    let end = Some(Box::pin(sleep(LEAVING)));
    Response::from_parts(parts, Body::new(Broken { sent: Some(half), length, end }))
}

/// Every plaintext is another one of the same length. Nothing of a true one is copied.
pub(super) async fn with_wrong_plaintext(answer: Response) -> Response {
    let (parts, bytes) = whole(answer).await;
    let changed = replaced(&bytes, b"\"plaintext\":\"", |value, out| {
        let end = value.iter().position(|byte| *byte == b'"')?;
        let value = value.get(..end)?;
        push_wrong(value, out);
        Some(end)
    });
    Response::from_parts(parts, Body::from(changed))
}

/// Every ciphertext says that it is of `version`.
pub(super) async fn with_version(answer: Response, version: NonZeroU32) -> Response {
    let (parts, bytes) = whole(answer).await;
    let number = |value: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(version.to_string().as_bytes());
        Some(value.iter().take_while(|byte| byte.is_ascii_digit()).count())
    };
    let changed = replaced(&bytes, b"\"ciphertext\":\"vault:v", number);
    let changed = replaced(&changed, b"\"key_version\":", number);
    Response::from_parts(parts, Body::from(changed))
}

/// Ours come in one piece, which is handed over and not copied.
async fn whole(answer: Response) -> (http::response::Parts, Bytes) {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes);
    (parts, bytes.unwrap_or_default())
}

/// What follows each `name` is as `write` has it, which says how much of it that replaces.
fn replaced(
    text: &[u8],
    name: &[u8],
    write: impl Fn(&[u8], &mut Vec<u8>) -> Option<usize>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
        let (before, after) = rest.split_at(at.saturating_add(name.len()).min(rest.len()));
        out.extend_from_slice(before);
        rest = after;
        let Some(taken) = write(rest, &mut out) else { break };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// Base64 of the same length that is not `value`.
fn push_wrong(value: &[u8], out: &mut Vec<u8>) {
    let groups: &[&[u8; 4]] = &[b"d3Jv", b"bmch"];
    for (index, group) in value.chunks(4).enumerate() {
        let wrong: &[u8] = match group {
            [_, _, b'=', b'='] => b"Pw==",
            [_, _, _, b'='] => b"Pz8=",
            _ => groups.get(index % 2).map_or(b"d3Jv", |group| *group),
        };
        out.extend_from_slice(wrong);
    }
}
