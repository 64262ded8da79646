//! Whether any key at all can be served: what `sys/health` and `sys/seal-status` go by.

use selkie_kms::{KmsError, Wrapping};

use crate::deployment::Deployment;
use crate::seal::{Known, LastAnswer, Seal, SealFault};
use crate::transit::TransitKey;

/// Whether, at `now`, at least one key encrypts or decrypts. With `has_managed_keys` there are, or
/// may come, keys that wrap for all enabled seals; while their state is sealed there are none to
/// count on. What only a call could tell counts as served.
pub(crate) fn is_anything_served(
    deployment: &Deployment,
    has_managed_keys: bool,
    now: u64,
) -> bool {
    // An envelope may have a recipient of any seal, whatever seals its key has by now.
    let has_keys = has_managed_keys || deployment.declared_keys().next().is_some();
    has_keys && deployment.seals.asked().any(decrypts)
        || has_managed_keys && deployment.seals.enabled().all(|seal| is_wrapping(seal, now))
        || deployment.declared_keys().any(|(_, key)| encrypts(deployment, key, now))
}

/// Whether new DEKs may be wrapped under the current version at `now`.
pub(crate) fn is_trusted(seal: &Seal, now: u64) -> bool {
    let wraps = |known: &Known| known.wrapping_version(&known.keks.current().id, now).is_ok();
    !seal.disabled && seal.known.as_deref().is_some_and(wraps)
}

/// Whether what is known of the seal says that it wraps at `now`.
pub(crate) fn is_wrapping(seal: &Seal, now: u64) -> bool {
    is_trusted(seal, now) && (is_local(seal) || does(seal, seal.connection.last_wrap()))
}

fn is_local(seal: &Seal) -> bool {
    let is_local = |known: &Known| matches!(known.keks.current().wrapping, Wrapping::Local(_));
    seal.known.as_deref().is_some_and(is_local)
}

fn encrypts(deployment: &Deployment, key: &TransitKey, now: u64) -> bool {
    let mut seals = key.keks(key.latest).iter().map(|kek| deployment.seals.find(&kek.seal));
    key.uncounted.is_empty() && seals.all(|seal| seal.is_some_and(|seal| is_wrapping(seal, now)))
}

/// Whether what is known of the seal says that it unwraps. Older versions that nothing could be tried
/// with count: who is taken for one that opens nothing gets no decrypt that would show otherwise.
pub(crate) fn decrypts(seal: &Seal) -> bool {
    let Some(known) = seal.known.as_deref() else { return false };
    match seal.connection.last_unwrap() {
        LastAnswer::None if known.keks.versions().len() > 1 => does(seal, LastAnswer::Done),
        answer => does(seal, answer),
    }
}

/// Whether the KMS does what it last answered so to, by the last that was heard of it. One that
/// throttles does some of what it is asked, and one that does not let us describe its key may still
/// let us use it: that counts once it has done so.
fn does(seal: &Seal, answer: LastAnswer) -> bool {
    let fault = match seal.connection.health().fault {
        Some(SealFault::Kms(error)) => Some(error),
        _ => None,
    };
    match fault {
        _ if answer == LastAnswer::Refused => false,
        None | Some(KmsError::Throttled { .. }) => true,
        Some(KmsError::Denied(_) | KmsError::Rejected(_) | KmsError::Disabled(_)) => {
            answer == LastAnswer::Done
        }
        Some(
            KmsError::Unavailable(_)
            | KmsError::TimedOut(_)
            | KmsError::UnknownKek(_)
            | KmsError::Misbehaved(_),
        ) => false,
    }
}

#[cfg(test)]
mod tests;
