//! Frames between server and child. Either may be the other's attacker: a length is believed only
//! within its bound, and a secret's buffer never grows.

use selkie_memory::WipedVec;

use crate::{LENGTH_BYTES, MAX_MESSAGE_BYTES};

/// Bytes that are no message, or a message that does not fit into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of this protocol")]
pub struct Malformed;

/// Writes a frame. There is room for any frame with a secret from the start, so that none is left
/// behind where the memory had to grow.
pub(crate) struct Writer(WipedVec);

const ROOM: usize = 8 * 1024;

impl Writer {
    pub(crate) fn new(number: u64) -> Self {
        let mut bytes = WipedVec::with_capacity(ROOM);
        bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        bytes.extend_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.u16(u16::try_from(bytes.len()).or(Err(Malformed))?);
        self.raw(bytes);
        Ok(())
    }

    /// Nothing, or something: a byte tells which.
    pub(crate) fn option<T: ?Sized>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.u8(u8::from(value.is_some()));
        value.map_or(Ok(()), |value| write(self, value))
    }

    pub(crate) fn finish(mut self) -> Result<WipedVec, Malformed> {
        let bytes = self.0.len().saturating_sub(LENGTH_BYTES);
        if bytes > MAX_MESSAGE_BYTES {
            return Err(Malformed);
        }
        let length = u32::try_from(bytes).or(Err(Malformed))?.to_be_bytes();
        self.0.get_mut(..LENGTH_BYTES).ok_or(Malformed)?.copy_from_slice(&length);
        Ok(self.0)
    }
}

pub(crate) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    /// So many bytes, where they lie: a secret is copied by its taker alone.
    pub(crate) fn raw(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], Malformed> {
        let length = usize::from(self.u16()?);
        self.raw(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        str::from_utf8(self.bytes()?).map(str::to_owned).or(Err(Malformed))
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
