//! What Selkie and its child process `selkie-pkcs11` say to each other: requests one way, replies
//! the other, over one socket. Pure: bytes in, messages out; it will never do I/O or know what a
//! token does with what it is asked.
//!
//! A frame is its length (4 bytes, big-endian, without itself) and a message of so many bytes: a
//! number (8 bytes) that the reply repeats, a kind (1 byte) and its fields. Texts and byte strings
//! have their length (2 bytes) in front. Whatever is not exactly so is refused; nothing may follow.
//! Frames hold the PIN and DEKs, so they are wiped when dropped.

mod reply;
mod request;
mod wire;

use selkie_memory::WipedVec;

pub use reply::{Class, Failure, KeyFacts, KeyKind, Reply, Stage, Token, Uses};
pub use request::{KeyName, Mechanism, Open, Request, Selector, SlotChoice, Witness};
pub use wire::Malformed;
use wire::{Reader, Writer};

/// The most bytes that a message has.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;
/// Bytes of the length in front of a message.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of a nonce of AES-GCM.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a DEK, or of a share of one.
pub const SECRET_BYTES: usize = 32;

/// How many bytes the message behind this length has.
///
/// # Errors
///
/// [`Malformed`] if no message has so many.
pub fn message_bytes(length: [u8; LENGTH_BYTES]) -> Result<usize, Malformed> {
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes <= MAX_MESSAGE_BYTES { Ok(bytes) } else { Err(Malformed) }
}

/// Something that is said.
pub trait Message: Sized {
    /// The frame that says it under `number`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if a field is longer than it may be.
    fn frame(&self, number: u64) -> Result<WipedVec, Malformed>;

    /// The message and its number, from all bytes after the length.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    fn parse(bytes: &[u8]) -> Result<(u64, Self), Malformed>;
}

impl Message for Request {
    fn frame(&self, number: u64) -> Result<WipedVec, Malformed> {
        let mut writer = Writer::new(number);
        self.write(&mut writer)?;
        writer.finish()
    }

    fn parse(bytes: &[u8]) -> Result<(u64, Self), Malformed> {
        let mut reader = Reader::new(bytes);
        let (number, message) = (reader.u64()?, Self::read(&mut reader)?);
        reader.finish().map(|()| (number, message))
    }
}

impl Message for Reply {
    fn frame(&self, number: u64) -> Result<WipedVec, Malformed> {
        let mut writer = Writer::new(number);
        self.write(&mut writer)?;
        writer.finish()
    }

    fn parse(bytes: &[u8]) -> Result<(u64, Self), Malformed> {
        let mut reader = Reader::new(bytes);
        let (number, message) = (reader.u64()?, Self::read(&mut reader)?);
        reader.finish().map(|()| (number, message))
    }
}

#[cfg(test)]
mod tests;
