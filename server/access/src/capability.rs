//! The verbs of the policy language, and what one rule grants.

use std::str::FromStr;

use crate::constraints::Constraints;
use crate::request::Request;

/// What a policy can allow on a path. `deny` is not among them: it is the absence of all of them,
/// and nobody can ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Write where nothing is yet.
    Create,
    /// Remove.
    Delete,
    /// See which names are below.
    List,
    /// Change parts of what is there.
    Patch,
    /// See.
    Read,
    /// Use a path that is reserved for operators.
    Sudo,
    /// Write over what is there; also every operation that is not one of the others.
    Update,
}

impl Capability {
    /// All of them in the order of their names, in which `capabilities-self` answers.
    pub(crate) const ALL: [Self; 7] =
        [Self::Create, Self::Delete, Self::List, Self::Patch, Self::Read, Self::Sudo, Self::Update];

    /// The word that policies use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Read => "read",
            Self::Sudo => "sudo",
            Self::Update => "update",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A word that is no capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a capability; there are create, delete, deny, list, patch, read, sudo and update")]
pub struct UnknownCapability;

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, UnknownCapability> {
        Self::ALL.into_iter().find(|capability| capability.name() == name).ok_or(UnknownCapability)
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapabilitySet(u8);

impl CapabilitySet {
    pub(crate) const fn of(capabilities: &[Capability]) -> Self {
        let mut bits = 0;
        let mut rest = capabilities;
        while let [first, others @ ..] = rest {
            bits |= first.bit();
            rest = others;
        }
        Self(bits)
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What one rule, or all rules for the same path together, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Deny,
    Allow(Allowance),
}

/// What is allowed, and to which requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) capabilities: CapabilitySet,
    /// `None`: to all of them.
    pub(crate) constraints: Option<Box<Constraints>>,
}

impl Grant {
    pub(crate) const NOTHING: Self =
        Self::Allow(Allowance { capabilities: CapabilitySet(0), constraints: None });

    pub(crate) const fn of(capabilities: CapabilitySet) -> Self {
        Self::Allow(Allowance { capabilities, constraints: None })
    }

    /// The same for those requests only that `constraints` lets through.
    pub(crate) fn under(self, constraints: Constraints) -> Self {
        match self {
            Self::Allow(allowance) if !constraints.is_empty() => {
                Self::Allow(Allowance { constraints: Some(Box::new(constraints)), ..allowance })
            }
            unconstrained => unconstrained,
        }
    }

    /// Rules for the same path in several policies add up, unless one of them denies. So do their
    /// constraints: what one of them asks is asked for all, as in Vault.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let (Self::Allow(one), Self::Allow(another)) = (self, other) else { return Self::Deny };
        let constraints = match (&one.constraints, &another.constraints) {
            (Some(one), Some(another)) => Some(Box::new(one.union(another))),
            (Some(only), None) | (None, Some(only)) => Some(only.clone()),
            (None, None) => None,
        };
        let capabilities = one.capabilities.union(another.capabilities);
        Self::Allow(Allowance { capabilities, constraints })
    }

    /// Whether the capability is allowed to some request at least.
    pub(crate) const fn allows(&self, capability: Capability) -> bool {
        match self {
            Self::Allow(allowance) => allowance.capabilities.contains(capability),
            Self::Deny => false,
        }
    }

    /// Whether the capability is allowed to this request.
    pub(crate) fn admits(&self, capability: Capability, request: &impl Request) -> bool {
        match self {
            Self::Allow(allowance) => {
                let constraints = allowance.constraints.as_ref();
                allowance.capabilities.contains(capability)
                    && constraints.is_none_or(|all| all.admit(capability, request))
            }
            Self::Deny => false,
        }
    }

    pub(crate) const fn allows_anything(&self) -> bool {
        match self {
            Self::Allow(allowance) => !allowance.capabilities.is_empty(),
            Self::Deny => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_listed_in_the_order_of_their_names() {
        assert!(Capability::ALL.is_sorted_by_key(|capability| capability.name()));
    }

    #[test]
    fn every_name_parses_back() {
        for capability in Capability::ALL {
            assert_eq!(capability.name().parse(), Ok(capability));
        }
    }

    #[test]
    fn deny_and_root_are_no_capabilities_to_ask_for() {
        for name in ["deny", "root", "Read", "read ", ""] {
            assert_eq!(name.parse::<Capability>(), Err(UnknownCapability), "{name:?}");
        }
    }

    #[test]
    fn deny_wins_over_whatever_it_is_joined_with() {
        let everything = Grant::of(CapabilitySet::of(&Capability::ALL));
        assert_eq!(everything.union(&Grant::Deny), Grant::Deny);
        assert_eq!(Grant::Deny.union(&everything), Grant::Deny);
        assert!(!Grant::Deny.allows_anything());
        assert!(everything.allows_anything());
    }

    #[test]
    fn a_union_allows_exactly_what_one_side_allows() {
        let read = Grant::of(CapabilitySet::of(&[Capability::Read]));
        let list = Grant::of(CapabilitySet::of(&[Capability::List]));
        for capability in Capability::ALL {
            let either = read.allows(capability) || list.allows(capability);
            assert_eq!(read.union(&list).allows(capability), either);
        }
    }
}
