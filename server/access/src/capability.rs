//! The verbs of the policy language, and what one rule grants.

use std::str::FromStr;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    Deny,
    Allow(CapabilitySet),
}

impl Grant {
    pub(crate) const NOTHING: Self = Self::Allow(CapabilitySet(0));

    /// Rules for the same path in several policies add up, unless one of them denies.
    pub(crate) const fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Allow(one), Self::Allow(another)) => Self::Allow(one.union(another)),
            (Self::Deny, _) | (_, Self::Deny) => Self::Deny,
        }
    }

    pub(crate) const fn allows(self, capability: Capability) -> bool {
        match self {
            Self::Allow(set) => set.contains(capability),
            Self::Deny => false,
        }
    }

    pub(crate) const fn allows_anything(self) -> bool {
        match self {
            Self::Allow(set) => !set.is_empty(),
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
        let everything = Grant::Allow(CapabilitySet::of(&Capability::ALL));
        assert_eq!(everything.union(Grant::Deny), Grant::Deny);
        assert_eq!(Grant::Deny.union(everything), Grant::Deny);
        assert!(!Grant::Deny.allows_anything());
        assert!(everything.allows_anything());
    }

    #[test]
    fn a_union_allows_exactly_what_one_side_allows() {
        let read = Grant::Allow(CapabilitySet::of(&[Capability::Read]));
        let list = Grant::Allow(CapabilitySet::of(&[Capability::List]));
        for capability in Capability::ALL {
            let either = read.allows(capability) || list.allows(capability);
            assert_eq!(read.union(list).allows(capability), either);
        }
    }
}
