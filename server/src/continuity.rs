//! What a reload must not break: what the file in use promised to ciphertexts, as `validate
//! --previous` tells it, and what only the running server knows: version numbers that clients have
//! seen (invariant I7), and the keys that are behind the seals. A restart takes every valid file, and
//! so is the way to force it; it tells what it loses (`crate::promises`).

use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use selkie_config::{Promises, Regression};
use selkie_crypto::{KekId, KeyVersion, Random, RecipientSecret, SealName};
use selkie_kms::{Call, ClientTag, KmsError};

use crate::deployment::{Deployment, DeploymentError};
use crate::seal::{KekRef, Seal};
use crate::transit::{LostVersions, ManagedKeys, TransitKey};

/// Why a reload was refused although the configuration is valid by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discontinuity {
    /// The new file breaks what the one in use promised.
    #[error("it would leave behind what is in use: {}", listed(.0))]
    Regressions(Vec<Regression>),
    /// The new file loses what was promised before the one in use, which is a slip.
    #[error("it still loses what was promised before the configuration in use: {}", listed(.0))]
    StillLost(Vec<Regression>),
    /// The version number of a declared key would go back.
    #[error(
        "key \"{mount}/{key}\" is at version {was} and would go back to {would_be}; raise \
         \"generation\", or restart to force it"
    )]
    VersionGoesBack {
        /// The mount.
        mount: MountPath,
        /// The key.
        key: KeyName,
        /// What clients have seen.
        was: KeyVersion,
        /// What they would see.
        would_be: KeyVersion,
    },
    /// A declared key would wrap for other master keys, or another quorum of them, under the same
    /// version number.
    #[error(
        "the current master keys of key \"{mount}/{key}\" change but its version stays {version}, \
         so no Vault would move to them; raise \"generation\", or restart to force it"
    )]
    VersionStays {
        /// The mount.
        mount: MountPath,
        /// The key.
        key: KeyName,
        /// The version.
        version: KeyVersion,
    },
    /// Another key stands under a known id.
    #[error(
        "seal \"{seal}\": key id \"{id}\" now names another key than the one in use; give the new \
         key an id of its own, or restart to force it"
    )]
    OtherKeyUnderId {
        /// The seal.
        seal: SealName,
        /// The id.
        id: KekId,
    },
    /// There is no randomness for the comparison of keys.
    #[error("there is no randomness to compare the seals' keys with")]
    NoRandomness,
}

/// Why what a KMS says of its key is not followed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    /// It would break what clients rely on.
    #[error(transparent)]
    Discontinuity(#[from] Discontinuity),
    /// The keys' versions would not fit.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
}

impl Deployment {
    /// Refuses to take the place of `before`, together with its managed `keys`, where that would
    /// break what clients rely on.
    ///
    /// # Errors
    ///
    /// [`Discontinuity`].
    pub async fn require_continuity(
        &self,
        before: &Self,
        keys: &ManagedKeys,
        random: &Random,
    ) -> Result<(), Discontinuity> {
        self.require_promises(before)?;
        self.declared_keys().try_for_each(|(mount, key)| {
            let was = before.seen(mount, key, keys);
            self.require_rising_version(mount, key, was.as_deref())
        })?;
        for (is, was) in self.seals.in_common_with(&before.seals) {
            // What is far away may be away, and is compared when it describes itself.
            // The id of an offline key is its fingerprint: there is nothing to compare.
            let is_held = |seal: &Seal| seal.connection.is_fixed() && !seal.connection.is_offline();
            if is_held(is) && is_held(was) {
                require_same_keys(is, was, random).await?;
            }
        }
        Ok(())
    }

    fn require_promises(&self, before: &Self) -> Result<(), Discontinuity> {
        let is_described =
            |name: &SealName| self.seals.find(name).is_some_and(|seal| seal.known.is_some());
        before.require_kept_by(&self.promises, is_described)
    }

    /// What `validate --previous` tells of two files, of the one in use and a new one that promises
    /// `is`; but for what the server itself knows better, where the master key of a seal
    /// `is_described`, and where the one in use is a slip that the new one puts right.
    ///
    /// # Errors
    ///
    /// [`Discontinuity`].
    pub(crate) fn require_kept_by(
        &self,
        is: &Promises,
        is_described: impl Fn(&SealName) -> bool,
    ) -> Result<(), Discontinuity> {
        let broken = is.check_against_running(&self.promises, is_described);
        if broken.is_empty() {
            return Ok(());
        }
        match self.memory.losses_past_slip(&self.promises, is) {
            None => Err(Discontinuity::Regressions(broken)),
            Some(lost) if lost.is_empty() => Ok(()),
            Some(lost) => Err(Discontinuity::StillLost(lost)),
        }
    }

