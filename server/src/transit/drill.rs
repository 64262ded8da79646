//! Shows for each seal by itself that it opens what is made now, which in daily work only the first
//! seal does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use selkie_access::{KeyName, MountPath, PathPermit};
use selkie_crypto::envelope::{Aad, Draft, Part as DraftPart, Quorum, Recipient};
use selkie_crypto::{Plaintext, SealName};
use selkie_kms::Call;
use selkie_storage::StoreError;
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout_at};

use super::{Transit, TransitError, TransitKey};
use crate::backup;
use crate::deployment::Deployment;
use crate::seal::{KekRef, Opened, Seal, SealCall, SealError, SealFault, Seals, WRAP_PATIENCE};
use crate::state::state_key;

/// How long the plaintext of a drill's envelope is.
const PLAINTEXT_BYTES: usize = 32;

/// What one seal came to in one step of a drill.
#[derive(Debug)]
pub struct SealDrill {
    /// The seal's name.
    pub seal: SealName,
    /// Nothing, or why it did not open the envelope by itself.
    pub outcome: Result<(), DrillFault>,
    /// How long it took to wrap and to unwrap.
    pub time: Duration,
}

/// Why a seal did not open an envelope by itself.
#[derive(Debug, thiserror::Error)]
pub enum DrillFault {
    /// Nothing can be wrapped for it.
    #[error("it wraps nothing: {0}")]
    Wrap(#[source] SealFault),
    /// It does not open what was wrapped for it.
    #[error("it does not open the envelope: {0}")]
    Open(#[source] TransitError),
    /// What it opened is not what was encrypted.
    #[error("what it opens is not what was encrypted")]
    OtherPlaintext,
    /// It wraps its share, and so few others do that there is no envelope to open.
    #[error("too few of the other seals wrap for the quorum to be met")]
    QuorumNotMet,
    /// The state key was not wrapped for it.
    #[error("the state key is not wrapped for it")]
    NotARecipient,
}

impl DrillFault {
    /// In one word, those of the KMS as in the metrics.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Wrap(fault) => fault.outcome(),
            Self::Open(TransitError::Seal(error)) => error.source.outcome(),
            Self::Open(TransitError::UnwrapRejected) => "rejected",
            Self::Open(TransitError::NoUsableRecipient | TransitError::OtherVault(_)) => {
                "unknown_kek"
            }
            Self::Open(TransitError::Refused(_)) => "refused",
            Self::Open(_) => "failed",
            Self::OtherPlaintext => "other_plaintext",
            Self::QuorumNotMet => "quorum_not_met",
            Self::NotARecipient => "not_a_recipient",
        }
    }
}

/// A seal of the step, with what it wrapped.
struct Part<'d> {
    seal: &'d Seal,
    recipient: Recipient,
    time: Duration,
}

impl SealDrill {
    fn unopened(part: &Part<'_>) -> Self {
        let (seal, time) = (part.seal.name().clone(), part.time);
        Self { seal, outcome: Err(DrillFault::QuorumNotMet), time }
    }
}

impl Transit {
    /// The places of all keys, declared and managed, in byte order; of the declared ones alone while
    /// the state is sealed.
    pub(crate) fn places(&self) -> BTreeSet<(MountPath, KeyName)> {
        let mounts = self.deployment.mounts.iter().map(|mount| &mount.path);
        let managed = mounts.flat_map(|mount| {
            self.keys
                .names(mount)
                .unwrap_or_default()
                .into_iter()
                .map(move |name| (mount.clone(), name))
        });
        let declared = self.deployment.declared_keys();
        let declared = declared.map(|(mount, key)| (mount.clone(), key.name.clone()));
        managed.chain(declared).collect()
    }

    /// The seals that the latest version of the key wraps for.
    pub(crate) fn seals_of(&self, mount: &MountPath, name: &KeyName) -> Vec<SealName> {
        let Ok(Some(key)) = self.held(mount, name) else { return Vec::new() };
        targets(&self.deployment, mount, &key).into_iter().map(|(seal, _)| seal).collect()
    }

