use bytes::Bytes;

use crate::wipe;

/// Wipes the bytes of a network frame that has been copied out of.
///
/// The frame may still share its allocation with the HTTP library's read buffer, which keeps the
/// bytes for as long as the connection lives. Call it only on a frame whose bytes no other handle
/// will read again: the frame of a request body is such a one, because the HTTP library has split
/// it off its buffer and hands it out once.
pub fn wipe_frame(frame: Bytes) {
    if cfg!(feature = "unhygienic") {
        return;
    }
    match frame.try_into_mut() {
        Ok(mut unique) => wipe(&mut unique),
        Err(shared) => wipe_shared(&shared),
    }
}

fn wipe_shared(frame: &Bytes) {
    let start = frame.as_ptr().cast_mut();
    // SAFETY: exactly the frame's live range. The bytes of a body frame are in heap memory that the
    // HTTP library filled, so they are writable; `Bytes` only ever splits disjoint ranges off, and
    // the caller owes that nobody else reads this range, so no other access races with the write.
    unsafe {
        libc::explicit_bzero(start.cast(), frame.len());
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn a_frame_that_shares_its_buffer_is_wiped_and_its_neighbour_kept() {
        let mut buffer = BytesMut::from(&b"head|secret|tail"[..]);
        let head = buffer.split_to(5).freeze();
        let frame = buffer.split_to(6).freeze();
        let alias = frame.clone();
        wipe_frame(frame);
        assert_eq!(&alias[..], [0; 6]);
        assert_eq!(&head[..], b"head|");
        assert_eq!(&buffer[..], b"|tail");
    }

    #[test]
    fn an_unshared_frame_is_accepted() {
        wipe_frame(Bytes::from(b"secret".to_vec()));
        wipe_frame(Bytes::new());
    }
}
