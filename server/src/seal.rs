//! The configured master keys ("seals"): which of them a key has, what wraps for them, and the
//! order in which they are asked to unwrap.

use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::envelope::{Aad, Recipient, Refusal};
use selkie_crypto::{Envelope, KekId, Plaintext, RecipientSecret, SealName};
use selkie_kms::{Call, ClientTag, KekDescription, KekState, Kms, KmsError, Wrapping};
use tokio::time::{Instant, timeout_at};

use crate::transit::TransitError;

/// How long an encrypt may wait for all its seals together (invariant I10: a starting Vault gives up after
/// about 4 s of tries).
const WRAP_PATIENCE: Duration = Duration::from_millis(1500);
/// How long a decrypt may wait for all its seals together (invariant I10).
const UNWRAP_PATIENCE: Duration = Duration::from_secs(15);

/// One version of one seal's master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KekRef {
    /// The seal.
    pub seal: SealName,
    /// The version, by the KMS's own id.
    pub kek: KekId,
}

/// A seal failed for a reason of its own: not what it was sent, but where it is or what it may.
#[derive(Debug, thiserror::Error)]
#[error("seal \"{seal}\": {source}")]
pub struct SealError {
    /// Which.
    pub seal: SealName,
    /// Why.
    pub source: KmsError,
}

/// A seal and what it said of its master key when it was connected.
#[derive(Debug)]
pub struct Seal {
    /// Its name in the configuration.
    pub name: SealName,
    /// Its type, as in the label of its stanza.
    pub kind: &'static str,
    /// It wraps nothing more, but still unwraps.
    pub disabled: bool,
    /// Who holds the master key.
    pub kms: Arc<dyn Kms>,
    /// The versions of the master key.
    pub keks: KekDescription,
}

/// All configured seals, the one to be asked first in front.
#[derive(Debug)]
pub struct Seals(Vec<Seal>);

impl Seals {
    /// `seals`, in order of priority.
    #[must_use]
    pub const fn new(seals: Vec<Seal>) -> Self {
        Self(seals)
    }

    /// The type of the seal that is asked first.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.0.first().map_or("", |seal| seal.kind)
    }

    /// The enabled ones.
    pub fn enabled(&self) -> impl Iterator<Item = &Seal> {
        self.0.iter().filter(|seal| !seal.disabled)
    }

    /// The seal of this name.
    #[must_use]
    pub fn find(&self, name: &SealName) -> Option<&Seal> {
        self.0.iter().find(|seal| seal.name == *name)
    }

    /// The seals that both have, by name: ours and theirs.
    pub fn in_common_with<'s>(
        &'s self,
        others: &'s Self,
    ) -> impl Iterator<Item = (&'s Seal, &'s Seal)> {
        self.0.iter().filter_map(|seal| Some((seal, others.find(&seal.name)?)))
    }

    /// The current master-key versions of all enabled seals: what a managed key wraps for.
    #[must_use]
    pub fn current_keks(&self) -> Vec<KekRef> {
        self.enabled().map(Seal::current_kek).collect()
    }

    /// Wraps `dek` for each of `keks`.
    ///
    /// # Errors
    ///
    /// [`SealError`] of the first seal that failed: an envelope is made for all of them or not at
    /// all.
    pub async fn wrap(
        &self,
        dek: &RecipientSecret,
        keks: &[KekRef],
    ) -> Result<Vec<Recipient>, SealError> {
        let deadline = Instant::now() + WRAP_PATIENCE;
        let mut recipients = Vec::with_capacity(keks.len());
        for kek in keks {
            let failed = |source| SealError { seal: kek.seal.clone(), source };
            let seal = self.find(&kek.seal).ok_or_else(|| failed(KmsError::UnknownKek(None)))?;
            recipients.push(seal.wrap(dek, &kek.kek, deadline).await.map_err(failed)?);
        }
        Ok(recipients)
    }

    /// Decrypts `envelope` with the first DEK that a seal unwraps and the envelope commits to.
    ///
    /// A seal that is away, or that answers with another secret, does not end the attempt while
    /// another recipient may still open it.
    ///
    /// # Errors
    ///
    /// [`TransitError::Seal`] if a seal that might have opened it could not say;
    /// [`TransitError::Refused`], [`TransitError::UnwrapRejected`] and
    /// [`TransitError::NoUsableRecipient`] if no seal will ever open it.
    pub async fn decrypt(
        &self,
        envelope: &Envelope,
        aad: Aad<'_>,
    ) -> Result<Plaintext, TransitError> {
        // One recipient per seal, which is all that we make: a forged list costs no more calls.
        let by_priority = self.0.iter().filter_map(|seal| {
            let own = envelope.recipients().iter().find(|recipient| recipient.seal == seal.name);
            own.map(|recipient| (seal, recipient))
        });
        let candidates: Vec<_> = by_priority.collect();
        let deadline = Instant::now() + UNWRAP_PATIENCE;
        let mut verdict = TransitError::NoUsableRecipient;
        for (turn, (seal, recipient)) in candidates.iter().enumerate() {
            let share = share(deadline, candidates.len() - turn);
            match seal.decrypt(envelope, recipient, aad, share).await {
                Ok(plaintext) => return Ok(plaintext),
                Err(error) => verdict = graver(verdict, error),
            }
        }
        Err(verdict)
    }
}

