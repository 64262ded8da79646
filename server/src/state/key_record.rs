//! A managed key as it is kept. One that cannot be read is an error, never a new key (invariant
//! I5).

use std::collections::BTreeMap;
use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KekId, KeyVersion, SealName};
use selkie_storage::{InvalidKey, RecordKey, RecordValue};
use serde::{Deserialize, Serialize};

use crate::seal::KekRef;
use crate::transit::{KeySource, TransitKey, VersionRecord};

/// The record of a managed key, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    format: u32,
    derived: bool,
    deletion_allowed: bool,
    /// Not there where it is false, so that an earlier release reads the record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    allow_missing_seals: bool,
    min_decryption_version: u32,
    min_encryption_version: u32,
    min_available_version: u32,
    versions: Vec<Version>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    version: u32,
    created: u64,
    keks: Vec<Kek>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kek {
    seal: String,
    kek: String,
}

/// Why a record could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the JSON of a key, or of a format that this version does not know.
    #[error("the record is not one of a transit key")]
    Malformed,
    /// Too many versions for one record; trim the key.
    #[error("the record is too large; trim the key's old versions")]
    TooLarge,
}

const FORMAT: u32 = 1;
const ROOT: &str = "transit";

/// Below which all keys' records are.
///
/// # Errors
///
/// None in practice: the key is a constant.
pub fn under_mounts() -> Result<RecordKey, InvalidKey> {
    ROOT.parse()
}

/// Where the record of a key is: `transit/<mount>/<name>`; a name has no slash, so the last one
/// parts it from the mount.
///
/// # Errors
///
/// [`InvalidKey`] if both names together are too long.
pub fn record_key(mount: &MountPath, name: &KeyName) -> Result<RecordKey, InvalidKey> {
    format!("{ROOT}/{mount}/{name}").parse()
}

impl KeyRecord {
    /// The place that a record's key names, or `None` if it is no place of a key.
    #[must_use]
    pub fn place(key: &RecordKey) -> Option<(MountPath, KeyName)> {
        let (mount, name) = key.as_str().strip_prefix(ROOT)?.strip_prefix('/')?.rsplit_once('/')?;
        Some((mount.parse().ok()?, name.parse().ok()?))
    }

    /// The record of `key`.
    ///
    /// # Errors
    ///
    /// [`RecordError::TooLarge`].
    pub fn encode(key: &TransitKey) -> Result<RecordValue, RecordError> {
        let version = |(version, record): (&KeyVersion, &Arc<VersionRecord>)| Version {
            version: version.get(),
            created: record.created,
            keks: record.keks.iter().map(Kek::of).collect(),
            left_out: record.left_out.iter().map(ToString::to_string).collect(),
        };
        let record = Self {
            format: FORMAT,
            derived: key.derived,
            deletion_allowed: key.deletion_allowed,
            allow_missing_seals: key.allow_missing_seals,
            min_decryption_version: key.min_decryption.get(),
            min_encryption_version: key.min_encryption.map_or(0, KeyVersion::get),
            min_available_version: key.min_available.map_or(0, KeyVersion::get),
            versions: key.versions.iter().map(version).collect(),
        };
        let json = serde_json::to_vec(&record).map_err(|_error| RecordError::Malformed)?;
        RecordValue::new(json).map_err(|_too_large| RecordError::TooLarge)
    }

    /// The inverse of [`KeyRecord::encode`].
    ///
    /// # Errors
    ///
    /// [`RecordError::Malformed`].
    pub fn decode(name: KeyName, value: &RecordValue) -> Result<TransitKey, RecordError> {
        let record: Self =
            serde_json::from_slice(value.as_bytes()).map_err(|_error| RecordError::Malformed)?;
        record.into_key(name).ok_or(RecordError::Malformed)
    }

    fn into_key(self, name: KeyName) -> Option<TransitKey> {
        if self.format != FORMAT {
            return None;
        }
        let versions: BTreeMap<_, _> =
            self.versions.into_iter().map(Version::into_record).collect::<Option<_>>()?;
        Some(TransitKey {
            name,
            source: KeySource::Managed,
            derived: self.derived,
            quorum: 1,
            deletion_allowed: self.deletion_allowed,
            allow_missing_seals: self.allow_missing_seals,
            min_decryption: KeyVersion::new(self.min_decryption_version)?,
            min_encryption: KeyVersion::new(self.min_encryption_version),
            min_available: KeyVersion::new(self.min_available_version),
            latest: *versions.last_key_value()?.0,
            versions,
            uncounted: Vec::new(),
        })
    }
}

