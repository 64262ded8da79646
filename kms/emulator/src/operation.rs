//! The names of services and operations, as fault rules and counts use them.

use serde::{Deserialize, Serialize};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Service {
    Keyvault,
    Imds,
    Appservice,
    Entra,
    /// In rules alone.
    Any,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    Get,
    List,
    Versions,
    Create,
    Import,
    Update,
    Rotate,
    Delete,
    Recover,
    Purge,
    Backup,
    Restore,
    Wrap,
    Unwrap,
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    Policy,
    Deleted,
    Token,
    Discovery,
    Other,
    /// In rules alone.
    Any,
}

impl Operation {
    /// Whether a request for it must have a body.
    pub(crate) const fn needs_body(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Import
                | Self::Update
                | Self::Restore
                | Self::Wrap
                | Self::Unwrap
                | Self::Encrypt
                | Self::Decrypt
                | Self::Sign
                | Self::Verify
        )
    }
}
