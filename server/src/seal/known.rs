//! What is known of a master key, and how far it is trusted.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use selkie_crypto::{KekId, sha256};
use selkie_kms::{InvalidDescription, KekDescription, KekState, KekVersion, Wrapping};

use super::error::{Contradiction, SealFault};
use super::pin::Pinned;

/// What is known of a seal's master key.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its versions. The current one is what we wrap under, which may be one behind the KMS's own
    /// until that one has proven itself.
    pub keks: KekDescription,
    /// Who said so.
    pub source: Source,
    /// The KMS says something else now: nothing is encrypted.
    pub contradiction: Option<Contradiction>,
    trusted: BTreeMap<KekId, Trusted>,
    /// Versions that the KMS lists and that are not among [`Known::keks`], as they may not be used.
    /// Others may have used them before.
    passed_over: Vec<KekId>,
    /// The newest of these where its time has not come yet.
    staged: Option<KekId>,
}

/// Why a version is wrapped under, and in which way: no other key under its id inherits that.
#[derive(Clone, Debug, PartialEq)]
struct Trusted {
    wrapping: Wrapping,
    trust: Trust,
}

/// Who described a master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration holds it.
    Configuration,
    /// The KMS, in this process.
    Kms,
    /// The pin file.
    Pin,
}

/// Why a version is wrapped under (invariant I2), the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The pin file carries a MAC under the local key.
    Pinned,
    /// Its fingerprint is declared.
    Declared,
    /// The KMS unwrapped in this process what was wrapped under it.
    Confirmed,
    /// The configuration holds the key itself.
    Configured,
}

impl Source {
    /// As `status` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Kms => "kms",
            Self::Pin => "pin",
        }
    }
}

impl Trust {
    /// As `status` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pin with MAC",
            Self::Declared => "public_key_sha256",
            Self::Confirmed => "confirmed by the KMS",
            Self::Configured => "configured",
        }
    }
}

impl Known {
    /// A master key that the configuration holds, and its provider describes.
    #[must_use]
    pub fn configured(keks: KekDescription) -> Self {
        let ids: Vec<_> = keks.versions().iter().map(|one| one.id.clone()).collect();
        let mut known = Self::untrusted(keks, Source::Configuration);
        ids.into_iter().for_each(|id| known.trust(id, Trust::Configured));
        known
    }

    /// What a pin file says. Where fingerprints are declared, a MAC does not stand above them.
    #[must_use]
    pub fn pinned(pinned: Pinned, fingerprints: &[[u8; 32]]) -> Self {
        let Pinned { keks, is_signed } = pinned;
        let current = keks.current().clone();
        let mut known = Self::untrusted(keks, Source::Pin);
        if is_signed && (fingerprints.is_empty() || fingerprint(&current).is_none()) {
            known.trust(current.id, Trust::Pinned);
        }
        known.trust_declared(fingerprints);
        known
    }

    /// What the KMS says, with the trust that was there before it.
    pub(super) fn described(
        keks: KekDescription,
        before: Option<&Self>,
        fingerprints: &[[u8; 32]],
    ) -> Self {
        let mut known = Self::untrusted(keks, Source::Kms);
        known.trusted = before.map(|known| known.trusted.clone()).unwrap_or_default();
        known.trust_declared(fingerprints);
        known
    }

    fn untrusted(keks: KekDescription, source: Source) -> Self {
        let (trusted, passed_over) = (BTreeMap::new(), Vec::new());
        Self { keks, source, contradiction: None, trusted, passed_over, staged: None }
    }

    /// The same, of a KMS that lists what `fresh` says.
    pub(super) fn passing_over(self, fresh: &KekDescription) -> Self {
        let listed = fresh.versions().iter().map(|version| &version.id);
        let passed_over: Vec<_> =
            listed.filter(|id| self.keks.version(id).is_none()).cloned().collect();
        let newest = Some(fresh.current()).filter(|one| one.state == KekState::NotYetValid);
        let staged = newest.map(|one| one.id.clone()).filter(|id| passed_over.contains(id));
        Self { passed_over, staged, ..self }
    }

    /// The KMS's newest version, where it is to be followed when its time comes. Until then nothing
    /// is wrong with the seal.
    #[must_use]
    pub fn staged(&self) -> Option<&KekId> {
        self.staged.as_ref()
    }

    /// Whether the KMS lists the version `id`, which is not followed.
    pub(super) fn passes_over(&self, id: &KekId) -> bool {
        self.passed_over.contains(id)
    }

    /// The same, now that the KMS says something else.
    pub(super) fn contradicted(&self, contradiction: Contradiction) -> Self {
        Self { contradiction: Some(contradiction), ..self.clone() }
    }

