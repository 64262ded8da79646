//! [`TransitKms`]: a transit key as a [`Kms`].

use std::num::NonZeroU32;
use std::sync::Arc;

use selkie_crypto::{KekId, Plaintext, RecipientSecret, WrapAlgorithm};
use tokio::time::timeout_at;

use super::key_version::{KekIds, version_of};
use super::{
    TransitClient, TransitDiagnosis, TransitHop, TransitKeyName, TransitOutcome, UpstreamKey,
};
use crate::{Call, KekDescription, KekState, KekVersion, Kms, KmsError, KmsFuture, Wrapping};

/// As many versions as leave a declared key's own number unambiguous; beyond, they are not listed.
const MOST_VERSIONS: u32 = 9_999;
/// What Vault itself sends to learn the newest version: one byte.
const TEST: [u8; 1] = [0];

/// The provider of the `transit` seal: one key of one transit engine.
///
/// A DEK is wrapped by encrypting its 32 bytes and nothing else, so that in an emergency any client
/// of the engine unwraps it. The id of a version is `PREFIX/vN`. A version is known by number alone:
/// from 1 to the newest there is each, whether the engine lists it or not; those below
/// `min_decryption_version` are disabled.
#[derive(Debug)]
pub struct TransitKms {
    pub(super) client: Arc<TransitClient>,
    pub(super) key: TransitKeyName,
    ids: KekIds,
}

/// No id of a KEK can begin so: it needs 1 to 480 visible ASCII characters without quote and
/// backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id prefix has 1 to 480 visible ASCII characters without quote and backslash")]
pub struct InvalidKeyIdPrefix;

impl TransitKms {
    /// A provider of `key`; `key_id_prefix` is by default `transit/MOUNT/KEY`.
    ///
    /// # Errors
    /// [`InvalidKeyIdPrefix`].
    pub fn new(
        client: Arc<TransitClient>,
        key: TransitKeyName,
        key_id_prefix: Option<&str>,
    ) -> Result<Self, InvalidKeyIdPrefix> {
        let by_default = format!("transit/{}/{key}", client.mount());
        let ids = KekIds::new(key_id_prefix.unwrap_or(&by_default)).ok_or(InvalidKeyIdPrefix)?;
        Ok(Self { client, key, ids })
    }

    /// What stands before `/vN` in the ids of the key's versions.
    #[must_use]
    pub fn key_id_prefix(&self) -> &str {
        self.ids.prefix()
    }

    /// The way to the engine.
    #[must_use]
    pub const fn client(&self) -> &Arc<TransitClient> {
        &self.client
    }

    async fn described(&self) -> Result<KekDescription, KmsError> {
        match self.client.read_key(&self.key).await {
            Ok(key) if !key.is_suitable => {
                Err(self.refuse(TransitHop::ReadKey, TransitOutcome::KeyUnsuitable))
            }
            Ok(key) => self.describe(key.latest, Some(&key)),
            Err(error) if is_read_denied(&error) => self.describe(self.newest().await?, None),
            Err(error) => Err(error),
        }
    }

    /// The version that the engine encrypts under, which the ciphertext tells.
    pub(super) async fn newest(&self) -> Result<NonZeroU32, KmsError> {
        let ciphertext = self.client.encrypt(&self.key, None, &TEST).await?;
        let wrong = || self.refuse(TransitHop::Encrypt, TransitOutcome::AnswerWrong);
        version_of(&ciphertext).ok_or_else(wrong)
    }

    fn describe(
        &self,
        latest: NonZeroU32,
        key: Option<&UpstreamKey>,
    ) -> Result<KekDescription, KmsError> {
        let is_listed = latest.get() <= MOST_VERSIONS;
        let oldest = if is_listed { 1 } else { latest.get() };
        let numbers = (oldest..=latest.get()).filter_map(NonZeroU32::new);
        let versions = numbers.filter_map(|number| self.version(number, key)).collect();
        let described = self.ids.id(latest).and_then(|id| KekDescription::new(versions, &id).ok());
        let wrong = || self.refuse(TransitHop::ReadKey, TransitOutcome::AnswerWrong);
        let described = described.ok_or_else(wrong)?;
        Ok(if is_listed { described } else { described.incomplete() })
    }

