//! What lies below the prefix of a store and is none of its records.

use std::error::Error;

/// A pair below the prefix of a store that is no record of it: the source of
/// [`StoreError::Corrupt`](crate::StoreError::Corrupt). It is never passed over, since a record of
/// ours that is damaged looks the same, and would be missing then.
#[derive(Debug, thiserror::Error)]
pub enum EtcdDamage {
    /// A record of ours that is damaged, or something of others.
    #[error("what etcd has under \"{key}\" is no record of Selkie")]
    NoRecord {
        /// etcd's key, with escapes.
        key: String,
        /// How that shows.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A record of another store: one of the two prefixes begins with the other.
    #[error(
        "\"{key}\" in etcd belongs to the Selkie at \"{other}\", which overlaps with \"{ours}\""
    )]
    OtherStore {
        /// etcd's key, with escapes.
        key: String,
        /// The prefix of this store.
        ours: String,
        /// That of the other one.
        other: String,
    },
}

impl EtcdDamage {
    /// One of etcd's keys for people to read; what has none of ours may have any bytes and length.
    pub(super) fn shown(key: &[u8]) -> String {
        const LONGEST: usize = 1024;
        let cut = key.get(..LONGEST).unwrap_or(key);
        let dots = if cut.len() < key.len() { "..." } else { "" };
        format!("{}{dots}", cut.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_key_has_no_control_characters_and_an_end() {
        assert_eq!(EtcdDamage::shown(b"s/\x1b[2J\xff\""), "s/\\x1b[2J\\xff\\\"");
        assert_eq!(EtcdDamage::shown(&[b'k'; 5000]).len(), 1024 + 3);
    }
}
