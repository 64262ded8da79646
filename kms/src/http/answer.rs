use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use selkie_memory::{WipedVec, wipe_frame};

use super::HttpReason;

/// More than any answer of a KMS or an identity endpoint.
pub(super) const LIMIT: usize = 1024 * 1024;
/// Room for an answer that does not say its length.
const FIRST: usize = 16 * 1024;

/// Reads an answer to its end, into one buffer that is wiped with its last holder; the frames are
/// wiped where they lie, because they share their allocation with the connection's buffer.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, HttpReason> {
    let mut whole = WipedVec::with_capacity(expected(&body, limit)?);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(HttpReason::of)?.into_data() else { continue };
        let length = whole.len().saturating_add(data.len());
        if length <= limit {
            whole = with_room(whole, length);
            whole.extend_from_slice(&data);
        }
        wipe_frame(data);
        if length > limit {
            return Err(HttpReason::TooLarge);
        }
    }
    Ok(Bytes::from_owner(whole))
}

/// The room that the whole answer needs, as far as it says.
fn expected(body: &Incoming, limit: usize) -> Result<usize, HttpReason> {
    let Some(exact) = body.size_hint().exact() else { return Ok(FIRST) };
    match usize::try_from(exact) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(HttpReason::TooLarge),
    }
}

/// Grows by moving, so that what is left behind is wiped.
fn with_room(whole: WipedVec, length: usize) -> WipedVec {
    if length <= whole.capacity() {
        return whole;
    }
    let mut larger = WipedVec::with_capacity(length.max(whole.capacity().saturating_mul(2)));
    larger.extend_from_slice(&whole);
    larger
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_keeps_the_bytes_and_never_reallocates_in_place() {
        let mut small = WipedVec::with_capacity(4);
        small.extend_from_slice(b"abcd");
        let mut larger = with_room(small, 6);
        assert!(larger.capacity() >= 8);
        larger.extend_from_slice(b"ef");
        assert_eq!(larger.as_slice(), b"abcdef");
    }
}