    fn version(&self, number: NonZeroU32, key: Option<&UpstreamKey>) -> Option<KekVersion> {
        let decrypts = key.is_none_or(|key| number.get() >= key.min_decryption);
        Some(KekVersion {
            id: self.ids.id(number)?,
            wrapping: Wrapping::Remote(WrapAlgorithm::Transit),
            state: if decrypts { KekState::Enabled } else { KekState::Disabled },
            created: key.and_then(|key| key.created.get(&number).copied()),
            expires: None,
        })
    }

    async fn wrap(&self, kek: &KekId, dek: &RecipientSecret) -> Result<Vec<u8>, KmsError> {
        let version = self.known(kek, TransitHop::Encrypt)?;
        let wrapped = self.client.encrypt(&self.key, Some(version), dek.expose_for_wrap()).await?;
        // Under another version it would not be found again by its id.
        if version_of(&wrapped) == Some(version) {
            Ok(wrapped.into_bytes())
        } else {
            Err(self.refuse(TransitHop::Encrypt, TransitOutcome::AnswerWrong))
        }
    }

    async fn unwrap(
        &self,
        kek: &KekId,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<Arc<RecipientSecret>, KmsError> {
        let rejected = || self.refuse(TransitHop::Decrypt, TransitOutcome::RequestRejected);
        let version = self.known(kek, TransitHop::Decrypt)?;
        let text = str::from_utf8(wrapped).ok().filter(|text| version_of(text) == Some(version));
        let text = text.filter(|_| algorithm == WrapAlgorithm::Transit).ok_or_else(rejected)?;
        let plaintext = self.client.decrypt(&self.key, text, &[], &[]).await?;
        // Whoever else may use the key can encrypt what is no DEK: it is the ciphertext that is
        // wrong, and no failure of the engine.
        secret(&plaintext).map(Arc::new).ok_or_else(rejected)
    }

    fn known(&self, kek: &KekId, hop: TransitHop) -> Result<NonZeroU32, KmsError> {
        let unknown = || self.refuse(hop, TransitOutcome::VersionMissing);
        self.ids.version(kek).ok_or_else(unknown)
    }

    async fn within<T>(
        &self,
        call: Call,
        hop: TransitHop,
        work: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KmsError> {
        let answered = timeout_at(call.deadline, work).await;
        answered.unwrap_or_else(|_elapsed| Err(self.refuse(hop, TransitOutcome::TimedOut)))
    }

    fn refuse(&self, hop: TransitHop, outcome: TransitOutcome) -> KmsError {
        self.client.unanswered(hop, outcome).into()
    }
}

/// 32 bytes and no others.
fn secret(plaintext: &Plaintext) -> Option<RecipientSecret> {
    let bytes = plaintext.expose_for_own_use();
    RecipientSecret::try_init_with(|secret| {
        let is_one = bytes.len() == secret.len();
        is_one.then(|| secret.copy_from_slice(bytes)).ok_or(())
    })
    .ok()
}

/// Whether all that is missing is the right to read the key.
pub(super) fn is_read_denied(error: &KmsError) -> bool {
    let outcome = TransitDiagnosis::of(error).map(|diagnosis| diagnosis.outcome);
    outcome == Some(TransitOutcome::PolicyMissing)
}

impl Kms for TransitKms {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(self.described())
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        call: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(self.within(call, TransitHop::Encrypt, self.wrap(kek, dek)))
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(self.within(call, TransitHop::Decrypt, self.unwrap(kek, algorithm, wrapped)))
    }
}