    /// Encrypts random bytes under the latest version of the key for all its seals, and opens the
    /// envelope through each of them alone. A seal that fails keeps none of the others from it.
    ///
    /// # Errors
    ///
    /// [`TransitError::KeyNotFound`], and what keeps any envelope at all from being made.
    pub async fn drill(
        &self,
        _permit: &PathPermit,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<Vec<SealDrill>, TransitError> {
        let deadline = Instant::now() + WRAP_PATIENCE;
        let (key, deployment) = self.ready(mount, name, |_| deadline).await?;
        let transit = Self { deployment, unwraps: None, ..self.clone() };
        let (plaintext, copy) = transit.random_plaintext()?;
        let targets = targets(&transit.deployment, mount, &key);
        let draft = Draft::with_quorum(Quorum::new(key.quorum, targets.len())?, &*self.random)?;
        let parts = targets.iter().enumerate().map(|(at, target)| (draft.part(at), target));
        let wrapped = join_all(parts.map(|(part, target)| transit.part(part, target)));
        let (mut parts, mut done) = (Vec::new(), Vec::new());
        for part in wrapped.await {
            match part {
                Ok(part) => parts.push(part),
                Err(failed) => done.push(failed),
            }
        }
        // Of a quorum that cannot be met no envelope can be made.
        if parts.len() < usize::from(key.quorum) {
            done.extend(parts.iter().map(SealDrill::unopened));
            return Ok(done);
        }
        let recipients: Vec<_> = parts.iter().map(|part| part.recipient.clone()).collect();
        let header = key.header(&transit.deployment, mount, key.latest, self.clock.unix_seconds());
        // As a client's would be; the one of a derived key is bound to something.
        let aad = Aad { associated_data: &[], context: if key.derived { b"drill" } else { &[] } };
        let origin_key = transit.deployment.origin_key.as_deref();
        let json = draft.encrypt(&header, aad, plaintext, &recipients, origin_key)?;
        let decryption = transit.decryption_under(mount, name).await?;
        let envelope = decryption.parse(&json, key.latest)?;
        let (transit, envelope, copy) = (&transit, &envelope, &copy);
        done.extend(
            join_all(parts.into_iter().map(|part| async move {
                let (outcome, time) = timed(part.seal.opens(envelope, aad, transit)).await;
                let outcome = outcome.map_err(DrillFault::Open).and_then(|opened| match opened {
                    Opened::Whole(opened) => same(&opened, copy),
                    Opened::Share => Ok(()),
                });
                SealDrill { seal: part.seal.name().clone(), outcome, time: part.time + time }
            }))
            .await,
        );
        done.sort_by(|one, other| one.seal.cmp(&other.seal));
        Ok(done)
    }

    /// Opens the envelope of the state key, as it stands in the store, through each seal alone. What
    /// is opened goes at once.
    ///
    /// # Errors
    ///
    /// [`TransitError::Store`]; [`TransitError::Refused`]: it is not what the store should have
    /// there.
    pub async fn drill_state(
        &self,
        _permit: &PathPermit,
        state: &backup::Source,
    ) -> Result<Vec<SealDrill>, TransitError> {
        let stored = timeout_at(self.until, state_key::stored(&*state.store)).await;
        let late = |elapsed| Err(StoreError::Unavailable { source: Box::new(elapsed) });
        let stored = stored.unwrap_or_else(late)?;
        let origin_key = self.deployment.origin_key.as_deref();
        let envelope = state_key::parse(stored.as_bytes(), &self.deployment, origin_key)
            .map_err(TransitError::Refused)?;
        let seals = &self.deployment.seals;
        let is_asked = |name: &&SealName| !is_offline(seals, name);
        let made_for = envelope.recipients().iter().map(|recipient| &recipient.seal);
        let made_for = made_for.filter(is_asked);
        let ours = seals.enabled().map(Seal::name).filter(is_asked);
        let seals: BTreeSet<_> = made_for.clone().chain(ours).cloned().collect();
        let made_for: BTreeSet<_> = made_for.collect();
        let alone = Self { unwraps: None, ..self.clone() };
        let known = state.state_key.to_plaintext();
        let (alone, envelope, made_for, known) = (&alone, &envelope, &made_for, &known);
        Ok(join_all(seals.into_iter().map(|name| async move {
            let opened = async {
                if !made_for.contains(&name) {
                    return Err(DrillFault::NotARecipient);
                }
                let seal = self.deployment.seals.find(&name).ok_or_else(|| unconfigured(&name))?;
                let opened = seal.opens(envelope, state_key::AAD, alone).await;
                match opened.map_err(DrillFault::Open)? {
                    Opened::Whole(opened) => same(&opened, known),
                    Opened::Share => Ok(()),
                }
            };
            let (outcome, time) = timed(opened).await;
            SealDrill { seal: name, outcome, time }
        }))
        .await)
    }

    /// Random bytes twice: to be encrypted, and to be compared with.
    fn random_plaintext(&self) -> Result<(Plaintext, Plaintext), TransitError> {
        let mut bytes = vec![0; PLAINTEXT_BYTES];
        (self.random)(&mut bytes)?;
        let copy = Plaintext::new(bytes.clone());
        Ok((Plaintext::new(bytes), copy))
    }

    async fn part(
        &self,
        part: Option<DraftPart<'_>>,
        (name, kek): &(SealName, Option<KekRef>),
    ) -> Result<Part<'_>, SealDrill> {
        let failed = |fault, time| SealDrill {
            seal: name.clone(),
            outcome: Err(DrillFault::Wrap(fault)),
            time,
        };
        let seal = self.deployment.seals.find(name);
        let seal = seal.ok_or_else(|| failed(SealFault::NotConfigured, Duration::ZERO))?;
        let kek = kek.as_ref().ok_or_else(|| failed(seal.undescribed().source, Duration::ZERO))?;
        let deadline = (Instant::now() + WRAP_PATIENCE).min(self.until);
        let call = Call { client: self.client, deadline };
        let asked = SealCall { now: self.clock.unix_seconds(), call, metrics: &self.metrics };
        let part = part.ok_or_else(|| failed(SealFault::NoPart, Duration::ZERO))?;
        match timed(seal.wrap(part, &kek.kek, asked)).await {
            (Ok(recipient), time) => Ok(Part { seal, recipient, time }),
            (Err(fault), time) => Err(failed(fault, time)),
        }
    }
}

