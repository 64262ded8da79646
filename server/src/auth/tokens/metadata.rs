//! What whoever makes a token, or a secret id, may write on it.

use std::collections::BTreeMap;

const MOST_ENTRIES: usize = 64;
const MOST_NAME_BYTES: usize = 128;
const MOST_TEXT_BYTES: usize = 512;

/// More than a token may carry. The bounds are Vault's for the metadata of entities; for that of tokens
/// it has none, though each audit line tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "at most {MOST_ENTRIES} entries, names of at most {MOST_NAME_BYTES} bytes and texts of at most \
     {MOST_TEXT_BYTES} bytes"
)]
pub struct LargeMetadata;

impl LargeMetadata {
    /// Checks the metadata that a token, or a secret id, is to have.
    ///
    /// # Errors
    ///
    /// It is more than that.
    pub fn check(metadata: &BTreeMap<String, String>) -> Result<(), Self> {
        let fits = |(name, text): (&String, &String)| {
            name.len() <= MOST_NAME_BYTES && text.len() <= MOST_TEXT_BYTES
        };
        let is_small = metadata.len() <= MOST_ENTRIES && metadata.iter().all(fits);
        if is_small { Ok(()) } else { Err(Self) }
    }
}
