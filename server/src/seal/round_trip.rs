//! Proves that a KMS holds the private half of a public key: only then is a pin trusted (invariant
//! I2).

use std::time::Duration;

use selkie_crypto::{Random, RecipientSecret};
use selkie_kms::{Call, ClientTag, KekVersion, KmsError, Wrapping};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout_at};

use super::canary::Canary;
use super::connection::Connection;
use super::error::SealFault;

/// How long both calls may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wraps a secret made up for it under `version`, locally where that is how it is done, and lets
/// the KMS unwrap it: only who holds the private key can. What was wrapped is good for a canary.
pub(super) async fn confirm(
    connection: &Connection,
    version: &KekVersion,
    random: &Random,
) -> Result<Canary, SealFault> {
    let (kms, deadline) = (connection.kms(), Instant::now() + PATIENCE);
    let call = Call { client: ClientTag::SELKIE, deadline };
    let probe = RecipientSecret::try_init_with(|bytes| random(bytes));
    let probe = probe.map_err(|_none| SealFault::Unconfirmed(None))?;
    let wrapped = match &version.wrapping {
        Wrapping::Local(key) => {
            key.wrap_dek(&probe).map_err(|_failed| SealFault::Unconfirmed(None))?
        }
        Wrapping::Remote(_) => {
            let wrapped = within(deadline, kms.wrap_dek(&version.id, &probe, call)).await;
            connection.note_wrap(&version.id, &wrapped);
            wrapped?
        }
    };
    let algorithm = version.wrapping.algorithm();
    let unwrapped = within(deadline, kms.unwrap_dek(&version.id, algorithm, &wrapped, call)).await;
    let is_other =
        |is: &RecipientSecret| !bool::from(is.expose_for_wrap().ct_eq(probe.expose_for_wrap()));
    if unwrapped.as_ref().is_ok_and(|unwrapped| is_other(unwrapped)) {
        return Err(SealFault::Unconfirmed(None));
    }
    connection.note_unwrap(&version.id, &unwrapped);
    unwrapped.map_err(|error| match error {
        rejected @ (KmsError::Rejected(_) | KmsError::UnknownKek(None)) => {
            SealFault::Unconfirmed(Some(rejected))
        }
        other => SealFault::Kms(other),
    })?;
    Ok(Canary::new(version, &probe, wrapped))
}

async fn within<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, KmsError>>,
) -> Result<T, KmsError> {
    let answered = timeout_at(deadline, call).await;
    answered.unwrap_or_else(|late| Err(KmsError::TimedOut(Some(std::sync::Arc::new(late)))))
}