impl Seal {
    /// The version that new DEKs are wrapped under.
    #[must_use]
    pub fn current_kek(&self) -> KekRef {
        KekRef { seal: self.name.clone(), kek: self.keks.current().id.clone() }
    }

    async fn wrap(
        &self,
        dek: &RecipientSecret,
        id: &KekId,
        deadline: Instant,
    ) -> Result<Recipient, KmsError> {
        let version = self.keks.version(id).ok_or(KmsError::UnknownKek(None))?;
        if version.state != KekState::Enabled || self.disabled {
            return Err(KmsError::Disabled(None));
        }
        let wrapped_dek = match &version.wrapping {
            Wrapping::Local(key) => {
                key.wrap_dek(dek).map_err(|error| KmsError::Misbehaved(Some(Arc::new(error))))?
            }
            Wrapping::Remote(_) => timeout_at(deadline, self.kms.wrap_dek(id, dek, call(deadline)))
                .await
                .map_err(|elapsed| KmsError::TimedOut(Some(Arc::new(elapsed))))??,
        };
        Ok(Recipient {
            seal: self.name.clone(),
            kek: id.clone(),
            algorithm: version.wrapping.algorithm(),
            wrapped_dek,
        })
    }

    async fn decrypt(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
        aad: Aad<'_>,
        deadline: Instant,
    ) -> Result<Plaintext, TransitError> {
        let Recipient { kek, algorithm, wrapped_dek, .. } = recipient;
        let dek =
            timeout_at(deadline, self.kms.unwrap_dek(kek, *algorithm, wrapped_dek, call(deadline)))
                .await
                .unwrap_or_else(|elapsed| Err(KmsError::TimedOut(Some(Arc::new(elapsed)))))
                .map_err(|error| self.judge(error))?;
        envelope.decrypt(&dek, aad).map_err(|error| TransitError::Refused(error.refusal_for_log()))
    }

    /// What a failed unwrap says: that the recipient is not for us, or that the seal is in trouble.
    fn judge(&self, error: KmsError) -> TransitError {
        match error {
            KmsError::Rejected(_) => TransitError::UnwrapRejected,
            KmsError::UnknownKek(_) => TransitError::NoUsableRecipient,
            trouble @ (KmsError::Denied(_)
            | KmsError::Disabled(_)
            | KmsError::Throttled { .. }
            | KmsError::Unavailable(_)
            | KmsError::TimedOut(_)
            | KmsError::Misbehaved(_)) => {
                TransitError::Seal(SealError { seal: self.name.clone(), source: trouble })
            }
        }
    }
}

fn call(deadline: Instant) -> Call {
    Call { client: ClientTag::SELKIE, deadline }
}

/// Until when the next of `turns` seals may take, so that a hanging one leaves the others their
/// part of the time.
fn share(deadline: Instant, turns: usize) -> Instant {
    let now = Instant::now();
    let turns = u32::try_from(turns).unwrap_or(u32::MAX).max(1);
    now + deadline.saturating_duration_since(now) / turns
}

/// Of two failures of two recipients, the one to answer with: a seal in trouble before a refusal,
/// for then a retry may open it; a refusal of the contents before one of the wrapping.
fn graver(one: TransitError, other: TransitError) -> TransitError {
    let gravity = |error: &TransitError| match error {
        TransitError::Seal(SealError { source, .. }) if source.is_transient() => 4,
        TransitError::Seal(_) => 3,
        TransitError::Refused(Refusal::Commitment) => 1,
        TransitError::Refused(_) => 2,
        TransitError::UnwrapRejected => 1,
        _ => 0,
    };
    if gravity(&other) > gravity(&one) { other } else { one }
}
