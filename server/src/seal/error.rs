//! Why a seal does not do its part, whether that passes by itself, and what to do about it.

use std::sync::Arc;

use selkie_crypto::{KekId, SealName};
use selkie_kms::azure::Diagnosis;
use selkie_kms::transit::TransitDiagnosis;
use selkie_kms::{KekState, KmsError, pkcs11};

use crate::continuity::AdoptionError;

/// A seal failed for a reason of its own: not what it was sent, but where it is or what it may.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seal \"{seal}\": {source}")]
pub struct SealError {
    /// The seal's name.
    pub seal: SealName,
    /// The error behind it.
    pub source: SealFault,
}

/// Why a seal does not do its part.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealFault {
    /// The KMS says why.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// Nobody has told us yet what the master key is.
    #[error("the KMS has not described its master key yet")]
    Undescribed,
    /// The KMS did not unwrap what was wrapped for it to see whether the key is its own.
    #[error("the KMS does not unwrap what is wrapped under the key that it describes")]
    Unconfirmed(#[source] Option<KmsError>),
    /// Nothing says that the public key is the KMS's own (invariant I2).
    #[error("the public key is known from an unsigned pin file alone, and so not trusted")]
    Untrusted,
    /// The KMS does not let the version be used now.
    #[error("version {kek} of the master key {}", told(*state))]
    NotUsable {
        /// The version.
        kek: KekId,
        /// What it is instead of enabled.
        state: KekState,
    },
    /// What the KMS says is not what it was.
    #[error("the KMS contradicts what was pinned: {0}")]
    Contradicted(Contradiction),
    /// The KMS does not let us list the versions, which a counted key needs.
    #[error("the KMS does not let us list the versions of its master key")]
    Unlisted,
    /// What was learned would break what clients rely on.
    #[error("what the KMS says now cannot be followed")]
    NotAdopted(#[source] Arc<AdoptionError>),
    /// The configuration has no such seal.
    #[error("no such seal is configured")]
    NotConfigured,
    /// The key has more seals than its quorum is of.
    #[error("the DEK was split for fewer seals than the key has")]
    NoPart,
    /// The configuration disables it.
    #[error("the seal is disabled in the configuration, and so wraps nothing")]
    SwitchedOff,
}

/// How a KMS contradicts what was known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The same version is another key.
    #[error("version {0} has another public key than before")]
    OtherKey(KekId),
    /// The same version is another key, which nobody can see but by what it opens.
    #[error("version {0} is another key than before: it does not open what it wrapped then")]
    OpensNothing(KekId),
    /// The same version was made at another time, and so is another key.
    #[error("version {0} was made anew, and so is another key than before")]
    MadeAnew(KekId),
    /// A device with another serial number has a key of the same name.
    #[error(
        "version {0} is on a device with another serial number, and nothing shows that it is the \
         same key"
    )]
    OtherDevice(KekId),
    /// A version is no longer listed, so that N would go back.
    #[error("version {0} is no longer listed")]
    VersionVanished(KekId),
    /// All of it is gone: deleted, and perhaps to be recovered.
    #[error("the master key is no longer there")]
    Missing,
}

const fn told(state: KekState) -> &'static str {
    match state {
        KekState::Enabled => "is enabled",
        KekState::Disabled => "is disabled",
        KekState::NotYetValid => "is not valid yet",
        KekState::Expired => "has expired",
    }
}

