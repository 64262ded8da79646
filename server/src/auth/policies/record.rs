//! A managed policy as it is kept.

use selkie_access::{Policy, PolicyError, PolicyName};
use selkie_storage::RecordValue;
use serde::{Deserialize, Serialize};

use crate::state::records::{Index, Kept, TooLarge, to_record};

/// A policy that was made through the API.
#[derive(Debug)]
pub struct ManagedPolicy {
    policy: Policy,
}

impl ManagedPolicy {
    /// A policy of this text.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn parse(name: &PolicyName, text: &str) -> Result<Self, PolicyError> {
        Policy::parse(name.clone(), name.as_str(), text).map(|policy| Self { policy })
    }

    /// What it says.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    format: u32,
    text: std::borrow::Cow<'a, str>,
}

const FORMAT: u32 = 1;

impl Kept for ManagedPolicy {
    const ROOT: &'static str = "policy";
    type Name = PolicyName;
    type Index = Changes;

    fn place(name: &PolicyName) -> String {
        let mut place = String::new();
        for (at, character) in name.as_str().char_indices() {
            match character {
                '/' => place.push_str("%2f"),
                '%' => place.push_str("%25"),
                // A segment must not be "." or "..".
                '.' if at == 0 => place.push_str("%2e"),
                other => place.push(other),
            }
        }
        place
    }

    fn name(place: &str) -> Option<PolicyName> {
        let name =
            place.replace("%2f", "/").replace("%2e", ".").replace("%25", "%").parse().ok()?;
        (Self::place(&name) == place).then_some(name)
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        to_record(&Wire { format: FORMAT, text: self.policy.text().into() })
    }

    fn decode(name: &PolicyName, value: &RecordValue) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_slice(value.as_bytes()).ok()?;
        if wire.format != FORMAT {
            return None;
        }
        Self::parse(name, &wire.text).ok()
    }
}

/// Counts the changes of managed policies.
#[derive(Debug, Default)]
pub struct Changes(u64);

impl Changes {
    pub(super) const fn count(&self) -> u64 {
        self.0
    }
}

impl Index<ManagedPolicy> for Changes {
    fn note(&mut self, _: &PolicyName, _: Option<&ManagedPolicy>, _: Option<&ManagedPolicy>) {
        self.0 = self.0.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_place_of_its_own_and_is_read_back_from_it() {
        for text in ["a", "a/b", "a%2fb", "a%252fb", "..", ".", "%", "a.b", "%2e", "x%25y/z"] {
            let name: PolicyName = text.parse().unwrap();
            let place = ManagedPolicy::place(&name);
            assert!(format!("policy/{place}").parse::<selkie_storage::RecordKey>().is_ok());
            assert_eq!(ManagedPolicy::name(&place), Some(name), "{text}");
        }
        for foreign in ["a/b", "%61", "A", ""] {
            assert_eq!(ManagedPolicy::name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_record_is_read_back_and_a_later_format_is_not() {
        let name: PolicyName = "p".parse().unwrap();
        let text = "path \"a\" { capabilities = [\"read\"] }";
        let value = ManagedPolicy::parse(&name, text).unwrap().encode().unwrap();
        assert_eq!(ManagedPolicy::decode(&name, &value).unwrap().policy().text(), text);
        for bad in [r#"{"format":2,"text":""}"#, r#"{"format":1,"text":"path"}"#, "{}"] {
            let value = RecordValue::new(bad.as_bytes()).unwrap();
            assert!(ManagedPolicy::decode(&name, &value).is_none(), "{bad}");
        }
    }
}
