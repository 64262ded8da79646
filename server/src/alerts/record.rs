//! What alerts remember across a restart.

use selkie_crypto::sha256;
use selkie_storage::RecordValue;
use serde::{Deserialize, Serialize};

use super::memory::{Subject, What};
use crate::state::records::{Kept, TooLarge, to_record};

const FORMAT: u32 = 1;
/// The name of the one record that says since when is learned.
const LEARNING: &str = "learning";

/// Since when all that is new is taken for usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learning {
    /// In seconds since 1970.
    pub since: u64,
    /// Whether the end was told.
    pub is_over: bool,
}

/// A record `alerts/...`, as JSON: what alerts remember across a restart, and what replicas share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// `alerts/learning`
    Learning(Learning),
    /// `alerts/<hash>`: a pair, and when it was seen last, in seconds since 1970.
    Seen(Subject, u64),
}

/// A pair in JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPair {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    last: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    learning: Option<Learning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<WrittenPair>,
}

impl WrittenPair {
    pub(super) fn of(subject: &Subject, last: u64) -> Self {
        let (key, network) = match &subject.what {
            What::Key(key) => (Some(key.clone()), None),
            What::Network(network) => (None, Some(network.to_string())),
        };
        Self { client: subject.client.to_string(), key, network, last }
    }

    pub(super) fn read(self) -> Option<(Subject, u64)> {
        let what = match (self.key, self.network) {
            (Some(key), None) => What::Key(key),
            (None, Some(network)) => What::Network(network.parse().ok()?),
            _ => return None,
        };
        Some((Subject { client: self.client.into(), what }, self.last))
    }
}

impl Remembered {
    /// Under which name it is kept.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Learning(_) => LEARNING.to_owned(),
            Self::Seen(subject, _) => Self::name_of(subject),
        }
    }

    /// The name of the record of [`Learning`].
    #[must_use]
    pub fn learning_name() -> String {
        LEARNING.to_owned()
    }

    /// The name of the record of a pair.
    #[must_use]
    pub fn name_of(subject: &Subject) -> String {
        let what = match &subject.what {
            What::Key(key) => format!("key\0{key}"),
            What::Network(network) => format!("network\0{network}"),
        };
        let hash = sha256(format!("{}\0{what}", subject.client).as_bytes());
        base16ct::lower::encode_string(&hash[..16])
    }
}

impl Kept for Remembered {
    const ROOT: &'static str = "alerts";
    type Name = String;
    type Index = ();

    fn place(name: &String) -> String {
        name.clone()
    }

    fn name(place: &str) -> Option<String> {
        Some(place.to_owned())
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        let (learning, seen) = match self {
            Self::Learning(learning) => (Some(*learning), None),
            Self::Seen(subject, last) => (None, Some(WrittenPair::of(subject, *last))),
        };
        to_record(&Written { format: FORMAT, learning, seen })
    }

    fn decode(name: &String, value: &RecordValue) -> Option<Self> {
        let written: Written = serde_json::from_slice(value.as_bytes()).ok()?;
        let read = match (written.learning, written.seen) {
            (Some(learning), None) => Self::Learning(learning),
            (None, Some(pair)) => {
                let (subject, last) = pair.read()?;
                Self::Seen(subject, last)
            }
            _ => return None,
        };
        (written.format == FORMAT && read.name() == *name).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_as_they_were_written_and_only_under_their_name() {
        let client: std::sync::Arc<str> = "vault-eu".into();
        let key = Subject { client: client.clone(), what: What::Key("transit/unseal".into()) };
        let network = Subject { client, what: What::Network("10.0.0.0/24".parse().unwrap()) };
        assert_ne!(Remembered::name_of(&key), Remembered::name_of(&network));
        for record in [
            Remembered::Learning(Learning { since: 5, is_over: true }),
            Remembered::Seen(key, 7),
            Remembered::Seen(network, 8),
        ] {
            let value = record.encode().unwrap();
            assert_eq!(Remembered::decode(&record.name(), &value), Some(record));
            assert_eq!(Remembered::decode(&"0".repeat(32), &value), None);
        }
        let future =
            RecordValue::new(&br#"{"format":2,"learning":{"since":1,"is_over":false}}"#[..]);
        assert_eq!(Remembered::decode(&LEARNING.to_owned(), &future.unwrap()), None);
    }
}
