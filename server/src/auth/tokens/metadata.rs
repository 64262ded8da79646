//! What whoever makes a token, or a secret id, may write on it. Each audit line of the token tells it, so
//! that nobody hides behind more than a line has room for.

use std::collections::BTreeMap;

const MOST_ENTRIES: usize = 64;
const MOST_NAME_BYTES: usize = 128;
const MOST_TEXT_BYTES: usize = 512;
const MOST_BYTES: usize = 2 << 10;

/// More than a token may carry. The bounds for entries are Vault's for the metadata of entities; for that
/// of tokens it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "at most {MOST_ENTRIES} entries and {MOST_BYTES} bytes of JSON, names of at most {MOST_NAME_BYTES} \
     bytes and texts of at most {MOST_TEXT_BYTES} bytes"
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
        let length = || serde_json::to_string(metadata).map_or(usize::MAX, |json| json.len());
        if is_small && length() <= MOST_BYTES { Ok(()) } else { Err(Self) }
    }
}
