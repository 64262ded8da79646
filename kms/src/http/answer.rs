//! Reads answers into memory that is bounded, and wiped at the end: an answer to an unwrap is a
//! DEK.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use selkie_memory::WipedVec;

use super::HttpReason;

/// More than any answer of a KMS or an identity endpoint.
pub(super) const LIMIT: usize = 1024 * 1024;
/// Room for an answer that does not say its length.
const FIRST: usize = 16 * 1024;

/// Reads an answer to its end, into one buffer that is wiped with its last holder. A frame shares its
/// memory with the connection's read buffer: once it is dropped, the next read of the connection
/// wipes it (`WipeIo`), or it is freed and the allocator does.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, HttpReason> {
    let mut whole = WipedVec::with_capacity(expected(&body, limit)?);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(HttpReason::of)?.into_data() else { continue };
        let length = whole.len().saturating_add(data.len());
        if length > limit {
            return Err(HttpReason::TooLarge);
        }
        whole.extend_from_slice(&data);
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