    /// Trusts `id` as it is described now.
    pub(super) fn trust(&mut self, id: KekId, trust: Trust) {
        let Some(version) = self.keks.version(&id) else { return };
        let trust = self.trust_in(&id).map_or(trust, |before| trust.max(before));
        let wrapping = version.wrapping.clone();
        self.trusted.insert(id, Trusted { wrapping, trust });
    }

    /// The KMS did not unwrap what was wrapped under it, whoever vouched for it before.
    pub(super) fn distrust(&mut self, id: &KekId) {
        self.trusted.remove(id);
    }

    /// The same under other declared `fingerprints`: what only earlier ones vouched for, or a pin
    /// that these contradict, is no longer trusted.
    pub(super) fn under(&self, fingerprints: &[[u8; 32]]) -> Self {
        let mut known = self.clone();
        known.trusted.retain(|_, one| match one.trust {
            Trust::Declared => false,
            Trust::Pinned => fingerprints.is_empty() || matches!(one.wrapping, Wrapping::Remote(_)),
            Trust::Confirmed | Trust::Configured => true,
        });
        known.trust_declared(fingerprints);
        known
    }

    fn trust_declared(&mut self, fingerprints: &[[u8; 32]]) {
        let is_declared = |version: &&KekVersion| {
            fingerprint(version).is_some_and(|one| fingerprints.contains(&one))
        };
        let declared: Vec<_> = self.keks.versions().iter().filter(is_declared).collect();
        let ids: Vec<_> = declared.into_iter().map(|version| version.id.clone()).collect();
        for id in ids {
            self.trust(id, Trust::Declared);
        }
    }

    /// Why `id` is wrapped under; `None` if it must not be.
    #[must_use]
    pub fn trust_in(&self, id: &KekId) -> Option<Trust> {
        let (trusted, version) = (self.trusted.get(id)?, self.keks.version(id)?);
        (trusted.wrapping == version.wrapping).then_some(trusted.trust)
    }

    /// The line of the configuration that trusts the current version; `None` where only the KMS wraps.
    #[must_use]
    pub fn fingerprint_line(&self) -> Option<String> {
        let fingerprint = fingerprint(self.keks.current())?;
        let hex = base16ct::lower::encode_string(&fingerprint);
        Some(format!("public_key_sha256 = \"{hex}\""))
    }

    /// Why the current version is wrapped under.
    #[must_use]
    pub fn current_trust(&self) -> Option<Trust> {
        self.trust_in(&self.keks.current().id)
    }

    /// The version `id`, if a DEK may be wrapped under it at `now` (seconds since 1970) and that
    /// be relied on.
    ///
    /// # Errors
    ///
    /// [`SealFault`].
    pub fn wrapping_version(&self, id: &KekId, now: u64) -> Result<&KekVersion, SealFault> {
        let version = self.usable_version(id, now)?;
        if self.trust_in(id).is_some() { Ok(version) } else { Err(SealFault::Untrusted) }
    }

    /// The version `id`, if the KMS lets it be used at `now` (seconds since 1970), trusted or not.
    ///
    /// # Errors
    ///
    /// [`SealFault`].
    pub(super) fn usable_version(&self, id: &KekId, now: u64) -> Result<&KekVersion, SealFault> {
        if let Some(contradiction) = &self.contradiction {
            return Err(SealFault::Contradicted(contradiction.clone()));
        }
        let version = self.keks.version(id);
        let version = version.ok_or(SealFault::Kms(selkie_kms::KmsError::UnknownKek(None)))?;
        let state = state_at(version, now);
        if state != KekState::Enabled {
            return Err(SealFault::NotUsable { kek: id.clone(), state });
        }
        Ok(version)
    }

    /// This with what the KMS says `fresh`ly: no version that was known is lost.
    pub(super) fn followed_by(
        &self,
        fresh: &KekDescription,
    ) -> Result<KekDescription, Contradiction> {
        let known = self.keks.versions();
        for was in known {
            match fresh.version(&was.id) {
                None if fresh.is_complete() => {
                    return Err(Contradiction::VersionVanished(was.id.clone()));
                }
                Some(is) if is_other_key(&is.wrapping, &was.wrapping) => {
                    return Err(Contradiction::OtherKey(was.id.clone()));
                }
                Some(_) | None => {}
            }
        }
        let unlisted = known.iter().filter(|was| fresh.version(&was.id).is_none());
        let unlisted = unlisted.map(|was| self.without_untrusted_key(was));
        let listed = fresh.versions().iter().map(|is| self.with_known_key(is, fresh));
        let versions: Vec<_> = unlisted.chain(listed).collect();
        let is_complete = fresh.is_complete()
            || self.keks.is_complete()
                && fresh.versions().iter().all(|is| self.keks.version(&is.id).is_some());
        let purgeable = fresh.is_purgeable().or(self.keks.is_purgeable());
        Ok(rebuilt(versions, &fresh.current().id, is_complete, purgeable)
            .unwrap_or_else(|_impossible| fresh.clone()))
    }

