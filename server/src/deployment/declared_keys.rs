//! The declared keys, and where their version numbers come from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use selkie_access::{KeyName, MountPath};
use selkie_config::{DeclaredKey, VersionRule};
use selkie_crypto::KeyVersion;

use super::DeploymentError;
use crate::seal::{KekRef, Seal, Seals, Source};
use crate::transit::{KeySource, TransitKey, Uncounted, VersionRecord};

/// The declared keys by mount and name, each with its version number.
#[derive(Debug)]
pub(super) struct DeclaredKeys(BTreeMap<MountPath, BTreeMap<KeyName, Arc<TransitKey>>>);

impl DeclaredKeys {
    pub(super) fn number(declared: &[DeclaredKey], seals: &Seals) -> Result<Self, DeploymentError> {
        let mut keys = BTreeMap::<_, BTreeMap<_, _>>::new();
        for one in declared {
            let key = declared_key(one, seals)?;
            keys.entry(one.mount.clone()).or_default().insert(key.name.clone(), Arc::new(key));
        }
        Ok(Self(keys))
    }

    pub(super) fn find(&self, mount: &MountPath, name: &str) -> Option<&Arc<TransitKey>> {
        self.0.get(mount)?.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&MountPath, &Arc<TransitKey>)> {
        self.0.iter().flat_map(|(mount, keys)| keys.values().map(move |key| (mount, key)))
    }

    pub(super) fn names(&self, mount: &MountPath) -> impl Iterator<Item = KeyName> {
        self.0.get(mount).into_iter().flat_map(|keys| keys.keys().cloned())
    }

    /// Where a key cannot be counted yet, goes on from what clients have seen of it `before`.
    pub(super) fn carry_over(&mut self, before: &Self) {
        for (mount, keys) in &mut self.0 {
            for key in keys.values_mut().filter(|key| !key.uncounted.is_empty()) {
                let was = before.find(mount, key.name.as_str());
                let Some(was) = was.filter(|was| was.latest >= key.latest) else { continue };
                let key = Arc::make_mut(key);
                key.latest = was.latest;
                key.versions.clone_from(&was.versions);
            }
        }
    }
}

fn declared_key(declared: &DeclaredKey, seals: &Seals) -> Result<TransitKey, DeploymentError> {
    let of_key = || declared.seals.iter().filter_map(|name| seals.find(name));
    let known = || of_key().filter_map(|seal| seal.known.as_ref());
    let listed = known().map(|known| known.keks.versions().len()).sum();
    let mut uncounted: Vec<_> =
        of_key().filter_map(|seal| uncounted(seal, declared.version)).collect();
    let latest = match latest_version(declared.version, listed) {
        // Nothing is listed yet.
        None if listed == 0 => KeyVersion::FIRST,
        latest => {
            latest.ok_or_else(|| DeploymentError::VersionTooHigh { key: declared.name.clone() })?
        }
    };
    let least =
        declared.min_decryption_version.max(declared.min_encryption_version.unwrap_or(latest));
    if least > latest && uncounted.is_empty() {
        // A pin may be older than the last rotation: that must not keep a server from starting.
        uncounted.extend(of_key().filter(|seal| is_from_pin(seal)).map(undescribed));
    }
    if least > latest && uncounted.is_empty() {
        return Err(DeploymentError::MinimumAboveLatest { key: declared.name.clone(), latest });
    }
    let keks: Vec<KekRef> = of_key().filter_map(Seal::current_kek).collect();
    let created = known().filter_map(|known| known.keks.current().created).map(unix_seconds).max();
    let record = VersionRecord { created: created.unwrap_or(0), keks, left_out: Vec::new() };
    let is_known = uncounted.is_empty();
    Ok(TransitKey {
        name: declared.name.clone(),
        source: KeySource::Declared,
        derived: false,
        quorum: declared.quorum,
        deletion_allowed: false,
        allow_missing_seals: false,
        min_decryption: declared.min_decryption_version,
        min_encryption: declared.min_encryption_version,
        min_available: None,
        latest,
        versions: if is_known {
            BTreeMap::from([(latest, Arc::new(record))])
        } else {
            BTreeMap::new()
        },
        uncounted,
    })
}

fn undescribed(seal: &Seal) -> Uncounted {
    Uncounted::Undescribed(seal.name().clone())
}

fn is_from_pin(seal: &Seal) -> bool {
    seal.known.as_ref().is_some_and(|known| known.source == Source::Pin)
}

/// What keeps `seal` from being counted in a key's version. A stated one counts nothing, but still
/// has to know what to wrap for.
fn uncounted(seal: &Seal, rule: VersionRule) -> Option<Uncounted> {
    match (&seal.known, rule) {
        (None, _) => Some(undescribed(seal)),
        (Some(known), VersionRule::Counted { .. }) if !known.keks.is_complete() => {
            Some(Uncounted::Unlisted(seal.name().clone()))
        }
        (Some(_), _) => None,
    }
}

/// The version of a declared key: `generation x 10,000 + listed`, or what was stated.
fn latest_version(rule: VersionRule, listed: usize) -> Option<KeyVersion> {
    match rule {
        VersionRule::Stated(version) => Some(version),
        VersionRule::Counted { generation } => {
            let listed = u32::try_from(listed).ok()?;
            let base = generation.checked_mul(VersionRule::GENERATION_SIZE)?;
            KeyVersion::new(base.checked_add(listed)?)
        }
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
