//! What stands where in a store.
//!
//! | place | what | sealed |
//! |---|---|---|
//! | `format` | [`Format`]: which layout this is, whose, and which store | no: an older Selkie must be able to read it |
//! | `state-key` | the state key in an envelope for the seals (purpose `state`), as its JSON text | by the seals |
//! | `state-key-local/<id>` | the state key under a local key; `<id>` tells local keys apart | by the local key |
//! | `root` | [`Root`](super::Root): what all other records add up to | by the state key |
//! | `filling` | there while a restore or a migration writes the store; it is not served then | no |
//! | `state-key-local/server/<lease>` | a server that uses the store, where several may ([`Present`](super::presence::Present)); it goes with its process | no |
//! | `transit/<mount>/<name>` | a managed key | by the state key |
//! | `<kind>/...` | another record, of a [`Kept`](super::records::Kept) kind | by the state key |

use selkie_storage::{InvalidKey, RecordKey};
use serde::{Deserialize, Serialize};

/// The number of this layout.
pub const FORMAT: u32 = 1;

/// The places that the state itself takes, which no sealed record may have.
pub const RESERVED: [&str; 5] = ["format", "state-key", "state-key-local", "root", "filling"];

/// What the records of the servers that use the store stand below. It is in a place that was always
/// reserved, and that no watch, sum or copy looks at: a Selkie that does not know of them would take
/// them for tampering anywhere else, and replicas are updated one after the other.
pub const PRESENT: &str = "state-key-local/server";

/// The record `format`, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// [`FORMAT`]. A greater one is of a later Selkie, and is left alone.
    pub format: u32,
    /// The realm of the deployment that made the store.
    pub realm: String,
    /// A UUID that tells this store from all others; a restore or a migration keeps it.
    pub store: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// Whether `key` is one of [`RESERVED`] or below one.
#[must_use]
pub fn is_reserved(key: &RecordKey) -> bool {
    let first = key.as_str().split('/').next();
    first.is_some_and(|first| RESERVED.contains(&first))
}

/// Whether `key` is that of a server that uses the store: no part of what the store holds.
#[must_use]
pub fn is_presence(key: &RecordKey) -> bool {
    key.as_str().strip_prefix(PRESENT).is_some_and(|rest| rest.starts_with('/'))
}

/// One of [`RESERVED`] as a key.
///
/// # Errors
///
/// None in practice: the keys are constants.
pub fn reserved(name: &'static str) -> Result<RecordKey, InvalidKey> {
    name.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_shows_where_a_selkie_that_knows_of_no_such_record_looks_away() {
        // As of the last one that does not, which counts what is reserved by its first segment.
        assert_eq!(RESERVED, ["format", "state-key", "state-key-local", "root", "filling"]);
        let shown: RecordKey = format!("{PRESENT}/694d9c1f2b3a7c05").parse().unwrap();
        assert!(is_presence(&shown) && is_reserved(&shown), "no watch and no sum looks at it");
        assert!(shown.as_str().starts_with("state-key-local/"), "it is in no copy");
    }

    #[test]
    fn no_copy_of_the_state_key_is_taken_for_a_server() {
        for place in ["state-key-local/a2f3e7d7bcecfcee", "state-key-local/server", "state-key"] {
            assert!(!is_presence(&place.parse().unwrap()), "{place}");
        }
    }
}
