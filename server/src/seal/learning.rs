//! How a seal's master key is learned of: described, proven, put to work and kept in the pin file.

mod canaries;
mod devices;
mod held;
mod trials;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use selkie_crypto::{KekId, Random};
use selkie_kms::{KekDescription, KekState, KmsError, Wrapping};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

pub(super) use self::held::due;
use super::connection::{Connection, PinState};
use super::error::{Contradiction, SealFault};
use super::examination::SOON_DAYS;
use super::known::{Known, Trust, days_left, state_at};
use super::pin::{PinFile, Pinned};
use super::round_trip;
use crate::clock::Clock;
use crate::continuity::AdoptionError;
use crate::deployment::Deployment;
use crate::jitter::jittered;
use crate::metrics::Metrics;
use crate::telemetry::WithCauses;
use crate::transit::ManagedKeys;

/// How long a KMS may take to describe its key.
const DESCRIBE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a run of learning waits for the managed keys to follow it.
const KEYS_PATIENCE: Duration = Duration::from_secs(1);
/// How long after a run of learning the next one begins at the earliest, whoever wants it.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a seal that fails is left alone at first; each failure doubles it, up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long after a run of learning a seal that refuses clients is learned of at the earliest.
const SUSPICION_PAUSE: Duration = Duration::from_secs(5);

/// Learns what the KMSs say of their master keys, and replaces what was known before.
#[derive(Clone)]
pub struct Learner {
    pub(crate) current: Arc<ArcSwap<Deployment>>,
    pub(crate) keys: Arc<ManagedKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<Random>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a description comes to.
struct Outlook {
    known: Known,
    fault: Option<SealFault>,
}

impl Learner {
    /// Learns of one seal, together with whoever else wants to, and waits for that until `deadline`.
    /// What came of it is in [`Connection::known`] and [`Connection::health`].
    pub async fn learn(&self, connection: &Arc<Connection>, deadline: Instant) {
        if connection.is_fixed {
            return;
        }
        let mut runs = connection.watch_runs();
        if let Some(run) = connection.begin_run() {
            let learner = self.clone();
            // In a task of its own: others wait for it when the first one hangs up.
            drop(tokio::spawn(async move {
                if let Some(last) = run.0.last_run() {
                    sleep_until(last + PAUSE).await;
                }
                learner.run(&run.0).await;
                drop(run);
            }));
        }
        // The sender lives in the connection, so this ends with a run or the deadline.
        let _ended_or_late = timeout_at(deadline, runs.changed()).await;
    }

    /// Learns of one seal, whoever waits for it.
    pub(crate) async fn learn_soon(&self, connection: &Arc<Connection>) {
        self.learn(connection, Instant::now() + 2 * DESCRIBE_PATIENCE).await;
    }

    /// Learns of a seal at once and then again and again, as long as it is configured.
    pub async fn poll(self, connection: Arc<Connection>) {
        let mut retry = FIRST_RETRY;
        while self.current.load().seals.has(&connection) {
            self.learn(&connection, Instant::now() + 4 * DESCRIBE_PATIENCE).await;
            // That run may have been under way, and have tried the key before it was suspected.
            if connection.is_suspect() {
                self.learn(&connection, Instant::now() + 4 * DESCRIBE_PATIENCE).await;
            }
            self.ask_canaries(&connection).await;
            let interval = connection.setup.poll_interval;
            let pause = if connection.health().fault.is_some() {
                let pause = retry.min(interval);
                retry = (2 * retry).min(LAST_RETRY);
                pause
            } else {
                retry = FIRST_RETRY;
                interval
            };
            let suspected = timeout(jittered(&*self.random, pause), connection.suspected()).await;
            if let (Ok(()), Some(last)) = (suspected, connection.last_run()) {
                sleep_until(last + SUSPICION_PAUSE).await;
            }
        }
    }

