//! Buffers for secrets of any length. Nothing that one leaves behind, by growing or by its end,
//! stays readable.

use std::fmt;
use std::io::{self, Write};
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

/// What grows by bytes that are written in place, whether it wipes itself or need not.
pub trait ByteBuffer {
    /// Appends so many of `filler`, and hands them out.
    fn append_filled(&mut self, bytes: usize, filler: u8) -> &mut [u8];
}

impl ByteBuffer for Vec<u8> {
    fn append_filled(&mut self, bytes: usize, filler: u8) -> &mut [u8] {
        let start = self.len();
        self.resize(start.saturating_add(bytes), filler);
        self.get_mut(start..).unwrap_or_default()
    }
}

/// A byte vector that is wiped when dropped, its spare capacity included.
///
/// It grows by moving, and wipes what it leaves behind; to reserve first still saves the move.
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

    /// For how many bytes there is room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Makes room for `capacity` bytes in all.
    pub fn grow_to(&mut self, capacity: usize) {
        if capacity > self.0.capacity() {
            let mut larger = Self::with_capacity(capacity);
            larger.0.extend_from_slice(&self.0);
            *self = larger;
        }
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Appends `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn make_room(&mut self, bytes: usize) {
        let length = self.0.len().saturating_add(bytes);
        if length > self.0.capacity() {
            self.grow_to(length.max(self.0.capacity().saturating_mul(2)));
        }
    }

    /// Takes the last byte off.
    pub fn pop(&mut self) -> Option<u8> {
        self.0.pop()
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
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// In place: the length of a slice cannot change, so nothing is left behind.
impl DerefMut for WipedVec {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl ByteBuffer for WipedVec {
    fn append_filled(&mut self, bytes: usize, filler: u8) -> &mut [u8] {
        self.make_room(bytes);
        self.0.append_filled(bytes, filler)
    }
}

impl Write for WipedVec {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
    fn growth_keeps_the_bytes_and_moves_them() {
        let mut buffer = WipedVec::with_capacity(4);
        buffer.extend_from_slice(b"abcd");
        // Both blocks live while the bytes are moved, and the former one is dropped as any other.
        let former = buffer.as_ptr();
        buffer.extend_from_slice(b"ef");
        assert_ne!(buffer.as_ptr(), former);
        assert!(buffer.capacity() >= 8);
        buffer.push(b'g');
        assert_eq!(&*buffer, b"abcdefg");
    }

    #[test]
    fn a_buffer_never_shrinks() {
        let mut buffer = WipedVec::with_capacity(8);
        buffer.grow_to(4);
        assert!(buffer.capacity() >= 8);
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", WipedVec::new(b"secret".to_vec())), "WipedVec");
    }
}
