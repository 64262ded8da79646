//! The configured seals as one deployment sees them: who wraps, and under which version.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use selkie_config::RevokedSeal;
use selkie_crypto::envelope::{Draft, Part, Recipient};
use selkie_crypto::{KekId, RecipientSecret, SealName};
use selkie_kms::{Call, KmsError, KmsFuture, Wrapping};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout_at};

use super::KekRef;
use super::breaker::{had_no_turn, is_there};
use super::connection::Connection;
use super::error::{SealError, SealFault, outcome_of};
use super::known::Known;
use crate::metrics::Metrics;
use crate::traces;

/// How long an encrypt may wait for all its seals together (invariant I10: a starting Vault gives up after
/// about 4 s of tries).
pub(crate) const WRAP_PATIENCE: Duration = Duration::from_millis(1500);
/// By how much the clocks of two replicas may differ, together with the time a description takes.
const SKEW_SECONDS: u64 = 120;

/// On whose behalf a seal is asked, until when, and what counts it.
#[derive(Clone, Copy, Debug)]
pub struct SealCall<'m> {
    /// Seconds since 1970, for what expires; unwrapping is the KMS's choice.
    pub now: u64,
    /// For the KMS.
    pub call: Call,
    /// What is counted.
    pub metrics: &'m Metrics,
}

/// A seal as one deployment sees it: what was known of its master key then.
#[derive(Clone, Debug)]
pub struct Seal {
    /// It wraps nothing more, but still unwraps.
    pub disabled: bool,
    /// Names it had before: it unwraps what was wrapped under them, and wraps under its name alone.
    pub aliases: Arc<[SealName]>,
    /// The way to the master key.
    pub connection: Arc<Connection>,
    /// What is known of it; `None` until somebody describes it.
    pub known: Option<Arc<Known>>,
}

/// All configured seals, the one to be asked first in front, and the names of the revoked ones:
/// those have no connection, so that nothing can be wrapped or unwrapped by them.
#[derive(Clone, Debug)]
pub struct Seals {
    all: Vec<Seal>,
    revoked: Arc<[RevokedSeal]>,
}

impl Seals {
    /// `seals`, in order of priority.
    #[must_use]
    pub fn new(seals: Vec<Seal>) -> Self {
        Self { all: seals, revoked: Arc::default() }
    }

    /// The same beside `revoked` ones.
    #[must_use]
    pub fn beside_revoked(self, revoked: Vec<RevokedSeal>) -> Self {
        Self { revoked: revoked.into(), ..self }
    }

    /// The revoked ones.
    #[must_use]
    pub fn revoked(&self) -> &[RevokedSeal] {
        &self.revoked
    }

    /// Whether the seal that has this name, or had it before, is revoked.
    #[must_use]
    pub fn is_revoked(&self, name: &SealName) -> bool {
        self.revoked.iter().any(|seal| seal.is_known_as(name))
    }

    /// All of them, in order of priority.
    pub fn iter(&self) -> impl Iterator<Item = &Seal> {
        self.all.iter()
    }

