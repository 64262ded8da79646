use std::fmt;
use std::ops::{Deref, DerefMut};

/// Wipes `bytes` at the speed of `memset`; the `zeroize` crate goes byte by byte, which costs about
/// a microsecond per KiB.
pub fn wipe(bytes: &mut [u8]) {
    if cfg!(feature = "unhygienic") {
        return;
    }
    // SAFETY: pointer and length are those of one live, exclusively borrowed slice, for which
    // zeroes are valid content.
    unsafe {
        libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len());
    }
}

/// A byte vector that is wiped when dropped, its spare capacity included.
///
/// Reserve before writing: what growth leaves behind, only a wiping allocator removes.
#[derive(Default)]
pub struct WipedVec(Vec<u8>);

impl WipedVec {
    /// Takes over `bytes`.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// An empty vector with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Takes the bytes out, which are then no longer wiped.
    #[must_use]
    pub fn into_unwiped(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for WipedVec {
    fn drop(&mut self) {
        // All of the allocation becomes initialised, so that one slice covers it.
        let capacity = self.0.capacity();
        self.0.clear();
        self.0.resize(capacity, 0);
        wipe(&mut self.0);
    }
}

impl Deref for WipedVec {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for WipedVec {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl AsRef<[u8]> for WipedVec {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WipedVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WipedVec")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wipe_leaves_zeroes() {
        let mut bytes = *b"secret";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 6]);
    }

    #[test]
    fn bytes_taken_out_are_whole() {
        let mut buffer = WipedVec::with_capacity(8);
        buffer.extend_from_slice(b"kept");
        assert_eq!(buffer.into_unwiped(), b"kept");
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", WipedVec::new(b"secret".to_vec())), "WipedVec");
    }
}
