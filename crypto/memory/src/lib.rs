//! What safe Rust cannot say about memory: wiping the stack below the caller, pages that no dump
//! shows, and giving back code that the start alone has used; beside it the reader that leaves no
//! stale bytes in a buffer. It is the only crate of Selkie with `unsafe` code, each block argued,
//! and it will never know what the bytes mean.

mod buffer;
mod code;
mod page;
mod stack;
#[cfg(feature = "io")]
mod wipe_io;

pub use buffer::{ByteBuffer, WipedVec, wipe};
pub use code::ProgramCode;
pub use page::{PageError, SecretPage};
pub use stack::{SCRUBBED_BYTES, with_scrubbed_bytes, with_scrubbed_stack};
#[cfg(feature = "io")]
pub use wipe_io::WipeIo;