impl SealFault {
    /// Whether the same may succeed later although nobody changes anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Kms(error) => error.is_transient(),
            Self::Undescribed | Self::Unconfirmed(_) | Self::Untrusted => true,
            Self::NotUsable { .. }
            | Self::Contradicted(_)
            | Self::Unlisted
            | Self::NotAdopted(_)
            | Self::NotConfigured
            | Self::NoPart
            | Self::SwitchedOff => false,
        }
    }

    /// Whether the seal is away: its KMS does not answer, which passes by itself. One that refuses,
    /// throttles or talks nonsense is there.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        match self {
            Self::Kms(KmsError::Unavailable(_) | KmsError::TimedOut(_))
            | Self::Undescribed
            | Self::Untrusted => true,
            Self::Kms(
                KmsError::Denied(_)
                | KmsError::Rejected(_)
                | KmsError::UnknownKek(_)
                | KmsError::Disabled(_)
                | KmsError::Throttled { .. }
                | KmsError::Misbehaved(_),
            )
            // Somebody may be in the KMS's place.
            | Self::Unconfirmed(_)
            | Self::NotUsable { .. }
            | Self::Contradicted(_)
            | Self::Unlisted
            | Self::NotAdopted(_)
            | Self::NotConfigured
            | Self::NoPart
            | Self::SwitchedOff => false,
        }
    }

    /// What the KMS said, if it comes from there.
    #[must_use]
    pub const fn kms_error(&self) -> Option<&KmsError> {
        match self {
            Self::Kms(error) | Self::Unconfirmed(Some(error)) => Some(error),
            _ => None,
        }
    }

    /// The outcome in one word, for metrics and `status`.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Kms(error) => outcome(error),
            Self::Undescribed => "undescribed",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Untrusted => "untrusted",
            Self::NotUsable { .. } => "not_usable",
            Self::Contradicted(_) => "contradicted",
            Self::Unlisted => "unlisted",
            Self::NotAdopted(_) => "not_adopted",
            Self::NotConfigured => "not_configured",
            Self::NoPart => "no_part",
            Self::SwitchedOff => "switched_off",
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Kms(error) | Self::Unconfirmed(Some(error)) => advice(error),
            Self::Undescribed => "nothing yet: the KMS is being asked",
            Self::Unconfirmed(None) => {
                "check that the KMS, and nothing in its place, answers at the seal's address"
            }
            Self::Untrusted => {
                "wait for the KMS; to encrypt without it after a restart, declare public_key_sha256 \
                 or a local key file"
            }
            Self::NotUsable { .. } => {
                "enable the version or correct its dates in the KMS, or rotate the master key there"
            }
            Self::Contradicted(Contradiction::OtherDevice(_)) => {
                "make sure that the new device holds the key of the old one (a decrypt of an existing \
                 ciphertext shows it); if so, remove the seal's pin file and restart: declared keys \
                 need another \"generation\" then"
            }
            Self::Contradicted(Contradiction::Missing) => "recover the deleted key in the KMS",
            Self::Contradicted(Contradiction::OpensNothing(_) | Contradiction::MadeAnew(_)) => {
                "stop and restart no Vault: none is lost while it is unsealed. Bring the old key \
                 back in the KMS (from a backup, or by the right address): all goes on by itself. If \
                 it is gone and no other seal opens the Vaults' stored keys, copy what they hold to \
                 new Vaults now; to encrypt under the new key, raise \"generation\" of declared \
                 keys, remove the seal's pin file, restart Selkie, and rotate the keys that were \
                 made through the API. If the KMS is another Selkie, see first whether its \
                 origin_key, realm or mount was changed without an alias"
            }
            Self::Contradicted(_) => {
                "find out who changed the master key; if it is right so, raise \"generation\" of \
                 declared keys, remove the seal's pin file, restart, and rotate the keys that were \
                 made through the API"
            }
            Self::Unlisted => {
                "grant the right to list the versions, or declare version = N for the key"
            }
            Self::NotAdopted(_) => "raise \"generation\" of the key and reload",
            Self::NotConfigured => "declare the seal",
            Self::NoPart => "report the defect",
            Self::SwitchedOff => "remove disabled = true from the seal, or the seal from the key",
        }
    }
}

/// The outcome of a KMS call in one word.
pub(super) const fn outcome(error: &KmsError) -> &'static str {
    match error {
        KmsError::Denied(_) => "denied",
        KmsError::Rejected(_) => "rejected",
        KmsError::UnknownKek(_) => "unknown_kek",
        KmsError::Disabled(_) => "disabled",
        KmsError::Throttled { .. } => "throttled",
        KmsError::Unavailable(_) => "unavailable",
        KmsError::TimedOut(_) => "timed_out",
        KmsError::Misbehaved(_) => "misbehaved",
    }
}

/// The same, with `ok` for success.
pub(super) const fn outcome_of<T>(answer: &Result<T, KmsError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(error) => outcome(error),
    }
}

/// The provider's own words if it has some for this case, else ours.
fn advice(error: &KmsError) -> &'static str {
    if let Some(diagnosis) = Diagnosis::of(error) {
        return diagnosis.remedy();
    }
    if let Some(diagnosis) = pkcs11::Diagnosis::of(error) {
        return diagnosis.remedy();
    }
    if let Some(diagnosis) = TransitDiagnosis::of(error) {
        return diagnosis.remedy();
    }
    match error {
        KmsError::Denied(_) => "grant our identity get, wrap and unwrap on the key in the KMS",
        KmsError::Rejected(_) | KmsError::Misbehaved(_) => {
            "check that the KMS, and nothing in its place, answers at the seal's address"
        }
        KmsError::UnknownKek(_) => "recover the deleted key in the KMS, or correct the seal's key",
        KmsError::Disabled(_) => "enable the key version in the KMS, or correct its dates",
        KmsError::Throttled { .. } => "nothing: the client tries again; raise the KMS's limit",
        KmsError::Unavailable(_) | KmsError::TimedOut(_) => {
            "check the way to the KMS; the client tries again by itself"
        }
    }
}

#[cfg(test)]
mod tests {
    use selkie_kms::azure::{Hop, Outcome};

    use super::*;
    use crate::telemetry::WithCauses;

    #[test]
    fn the_log_names_hop_and_request_and_what_the_provider_says_mends_it() {
        let diagnosis = Diagnosis {
            hop: Hop::Unwrap,
            outcome: Outcome::RoleMissing,
            host: "weu.vault.azure.net".into(),
            status: Some(403),
            code: Some("ForbiddenByRbac".into()),
            request_id: Some("4711".into()),
        };
        let remedy = diagnosis.remedy();
        let fault = SealFault::Kms(KmsError::Denied(Some(Arc::new(diagnosis))));
        assert_eq!(fault.advice(), remedy);
        let error = SealError { seal: SealName::new("weu").unwrap(), source: fault };
        let line = WithCauses(&error).to_string();
        for told in ["\"weu\"", "unwrap", "weu.vault.azure.net", "403", "4711"] {
            assert!(line.contains(told), "{told}: {line}");
        }
    }
}
