//! What clients have opened with another server's keys, as it is kept.

use std::sync::Arc;

use selkie_crypto::sha256;
use selkie_storage::RecordValue;
use serde::{Deserialize, Serialize};

use super::usage::Usage;
use crate::state::records::{Kept, TooLarge, to_record};

const FORMAT: u32 = 1;

/// A client and the key of another server that it uses through us.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// `mount/key`.
    pub key: Arc<str>,
    /// What makes it the same client as before, as alerts know it.
    pub client: Arc<str>,
}

/// A record `takeover/<hash>`, as JSON: what a client has opened with a key that is taken over, summed
/// up over all replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRecord {
    format: u32,
    client: String,
    key: String,
    pub(super) usage: Usage,
}

impl Pair {
    /// The name of its record.
    pub(super) fn name(&self) -> String {
        let hash = sha256(format!("{}\0{}", self.client, self.key).as_bytes());
        base16ct::lower::encode_string(&hash[..16])
    }
}

impl UsageRecord {
    pub(super) fn new(pair: &Pair, usage: Usage) -> Self {
        let (client, key) = (pair.client.to_string(), pair.key.to_string());
        Self { format: FORMAT, client, key, usage }
    }

    pub(super) fn pair(&self) -> Pair {
        Pair { key: self.key.as_str().into(), client: self.client.as_str().into() }
    }

    /// Whether it is of a layout that is known here.
    pub(super) const fn is_known(&self) -> bool {
        self.format == FORMAT
    }
}

impl Kept for UsageRecord {
    const ROOT: &'static str = "takeover";
    type Name = String;
    type Index = ();

    fn place(name: &String) -> String {
        name.clone()
    }

    fn name(place: &str) -> Option<String> {
        Some(place.to_owned())
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        to_record(self)
    }

    fn decode(name: &String, value: &RecordValue) -> Option<Self> {
        let record: Self = serde_json::from_slice(value.as_bytes()).ok()?;
        (record.is_known() && record.pair().name() == *name).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::usage::Opened;
    use super::*;

    #[test]
    fn records_read_as_they_were_written_and_only_under_their_name() {
        let pair = Pair { key: "transit/unseal".into(), client: "vault-eu".into() };
        let last_foreign = Some(Opened { time: 7, version: 3 });
        let usage = Usage { foreign: 2, last_foreign, ..Usage::default() };
        let record = UsageRecord::new(&pair, usage);
        let value = record.encode().unwrap();
        assert_eq!(UsageRecord::decode(&pair.name(), &value), Some(record.clone()));
        assert_eq!(UsageRecord::decode(&"0".repeat(32), &value), None);
        let future = UsageRecord { format: 2, ..record }.encode().unwrap();
        assert_eq!(UsageRecord::decode(&pair.name(), &future), None);
    }
}
