//! The state key in an envelope for the seals.

use std::borrow::Cow;

use selkie_crypto::envelope::{Aad, Draft, EnvelopeRefusal, Expected, Header, Purpose};
use selkie_crypto::{Envelope, KeyVersion, OriginKey, Plaintext, StateKey};
use selkie_kms::Call;
use selkie_storage::{RecordValue, Store, StoreError};
use tokio::time::Instant;

use super::opening::{KEY_PLACE, place};
use super::sealed_store::{Damage, corrupt};
use crate::deployment::Deployment;
use crate::seal::{KekRef, SealCall, WRAP_PATIENCE};
use crate::transit::{Transit, TransitError};

const MOUNT: &str = "state";
const NAME: &str = "state-key";
pub(crate) const AAD: Aad<'static> = Aad { associated_data: &[], context: &[] };

/// `key` in an envelope for `keks`.
///
/// # Errors
///
/// [`TransitError`]: a seal does not wrap, or there is no randomness.
pub(super) async fn encrypt(
    key: &StateKey,
    keks: &[KekRef],
    transit: &Transit,
) -> Result<Vec<u8>, TransitError> {
    let deployment = &transit.deployment;
    let draft = Draft::new(&*transit.random)?;
    let now = transit.clock.unix_seconds();
    // Nobody waits for it, unlike for an encrypt: but a seal that is away is away.
    let call = Call { client: transit.client, deadline: Instant::now() + 4 * WRAP_PATIENCE };
    let asked = SealCall { now, call, metrics: &transit.metrics };
    let recipients = deployment.seals.wrap(&draft, keks, asked).await?;
    let header = Header {
        purpose: Purpose::State,
        realm: Cow::Borrowed(deployment.realm()),
        mount: Cow::Borrowed(MOUNT),
        key: Cow::Borrowed(NAME),
        version: KeyVersion::FIRST,
        created: now,
    };
    let origin_key = deployment.origin_key.as_deref();
    Ok(draft.encrypt(&header, AAD, key.to_plaintext(), &recipients, origin_key)?)
}

/// The envelope as it stands in the raw store now.
///
/// # Errors
///
/// [`StoreError`]; that it is not there is one.
pub(crate) async fn stored(raw: &dyn Store) -> Result<RecordValue, StoreError> {
    let place = place(KEY_PLACE)?;
    let record = raw.get(&place).await?.ok_or_else(|| corrupt(&place, Damage::Missing))?;
    Ok(record.value)
}

/// The state key's envelope; whether it has our origin is asked with `origin_key`.
///
/// # Errors
///
/// [`EnvelopeRefusal`].
pub(crate) fn parse(
    json: &[u8],
    deployment: &Deployment,
    origin_key: Option<&OriginKey>,
) -> Result<Envelope, EnvelopeRefusal> {
    let expected = Expected {
        purpose: Purpose::State,
        realms: &deployment.realms,
        mounts: &[MOUNT.to_owned()],
        key: NAME,
        version: KeyVersion::FIRST,
        origin_key,
    };
    Envelope::parse(json, &expected).map_err(selkie_crypto::DecryptError::refusal_for_log)
}

/// Whether the envelope is proven to be ours; without a declared origin key there is no proof to ask
/// for.
pub(super) fn has_our_origin(json: &[u8], deployment: &Deployment) -> bool {
    parse(json, deployment, deployment.origin_key.as_deref()).is_ok()
}

/// What the seals make of the envelope.
///
/// # Errors
///
/// [`TransitError`], as for every decrypt.
pub(super) async fn decrypt(
    envelope: &Envelope,
    transit: &Transit,
) -> Result<Plaintext, TransitError> {
    transit.deployment.seals.decrypt(envelope, AAD, transit).await
}

/// The master-key versions that can open the envelope, in the order of its recipients.
pub(super) fn recipients(envelope: &Envelope) -> Vec<KekRef> {
    let of = |recipient: &selkie_crypto::envelope::Recipient| KekRef {
        seal: recipient.seal.clone(),
        kek: recipient.kek.clone(),
    };
    envelope.recipients().iter().map(of).collect()
}

/// The current master-key versions of all enabled seals that may be relied on now; none of them if
/// no server could open what is wrapped for them.
pub(crate) fn trusted_keks(deployment: &Deployment, now: u64) -> Vec<KekRef> {
    let trusted = deployment.seals.enabled().filter_map(|seal| {
        let current = seal.current_kek()?;
        seal.wraps(&current.kek, now).then_some((seal, current))
    });
    let (seals, keks): (Vec<_>, Vec<_>) = trusted.unzip();
    let is_opened = seals.iter().any(|seal| !seal.connection.is_offline());
    if is_opened { keks } else { Vec::new() }
}
