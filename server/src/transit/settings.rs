//! A key's settings, by Vault's rules.

use selkie_crypto::KeyVersion;

use super::{SettingError, TransitKey};

/// What a new key is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewKey {
    /// Whether every request names a context, which is bound to its ciphertext.
    pub derived: bool,
    /// Whether seals that are away are left out.
    pub allow_missing_seals: bool,
}

/// What is to change of a key; `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyChanges {
    /// The oldest version that decrypts; 0 counts as 1.
    pub min_decryption_version: Option<i64>,
    /// The oldest version that encrypts; 0 for no limit of its own.
    pub min_encryption_version: Option<i64>,
    /// Whether the key may be deleted.
    pub deletion_allowed: Option<bool>,
    /// Whether seals that are away are left out.
    pub allow_missing_seals: Option<bool>,
}

impl TransitKey {
    /// The key with `changes` applied, checked in Vault's order.
    pub(super) fn with(mut self, changes: KeyChanges) -> Result<Self, SettingError> {
        if let Some(requested) = changes.min_decryption_version {
            self.min_decryption = self.checked_min_decryption(requested)?;
        }
        if let Some(requested) = changes.min_encryption_version {
            self.min_encryption = self.checked_min_encryption(requested)?;
        }
        if let Some(encryption) = self.min_encryption.filter(|one| *one < self.min_decryption) {
            let decryption = self.min_decryption;
            return Err(SettingError::MinEncryptionBelowMinDecryption { encryption, decryption });
        }
        self.deletion_allowed = changes.deletion_allowed.unwrap_or(self.deletion_allowed);
        self.allow_missing_seals = changes.allow_missing_seals.unwrap_or(self.allow_missing_seals);
        self.leave_out_nothing_trimmed()
    }

    fn checked_min_decryption(&self, requested: i64) -> Result<KeyVersion, SettingError> {
        if requested < 0 {
            return Err(SettingError::MinDecryptionNegative);
        }
        let above = SettingError::MinDecryptionAboveLatest { requested, latest: self.latest };
        self.existing(requested.max(1)).ok_or(above)
    }

    fn checked_min_encryption(&self, requested: i64) -> Result<Option<KeyVersion>, SettingError> {
        if requested < 0 {
            return Err(SettingError::MinEncryptionNegative);
        }
        if requested == 0 {
            return Ok(None);
        }
        let above = SettingError::MinEncryptionAboveLatest { requested, latest: self.latest };
        self.existing(requested).map(Some).ok_or(above)
    }

    /// Version `number`, unless the key has not come so far.
    fn existing(&self, number: i64) -> Option<KeyVersion> {
        let version = u32::try_from(number).ok().and_then(KeyVersion::new);
        version.filter(|version| *version <= self.latest)
    }

    fn leave_out_nothing_trimmed(self) -> Result<Self, SettingError> {
        if self.min_available > self.min_encryption {
            return Err(SettingError::MinEncryptionBelowAvailable);
        }
        if self.min_available > Some(self.min_decryption) {
            return Err(SettingError::MinDecryptionBelowAvailable);
        }
        Ok(self)
    }

    /// The key without its versions before `min_available`, for good; checked in Vault's order.
    pub(super) fn trimmed(mut self, min_available: Option<i64>) -> Result<Self, SettingError> {
        let requested = min_available.ok_or(SettingError::MinAvailableMissing)?;
        let number = |version: Option<KeyVersion>| version.map_or(0, |one| i64::from(one.get()));
        if requested < number(self.min_available) {
            return Err(SettingError::MinAvailableDecremented);
        }
        if self.min_encryption.is_none() {
            return Err(SettingError::MinAvailableWithoutMinEncryption);
        }
        if requested > number(self.min_encryption) {
            return Err(SettingError::MinAvailableAboveMinEncryption);
        }
        if requested > number(Some(self.min_decryption)) {
            return Err(SettingError::MinAvailableAboveMinDecryption);
        }
        if requested < 0 {
            return Err(SettingError::MinAvailableNegative);
        }
        let first = self.existing(requested).ok_or(SettingError::MinAvailableZero)?;
        self.versions = self.versions.split_off(&first);
        self.min_available = Some(first);
        Ok(self)
    }
}
