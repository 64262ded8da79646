//! The two keys that a copy depends on, in envelopes for the seals.

use std::borrow::Cow;

use selkie_crypto::envelope::{Aad, Draft, EncryptError, Expected, Header, Purpose};
use selkie_crypto::stream::StreamKey;
use selkie_crypto::{
    Envelope, KekId, KeyVersion, OriginKey, PageError, Plaintext, RandomError, SealName, StateKey,
};
use selkie_kms::Call;
use selkie_storage::RecordValue;

use crate::seal::{SealCall, SealError};
use crate::transit::{Transit, TransitError};

/// Which key an envelope holds.
#[derive(Clone, Copy)]
struct Kind {
    purpose: Purpose,
    mount: &'static str,
    key: &'static str,
}

const BACKUP: Kind = Kind { purpose: Purpose::Backup, mount: "backup", key: "backup" };
const STATE: Kind = Kind { purpose: Purpose::State, mount: "state", key: "state-key" };

/// Why a key could not be put into an envelope or taken out.
#[derive(Debug, thiserror::Error)]
pub enum BackupSealError {
    /// A seal does not wrap.
    #[error(transparent)]
    Wrap(#[from] SealError),
    /// There are no seals, or too many.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No seal opens it.
    #[error(
        "the envelope of the {what} key does not open with the configured seals{}",
        told(made_for)
    )]
    Unopened {
        /// Which key.
        what: &'static str,
        /// The seals and key ids that it was made for, as far as it says.
        made_for: Vec<(SealName, KekId)>,
        /// The error behind it.
        source: TransitError,
    },
    /// It opens and holds something else.
    #[error("the envelope of the {what} key holds no key")]
    NotAKey {
        /// Which key.
        what: &'static str,
    },
    /// There is no page for the key.
    #[error(transparent)]
    Page(#[from] PageError),
}

fn told(made_for: &[(SealName, KekId)]) -> String {
    let one = |(seal, kek): &(SealName, KekId)| format!("seal \"{seal}\" (key id {kek})");
    let all: Vec<_> = made_for.iter().map(one).collect();
    if all.is_empty() { String::new() } else { format!("; it was made for {}", all.join(", ")) }
}

/// A fresh backup key and its envelope for all enabled seals.
///
/// # Errors
///
/// [`BackupSealError`].
pub async fn new_key(transit: &Transit) -> Result<(StreamKey, Vec<u8>), BackupSealError> {
    let key = StreamKey::random(&*transit.random)?;
    let envelope = encrypt(transit, BACKUP, key.to_plaintext()).await?;
    Ok((key, envelope))
}

/// The backup key in `envelope`, by any one configured seal.
///
/// # Errors
///
/// [`BackupSealError`].
pub async fn open_key(transit: &Transit, envelope: &[u8]) -> Result<StreamKey, BackupSealError> {
    let plaintext =
        decrypt(transit, BACKUP, envelope, transit.deployment.origin_key.as_deref()).await?;
    StreamKey::from_plaintext(&plaintext).ok_or(BackupSealError::NotAKey { what: BACKUP.mount })
}

/// `state_key` in an envelope for all enabled seals, as a store keeps it.
///
/// # Errors
///
/// [`BackupSealError`].
pub async fn sealed_state_key(
    transit: &Transit,
    state_key: &StateKey,
) -> Result<Vec<u8>, BackupSealError> {
    encrypt(transit, STATE, state_key.to_plaintext()).await
}

/// The state key in the record `sealed`, by any one configured seal. No origin is asked for: in a
/// backup that of the backup key vouches for it, and a server asks for it before it serves a store.
///
/// # Errors
///
/// [`BackupSealError`].
pub async fn open_state_key(
    transit: &Transit,
    sealed: &RecordValue,
) -> Result<StateKey, BackupSealError> {
    let plaintext = decrypt(transit, STATE, sealed.as_bytes(), None).await?;
    StateKey::from_plaintext(&plaintext)?.ok_or(BackupSealError::NotAKey { what: STATE.mount })
}

async fn encrypt(
    transit: &Transit,
    kind: Kind,
    plaintext: Plaintext,
) -> Result<Vec<u8>, BackupSealError> {
    let deployment = &transit.deployment;
    let draft = Draft::new(&*transit.random)?;
    let now = transit.clock.unix_seconds();
    let call = Call { client: transit.client, deadline: transit.until };
    let asked = SealCall { now, call, metrics: &transit.metrics };
    let keks = deployment.seals.current_keks()?;
    let recipients = deployment.seals.wrap(&draft, &keks, asked).await?;
    let header = Header {
        purpose: kind.purpose,
        realm: Cow::Borrowed(deployment.realm()),
        mount: Cow::Borrowed(kind.mount),
        key: Cow::Borrowed(kind.key),
        version: KeyVersion::FIRST,
        created: now,
    };
    let origin_key = deployment.origin_key.as_deref();
    Ok(draft.encrypt(&header, Aad::default(), plaintext, &recipients, origin_key)?)
}

async fn decrypt(
    transit: &Transit,
    kind: Kind,
    envelope: &[u8],
    origin_key: Option<&OriginKey>,
) -> Result<Plaintext, BackupSealError> {
    let unopened =
        |made_for, source| BackupSealError::Unopened { what: kind.mount, made_for, source };
    let deployment = &transit.deployment;
    let mounts = [kind.mount.to_owned()];
    let expected = Expected {
        purpose: kind.purpose,
        realms: &deployment.realms,
        mounts: &mounts,
        key: kind.key,
        version: KeyVersion::FIRST,
        origin_key,
    };
    let envelope = Envelope::parse(envelope, &expected)
        .map_err(|error| unopened(Vec::new(), TransitError::Refused(error.refusal_for_log())))?;
    let made_for =
        envelope.recipients().iter().map(|one| (one.seal.clone(), one.kek.clone())).collect();
    let opened = deployment.seals.decrypt(&envelope, Aad::default(), transit).await;
    opened.map_err(|source| unopened(made_for, source))
}
