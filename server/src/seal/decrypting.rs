//! How an envelope is decrypted: which seals are asked for its DEK, in which order and when, and
//! what their answers come to.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use selkie_crypto::envelope::{Aad, DecryptError, EnvelopeRefusal, Recipient, Share};
use selkie_crypto::{Envelope, KekId, Plaintext, RecipientSecret};
use selkie_kms::azure::{Diagnosis, Outcome};
use selkie_kms::{Call, KmsError};
use tokio::time::{Instant, sleep_until};

use super::error::{SealError, SealFault};
use super::health::Standing;
use super::probe::Probe;
use super::seals::{Seal, Seals};
use crate::metrics::Metrics;
use crate::transit::{OtherVault, Transit, TransitError};

/// How long a decrypt may wait for all its seals together (invariant I10).
pub(crate) const UNWRAP_PATIENCE: Duration = Duration::from_secs(15);

/// How long a seal may be silent before the next one is asked too.
///
/// Longer than Key Vault takes for an unwrap on a bad day, so that a healthy seal is hardly ever
/// doubled; and so short that a Vault which unseals notices nothing: it waits for 15 s.
pub(super) const HEDGE_AFTER: Duration = Duration::from_millis(300);

/// How long the seals asked may be silent before one is asked that is held back: longer than a
/// governor gives a single call, so that they have failed as far as anyone can tell.
const SILENT_AFTER: Duration = Duration::from_secs(5);

type Answer = Result<Arc<RecipientSecret>, TransitError>;
type Asking<'r> = Pin<Box<dyn Future<Output = (Candidate<'r>, Answer)> + Send + 'r>>;

/// A seal, with its part of the envelope.
#[derive(Clone, Copy)]
struct Candidate<'r> {
    seal: &'r Seal,
    recipient: &'r Recipient,
    /// Which of its parts: a seal has more than one where the name of another became an alias of it.
    turn: usize,
}

impl Seals {
    /// Decrypts `envelope` with the first DEK that a seal unwraps and the envelope commits to, or with
    /// the first shares that are enough for its quorum: as many seals are asked at once.
    ///
    /// Seals are asked by priority, those that are known to be away after the others. Where one is
    /// silent for [`HEDGE_AFTER`] the next is asked too, unless its KMS throttles; where one fails,
    /// or answers with another secret, the next is asked at once.
    ///
    /// # Errors
    ///
    /// [`TransitError::Seal`] if a seal that might have opened it could not say;
    /// [`TransitError::Refused`], [`TransitError::UnwrapRejected`],
    /// [`TransitError::NoUsableRecipient`] and [`TransitError::SealRevoked`] if no seal will ever
    /// open it.
    pub async fn decrypt(
        &self,
        envelope: &Envelope,
        aad: Aad<'_>,
        transit: &Transit,
    ) -> Result<Plaintext, TransitError> {
        let by_priority = self.asked().flat_map(|seal| {
            let own = seal.own_recipients(envelope).enumerate();
            own.map(move |(turn, recipient)| Candidate { seal, recipient, turn })
        });
        let mut candidates: Vec<_> = by_priority.collect();
        if candidates.len() < usize::from(envelope.needed()) || candidates.is_empty() {
            return Err(self.no_recipient(envelope));
        }
        // Who would wait for one that is away has an answer from the next at once.
        candidates.sort_by_cached_key(|one| (one.seal.connection.standing(), one.turn));
        for passed_over in candidates.iter().skip(envelope.needed().into()) {
            Probe::begin_if_due(passed_over.seal, &transit.random);
        }
        let deadline = (Instant::now() + UNWRAP_PATIENCE).min(transit.until);
        if let [only] = *candidates {
            return only.decrypt(envelope, aad, deadline, transit).await;
        }
        let race = Race::new(candidates, envelope, aad, deadline, transit);
        Box::pin(race.run()).await
    }

    fn no_recipient(&self, envelope: &Envelope) -> TransitError {
        let revoked = envelope.recipients().iter().find(|one| self.is_revoked(&one.seal));
        let revoked = revoked.map(|recipient| recipient.seal.clone());
        revoked.map_or(TransitError::NoUsableRecipient, TransitError::SealRevoked)
    }
}