    async fn run(&self, connection: &Arc<Connection>) {
        let began = Instant::now();
        let described = timeout(DESCRIBE_PATIENCE, connection.kms().describe()).await;
        let described =
            described.unwrap_or_else(|late| Err(KmsError::TimedOut(Some(Arc::new(late)))));
        let outcome = super::error::outcome_of(&described);
        let (seal, hot) = (connection.name(), &connection.calls);
        self.metrics.kms_call(seal, hot, "describe", outcome, began.elapsed());
        let described = described.map_err(SealFault::Kms);
        let now = self.clock.unix_seconds();
        let before = connection.known();
        match described {
            Ok(fresh) => {
                self.take(connection, &fresh).await;
                self.try_unproven(connection, &fresh.current().id).await;
            }
            Err(fault) => {
                if let SealFault::Kms(KmsError::UnknownKek(_)) = &fault {
                    self.stop(connection).await;
                }
                // What comes back may be another key; an upstream that lets us not read its keys
                // says "denied" of one that is gone.
                connection.unsettle_canaries();
                if !self.prove_undescribed(connection, &fault).await {
                    self.try_refused(connection, &fault).await;
                }
                connection.note(Some(fault.clone()), false, now);
                self.alarm(connection, &fault, "the KMS does not describe its master key");
            }
        }
        if connection.known() != before {
            self.advance_keys().await;
        }
    }

    /// Has the managed keys follow what was learned. Whoever waits for the run waits for that, but no
    /// longer than the store may take: it goes on by itself.
    async fn advance_keys(&self) {
        let learner = self.clone();
        let advancing = tokio::spawn(async move {
            let Self { keys, current, clock, .. } = &learner;
            keys.advance(current, clock.unix_seconds()).await;
        });
        let _done_or_later = timeout(KEYS_PATIENCE, advancing).await;
    }

    /// Nothing more is encrypted under a master key that was deleted, until it is back.
    async fn stop(&self, connection: &Arc<Connection>) {
        let Some(known) = connection.known() else { return };
        let missing = Arc::new(known.contradicted(Contradiction::Missing));
        if let Err(error) = self.adopt(connection, &missing).await {
            // No version changes with it, so nothing can stand against it.
            tracing::error!(seal = %connection.name(), %error, "a deleted master key is in use");
        }
    }

    /// Follows a description as far as it may be followed.
    async fn take(&self, connection: &Arc<Connection>, fresh: &KekDescription) {
        let before = connection.known();
        let Outlook { known, mut fault } = self.outlook(connection, before.as_deref(), fresh).await;
        let known = Arc::new(known);
        match self.adopt(connection, &known).await {
            Ok(()) => {
                let is_sound = known.contradiction.is_none()
                    && known.current_trust() >= Some(Trust::Confirmed);
                // The file may be another connection's by now.
                if is_sound && self.current.load().seals.has(connection) {
                    self.keep(connection, &known).await;
                }
                self.warn_of_expiry(connection, &known);
            }
            Err(error) => fault = Some(SealFault::NotAdopted(Arc::new(error))),
        }
        connection.note(fault.clone(), true, self.clock.unix_seconds());
        match fault {
            Some(fault) => self.alarm(connection, &fault, "the master key needs attention"),
            None if connection.alarm.clear() => {
                tracing::info!(seal = %connection.name(), "the seal is well again");
            }
            None => {}
        }
    }

    async fn outlook(
        &self,
        connection: &Connection,
        before: Option<&Known>,
        fresh: &KekDescription,
    ) -> Outlook {
        let fingerprints = connection.fingerprints();
        let recognised = match self.recognised(connection, before, fresh).await {
            Ok(recognised) => recognised,
            Err(doubt) => {
                let known = Known::described(fresh.clone(), before, fingerprints);
                return doubt.outlook(known, before, fresh, fingerprints);
            }
        };
        let fresh = recognised.as_ref().unwrap_or(fresh);
        let followed = match before.map(|known| (known, known.followed_by(fresh))) {
            None => fresh.clone(),
            Some((_, Ok(followed))) => followed,
            Some((known, Err(contradiction))) => {
                let fault = Some(SealFault::Contradicted(contradiction.clone()));
                let known = known.contradicted(contradiction);
                return Outlook { known, fault };
            }
        };
        let followed = due(before, &followed).unwrap_or(followed);
        let known = Known::described(followed, before, fingerprints);
        let mut known = known.passing_over(fresh);
        if let Some(held) = self.held_unlisted(connection, before, &known, fresh).await {
            known = held;
        }
        // Without a list, another one may be in use elsewhere already, between the one that is staged
        // and the one in use here.
        let is_list_needed =
            self.current.load().counts(connection.name()) || known.staged().is_some();
        let unlisted = (is_list_needed && !fresh.is_complete()).then_some(SealFault::Unlisted);
        if let Err(doubt) = self.check_canaries(connection, before, &known).await {
            return doubt.outlook(known, before, fresh, fingerprints);
        }
        let is_moved = |was: &&Known| was.keks.current().id != known.keks.current().id;
        let moved_from = before.filter(is_moved);
        match (self.prove_current(connection, &mut known).await, moved_from) {
            (Ok(()), _) => Outlook { known, fault: unlisted },
            (Err(fault), Some(was)) => self.held(connection, was, fresh, fault).await,
            (Err(fault), None) => Outlook { known, fault: Some(fault) },
        }
    }