/// Whether nobody can be asked to open through this seal.
fn is_offline(seals: &Seals, name: &SealName) -> bool {
    seals.find(name).is_some_and(|seal| seal.connection.is_offline())
}

/// The seals of a key that can be asked, each with what its latest version wraps under. A declared
/// key that cannot be counted yet wraps for nothing; those of its seals that are known are tried
/// all the same.
fn targets(
    deployment: &Deployment,
    mount: &MountPath,
    key: &Arc<TransitKey>,
) -> Vec<(SealName, Option<KekRef>)> {
    let keks = key.keks(key.latest);
    let declared = match key.source {
        super::KeySource::Declared => deployment.declared_seals(mount, &key.name),
        super::KeySource::Managed => &[],
    };
    let names = keks.iter().map(|kek| &kek.seal).chain(declared);
    let names: BTreeSet<_> = names.filter(|name| !is_offline(&deployment.seals, name)).collect();
    let target = |name: &SealName| {
        let kek = keks.iter().find(|kek| kek.seal == *name).cloned();
        (name.clone(), kek.or_else(|| deployment.seals.find(name)?.current_kek()))
    };
    names.into_iter().map(target).collect()
}

fn unconfigured(seal: &SealName) -> DrillFault {
    let error = SealError { seal: seal.clone(), source: SealFault::NotConfigured };
    DrillFault::Open(TransitError::Seal(error))
}

fn same(opened: &Plaintext, made: &Plaintext) -> Result<(), DrillFault> {
    let is_same = opened.expose_for_own_use().ct_eq(made.expose_for_own_use());
    if is_same.into() { Ok(()) } else { Err(DrillFault::OtherPlaintext) }
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let done = work.await;
    (done, began.elapsed())
}