    /// The type of the seal that is asked first.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.all.first().map_or("", |seal| seal.connection.kind())
    }

    /// The enabled ones.
    pub fn enabled(&self) -> impl Iterator<Item = &Seal> {
        self.all.iter().filter(|seal| !seal.disabled)
    }

    /// The ones that can be asked to unwrap: all but those whose private key is with people.
    pub fn asked(&self) -> impl Iterator<Item = &Seal> {
        self.all.iter().filter(|seal| !seal.connection.is_offline())
    }

    /// Whether a seal of this name can be asked to unwrap.
    #[must_use]
    pub fn is_asked(&self, name: &SealName) -> bool {
        self.asked().any(|seal| seal.is_known_as(name))
    }

    /// Whether some server opens what is wrapped for these.
    #[must_use]
    pub fn opens_any(&self, keks: &[KekRef]) -> bool {
        keks.iter().any(|kek| self.is_asked(&kek.seal))
    }

    /// Whether the seal that failed so is away. One that is busy with others is not, unless it is
    /// known to be silent.
    pub(crate) fn is_away(&self, failed: &SealError) -> bool {
        let is_silenced =
            || self.find(&failed.seal).is_some_and(|seal| seal.connection.is_silenced());
        let was_busy = failed.source.kms_error().is_some_and(had_no_turn);
        failed.source.is_absence() && (!was_busy || is_silenced())
    }

    /// The seal that has this name, or had it before.
    #[must_use]
    pub fn find(&self, name: &SealName) -> Option<&Seal> {
        self.all.iter().find(|seal| seal.is_known_as(name))
    }

    /// The seal here that is, or was, the seal `other` of `theirs`, another configuration. By an alias
    /// none that has its namesake there.
    fn counterpart(&self, other: &Seal, theirs: &Self) -> Option<&Seal> {
        let has_namesake = |one: &Seal| theirs.all.iter().any(|its| its.name() == one.name());
        let is_renamed = |one: &&Seal| {
            (one.is_known_as(other.name()) || other.is_known_as(one.name())) && !has_namesake(one)
        };
        let namesake = self.all.iter().find(|one| one.name() == other.name());
        namesake.or_else(|| self.all.iter().find(is_renamed))
    }

    /// Whether `connection` is one of theirs.
    #[must_use]
    pub fn has(&self, connection: &Arc<Connection>) -> bool {
        self.all.iter().any(|seal| Arc::ptr_eq(&seal.connection, connection))
    }

    /// The same, with `known` of the master key behind `connection`.
    #[must_use]
    pub fn with_known(&self, connection: &Arc<Connection>, known: &Arc<Known>) -> Self {
        let mut all = self.all.clone();
        let concerned = all.iter_mut().filter(|seal| Arc::ptr_eq(&seal.connection, connection));
        concerned.for_each(|seal| seal.known = Some(Arc::clone(known)));
        Self { all, revoked: Arc::clone(&self.revoked) }
    }

    /// The same, with the connections of `before` where nothing has changed, and with what those
    /// learned where the master key is the same. Others begin with their pin file.
    #[must_use]
    pub fn resumed(self, before: Option<&Self>) -> Self {
        let resume = |mut seal: Seal| {
            match before.and_then(|before| before.counterpart(&seal, &self)) {
                Some(was)
                    if seal.name() == was.name() && seal.connection.is_same(&was.connection) =>
                {
                    seal.connection = Arc::clone(&was.connection);
                }
                Some(was) if seal.connection.is_about_same_key(&was.connection) => {
                    seal.connection.inherit(&was.connection);
                }
                Some(was) => {
                    seal.connection.read_pin();
                    seal.connection.inherit_canaries(&was.connection);
                }
                None => seal.connection.read_pin(),
            }
            seal.known = seal.connection.known();
            seal
        };
        let all = self.all.iter().cloned().map(resume).collect();
        Self { all, revoked: Arc::clone(&self.revoked) }
    }

    /// The seals that both have, by name: ours and theirs.
    pub fn in_common_with<'s>(
        &'s self,
        others: &'s Self,
    ) -> impl Iterator<Item = (&'s Seal, &'s Seal)> {
        self.all.iter().filter_map(|seal| Some((seal, others.counterpart(seal, self)?)))
    }

    /// The current master-key versions of all enabled seals, which a managed key wraps for.
    ///
    /// # Errors
    ///
    /// [`SealError`] of a seal whose master key nobody has described yet.
    pub fn current_keks(&self) -> Result<Vec<KekRef>, SealError> {
        self.enabled().map(|seal| seal.current_kek().ok_or_else(|| seal.undescribed())).collect()
    }

    /// What the next version of a managed key wraps for: the same seals as these here `without` some,
    /// each by the newest version that anyone relies on. `latest` is what its latest version wraps
    /// for, and `made` when that was made.
    ///
    /// # Errors
    ///
    /// [`SealError`] of a seal that neither this replica nor the key has a version of to rely on.
    pub fn next_keks(
        &self,
        latest: &[KekRef],
        without: &[SealName],
        made: u64,
        now: u64,
    ) -> Result<Vec<KekRef>, SealError> {
        let next = |seal: &Seal| {
            let was = latest.iter().find(|kek| seal.is_known_as(&kek.seal));
            seal.next_kek(was, made, now).ok_or_else(|| seal.undescribed())
        };
        self.enabled().filter(|seal| !without.contains(seal.name())).map(next).collect()
    }

    /// `latest`, each by the newest version that this replica relies on. A seal keeps the name that it
    /// has there: replicas that are renamed one after the other would move the key in turns.
    pub fn newer_keks(&self, latest: &[KekRef], made: u64, now: u64) -> Vec<KekRef> {
        let newer = |was: &KekRef| {
            let seal = self.find(&was.seal).filter(|seal| !seal.disabled);
            let next = seal.and_then(|seal| seal.next_kek(Some(was), made, now));
            let kek = next.map_or_else(|| was.kek.clone(), |next| next.kek);
            KekRef { seal: was.seal.clone(), kek }
        };
        latest.iter().map(newer).collect()
    }

    /// The ways to the master keys that have a version among `keks` which is not known here.
    #[must_use]
    pub fn unaware_of(&self, keks: &[&KekRef]) -> Vec<Arc<Connection>> {
        let is_unaware = |seal: &&Seal| {
            let knows = |id| seal.known.as_ref().is_some_and(|one| one.keks.version(id).is_some());
            keks.iter().any(|kek| seal.is_known_as(&kek.seal) && !knows(&kek.kek))
        };
        self.enabled().filter(is_unaware).map(|seal| Arc::clone(&seal.connection)).collect()
    }

    /// Wraps the DEK of `draft`, or its shares, for each of `keks`, for all that are far away at the
    /// same time.
    ///
    /// # Errors
    ///
    /// [`SealError`] of the first seal that failed: an envelope is made for all of them or not at
    /// all.
    pub async fn wrap(
        &self,
        draft: &Draft,
        keks: &[KekRef],
        asked: SealCall<'_>,
    ) -> Result<Vec<Recipient>, SealError> {
        // One needs no waiting for others.
        if let [kek] = keks {
            return Ok(vec![self.wrap_for(draft.part(0), kek, asked).await?]);
        }
        let wraps = keks.iter().enumerate();
        let wraps = wraps.map(|(at, kek)| self.wrap_for(draft.part(at), kek, asked));
        Box::pin(try_join_all(wraps)).await
    }

    /// The same, waiting for all of them whatever becomes of the others.
    pub(crate) async fn wrap_each(
        &self,
        draft: &Draft,
        keks: &[KekRef],
        asked: SealCall<'_>,
    ) -> Vec<Result<Recipient, SealError>> {
        let wraps = keks.iter().enumerate();
        join_all(wraps.map(|(at, kek)| self.wrap_for(draft.part(at), kek, asked))).await
    }

    async fn wrap_for(
        &self,
        part: Option<Part<'_>>,
        kek: &KekRef,
        asked: SealCall<'_>,
    ) -> Result<Recipient, SealError> {
        let failed = |source| SealError { seal: kek.seal.clone(), source };
        let seal = self.find(&kek.seal).ok_or_else(|| failed(SealFault::NotConfigured))?;
        // There are as many parts as the draft's quorum is of.
        let part = part.ok_or_else(|| failed(SealFault::NoPart))?;
        seal.wrap(part, &kek.kek, asked).await.map_err(failed)
    }
}