    /// Trusts the current version if it may be used and is the KMS's own, and no longer if it is not.
    async fn prove_current(
        &self,
        connection: &Connection,
        known: &mut Known,
    ) -> Result<(), SealFault> {
        let current = known.keks.current().id.clone();
        let checked = self.check_current(connection, known).await;
        match &checked {
            Ok(()) => known.trust(current, Trust::Confirmed),
            // As with canaries: a KMS that rejects what it did may have trouble of its own, one that
            // gives another secret has not.
            Err(SealFault::Unconfirmed(Some(_)))
                if known.current_trust() >= Some(Trust::Confirmed) => {}
            Err(SealFault::Unconfirmed(_)) => known.distrust(&current),
            Err(_) => {}
        }
        checked
    }

    /// Whether the current version may be used and is the KMS's own, which is tried once, and again
    /// when the KMS has refused something.
    async fn check_current(&self, connection: &Connection, known: &Known) -> Result<(), SealFault> {
        let current = known.keks.current();
        let state = state_at(current, self.clock.unix_seconds());
        if state != KekState::Enabled {
            return Err(SealFault::NotUsable { kek: current.id.clone(), state });
        }
        if known.current_trust() >= Some(Trust::Confirmed) && !connection.is_in_doubt() {
            return Ok(());
        }
        let canary = round_trip::confirm(connection, current, &*self.random).await?;
        if matches!(current.wrapping, Wrapping::Remote(_)) {
            connection.add_canary(canary);
        }
        Ok(())
    }

    /// Puts `known` to work, or nothing changes. The versions of managed keys follow when the run
    /// ends: a store that does not answer keeps no master key from being learned.
    async fn adopt(
        &self,
        connection: &Arc<Connection>,
        known: &Arc<Known>,
    ) -> Result<(), AdoptionError> {
        let _no_other_change = self.keys.hold_deployment().await;
        if connection.known().as_ref() == Some(known) {
            return Ok(());
        }
        let before = self.current.load_full();
        if !before.seals.has(connection) {
            connection.set_known(Arc::clone(known));
            return Ok(());
        }
        let after = Arc::new(before.with_known(connection, known)?);
        after.require_rising(&before, &self.keys)?;
        connection.set_known(Arc::clone(known));
        self.current.store(after);
        if known.contradiction.is_none() {
            tell_adopted(connection, known);
        }
        Ok(())
    }

    /// Writes the pin file if it does not say this already, and then the canaries. One that was
    /// refused is kept aside.
    async fn keep(&self, connection: &Arc<Connection>, known: &Arc<Known>) {
        let Some(file) = connection.pin().cloned() else { return };
        if self.keep_pin(connection, file.clone(), known).await {
            self.keep_canaries(connection, file).await;
        }
    }

    /// Whether the pin file says this now.
    async fn keep_pin(
        &self,
        connection: &Arc<Connection>,
        file: PinFile,
        known: &Arc<Known>,
    ) -> bool {
        let (known, is_refused) = (Arc::clone(known), connection.pin_state() == PinState::Refused);
        let written = tokio::task::spawn_blocking(move || {
            if is_refused {
                file.set_aside()?;
            }
            match file.read() {
                Ok(Some(Pinned { keks, is_signed }))
                    if keks == known.keks && is_signed == file.is_signed() =>
                {
                    return Ok(false);
                }
                Ok(_) => {}
                Err(_changed_meanwhile) => file.set_aside()?,
            }
            file.write(&known.keks).map(|()| true)
        });
        match written.await {
            Ok(Ok(is_new)) => {
                connection.note_pin_good();
                if is_new {
                    tracing::info!(seal = %connection.name(), "pin written");
                }
                return true;
            }
            Ok(Err(error)) => self.tell_unwritten(connection, &error),
            Err(error) => self.tell_unwritten(connection, &error),
        }
        false
    }

