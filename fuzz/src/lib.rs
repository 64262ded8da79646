//! The fuzz targets of Selkie, each a function named after what it is fed. They assert more than
//! "no panic": inverses, one spelling, agreement with a second implementation, refusal of every
//! change. A target says whether it accepted its input, so that the test which replays the corpora
//! can show that they reach what lies behind the parsers. It will never be part of what is shipped.

#![forbid(unsafe_code)]

mod changed_envelope;
mod ciphertext_text;
mod deployment;
mod envelope;
mod json_bodies;
#[cfg(test)]
mod tests;

pub use changed_envelope::changed_envelope;
pub use ciphertext_text::ciphertext_text;
pub use envelope::envelope;
pub use json_bodies::json_bodies;