impl Version {
    fn into_record(self) -> Option<(KeyVersion, Arc<VersionRecord>)> {
        let keks = self.keks.into_iter().map(Kek::into_ref).collect::<Option<_>>()?;
        let left_out = self.left_out.iter().map(|name| SealName::new(name).ok());
        let left_out = left_out.collect::<Option<_>>()?;
        let record = VersionRecord { created: self.created, keks, left_out };
        Some((KeyVersion::new(self.version)?, Arc::new(record)))
    }
}

impl Kek {
    fn of(kek: &KekRef) -> Self {
        Self { seal: kek.seal.as_str().to_owned(), kek: kek.kek.as_str().to_owned() }
    }

    fn into_ref(self) -> Option<KekRef> {
        Some(KekRef { seal: SealName::new(&self.seal).ok()?, kek: KekId::new(&self.kek).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TransitKey {
        let kek = KekRef { seal: SealName::new("dev").unwrap(), kek: KekId::new("1").unwrap() };
        let left_out = vec![SealName::new("weu").unwrap()];
        let record = Arc::new(VersionRecord { created: 7, keks: vec![kek], left_out });
        TransitKey {
            name: "unseal".parse().unwrap(),
            source: KeySource::Managed,
            derived: true,
            quorum: 1,
            deletion_allowed: true,
            allow_missing_seals: true,
            min_decryption: KeyVersion::new(3).unwrap(),
            min_encryption: KeyVersion::new(4),
            min_available: KeyVersion::new(2),
            latest: KeyVersion::new(4).unwrap(),
            versions: (2..=4).map(|n| (KeyVersion::new(n).unwrap(), record.clone())).collect(),
            uncounted: Vec::new(),
        }
    }

    #[test]
    fn a_key_is_read_back_as_it_was_written() {
        let value = KeyRecord::encode(&key()).unwrap();
        assert_eq!(KeyRecord::decode(key().name, &value).unwrap(), key());
    }

    /// An earlier release reads what does not use the newer settings, and this one what that wrote.
    #[test]
    fn a_key_without_missing_seals_has_the_record_that_it_always_had() {
        let mut plain = key();
        plain.allow_missing_seals = false;
        plain.versions.values_mut().for_each(|version| Arc::make_mut(version).left_out.clear());
        let value = KeyRecord::encode(&plain).unwrap();
        let text = String::from_utf8(value.as_bytes().to_vec()).unwrap();
        assert!(!text.contains("allow_missing_seals") && !text.contains("left_out"), "{text}");
        assert_eq!(KeyRecord::decode(key().name, &value).unwrap(), plain);
    }

    #[test]
    fn a_record_of_another_form_is_an_error_and_never_an_empty_key() {
        let good = String::from_utf8(KeyRecord::encode(&key()).unwrap().as_bytes().to_vec());
        let good = good.unwrap();
        for bad in [
            String::new(),
            "{}".into(),
            good.replace("\"format\":1", "\"format\":2"),
            good.replace("\"derived\"", "\"new_field\":1,\"derived\""),
            good.replace("\"min_decryption_version\":3", "\"min_decryption_version\":0"),
            good.replace("\"seal\":\"dev\"", "\"seal\":\"d/v\""),
        ] {
            assert_ne!(bad, good);
            let value = RecordValue::new(bad.clone().into_bytes()).unwrap();
            assert_eq!(KeyRecord::decode(key().name, &value), Err(RecordError::Malformed), "{bad}");
        }
    }

    #[test]
    fn the_place_of_a_record_names_mount_and_key() {
        let (mount, name) = ("team/transit".parse().unwrap(), "unseal".parse().unwrap());
        let place = record_key(&mount, &name).unwrap();
        assert_eq!(KeyRecord::place(&place), Some((mount, name)));
        assert_eq!(KeyRecord::place(&"transit/unseal".parse().unwrap()), None);
        assert_eq!(KeyRecord::place(&"tokens/a/b".parse().unwrap()), None);
    }
}
