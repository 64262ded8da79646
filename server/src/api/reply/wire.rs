//! The envelope of a reply for a serialiser.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::ReplyFrame;
use crate::api::data::{Auth, WrapInfo};
use crate::api::fields::Warnings;

/// The envelope, in the order of Vault 1.14's struct.
#[derive(Serialize)]
pub(super) struct Wire<'a, D> {
    pub(super) request_id: &'a str,
    pub(super) lease_id: &'a str,
    pub(super) renewable: bool,
    pub(super) lease_duration: u64,
    pub(super) data: Option<&'a D>,
    pub(super) wrap_info: Option<&'a WrapInfo<'a>>,
    pub(super) warnings: &'a Warnings,
    pub(super) auth: Option<&'a Auth<'a>>,
}

impl Serialize for Warnings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_none() } else { self.0.serialize(serializer) }
    }
}

/// The members of an object, in their order.
pub(super) struct Members<'a, K, V>(pub(super) &'a [(K, V)]);

impl<K: Serialize, V: Serialize> Serialize for Members<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// An envelope with the members of its data at the top level as well.
pub(super) struct Twice<'a, K, V> {
    pub(super) frame: ReplyFrame<'a>,
    pub(super) data: Members<'a, K, V>,
}

impl<K: Serialize, V: Serialize> Serialize for Twice<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.data.0 {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("request_id", self.frame.request_id)?;
        map.serialize_entry("lease_id", "")?;
        map.serialize_entry("renewable", &false)?;
        map.serialize_entry("lease_duration", &0)?;
        map.serialize_entry("data", &self.data)?;
        map.serialize_entry("wrap_info", &None::<()>)?;
        map.serialize_entry("warnings", self.frame.warnings)?;
        map.serialize_entry("auth", &None::<()>)?;
        map.end()
    }
}