    /// A KMS that tells the public key of the current version alone, and only while it is enabled,
    /// does not make us forget others that we trust.
    fn with_known_key(&self, is: &KekVersion, fresh: &KekDescription) -> KekVersion {
        let current = fresh.current();
        let tells_keys =
            matches!(current.wrapping, Wrapping::Local(_)) || current.state != KekState::Enabled;
        let is_told = is.id == current.id && is.state == KekState::Enabled;
        let mut version = is.clone();
        if let Some(was) = self.keks.version(&is.id)
            && tells_keys
            && !is_told
            && self.trust_in(&is.id).is_some()
            && was.wrapping.algorithm() == is.wrapping.algorithm()
        {
            version.wrapping = was.wrapping.clone();
        }
        version
    }

    /// `due`, with the public key of the version that is in use and stays so, where the KMS tells that
    /// of its newest version alone: one of an unsigned pin file is to be proven.
    pub(super) fn with_key_of_current(&self, due: KekDescription) -> KekDescription {
        let (was, is) = (self.keks.current(), due.current());
        let is_untold = matches!(is.wrapping, Wrapping::Remote(_))
            && was.wrapping.algorithm() == is.wrapping.algorithm();
        if was.id != is.id || !is_untold {
            return due;
        }
        let mut versions = due.versions().to_vec();
        for version in versions.iter_mut().filter(|version| version.id == was.id) {
            version.wrapping = was.wrapping.clone();
        }
        rebuilt(versions, &was.id, due.is_complete(), due.is_purgeable())
            .unwrap_or_else(|_impossible| due.clone())
    }

    /// A public key that only an unsigned pin file vouches for must not get into a signed one.
    fn without_untrusted_key(&self, was: &KekVersion) -> KekVersion {
        let mut version = was.clone();
        if self.trust_in(&was.id).is_none() {
            version.wrapping = Wrapping::Remote(was.wrapping.algorithm());
        }
        version
    }

    /// The same versions and the same current one as before, in the states that `fresh` tells.
    pub(super) fn with_states_of(&self, fresh: &KekDescription) -> KekDescription {
        let updated = |was: &KekVersion| match fresh.version(&was.id) {
            Some(is) => KekVersion { state: is.state, expires: is.expires, ..was.clone() },
            None => was.clone(),
        };
        let versions = self.keks.versions().iter().map(updated).collect();
        let purgeable = fresh.is_purgeable().or(self.keks.is_purgeable());
        rebuilt(versions, &self.keks.current().id, self.keks.is_complete(), purgeable)
            .unwrap_or_else(|_impossible| self.keks.clone())
    }
}

/// The description of these versions.
pub(super) fn rebuilt(
    versions: Vec<KekVersion>,
    current: &KekId,
    is_complete: bool,
    is_purgeable: Option<bool>,
) -> Result<KekDescription, InvalidDescription> {
    let keks = KekDescription::new(versions, current)?;
    let keks = if is_complete { keks } else { keks.incomplete() };
    Ok(match is_purgeable {
        Some(is_purgeable) => keks.purgeable(is_purgeable),
        None => keks,
    })
}

fn is_other_key(is: &Wrapping, was: &Wrapping) -> bool {
    matches!((is, was), (Wrapping::Local(_), Wrapping::Local(_))) && is != was
}

/// The SHA-256 of the version's public key, as it is declared.
pub(crate) fn fingerprint(version: &KekVersion) -> Option<[u8; 32]> {
    match &version.wrapping {
        Wrapping::Local(key) => Some(sha256(key.spki_der())),
        Wrapping::Remote(_) => None,
    }
}

/// In how many days a version expires, below 0 if it has; `None` if it never does.
pub(crate) fn days_left(version: &KekVersion, now: u64) -> Option<f64> {
    let expires = version.expires?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    Some((expires - Duration::from_secs(now).as_secs_f64()) / 86_400.0)
}

/// The state of a version at `now`: its time may run out while the KMS is away.
pub(crate) fn state_at(version: &KekVersion, now: u64) -> KekState {
    let is_over = |expires: SystemTime| {
        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(now));
        now.is_none_or(|now| expires <= now)
    };
    match version.state {
        KekState::Enabled if version.expires.is_some_and(is_over) => KekState::Expired,
        state => state,
    }
}