impl Candidate<'_> {
    /// What becomes of a [`Race`] without a rival.
    async fn decrypt(
        self,
        envelope: &Envelope,
        aad: Aad<'_>,
        deadline: Instant,
        transit: &Transit,
    ) -> Result<Plaintext, TransitError> {
        let call = Call { client: transit.client, deadline };
        let secret = self.seal.unwrap_for(self.recipient, call, transit).await?;
        let plaintext = envelope.decrypt(&secret, aad).map_err(refused)?;
        transit.note(|trail| trail.opened_by(self.seal.name()));
        Ok(plaintext)
    }
}

/// The seals of one envelope, asked one after the other and side by side.
struct Race<'r> {
    waiting: VecDeque<Candidate<'r>>,
    asked: FuturesUnordered<Asking<'r>>,
    /// Those asked that have not answered, and since when.
    silent: Vec<(&'r Seal, Instant)>,
    /// Those that have helped to open it, and with a quorum their shares.
    helpful: Vec<&'r Seal>,
    shares: Vec<Share>,
    last_asked: Instant,
    hedge_after: Duration,
    silent_after: Duration,
    deadline: Instant,
    envelope: &'r Envelope,
    aad: Aad<'r>,
    transit: &'r Transit,
}

impl<'r> Race<'r> {
    fn new(
        candidates: Vec<Candidate<'r>>,
        envelope: &'r Envelope,
        aad: Aad<'r>,
        deadline: Instant,
        transit: &'r Transit,
    ) -> Self {
        let now = Instant::now();
        // A request whose time is nearly over still gives each of them a part of it.
        let turns = u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1);
        let part = deadline.saturating_duration_since(now) / turns;
        Self {
            waiting: candidates.into(),
            asked: FuturesUnordered::new(),
            silent: Vec::new(),
            helpful: Vec::new(),
            shares: Vec::new(),
            last_asked: now,
            hedge_after: HEDGE_AFTER.min(part),
            silent_after: SILENT_AFTER.min(part),
            deadline,
            envelope,
            aad,
            transit,
        }
    }

    async fn run(mut self) -> Result<Plaintext, TransitError> {
        let mut verdict = TransitError::NoUsableRecipient;
        for _ in 0..self.envelope.needed() {
            self.ask_next();
        }
        while self.may_succeed() {
            let next = self.next_at();
            tokio::select! {
                biased;
                Some((candidate, answer)) = self.asked.next() => {
                    self.silent.retain(|(seal, _)| !std::ptr::eq(*seal, candidate.seal));
                    match answer.and_then(|secret| self.take(candidate, &secret)) {
                        Ok(Progress::Opened(plaintext)) => {
                            self.tell_won();
                            return Ok(plaintext);
                        }
                        Ok(Progress::Helped) => continue,
                        Err(error) => verdict = graver(verdict, error),
                    }
                    self.ask_next();
                }
                () = sleep_until(next.unwrap_or(self.deadline)), if next.is_some() => {
                    // It may have begun to throttle meanwhile.
                    if self.next_at().is_some_and(|at| at <= Instant::now()) {
                        self.hedge();
                    }
                }
            }
        }
        Err(self.equally_worked(verdict))
    }

    /// Whether those asked and those still to be asked are enough.
    fn may_succeed(&self) -> bool {
        let needed = usize::from(self.envelope.needed()).saturating_sub(self.shares.len());
        needed > 0 && self.asked.len() + self.waiting.len() >= needed
    }

    /// A wrong share takes as long as a DEK that opens nothing (invariant I4).
    fn equally_worked(&self, verdict: TransitError) -> TransitError {
        match verdict {
            TransitError::Refused(EnvelopeRefusal::Share) => {
                TransitError::Refused(self.envelope.refuse(self.aad).refusal_for_log())
            }
            verdict => verdict,
        }
    }

    /// When the next seal is asked although none has failed. One that has come to be held back
    /// meanwhile lets the others go first.
    fn next_at(&mut self) -> Option<Instant> {
        let waiting = self.waiting.make_contiguous();
        waiting.sort_by_cached_key(|one| (one.seal.connection.standing(), one.turn));
        let next = self.waiting.front()?;
        Some(match next.seal.connection.standing() {
            Standing::HeldBack => self.last_asked + self.silent_after,
            Standing::Well | Standing::Away => self.last_asked + self.hedge_after,
        })
    }

    fn hedge(&mut self) {
        if let Some(next) = self.waiting.front() {
            self.transit.metrics.hedged(next.seal.name());
        }
        self.ask_next();
    }

    fn ask_next(&mut self) {
        let Some(candidate) = self.waiting.pop_front() else { return };
        self.last_asked = Instant::now();
        self.silent.push((candidate.seal, self.last_asked));
        // Whatever the KMS says, or does not say, of its newest version: this one may open.
        let call = Call { client: self.transit.client, deadline: self.deadline };
        let transit = self.transit;
        self.asked.push(Box::pin(async move {
            let Candidate { seal, recipient, .. } = candidate;
            (candidate, seal.unwrap_for(recipient, call, transit).await)
        }));
    }

    /// What `secret` is good for, which the candidate's seal has unwrapped.
    fn take(
        &mut self,
        Candidate { seal, recipient, .. }: Candidate<'r>,
        secret: &RecipientSecret,
    ) -> Result<Progress, TransitError> {
        if self.envelope.needed() == 1 {
            let plaintext = self.envelope.decrypt(secret, self.aad).map_err(refused)?;
            self.helpful.push(seal);
            return Ok(Progress::Opened(plaintext));
        }
        self.shares.push(self.envelope.verify_share(recipient, secret).map_err(refused)?);
        self.helpful.push(seal);
        if self.shares.len() < self.envelope.needed().into() {
            return Ok(Progress::Helped);
        }
        let dek = self.envelope.combine(&self.shares).map_err(refused)?;
        self.envelope.decrypt(&dek, self.aad).map(Progress::Opened).map_err(refused)
    }

    /// Notes who opened it, and who had the time to and is no longer waited for.
    fn tell_won(&self) {
        self.transit.note(|trail| self.helpful.iter().for_each(|one| trail.opened_by(one.name())));
        for (seal, since) in &self.silent {
            if since.elapsed() >= self.hedge_after {
                self.transit.metrics.overtaken(seal.name());
                seal.connection.note_silence("overtaken");
            }
        }
    }
}

