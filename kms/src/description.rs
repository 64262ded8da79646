//! What a KMS says about its master key.

use std::collections::BTreeSet;
use std::time::SystemTime;

use selkie_crypto::{KekId, PublicKey, WrapAlgorithm};

/// The versions of a master key, each listed once, and which of them is current.
#[derive(Clone, Debug, PartialEq)]
pub struct KekDescription {
    versions: Vec<KekVersion>,
    current: KekVersion,
    is_complete: bool,
    is_purgeable: Option<bool>,
}

impl KekDescription {
    /// A description of `versions`, which the caller has sorted oldest first.
    ///
    /// # Errors
    /// [`InvalidDescription`] if the current version is missing or a version is there twice.
    pub fn new(versions: Vec<KekVersion>, current: &KekId) -> Result<Self, InvalidDescription> {
        let mut ids = BTreeSet::new();
        if !versions.iter().all(|version| ids.insert(&version.id)) {
            return Err(InvalidDescription::ListedTwice);
        }
        let current = versions.iter().find(|version| version.id == *current).cloned();
        let current = current.ok_or(InvalidDescription::CurrentMissing)?;
        Ok(Self { versions, current, is_complete: true, is_purgeable: None })
    }

    /// The same, of a KMS that did not let us list the versions: there may be more of them.
    #[must_use]
    pub fn incomplete(self) -> Self {
        Self { is_complete: false, ..self }
    }

    /// The same, of a KMS that says whether an administrator can destroy the master key for good
    /// before its time of retention is over.
    #[must_use]
    pub fn purgeable(self, is_purgeable: bool) -> Self {
        Self { is_purgeable: Some(is_purgeable), ..self }
    }

    /// Whether [`Self::versions`] are all that there are.
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the master key lacks protection from being destroyed for good; `None` if nobody
    /// knows.
    pub const fn is_purgeable(&self) -> Option<bool> {
        self.is_purgeable
    }

    /// All versions that the KMS lists, in whatever state, oldest first.
    pub fn versions(&self) -> &[KekVersion] {
        &self.versions
    }

    /// Those that an operator has switched off: they neither wrap nor unwrap.
    pub fn disabled(&self) -> impl Iterator<Item = &KekVersion> {
        self.versions.iter().filter(|version| version.state == KekState::Disabled)
    }

    /// The version that new DEKs are wrapped under, in whatever state.
    pub const fn current(&self) -> &KekVersion {
        &self.current
    }

    /// The version of this id.
    pub fn version(&self, id: &KekId) -> Option<&KekVersion> {
        self.versions.iter().find(|version| version.id == *id)
    }
}

/// One version of a master key.
#[derive(Clone, Debug, PartialEq)]
pub struct KekVersion {
    /// The KMS's own id of this version.
    pub id: KekId,
    /// How a DEK is wrapped under it.
    pub wrapping: Wrapping,
    /// Whether the KMS lets it be used.
    pub state: KekState,
    /// When it was made, if the KMS says so.
    pub created: Option<SystemTime>,
    /// When the KMS stops to let it wrap, if ever.
    pub expires: Option<SystemTime>,
}

/// How, and by whom, a DEK is wrapped under a version.
#[derive(Clone, Debug)]
pub enum Wrapping {
    /// By us, under the public key; only unwrapping needs the KMS.
    Local(PublicKey),
    /// By the KMS alone.
    Remote(WrapAlgorithm),
}

impl Wrapping {
    /// The algorithm that the recipient's header names.
    pub const fn algorithm(&self) -> WrapAlgorithm {
        match self {
            Self::Local(key) => key.algorithm(),
            Self::Remote(algorithm) => *algorithm,
        }
    }
}

impl PartialEq for Wrapping {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(one), Self::Local(other)) => one == other,
            (Self::Remote(one), Self::Remote(other)) => one == other,
            (Self::Local(_), Self::Remote(_)) | (Self::Remote(_), Self::Local(_)) => false,
        }
    }
}

/// Whether the KMS lets a version be used, as the KMS sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KekState {
    /// It wraps and unwraps.
    Enabled,
    /// An operator has switched it off.
    Disabled,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over; whether it still unwraps is the KMS's choice.
    Expired,
}

/// Why a list of versions does not describe a master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDescription {
    /// Two versions have the same id.
    #[error("a version of the master key is listed twice")]
    ListedTwice,
    /// The current version is not among the versions.
    #[error("the current version of the master key is not listed")]
    CurrentMissing,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> KekId {
        KekId::new(text).unwrap()
    }

    fn version(text: &str, state: KekState) -> KekVersion {
        let wrapping = Wrapping::Remote(WrapAlgorithm::A256Kw);
        KekVersion { id: id(text), wrapping, state, created: None, expires: None }
    }

    #[test]
    fn description_keeps_order_and_finds_versions() {
        let versions = vec![version("b", KekState::Enabled), version("a", KekState::Disabled)];
        let description = KekDescription::new(versions.clone(), &id("a")).unwrap();
        assert_eq!(description.versions(), versions);
        assert_eq!(description.current(), &versions[1]);
        assert_eq!(description.version(&id("b")), Some(&versions[0]));
        assert_eq!(description.version(&id("c")), None);
    }

    #[test]
    fn description_refuses_a_current_version_that_is_not_listed() {
        let outcome = KekDescription::new(vec![version("a", KekState::Enabled)], &id("b"));
        assert_eq!(outcome, Err(InvalidDescription::CurrentMissing));
        assert_eq!(KekDescription::new(vec![], &id("a")), Err(InvalidDescription::CurrentMissing));
    }

    #[test]
    fn description_refuses_a_version_listed_twice() {
        let versions = vec![version("a", KekState::Enabled), version("a", KekState::Disabled)];
        let outcome = KekDescription::new(versions, &id("a"));
        assert_eq!(outcome, Err(InvalidDescription::ListedTwice));
    }
}