    /// Once a day, from when people still have the time to rotate.
    fn warn_of_expiry(&self, connection: &Connection, known: &Known) {
        let now = self.clock.unix_seconds();
        let days = days_left(known.keks.current(), now).filter(|days| *days < SOON_DAYS);
        let Some(days) = days else { return };
        if connection.expiry_alarm.ring("expiry", now) {
            tracing::warn!(
                seal = %connection.name(),
                kek = %known.keks.current().id,
                days = days.floor(),
                advice = "rotate the master key in the KMS, or extend its expiry date: nothing is \
                          encrypted under an expired version",
                "the current version of the master key expires soon"
            );
        }
    }

    fn tell_unwritten(&self, connection: &Connection, error: &dyn std::error::Error) {
        if connection.pin_alarm.ring("unwritten", self.clock.unix_seconds()) {
            tracing::error!(
                seal = %connection.name(),
                file = connection.pin().map(|file| tracing::field::display(file.path().display())),
                reason = %WithCauses(error),
                advice = "make data_dir writable: without the file a restart while the KMS is away \
                          cannot encrypt",
                "the pin file cannot be written"
            );
        }
    }

    fn alarm(&self, connection: &Connection, fault: &SealFault, what: &'static str) {
        if connection.alarm.ring(fault.outcome(), self.clock.unix_seconds()) {
            let is_encrypting = connection.known().is_some_and(|known| {
                let current = known.keks.current().id.clone();
                // Where the KMS has to wrap, it is in trouble.
                let version = known.wrapping_version(&current, self.clock.unix_seconds());
                version.is_ok_and(|version| matches!(version.wrapping, Wrapping::Local(_)))
            });
            tracing::error!(
                seal = %connection.name(),
                reason = %WithCauses(fault),
                outcome = fault.outcome(),
                is_encrypting,
                advice = fault.advice(),
                "{what}"
            );
        }
    }
}

fn tell_adopted(connection: &Connection, known: &Known) {
    tracing::info!(
        seal = %connection.name(),
        kek = %known.keks.current().id,
        versions = known.keks.versions().len(),
        is_complete = known.keks.is_complete(),
        trust = known.current_trust().map_or("none", Trust::as_str),
        "the master key is as follows"
    );
    if !connection.has_lasting_trust()
        && let Some(line) = known.fingerprint_line()
    {
        tracing::warn!(
            seal = %connection.name(),
            advice = connection.lasting_trust_advice(&line),
            "a restart while the KMS is away cannot encrypt"
        );
    }
    tell_staged(connection, known);
    warn_of_disabled(connection, known);
    if known.keks.is_purgeable() == Some(true) {
        tracing::warn!(
            seal = %connection.name(),
            advice = "enable purge protection of the key vault: a purged key takes all that was \
                      encrypted with it",
            "the master key can be destroyed for good"
        );
    }
}

fn tell_staged(connection: &Connection, known: &Known) {
    if let Some(kek) = known.staged() {
        tracing::info!(
            seal = %connection.name(),
            %kek,
            "a version of the master key is staged: it is followed when its time comes"
        );
    }
}

/// Those that have a canary are told of where it is looked at.
fn warn_of_disabled(connection: &Connection, known: &Known) {
    let current = &known.keks.current().id;
    let is_told = |id: &KekId| id != current && connection.canary(id).is_some();
    let disabled = known.keks.disabled().map(|version| &version.id);
    let keks: Vec<_> = disabled.filter(|id| !is_told(id)).map(KekId::as_str).collect();
    if keks.is_empty() {
        return;
    }
    tracing::warn!(
        seal = %connection.name(),
        keks = keks.join(", "),
        advice = "enable them in the KMS, unless it is known that nothing they wrapped is left: \
                  backups of a Vault, and Vaults that have not restarted, may need them",
        "versions of the master key are disabled: what they wrapped does not open"
    );
}

impl fmt::Debug for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learner").finish_non_exhaustive()
    }
}