/// What the answer of a seal comes to.
enum Progress {
    Opened(Plaintext),
    /// More shares are needed.
    Helped,
}

/// What one seal alone makes of an envelope.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The plaintext.
    Whole(Plaintext),
    /// The right share of the DEK, which others are needed beside.
    Share,
}

fn refused(error: DecryptError) -> TransitError {
    TransitError::Refused(error.refusal_for_log())
}

impl Seal {
    /// Opens `envelope` through this seal and no other, as far as it can, with a call of its own.
    ///
    /// # Errors
    ///
    /// As [`Seals::decrypt`]; [`TransitError::NoUsableRecipient`] too if it was not made for this
    /// seal.
    pub(crate) async fn opens(
        &self,
        envelope: &Envelope,
        aad: Aad<'_>,
        transit: &Transit,
    ) -> Result<Opened, TransitError> {
        let deadline = (Instant::now() + UNWRAP_PATIENCE).min(transit.until);
        let call = Call { client: transit.client, deadline };
        let mut verdict = TransitError::NoUsableRecipient;
        for own in self.own_recipients(envelope) {
            match self.opens_by(own, envelope, aad, call, transit).await {
                Err(error) => verdict = graver(verdict, error),
                opened => return opened,
            }
        }
        Err(verdict)
    }

    async fn opens_by(
        &self,
        own: &Recipient,
        envelope: &Envelope,
        aad: Aad<'_>,
        call: Call,
        transit: &Transit,
    ) -> Result<Opened, TransitError> {
        let secret = self.unwrap_for(own, call, transit).await?;
        if envelope.needed() > 1 {
            return envelope.verify_share(own, &secret).map(|_| Opened::Share).map_err(refused);
        }
        envelope.decrypt(&secret, aad).map(Opened::Whole).map_err(refused)
    }

