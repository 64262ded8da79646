//! Secret ids as they are kept: under keyed hashes, their text is nowhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;
use selkie_access::TokenHash;
use selkie_crypto::StateKey;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::role::Role;
use crate::auth::methods::MethodData;
use crate::auth::methods::documents::{Document, DocumentName};
use crate::auth::methods::parameters::{self, network_texts};
use crate::auth::policies::ManagedPolicy;
use crate::clock::{ZERO_TIME, rfc3339};
use crate::state::records::{Index, Kept};

/// A secret id, kept under the keyed hash of its text and of the role it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretId {
    pub(super) accessor: String,
    /// The `uuid` of its role.
    pub(super) role: String,
    /// How many logins it is good for still; 0: any number.
    pub(super) uses: u32,
    /// In seconds; 0: for ever.
    pub(super) ttl: u64,
    /// In seconds since 1970.
    pub(super) created: u64,
    /// The same.
    pub(super) updated: u64,
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(with = "parameters::kept_networks")]
    pub(super) cidr_list: Vec<IpNet>,
    #[serde(with = "parameters::kept_networks")]
    pub(super) token_bound_cidrs: Vec<IpNet>,
}

impl Document for SecretId {
    const ROOT: &'static str = "auth-approle-secret";
    type Index = SecretIds;
    /// The role's policies too: the token of a login is our own, and nobody looks for them again.
    const JUDGED_BY: &'static [&'static str] = &[<Role as Document>::ROOT, ManagedPolicy::ROOT];
}

/// Finds secret ids by what they are not named by.
#[derive(Debug, Default)]
pub(super) struct SecretIds {
    accessors: HashMap<(Uuid, Box<str>), DocumentName>,
    of_role: HashMap<Box<str>, BTreeSet<Box<str>>>,
    ends: BTreeSet<(u64, Uuid, Box<str>)>,
}

impl SecretIds {
    /// The secret id of this mount that has this accessor.
    pub(super) fn by_accessor(&self, mount: Uuid, accessor: &str) -> Option<DocumentName> {
        self.accessors.get(&(mount, accessor.into())).cloned()
    }

    /// The accessors of the secret ids of a role.
    pub(super) fn of_role(&self, role: &Role) -> Vec<String> {
        let accessors = self.of_role.get(role.uuid.as_str()).into_iter().flatten();
        accessors.map(ToString::to_string).collect()
    }

    /// Up to `most` that have ended.
    pub(super) fn ended(&self, now: u64, most: usize) -> Vec<DocumentName> {
        let ended = self.ends.iter().take_while(|(end, ..)| *end <= now).take(most);
        ended.map(|(_, mount, name)| DocumentName::new(*mount, name)).collect()
    }
}

impl Index<SecretId> for SecretIds {
    fn note(&mut self, name: &DocumentName, old: Option<&SecretId>, new: Option<&SecretId>) {
        if let Some(old) = old {
            self.accessors.remove(&(name.mount, Box::from(&*old.accessor)));
            if let Some(end) = old.end() {
                self.ends.remove(&(end, name.mount, name.name.clone()));
            }
            if let Some(accessors) = self.of_role.get_mut(old.role.as_str()) {
                accessors.remove(old.accessor.as_str());
                if accessors.is_empty() {
                    self.of_role.remove(old.role.as_str());
                }
            }
        }
        let Some(new) = new else { return };
        self.accessors.insert((name.mount, Box::from(&*new.accessor)), name.clone());
        if let Some(end) = new.end() {
            self.ends.insert((end, name.mount, name.name.clone()));
        }
        let of_role = self.of_role.entry(Box::from(&*new.role)).or_default();
        of_role.insert(Box::from(&*new.accessor));
    }
}

impl SecretId {
    /// Where the secret id of this text for the role of the `uuid` `role` is kept. The text of no
    /// token has a NUL, so the hashes of tokens are others.
    pub(super) fn name(key: &StateKey, mount: Uuid, role: &str, text: &str) -> DocumentName {
        let head = format!("approle secret id\0{mount}\0{role}\0");
        let length = head.len().saturating_add(text.len());
        let mut named = Zeroizing::new(Vec::with_capacity(length));
        named.extend_from_slice(head.as_bytes());
        named.extend_from_slice(text.as_bytes());
        let hash = TokenHash::new(key.token_hash(&named));
        DocumentName::new(mount, &hash.to_string())
    }

    fn end(&self) -> Option<u64> {
        (self.ttl > 0).then(|| self.created.saturating_add(self.ttl))
    }

    pub(super) fn has_ended(&self, now: u64) -> bool {
        self.end().is_some_and(|end| end <= now)
    }

    /// What a lookup answers.
    pub(super) fn show(&self) -> MethodData {
        let mut data = MethodData::default();
        data.set("cidr_list", network_texts(&self.cidr_list));
        data.set("creation_time", told(Some(self.created)));
        data.set("expiration_time", told(self.end()));
        data.set("last_updated_time", told(Some(self.updated)));
        let metadata = self.metadata.iter();
        let metadata = metadata.map(|(name, value)| (name.clone(), value.as_str().into()));
        data.set("metadata", metadata.collect::<serde_json::Map<_, _>>());
        data.set("secret_id_accessor", self.accessor.as_str());
        data.set("secret_id_num_uses", self.uses);
        data.set("secret_id_ttl", self.ttl);
        data.set("token_bound_cidrs", network_texts(&self.token_bound_cidrs));
        data
    }
}

fn told(time: Option<u64>) -> String {
    time.and_then(rfc3339).unwrap_or_else(|| ZERO_TIME.to_owned())
}