    /// Refuses to take the place of `before`, which differs in what is known of a master key, where
    /// a version number would go back, or stay although others are wrapped for. Where it is stated by
    /// hand, raising it is the operator's.
    ///
    /// # Errors
    ///
    /// [`Discontinuity`].
    pub fn require_rising(&self, before: &Self, keys: &ManagedKeys) -> Result<(), Discontinuity> {
        self.declared_keys().try_for_each(|(mount, key)| {
            let was = before.seen(mount, key, keys);
            match self.require_rising_version(mount, key, was.as_deref()) {
                Err(Discontinuity::VersionStays { .. })
                    if self.states_version(mount, &key.name) =>
                {
                    tracing::warn!(
                        key = %format_args!("{mount}/{}", key.name),
                        version = key.latest.get(),
                        advice = "raise the key's \"version\", so that Vaults move to the new one",
                        "a master key was rotated, and the key's version is stated by hand"
                    );
                    Ok(())
                }
                outcome => outcome,
            }
        })
    }

    /// The declared keys of `before` that the seals of this one do not open any more: too few of
    /// theirs can be asked.
    pub(crate) fn lost_since(&self, before: &Self) -> Vec<LostVersions> {
        let lost = before.declared_keys().filter_map(|(mount, key)| {
            let seals = before.declared_seals(mount, &key.name);
            let asked = seals.iter().filter(|seal| self.seals.is_asked(seal)).count();
            if seals.is_empty() || asked >= usize::from(key.quorum) {
                return None;
            }
            let seals = seals.iter().map(ToString::to_string).collect();
            let versions = format!("up to {}", key.latest);
            let key = format!("{mount}/{}", key.name);
            Some(LostVersions { key, versions, seals, behind: None })
        });
        lost.collect()
    }

    fn require_rising_version(
        &self,
        mount: &MountPath,
        is: &Arc<TransitKey>,
        was: Option<&TransitKey>,
    ) -> Result<(), Discontinuity> {
        // What is not counted yet goes on from what was, and is judged when it is.
        let Some(was) = was.filter(|_| is.uncounted.is_empty()) else { return Ok(()) };
        let (mount, key) = (mount.clone(), is.name.clone());
        if is.latest < was.latest {
            let (was, would_be) = (was.latest, is.latest);
            return Err(Discontinuity::VersionGoesBack { mount, key, was, would_be });
        }
        let (keks, before) = (is.keks(is.latest), was.keks(was.latest));
        let is_same_set = is.quorum == was.quorum
            && keks.len() == before.len()
            && before.iter().all(|kek| keks.contains(&self.renamed(kek)));
        let is_seen = !was.versions.is_empty();
        if is.latest == was.latest && is_seen && !is_same_set {
            return Err(Discontinuity::VersionStays { mount, key, version: is.latest });
        }
        Ok(())
    }

    /// `kek` under the name that its seal has here.
    fn renamed(&self, kek: &KekRef) -> KekRef {
        let seal = self.seals.find(&kek.seal).map_or(&kek.seal, Seal::name).clone();
        KekRef { seal, kek: kek.kek.clone() }
    }

    /// What clients have seen of the key that is now `key`.
    fn seen(
        &self,
        mount: &MountPath,
        key: &TransitKey,
        keys: &ManagedKeys,
    ) -> Option<Arc<TransitKey>> {
        let name = key.name.as_str();
        self.declared_key(mount, name).or_else(|| keys.managed(mount, name))
    }
}

fn listed(regressions: &[Regression]) -> String {
    regressions.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn probe_call() -> Call {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    Call { client: ClientTag::SELKIE, deadline }
}

/// What the old seal wraps, the new one must unwrap, for every id that both have.
async fn require_same_keys(is: &Seal, was: &Seal, random: &Random) -> Result<(), Discontinuity> {
    let (Some(known), Some(known_before)) = (&is.known, &was.known) else { return Ok(()) };
    for version in known_before.keks.versions() {
        let Some(same_id) = known.keks.version(&version.id) else { continue };
        let probe = RecipientSecret::try_init_with(|bytes| random(bytes));
        let probe = probe.map_err(|_none| Discontinuity::NoRandomness)?;
        let Ok(wrapped) = was.connection.kms().wrap_dek(&version.id, &probe, probe_call()).await
        else {
            continue;
        };
        let algorithm = same_id.wrapping.algorithm();
        if let Err(KmsError::Rejected(_)) =
            is.connection.kms().unwrap_dek(&version.id, algorithm, &wrapped, probe_call()).await
        {
            let (seal, id) = (is.name().clone(), version.id.clone());
            return Err(Discontinuity::OtherKeyUnderId { seal, id });
        }
    }
    Ok(())
}
