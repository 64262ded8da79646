//! What an operator can do about a request that was refused: for the log alone.

use std::fmt;

use selkie_crypto::envelope::EnvelopeRefusal;

use super::error::ApiError;
use super::logged::cut;
use super::route::{Endpoint, KeyPath, Route};
use crate::auth::NotAuthenticated;
use crate::transit::{Transit, TransitError};

/// Why policies deny a request, as far as that helps whoever runs the server. The client learns
/// nothing of it: what it may not ask for may as well not be there.
#[derive(Debug)]
pub(super) enum Denial {
    /// Its path leads to no mount; the first part of it.
    NoMount(String),
    /// It is about a key that is not there.
    NoKey(KeyPath),
    /// Its policies do not allow it.
    NotAllowed,
}

impl Denial {
    /// Of a client's request for `route`; keys are looked for where `transit` has them at hand.
    pub(super) fn of(route: &Route<'_>, transit: &Transit) -> Self {
        let at = match &route.target {
            Err(ApiError::NoMount { path }) => {
                // Behind the first part there may be a token.
                return Self::NoMount(path.split('/').next().map(cut).unwrap_or_default().into());
            }
            target => target.as_ref().ok().and_then(Endpoint::key),
        };
        match at {
            Some(at) if matches!(transit.held(&at.mount, &at.key), Ok(None)) => {
                Self::NoKey(at.clone())
            }
            _ => Self::NotAllowed,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMount(name) => write!(
                f,
                "there is no mount for this path, which begins with {name:?}: correct it at the \
                 client, or declare the mount"
            ),
            Self::NoKey(KeyPath { mount, key }) => write!(
                f,
                "there is no key {:?} in mount {:?}, and the client's policies do not cover this \
                 path: correct the key's name at the client, or add the path to a policy",
                cut(key.as_str()),
                mount.as_str()
            ),
            Self::NotAllowed => f.write_str(
                "the client's policies do not cover this path: correct it at the client, or add it \
                 to a policy",
            ),
        }
    }
}

/// What an operator can do about it.
pub(super) fn advice(error: &TransitError) -> Option<&'static str> {
    Some(match error {
        TransitError::NoUsableRecipient => {
            "declare the seal and key id that the ciphertext was made for; a retired key of a \
             static seal goes into a \"previous\" block"
        }
        TransitError::OtherVault(other) => other.error.source.advice(),
        TransitError::SealRevoked(_) => {
            "nothing opens it while the seal is revoked; what else it was made for is lost or not \
             declared"
        }
        TransitError::UnwrapRejected => {
            "the ciphertext was changed, or the seal holds another key under this id (for a static \
             seal: check current_key and current_key_id)"
        }
        TransitError::OldServerRejected(_) => {
            "the ciphertext was changed, or \"takeover\" names another key than the one that made it"
        }
        TransitError::Foreign => {
            "looks like another transit server's: declare \"takeover\" for the key, or have the \
             client migrate its seal (-migrate)"
        }
        TransitError::Refused(refusal) => return advice_on_refusal(*refusal),
        TransitError::VersionTooNew => "the old server is behind what it once encrypted: see to it",
        TransitError::NewerVersion(error) => advice_on_newer(error),
        TransitError::VersionTooOld => "lower min_decryption_version of the key",
        TransitError::KeyNotFound => {
            "check first that this is the right storage (is its disk mounted, its path or prefix as \
             it was?) and that the key was not deleted: a new key opens nothing that the old one \
             made. Only for a new name declare the key, or create it through the API"
        }
        TransitError::NotLookedUp => {
            "see why the client asks for so many keys that are not there; a key that this replica \
             has not heard of yet is found when it stops"
        }
        TransitError::NoStorage => "declare the key in the configuration file",
        TransitError::Declared => "change it in the configuration file and reload",
        TransitError::Seal(error) => error.source.advice(),
        TransitError::StateSealed => {
            "wait for the store and for a seal that opens the state key; declared keys are served"
        }
        TransitError::RecordUnreadable => "restore the store; nothing is made anew in its place",
        TransitError::VersionsExhausted | TransitError::RecordFull => "trim the key's old versions",
        TransitError::ChangePanicked => "read the key to see whether it changed; report the defect",
        TransitError::RequestedVersionNegative
        | TransitError::RequestedVersionTooHigh
        | TransitError::RequestedVersionTooLow
        | TransitError::ContextMissing
        | TransitError::Ciphertext(_)
        | TransitError::VersionSpelling
        | TransitError::Encrypt(_)
        | TransitError::Quorum(_)
        | TransitError::Random(_)
        | TransitError::Store(_)
        | TransitError::StoreAttached
        | TransitError::NameTooLong
        | TransitError::Setting(_) => return None,
    })
}

/// What an operator can do where nobody is known to ask.
pub(super) const fn advice_on_stranger(error: &NotAuthenticated) -> Option<&'static str> {
    match error {
        NotAuthenticated::NoToken => Some(
            "if it is a Vault, its seal stanza has no token, and no VAULT_TOKEN is set: put one into \
             the stanza and start that Vault",
        ),
        NotAuthenticated::UnknownToken => Some(
            "it was mistyped, revoked, or ended some time ago, or it is another server's: if it is a \
             Vault's, make a new token (selkie token create, or selkie client add), put it into the \
             Vault's seal stanza and start that Vault",
        ),
        NotAuthenticated::Expired(_) => Some(
            "if it is a Vault's, make a new token with a period (selkie token create, or selkie \
             client add), put it into the Vault's seal stanza and start that Vault, which renews it",
        ),
        NotAuthenticated::NotLookedUp => Some(
            "see who sends unknown tokens from there; a good token that this replica has not heard of \
             yet is let in when they stop",
        ),
        NotAuthenticated::Lapsed(_)
        | NotAuthenticated::UnreadCertificate(_)
        | NotAuthenticated::UnknownCertificate(_)
        | NotAuthenticated::AmbiguousCertificate(_)
        | NotAuthenticated::OutsideBoundCidrs(_)
        | NotAuthenticated::WithoutCertificate(_)
        | NotAuthenticated::StateSealed
        | NotAuthenticated::StoreAway(_)
        | NotAuthenticated::Stale(_)
        | NotAuthenticated::Unreadable
        | NotAuthenticated::TooLarge => None,
    }
}

const fn advice_on_refusal(refusal: EnvelopeRefusal) -> Option<&'static str> {
    match refusal {
        EnvelopeRefusal::Realm => {
            Some("if the realm was renamed, add its old name to realm_aliases")
        }
        EnvelopeRefusal::Mount => {
            Some("if the mount was renamed, add its old path to the mount's aliases")
        }
        EnvelopeRefusal::Origin => {
            Some("check origin_key; what was made without it does not open once it is declared")
        }
        EnvelopeRefusal::Malformed
        | EnvelopeRefusal::Purpose
        | EnvelopeRefusal::Key
        | EnvelopeRefusal::Version
        | EnvelopeRefusal::Share
        | EnvelopeRefusal::Quorum
        | EnvelopeRefusal::Commitment
        | EnvelopeRefusal::Tag => None,
    }
}

/// Where what is of a newer version than ours did not open for the reason `error`.
fn advice_on_newer(error: &TransitError) -> &'static str {
    if let TransitError::NoUsableRecipient = error {
        return "a newer configuration or store made it: this replica is behind the others, or an \
                older state was put back; declare the seals and key ids that made it";
    }
    advice(error).unwrap_or(
        "nothing, if a client sent what was never ours; else a newer configuration made it: same \
         seals, generation and version on every replica?",
    )
}
