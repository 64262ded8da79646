//! Randomness comes in as a value: a simulation replays it, and a source that fails stops the
//! operation.

use std::fmt;

/// A source of randomness: fills the whole buffer or fails.
///
/// It comes in as a value so that a simulation can replay; servers pass [`os_random`].
pub type Random = dyn Fn(&mut [u8]) -> Result<(), RandomError> + Send + Sync;

/// The source of randomness failed; nothing was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomError;

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system gave no randomness")
    }
}

impl std::error::Error for RandomError {}

/// Fills `buffer` from the operating system.
///
/// # Errors
///
/// [`RandomError`] where the kernel has no entropy source (before early boot is over).
#[expect(clippy::map_err_ignore, reason = "the cause is an opaque number of the kernel's")]
pub fn os_random(buffer: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(buffer).map_err(|_| RandomError)
}
