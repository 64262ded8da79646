//! What whoever makes a token, or a secret id, may write on it. Each audit line of the token tells it, so
//! that nobody hides behind more than a line has room for.

use std::collections::BTreeMap;

use selkie_access::PolicyName;

const MOST_ENTRIES: usize = 64;
const MOST_NAME_BYTES: usize = 128;
const MOST_TEXT_BYTES: usize = 512;
const MOST_BYTES: usize = 2 << 10;
/// As many as the audit log tells.
const MOST_POLICY_BYTES: usize = 4 << 10;

/// More than a token may carry. The bounds for entries are Vault's for the metadata of entities; for that
/// of tokens it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "at most {MOST_ENTRIES} entries and {MOST_BYTES} bytes of JSON, names of at most {MOST_NAME_BYTES} \
     bytes and texts of at most {MOST_TEXT_BYTES} bytes"
)]
pub struct LargeMetadata;

/// More policies than a token may have; Vault has no such bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policies: at most {MOST_POLICY_BYTES} bytes of names in all")]
pub struct ManyPolicies;

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

impl ManyPolicies {
    /// Checks the policies that a token is to have.
    ///
    /// # Errors
    ///
    /// Their names are longer than that, in a list in JSON as the audit log tells it.
    pub fn check(policies: &[PolicyName]) -> Result<(), Self> {
        let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\');
        let length = |name: &PolicyName| {
            let escapes = name.as_str().bytes().filter(is_escaped).count();
            name.as_str().len().saturating_add(escapes).saturating_add(3)
        };
        let bytes = policies.iter().map(length).fold(0, usize::saturating_add);
        if bytes <= MOST_POLICY_BYTES { Ok(()) } else { Err(Self) }
    }
}
