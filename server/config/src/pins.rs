//! Where what was learned of master keys is kept, and by what it is trusted after a restart (I2).

use std::path::PathBuf;

use selkie_crypto::PinKey;
use selkie_hcl::{Place, Section};

use crate::seal::{Seal, SealKind, WrapPlace};
use crate::secret::Reading;
use crate::warning::WarningKind;

/// Set by systemd for a service with `StateDirectory=`.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// What is wrong with where pins are kept.
#[derive(Debug, thiserror::Error)]
enum PinsError {
    #[error("field \"data_dir\": must be an absolute path")]
    RelativeDirectory,
}

/// What becomes of pins at a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PinKeeping {
    /// They are lost.
    Forgotten,
    /// They are kept, and count only once the KMS or the configuration has confirmed them.
    Unproven,
    /// They are kept under a MAC.
    Proven,
}

impl PinKeeping {
    pub(crate) fn new(directory: Option<&PathBuf>, key: Option<&PinKey>) -> Self {
        match (directory, key) {
            (None, _) => Self::Forgotten,
            (Some(_), None) => Self::Unproven,
            (Some(_), Some(_)) => Self::Proven,
        }
    }

    /// Tells where encrypting would not outlive a restart without Key Vault.
    pub(crate) fn warn_of(self, seal: &Seal, place: Place<'_>, reading: &Reading<'_>) {
        let SealKind::AzureKeyVault(azure) = &seal.kind else {
            return;
        };
        if seal.disabled || azure.wrap == WrapPlace::Remote {
            return;
        }
        match self {
            Self::Forgotten => reading.warn(place, WarningKind::PinsForgotten),
            Self::Unproven if azure.public_keys.is_empty() => {
                reading.warn(place, WarningKind::PinsUnproven);
            }
            Self::Unproven | Self::Proven => {}
        }
    }
}

/// `data_dir`, else the first directory that systemd made for the service.
pub(crate) fn data_dir(root: &mut Section<'_>, reading: &Reading<'_>) -> Option<PathBuf> {
    let field = root.field("data_dir");
    if field.place().is_none() {
        let directories = reading.ambient_text(STATE_DIRECTORY)?;
        let first = directories.split(':').next().map(PathBuf::from);
        return first.filter(|path| path.is_absolute());
    }
    let path = field.string()?.try_map(|text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(PinsError::RelativeDirectory) }
    });
    path.map(|path| path.value)
}

/// `local_key`.
pub(crate) fn local_key(root: &mut Section<'_>, reading: &Reading<'_>) -> Option<PinKey> {
    let reference = root.field("local_key").string()?;
    let keep = |bytes: &[u8; 32]| PinKey::init_with(|page| page.copy_from_slice(bytes));
    reading.key("local_key", &reference, keep)
}
