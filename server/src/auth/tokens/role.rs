//! Token roles as they are kept, and what they allow.

use std::time::Duration;

use ipnet::IpNet;
use selkie_access::KeyName;
use selkie_storage::RecordValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::GivenTokenType;
use crate::auth::jwt::glob;
use crate::state::records::{Kept, TooLarge, to_record};

/// The name of a token role: the same characters as a key's.
pub type RoleName = KeyName;

/// A token role: what tokens made by it are, and which policies they may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenRole {
    format: u32,
    /// Lower case, in order.
    pub allowed_policies: Vec<String>,
    /// With `*`.
    pub allowed_policies_glob: Vec<String>,
    /// Lower case, in order.
    pub disallowed_policies: Vec<String>,
    /// With `*`.
    pub disallowed_policies_glob: Vec<String>,
    /// Kept and shown; there are no entities.
    pub allowed_entity_aliases: Vec<String>,
    /// Whether its tokens have no parent.
    pub orphan: bool,
    /// Whether its tokens can be renewed.
    pub renewable: bool,
    /// Stands behind the path of its tokens.
    pub path_suffix: String,
    /// Where its tokens are good from.
    #[serde(serialize_with = "write_networks", deserialize_with = "read_networks")]
    pub bound_cidrs: Vec<IpNet>,
    /// What each renewal is worth, in seconds; 0: no period.
    pub period: u64,
    /// In seconds; 0: none of its own.
    pub explicit_max_ttl: u64,
    /// Whether its tokens are without the policy `default`.
    pub no_default_policy: bool,
    /// How many requests its tokens are good for; 0: any number.
    pub num_uses: u32,
    /// Which type its tokens have.
    pub token_type: GivenTokenType,
}

const FORMAT: u32 = 1;

fn write_networks<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}

fn read_networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

impl Default for TokenRole {
    fn default() -> Self {
        Self {
            format: FORMAT,
            allowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            allowed_entity_aliases: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            bound_cidrs: Vec::new(),
            period: 0,
            explicit_max_ttl: 0,
            no_default_policy: false,
            num_uses: 0,
            token_type: GivenTokenType::DefaultService,
        }
    }
}

impl TokenRole {
    /// Whether the role itself says which policies its tokens may have.
    #[must_use]
    pub const fn rules_policies(&self) -> bool {
        self.allows_some() || self.disallows_some()
    }

    /// Whether the role names the policies that are allowed.
    #[must_use]
    pub const fn allows_some(&self) -> bool {
        !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty()
    }

    const fn disallows_some(&self) -> bool {
        !self.disallowed_policies.is_empty() || !self.disallowed_policies_glob.is_empty()
    }

    /// Whether the role allows the policy, by name or by pattern.
    #[must_use]
    pub fn allows(&self, policy: &str) -> bool {
        is_among(&self.allowed_policies, &self.allowed_policies_glob, policy)
    }

    /// Whether the role forbids the policy, by name or by pattern.
    #[must_use]
    pub fn disallows(&self, policy: &str) -> bool {
        is_among(&self.disallowed_policies, &self.disallowed_policies_glob, policy)
    }

    /// The period, if it has one.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        (self.period > 0).then(|| Duration::from_secs(self.period))
    }

    /// The explicit maximum, if it has one.
    #[must_use]
    pub fn explicit_max_ttl(&self) -> Option<Duration> {
        (self.explicit_max_ttl > 0).then(|| Duration::from_secs(self.explicit_max_ttl))
    }
}

fn is_among(names: &[String], globs: &[String], policy: &str) -> bool {
    names.iter().any(|name| name == policy) || globs.iter().any(|pattern| glob(pattern, policy))
}

impl Kept for TokenRole {
    const ROOT: &'static str = "token-role";
    type Name = RoleName;
    type Index = ();

    fn place(name: &RoleName) -> String {
        name.to_string()
    }

    fn name(place: &str) -> Option<RoleName> {
        place.parse().ok()
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        to_record(self)
    }

    fn decode(_name: &RoleName, value: &RecordValue) -> Option<Self> {
        let role: Self = serde_json::from_slice(value.as_bytes()).ok()?;
        (role.format == FORMAT).then_some(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_disallows_what_a_pattern_with_a_star_anywhere_fits() {
        for (pattern, policy, fits) in [
            ("*", "anything", true),
            ("app-*", "app-1", true),
            ("app-*", "xapp-1", false),
            ("*-ro", "app-ro", true),
            ("*mid*", "a-mid-b", true),
            ("prod-*-admin", "prod-eu-admin", true),
            ("prod-*-admin", "prod-eu-reader", false),
            ("*eu*admin*", "prod-eu-admin", true),
            ("exact", "exactly", false),
        ] {
            let globs = vec![pattern.to_owned()];
            let role = TokenRole { disallowed_policies_glob: globs, ..TokenRole::default() };
            assert_eq!(role.disallows(policy), fits, "{pattern} {policy}");
        }
    }
}
