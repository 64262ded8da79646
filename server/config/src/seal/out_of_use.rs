//! Seals that nothing is asked of: those that are revoked, and those whose key is not at hand.

use selkie_crypto::SealName;
use selkie_hcl::Place;

use super::{Seal, SealError, Stanza, aliases, seal_name};

/// A seal that must not open anything any more, `revoked`. What else its stanza says is not read: its
/// secrets may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedSeal {
    /// Its name.
    pub name: SealName,
    /// `aliases`: names it had before. What was wrapped for it under one of them is revoked as well.
    pub aliases: Vec<SealName>,
    /// Its type, as in the label of its stanza.
    pub kind: String,
}

/// A seal whose key was not read: there is nothing to wrap under. See
/// [`ConfigAtHand`](crate::ConfigAtHand).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadSeal {
    /// Its name.
    pub name: SealName,
    /// Names it had before.
    pub aliases: Vec<SealName>,
    /// It would wrap nothing more anyway.
    pub disabled: bool,
    /// No server could ask it either.
    pub(crate) is_offline: bool,
}

impl RevokedSeal {
    /// Its name, and those that it had before.
    pub fn names(&self) -> impl Iterator<Item = &SealName> {
        std::iter::once(&self.name).chain(&self.aliases)
    }

    /// Whether `name` is its name or one that it had before.
    #[must_use]
    pub fn is_known_as(&self, name: &SealName) -> bool {
        self.names().any(|one| one == name)
    }
}

impl UnreadSeal {
    /// Whether `name` is its name or one that it had before.
    #[must_use]
    pub fn is_known_as(&self, name: &SealName) -> bool {
        self.name == *name || self.aliases.contains(name)
    }
}

/// The revoked seals, and the stanzas of the others.
pub(super) fn take(stanzas: Vec<Stanza<'_>>) -> (Vec<RevokedSeal>, Vec<Stanza<'_>>) {
    let (mut revoked, mut others) = (Vec::<RevokedSeal>::new(), Vec::new());
    for (kind, mut section) in stanzas {
        if section.field("revoked").boolean().is_none_or(|flag| !flag.value) {
            others.push((kind, section));
            continue;
        }
        let (place, label) = (kind.place, kind.value.clone());
        let name = section.field("name").string().unwrap_or(kind);
        let aliases = aliases(&mut section);
        section.ignore_the_rest();
        let name = seal_name(name, "name");
        let Some(name) = name.map(|name| name.value) else { continue };
        let seal = RevokedSeal { name, aliases, kind: label };
        for name in seal.names().filter(|name| is_revoked(&revoked, name)) {
            place.report(SealError::RepeatedName { name: name.to_string() });
        }
        revoked.push(seal);
    }
    (revoked, others)
}

fn is_revoked(revoked: &[RevokedSeal], name: &SealName) -> bool {
    revoked.iter().any(|other| other.is_known_as(name))
}

/// A name that is revoked opens nothing: another seal under it would bring it back.
pub(super) fn refuse_name(revoked: &[RevokedSeal], seal: &Seal, place: Place<'_>) {
    if is_revoked(revoked, &seal.name) {
        place.report(SealError::RepeatedName { name: seal.name.to_string() });
    }
    for alias in seal.aliases.iter().filter(|alias| is_revoked(revoked, alias)) {
        place.report(SealError::RepeatedAlias { name: alias.to_string() });
    }
}
