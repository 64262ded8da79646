//! A transit key, declared or managed, as of one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use selkie_access::KeyName;
use selkie_crypto::{KeyVersion, SealName};

use super::TransitError;
use crate::seal::KekRef;

/// A transit key as it stands: what is public of it, for there is nothing else. Its material is a
/// fresh DEK per ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKey {
    /// Its name within the mount.
    pub name: KeyName,
    /// From the configuration file or made through the API.
    pub source: KeySource,
    /// Whether every request names a context, which is bound to its ciphertext.
    pub derived: bool,
    /// How many of its seals must unwrap to open an envelope; 1: any one does.
    pub quorum: u8,
    /// Whether it may be deleted.
    pub deletion_allowed: bool,
    /// Whether an envelope is made without a seal that is away, under a new version; never of a
    /// declared key, whose versions count its seals.
    pub allow_missing_seals: bool,
    /// The oldest version that decrypts.
    pub min_decryption: KeyVersion,
    /// The oldest version that encrypts; `None` for no limit beside `min_decryption`.
    pub min_encryption: Option<KeyVersion>,
    /// Versions before this one are gone for good; `None` if none was ever trimmed.
    pub min_available: Option<KeyVersion>,
    /// The newest version, which encrypts unless another is asked for.
    pub latest: KeyVersion,
    /// What stands behind each version that is on record; a declared key has its latest alone. Behind
    /// a pointer, for a map has room for eleven of them from the first.
    pub versions: BTreeMap<KeyVersion, Arc<VersionRecord>>,
    /// What keeps `latest` from being more than the least that it can be: nothing is encrypted then.
    /// Always empty for a managed key.
    pub uncounted: Vec<Uncounted>,
}

/// A seal whose master-key versions cannot be counted, so that the version of a declared
/// key is not known for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncounted {
    /// Nobody has described its master key yet.
    Undescribed(SealName),
    /// Its KMS does not let us list them.
    Unlisted(SealName),
}

/// Where a key comes from (invariant I6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The configuration file; the API cannot change it.
    Declared,
    /// The API; kept in the store.
    Managed,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// When it was made, in seconds since 1970-01-01 UTC; 0 where nobody knows.
    pub created: u64,
    /// The master-key versions that it wraps for.
    pub keks: Vec<KekRef>,
    /// The seals that it should wrap for as well, and that were away.
    pub left_out: Vec<SealName>,
}

impl TransitKey {
    /// The version to encrypt with: the one asked for, or the latest for `None` and 0.
    pub(super) fn encryption_version(
        &self,
        requested: Option<i64>,
    ) -> Result<KeyVersion, TransitError> {
        let requested = match requested.unwrap_or(0) {
            0 => return Ok(self.latest),
            negative if negative < 0 => return Err(TransitError::RequestedVersionNegative),
            requested => requested,
        };
        let version = u32::try_from(requested).ok().and_then(KeyVersion::new);
        let Some(version) = version.filter(|version| *version <= self.latest) else {
            return Err(TransitError::RequestedVersionTooHigh);
        };
        let oldest = self.min_encryption.unwrap_or(self.min_decryption).max(self.min_decryption);
        if version < oldest { Err(TransitError::RequestedVersionTooLow) } else { Ok(version) }
    }

    /// Whether a ciphertext of `version`, as Vault reads the number, may be decrypted.
    pub(super) fn admit_version(&self, version: i64) -> Result<(), TransitError> {
        if version < i64::from(self.min_decryption.get()) {
            return Err(TransitError::VersionTooOld);
        }
        Ok(())
    }

    /// Whether `version` is newer than the latest, as far as that is known.
    pub(super) fn is_newer(&self, version: i64) -> bool {
        self.uncounted.is_empty() && version > i64::from(self.latest.get())
    }

    /// The master-key versions behind `version`; a declared key wraps every version for its latest.
    pub(crate) fn keks(&self, version: KeyVersion) -> &[KekRef] {
        let record = self.versions.get(&version).or_else(|| self.versions.get(&self.latest));
        record.map_or(&[], |record| &record.keks)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn version(number: u32) -> KeyVersion {
        KeyVersion::new(number).unwrap()
    }

    /// A key with versions 1 to 5, of which 3 to 5 decrypt and 4 to 5 encrypt.
    fn key() -> TransitKey {
        TransitKey {
            name: "unseal".parse().unwrap(),
            source: KeySource::Managed,
            derived: false,
            quorum: 1,
            deletion_allowed: false,
            allow_missing_seals: false,
            min_decryption: version(3),
            min_encryption: Some(version(4)),
            min_available: None,
            latest: version(5),
            versions: BTreeMap::new(),
            uncounted: Vec::new(),
        }
    }

    #[test]
    fn encrypt_takes_the_latest_version_unless_another_is_asked_for() {
        assert_eq!(key().encryption_version(None).unwrap(), version(5));
        assert_eq!(key().encryption_version(Some(0)).unwrap(), version(5));
        assert_eq!(key().encryption_version(Some(4)).unwrap(), version(4));
    }

    #[test]
    fn encrypt_refuses_versions_outside_its_range() {
        let refused = |number| key().encryption_version(Some(number)).unwrap_err();
        assert!(matches!(refused(-1), TransitError::RequestedVersionNegative));
        assert!(matches!(refused(6), TransitError::RequestedVersionTooHigh));
        assert!(matches!(refused(i64::MAX), TransitError::RequestedVersionTooHigh));
        assert!(matches!(refused(3), TransitError::RequestedVersionTooLow));
        let open = TransitKey { min_encryption: None, ..key() };
        assert_eq!(open.encryption_version(Some(3)).unwrap(), version(3));
        assert!(matches!(
            open.encryption_version(Some(2)),
            Err(TransitError::RequestedVersionTooLow)
        ));
    }

    #[test]
    fn admit_version_refuses_only_what_is_below_the_minimum() {
        assert!(key().admit_version(3).is_ok());
        assert!(key().admit_version(5).is_ok());
        // What is newer may be another replica's, and opens by itself (invariant I1).
        assert!(key().admit_version(6).is_ok() && key().is_newer(6) && !key().is_newer(5));
        assert!(key().admit_version(i64::MAX).is_ok());
        assert!(matches!(key().admit_version(2), Err(TransitError::VersionTooOld)));
        assert!(matches!(key().admit_version(-7), Err(TransitError::VersionTooOld)));
    }
}
