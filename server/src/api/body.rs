//! Reads a request's body frame by frame into one buffer that wipes itself, so that no copy of a
//! secret in it outlives the request. A frame shares its memory with the connection's read buffer:
//! once it is dropped, the next read of the connection wipes it (`WipeIo`), or it is freed and the
//! allocator does.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use selkie_memory::WipedVec;
use tokio::time::{Instant, timeout_at};

/// A whole request body; wiped when dropped.
pub type BodyBuffer = WipedVec;

/// What is reserved on the word of a Content-Length alone.
const LARGEST_RESERVE_BYTES: usize = 1 << 20;

/// How much a client may send, and how slowly.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Longest body; Vault's own default is 32 MiB.
    pub bytes: usize,
    /// From the call to the last byte.
    pub time: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { bytes: 32 << 20, time: Duration::from_secs(30) }
    }
}

/// Why there is no whole body. Its display is Vault's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is, or is declared to be, longer than the limit.
    #[error("http: request body too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("failed to read request body")]
    TimedOut,
    /// The connection ended, or broke the framing, before the body was whole.
    #[error("failed to read request body")]
    Incomplete,
}

/// How many bytes `body` may take: as many as it announces, or as many as it may have.
pub fn announced_bytes(body: &impl Body, limits: BodyLimits) -> usize {
    let exact = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    exact.unwrap_or(limits.bytes).min(limits.bytes)
}

/// Reads `body` to its end.
///
/// A body that is declared too long is refused before the first byte is asked for, so a client
/// that waits for `100 Continue` never sends it.
///
/// # Errors
///
/// [`BodyError`]; what had been read is wiped.
pub async fn read<B>(body: B, limits: BodyLimits) -> Result<BodyBuffer, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    read_timed(body, limits).await.map(|(whole, _)| whole)
}

/// [`read`], and how long the client took to send it: nothing if it was all there, as with most, for
/// which no clock is read.
///
/// # Errors
///
/// Those of [`read`].
pub async fn read_timed<B>(body: B, limits: BodyLimits) -> Result<(BodyBuffer, Duration), BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limits.bytes {
        return Err(BodyError::TooLarge);
    }
    let mut reading = pin!(read_frames(body, declared, limits.bytes));
    let at_once = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await;
    if let Poll::Ready(whole) = at_once {
        return Ok((whole?, Duration::ZERO));
    }
    let began = Instant::now();
    let whole = timeout_at(began + limits.time, reading).await;
    Ok((whole.unwrap_or(Err(BodyError::TimedOut))?, began.elapsed()))
}

async fn read_frames<B>(mut body: B, declared: usize, limit: usize) -> Result<BodyBuffer, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = WipedVec::with_capacity(declared.min(LARGEST_RESERVE_BYTES));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(BodyError::Incomplete);
        };
        // Anything but data is trailers, for which Vault's API has no use.
        if let Ok(data) = frame.into_data() {
            append(&mut whole, &data, limit)?;
        }
    }
    Ok(whole)
}

fn append(whole: &mut BodyBuffer, data: &[u8], limit: usize) -> Result<(), BodyError> {
    let length = whole.len().saturating_add(data.len());
    if length > limit {
        return Err(BodyError::TooLarge);
    }
    if length > whole.capacity() {
        // Never beyond the limit, which is what the request's share of the memory is counted by.
        whole.grow_to(whole.capacity().saturating_mul(2).clamp(length, limit));
    }
    whole.extend_from_slice(data);
    Ok(())
}

#[cfg(test)]
mod tests;