    /// What `envelope` holds for this seal: under the name it has, and then under those that it had
    /// before. One for each name, which is all that we make: a forged list costs no more calls.
    fn own_recipients<'e>(&self, envelope: &'e Envelope) -> impl Iterator<Item = &'e Recipient> {
        let names = std::iter::once(self.name()).chain(self.aliases.iter());
        names.filter_map(|name| envelope.recipients().iter().find(|one| one.seal == *name))
    }

    async fn unwrap_for(&self, recipient: &Recipient, call: Call, transit: &Transit) -> Answer {
        let dek = match &transit.unwraps {
            None => self.unwrap(recipient, call, &transit.metrics).await,
            Some(unwraps) => {
                let (seal, metrics) = (self.clone(), Arc::clone(&transit.metrics));
                let unwrap = |recipient: Recipient| async move {
                    seal.unwrap(&recipient, call, &metrics).await
                };
                Box::pin(unwraps.once(recipient, unwrap)).await
            }
        };
        dek.map_err(|error| self.judge(&recipient.kek, error))
    }

    pub(super) async fn unwrap(
        &self,
        recipient: &Recipient,
        call: Call,
        metrics: &Metrics,
    ) -> Result<Arc<RecipientSecret>, KmsError> {
        let Recipient { kek, algorithm, wrapped_dek, .. } = recipient;
        let unwrapped = self.connection.kms().unwrap_dek(kek, *algorithm, wrapped_dek, call);
        let answer = self.counted("unwrap", call.deadline, unwrapped, metrics).await;
        let kek = self.connection.present_id(kek);
        match &answer {
            Ok(_) => self.connection.note_unwrap(&kek, &answer),
            Err(error) => self.connection.suspect(&kek, error),
        }
        answer
    }

    /// What a failed unwrap says: that the recipient is not for us, or that the seal is in trouble.
    fn judge(&self, kek: &KekId, error: KmsError) -> TransitError {
        let of_seal =
            |trouble| SealError { seal: self.name().clone(), source: SealFault::Kms(trouble) };
        match error {
            KmsError::Rejected(_) => TransitError::UnwrapRejected,
            KmsError::UnknownKek(_) if self.is_in_other_vault(kek, &error) => {
                let (kek, error) = (kek.clone(), of_seal(error));
                TransitError::OtherVault(Box::new(OtherVault { kek, error }))
            }
            KmsError::UnknownKek(_) if !self.lost(kek, &error) => TransitError::NoUsableRecipient,
            trouble @ (KmsError::UnknownKek(_)
            | KmsError::Denied(_)
            | KmsError::Disabled(_)
            | KmsError::Throttled { .. }
            | KmsError::Unavailable(_)
            | KmsError::TimedOut(_)
            | KmsError::Misbehaved(_)) => TransitError::Seal(of_seal(trouble)),
        }
    }

    /// Whether it is only the vault in `kek` that is not ours, and never was as far as we know.
    fn is_in_other_vault(&self, kek: &KekId, error: &KmsError) -> bool {
        let is_known = self.connection.known().is_some_and(|it| it.keks.version(kek).is_some());
        let diagnosis = Diagnosis::of(error);
        !is_known && diagnosis.is_some_and(|it| it.outcome == Outcome::OtherVault)
    }

    /// Whether a version that the KMS does not know is one of ours all the same: then the master
    /// key has been deleted. What a complete list never had is a forgery or of another key.
    fn lost(&self, kek: &KekId, error: &KmsError) -> bool {
        let kek = self.connection.present_id(kek);
        match self.connection.known() {
            Some(known) if known.keks.version(&kek).is_some() => !self.connection.is_fixed(),
            Some(known) if known.keks.is_complete() => false,
            Some(_) | None => error.cause().is_some(),
        }
    }
}

/// Of two failures of two recipients, the one to answer with: a seal in trouble before a refusal,
/// for then a retry may open it; a refusal of the contents before one of the wrapping.
fn graver(one: TransitError, other: TransitError) -> TransitError {
    let gravity = |error: &TransitError| match error {
        TransitError::Seal(SealError { source, .. }) if source.is_transient() => 5,
        TransitError::Seal(_) => 4,
        TransitError::Refused(EnvelopeRefusal::Commitment | EnvelopeRefusal::Share) => 2,
        TransitError::Refused(_) => 3,
        TransitError::UnwrapRejected => 2,
        // It tells more than that there is no recipient.
        TransitError::OtherVault(_) => 1,
        _ => 0,
    };
    if gravity(&other) > gravity(&one) { other } else { one }
}