impl Seal {
    /// A seal with a connection of its own.
    #[must_use]
    pub fn new(disabled: bool, connection: Connection) -> Self {
        let connection = Arc::new(connection);
        Self { disabled, aliases: Arc::default(), known: connection.known(), connection }
    }

    /// The same, which had the names `aliases` before.
    #[must_use]
    pub fn known_as(self, aliases: Vec<SealName>) -> Self {
        Self { aliases: aliases.into(), ..self }
    }

    /// Whether this is its name, or one it had before.
    #[must_use]
    pub fn is_known_as(&self, name: &SealName) -> bool {
        self.name() == name || self.aliases.contains(name)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &SealName {
        self.connection.name()
    }

    /// The version that new DEKs are wrapped under; `None` until somebody describes it.
    #[must_use]
    pub fn current_kek(&self) -> Option<KekRef> {
        let kek = self.known.as_ref()?.keks.current().id.clone();
        Some(KekRef { seal: self.name().clone(), kek })
    }

    /// The version to wrap for after `was`, which a key wraps for since `made`: our current one if
    /// it is relied on, but none before `was`. Where this replica's view is the older one it stays.
    fn next_kek(&self, was: Option<&KekRef>, made: u64, now: u64) -> Option<KekRef> {
        let ours = || {
            let known = self.known.as_ref()?;
            known.wrapping_version(&known.keks.current().id, now).ok()?;
            self.current_kek()
        };
        match was {
            None => ours(),
            Some(was) if self.is_behind(&was.kek, made, now) => Some(self.renamed(was)),
            Some(was) => Some(ours().unwrap_or_else(|| self.renamed(was))),
        }
    }

    /// `was` under the name that this seal has now.
    fn renamed(&self, was: &KekRef) -> KekRef {
        KekRef { seal: self.name().clone(), kek: was.kek.clone() }
    }

    /// Whether whoever wrapped for `kek` since `made` may know more of the master key than we do.
    fn is_behind(&self, kek: &KekId, made: u64, now: u64) -> bool {
        let Some(known) = &self.known else { return true };
        let place = |id: &KekId| known.keks.versions().iter().position(|one| one.id == *id);
        match (place(kek), place(&known.keks.current().id)) {
            (Some(theirs), ours) => ours < Some(theirs),
            // The configuration has the last word, and so has a KMS that does not list it later on.
            (None, _) if self.connection.is_fixed() => false,
            // Another replica has followed it, before it was disabled or could not be proven here.
            (None, _) if known.passes_over(kek) => true,
            (None, _) => {
                // A description of a time that has not come yet may be an old one.
                let described = self.connection.health().described.filter(|at| *at <= now);
                let made = self.connection.when(made, now);
                described.is_none_or(|described| described < made.saturating_add(SKEW_SECONDS))
            }
        }
    }

    /// Whether a DEK may be wrapped under `kek` at `now` (seconds since 1970).
    #[must_use]
    pub fn wraps(&self, kek: &KekId, now: u64) -> bool {
        self.known.as_ref().is_some_and(|known| known.wrapping_version(kek, now).is_ok())
    }

    /// Why nothing is known of it.
    #[must_use]
    pub fn undescribed(&self) -> SealError {
        let source = self.connection.fault_or(SealFault::Undescribed);
        SealError { seal: self.name().clone(), source }
    }

    /// Wraps `part` of a draft under the version `id`.
    ///
    /// # Errors
    ///
    /// [`SealFault`].
    pub(crate) async fn wrap(
        &self,
        part: Part<'_>,
        id: &KekId,
        SealCall { now, call, metrics }: SealCall<'_>,
    ) -> Result<Recipient, SealFault> {
        let unsettled = |fault| self.connection.fault_or(fault);
        let known = self.known.as_ref().ok_or_else(|| unsettled(SealFault::Undescribed))?;
        if self.disabled {
            return Err(SealFault::SwitchedOff);
        }
        if known.contradiction.is_none()
            && known.keks.version(id).is_none()
            && !self.connection.is_fixed()
        {
            // Another replica already knows this version; we may learn of it at the next poll.
            return Err(unsettled(SealFault::Undescribed));
        }
        let version = known.usable_version(id, now)?;
        let is_trusted = known.trust_in(id).is_some();
        if !is_trusted && *id == known.keks.current().id {
            return Err(unsettled(SealFault::Untrusted));
        }
        let dek = part.secret();
        let wrapped_dek = match &version.wrapping {
            Wrapping::Local(key) => {
                key.wrap_dek(dek).map_err(|error| KmsError::Misbehaved(Some(Arc::new(error))))?
            }
            Wrapping::Remote(_) => {
                let wrapped = self.connection.kms().wrap_dek(id, dek, call);
                let wrapped = self.counted("wrap", call.deadline, wrapped, metrics).await;
                self.connection.note_wrap(id, &wrapped);
                wrapped.inspect_err(|error| self.connection.suspect(id, error))?
            }
        };
        let (seal, algorithm) = (self.name().clone(), version.wrapping.algorithm());
        let recipient = part.recipient(seal, id.clone(), algorithm, wrapped_dek);
        if !is_trusted {
            Box::pin(self.prove(&recipient, dek, call, metrics)).await?;
        }
        Ok(recipient)
    }

    /// Lets the KMS unwrap what was wrapped under an older version, which nobody has tried since the
    /// start, before anyone relies on it.
    async fn prove(
        &self,
        recipient: &Recipient,
        dek: &RecipientSecret,
        call: Call,
        metrics: &Metrics,
    ) -> Result<(), SealFault> {
        match self.unwrap(recipient, call, metrics).await {
            Ok(is) if bool::from(is.expose_for_wrap().ct_eq(dek.expose_for_wrap())) => Ok(()),
            Ok(_) => Err(SealFault::Unconfirmed(None)),
            Err(error @ KmsError::Rejected(_)) => Err(SealFault::Unconfirmed(Some(error))),
            Err(error) => Err(SealFault::Kms(error)),
        }
    }

    pub(super) async fn counted<T>(
        &self,
        operation: &'static str,
        deadline: Instant,
        mut asked: KmsFuture<'_, T>,
        metrics: &Metrics,
    ) -> Result<T, KmsError> {
        let began = Instant::now();
        let allowed = deadline.saturating_duration_since(began);
        let span = traces::kms_call(self.name().as_str(), operation);
        // A key in our own memory answers at once, which needs no timer.
        let at_once = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
        let answer = match at_once {
            Poll::Ready(answer) => answer,
            Poll::Pending => Box::pin(timeout_at(deadline, asked))
                .await
                .unwrap_or_else(|elapsed| Err(KmsError::TimedOut(Some(Arc::new(elapsed))))),
        };
        let outcome = outcome_of(&answer);
        match is_there(&answer, allowed) {
            Some(true) => self.connection.note_answer(),
            Some(false) => self.connection.note_silence(outcome),
            None => {}
        }
        let hot = &self.connection.calls;
        metrics.kms_call(self.name(), hot, operation, outcome, began.elapsed());
        if let Some(span) = span {
            span.end(outcome);
        }
        answer
    }
}
