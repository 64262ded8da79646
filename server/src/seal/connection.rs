//! The way to one seal's master key, and all that was learned of it.

mod answers;
mod canaries;
mod moved;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_crypto::{KekId, SealName};
use selkie_kms::transit::{TokenStanding, TransitClient};
use selkie_kms::{Governor, GovernorFigures, Kms};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) use self::answers::LastAnswer;
use self::answers::LastAnswers;
pub(super) use self::answers::{is_of_one_version, speaks_for_all};
use super::alarm::Alarm;
use super::breaker::Breaker;
use super::canary::Canaries;
use super::error::SealFault;
use super::examination::Examiner;
use super::health::{Health, Standing};
use super::known::{Known, fingerprint};
use super::pin::{PinError, PinFile};
use crate::metrics::HotCalls;

/// How many times of clocks that were ahead are remembered one by one.
const MOST_AHEAD: usize = 64;
/// Under which the others are remembered together.
const FURTHER_AHEAD: u64 = u64::MAX;

/// What a seal's stanza comes to.
#[derive(Debug)]
pub struct Setup {
    /// Its name in the configuration.
    pub name: SealName,
    /// Its type, as in the label of its stanza.
    pub kind: &'static str,
    /// Who holds the master key.
    pub kms: Arc<dyn Kms>,
    /// What keeps the use of `kms` civil, for its figures; `None` where nothing does.
    pub governor: Option<Arc<Governor>>,
    /// Which master key that is, such as `https://weu.vault.azure.net/keys/unseal`: what is learned
    /// of it holds for this one alone.
    pub target: String,
    /// The same where that key was before: what was wrapped for it there is unwrapped here.
    pub former_targets: Vec<String>,
    /// A digest of all settings that reach `kms`: with the same ones a reload keeps the connection.
    pub settings: [u8; 32],
    /// `public_key_sha256`: the SHA-256 of public keys (SPKI, DER) that are trusted unseen.
    pub fingerprints: Vec<[u8; 32]>,
    /// How often the KMS is asked for news of its key.
    pub poll_interval: Duration,
    /// Where what was learned is kept.
    pub pin: Option<PinFile>,
    /// Walks the hops to the KMS for `selkie doctor`.
    pub examiner: Option<Arc<dyn Examiner>>,
    /// The way to another server's transit engine, where that is what `kms` asks.
    pub upstream: Option<Arc<TransitClient>>,
}

/// The way to a seal's master key, and what was learned of it so far. It outlives deployments.
pub struct Connection {
    pub(super) setup: Setup,
    /// The configuration holds the key itself, so there is nothing to learn.
    pub(super) is_fixed: bool,
    is_offline: bool,
    pub(super) alarm: Alarm,
    pub(super) pin_alarm: Alarm,
    pub(super) expiry_alarm: Alarm,
    pub(super) breaker: Breaker,
    /// What is counted of its KMS's calls.
    pub(super) calls: HotCalls,
    state: Mutex<State>,
    /// How many runs of learning have ended.
    runs: watch::Sender<u64>,
    is_learning: AtomicBool,
    /// Wakes who polls it before it is time.
    suspicion: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Arc<Known>>,
    health: Health,
    /// The same as `health.since`, by a clock that does not leap.
    since: Option<Instant>,
    last_run: Option<Instant>,
    /// The times that were written down and have not come yet, and when each was first met.
    ahead: BTreeMap<u64, Instant>,
    answers: LastAnswers,
    pin: PinState,
    canaries: Canaries,
    /// Versions on a device with another serial number that are shown to be the same keys.
    recognised: BTreeSet<KekId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PinState {
    /// It says what is known, or there is none.
    #[default]
    Good,
    /// It is there and was refused: it goes out of the way before another is written.
    Refused,
}

impl Connection {
    /// A connection of which nothing is known yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self::with(setup, None)
    }

    /// A connection to a key that the configuration holds.
    #[must_use]
    pub fn fixed(setup: Setup, known: Known) -> Self {
        Self { is_fixed: true, ..Self::with(setup, Some(Arc::new(known))) }
    }

    /// A connection to a key whose private half is with people: it is wrapped for and never asked.
    #[must_use]
    pub fn offline(setup: Setup, known: Known) -> Self {
        Self { is_offline: true, ..Self::fixed(setup, known) }
    }

    fn with(setup: Setup, known: Option<Arc<Known>>) -> Self {
        Self {
            setup,
            is_fixed: false,
            is_offline: false,
            alarm: Alarm::default(),
            pin_alarm: Alarm::default(),
            expiry_alarm: Alarm::every(86_400),
            breaker: Breaker::new(),
            calls: HotCalls::default(),
            state: Mutex::new(State { known, ..State::default() }),
            runs: watch::Sender::new(0),
            is_learning: AtomicBool::new(false),
            suspicion: Notify::new(),
        }
    }

    /// The seal's name.
    #[must_use]
    pub const fn name(&self) -> &SealName {
        &self.setup.name
    }

    /// The seal's type.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.setup.kind
    }

    /// Who holds the master key.
    #[must_use]
    pub fn kms(&self) -> &dyn Kms {
        &*self.setup.kms
    }

    /// How its use is governed as of now.
    #[must_use]
    pub fn governor_figures(&self) -> Option<GovernorFigures> {
        self.setup.governor.as_ref().map(|governor| governor.figures())
    }

    /// How it stands with its token at the other server, if it has one.
    #[must_use]
    pub fn upstream_token(&self) -> Option<TokenStanding> {
        self.setup.upstream.as_ref().map(|client| client.token_standing())
    }

    /// The declared fingerprints.
    #[must_use]
    pub fn fingerprints(&self) -> &[[u8; 32]] {
        &self.setup.fingerprints
    }

    /// The pin file, if there is one.
    #[must_use]
    pub const fn pin(&self) -> Option<&PinFile> {
        self.setup.pin.as_ref()
    }

    /// What lets it encrypt while its KMS is away after a restart (invariant I2), for people.
    #[must_use]
    pub fn lasting_trust(&self) -> &'static str {
        match (self.is_fixed, self.fingerprints(), self.pin()) {
            (true, _, _) if self.is_offline => "encrypts, by the public key in the configuration",
            (true, _, _) => "the configuration holds the key",
            (false, _, _) if self.setup.upstream.is_some() => {
                "does not encrypt: every wrap is made at the upstream"
            }
            (false, [_, ..], Some(_)) if !self.is_current_declared() => {
                "does not encrypt: public_key_sha256 lacks the current version"
            }
            (false, _, Some(_)) if self.is_pin_missed() => {
                "does not encrypt: the pin file is not used, until the KMS has confirmed the key"
            }
            (false, [_, ..], Some(_)) => "encrypts, by public_key_sha256 and the pin file",
            (false, [], Some(pin)) if pin.is_signed() => {
                "encrypts, by the pin file that local_key signs"
            }
            (false, [_, ..], None) => "does not encrypt; public_key_sha256 needs data_dir too",
            (false, [], Some(_)) => "does not encrypt; declare public_key_sha256 or local_key",
            (false, [], None) => {
                "does not encrypt; declare data_dir, and public_key_sha256 or local_key"
            }
        }
    }

    /// What to declare so that trust outlasts a restart; `line` is what trusts the public key.
    #[must_use]
    pub fn lasting_trust_advice(&self, line: &str) -> String {
        let data_dir = if self.pin().is_some() { "" } else { "data_dir, and " };
        if !self.fingerprints().is_empty() {
            return format!("declare {data_dir}in the seal, beside what is listed there, {line}");
        }
        format!("declare {data_dir}local_key or, in the seal, {line}")
    }

    /// Whether the pin file was refused, and that alone keeps it from encrypting after a restart.
    pub(super) fn is_pin_missed(&self) -> bool {
        self.pin_state() == PinState::Refused && self.has_lasting_trust()
    }

    /// Whether what is declared lets trust outlast a restart, by a pin file that is in order.
    #[must_use]
    pub fn has_lasting_trust(&self) -> bool {
        let is_trusted = |pin: &PinFile| match self.fingerprints() {
            [] => pin.is_signed(),
            [_, ..] => self.is_current_declared(),
        };
        self.is_fixed || self.pin().is_some_and(is_trusted)
    }

    /// Whether the fingerprints are also that of the version in use: where any are declared, a
    /// signed pin does not vouch for others (see [`Known::pinned`]).
    fn is_current_declared(&self) -> bool {
        let current = self.known().and_then(|known| fingerprint(known.keks.current()));
        current.is_none_or(|current| self.fingerprints().contains(&current))
    }

    /// Whether the configuration holds the key itself.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Whether nobody can be asked: the private key is with people.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// What is known as of now.
    #[must_use]
    pub fn known(&self) -> Option<Arc<Known>> {
        self.state().known.clone()
    }

    /// How the seal does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.state().health.clone()
    }

    /// What to expect of a call, by what was last heard of its KMS: seals that stand better are asked
    /// before it. No ciphertext has a part in that.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.governor_figures().is_some_and(|figures| figures.is_closed) {
            return Standing::HeldBack;
        }
        let is_away = self.breaker.is_open() || self.is_unlearned();
        if is_away { Standing::Away } else { Standing::Well }
    }

    /// Whether its KMS was silent when it was last asked to unwrap or wrap: other seals are asked
    /// before it until a probe is answered.
    #[must_use]
    pub fn is_silenced(&self) -> bool {
        self.breaker.is_open()
    }

    /// For how long nothing has spoken against it, so far as this process can tell; zero if
    /// something does now.
    #[must_use]
    pub fn well_for(&self) -> Duration {
        let closed_for = self.breaker.closed_for().unwrap_or_default();
        let state = self.state();
        let described_for = match (self.is_fixed, &state.health.fault) {
            (true, _) => Duration::MAX,
            (false, None | Some(SealFault::Unlisted)) => {
                state.since.map_or(Duration::MAX, |since| since.elapsed())
            }
            (false, Some(_)) => Duration::ZERO,
        };
        closed_for.min(described_for)
    }

    /// When that was, by our clock, which a replica has noted as `noted`. A time that has not come
    /// yet is of a clock that was ahead: it counts from when this process first met that time.
    /// To wait for it would take as long as that clock was ahead; and if it were long past, replicas
    /// would undo at once what one whose clock stays ahead does again and again.
    pub(crate) fn when(&self, noted: u64, now: u64) -> u64 {
        if noted <= now {
            return noted;
        }
        let ahead = &mut self.state().ahead;
        ahead.retain(|noted, _| *noted > now);
        // The first to come stay, and the others share a time: whichever had to make room would be
        // met anew at each look, and never be over.
        if ahead.len() < MOST_AHEAD {
            ahead.remove(&FURTHER_AHEAD);
        }
        let has_own = ahead.len() < MOST_AHEAD || ahead.contains_key(&noted);
        let at = if has_own { noted } else { FURTHER_AHEAD };
        let at = *ahead.entry(at).or_insert_with(Instant::now);
        now.saturating_sub(at.elapsed().as_secs())
    }

    /// Whether its KMS did not describe its key when it was last asked to.
    pub(super) fn is_unlearned(&self) -> bool {
        self.state().health.fault.as_ref().is_some_and(SealFault::is_transient)
    }

    /// Notes that its KMS answers.
    pub(super) fn note_answer(&self) {
        if self.breaker.close() {
            tracing::info!(seal = %self.name(), "the seal answers again");
        }
    }

    /// Notes that its KMS was asked and is silent; `outcome` is why, in a word.
    pub(super) fn note_silence(&self, outcome: &'static str) {
        if self.breaker.open() {
            tracing::warn!(
                seal = %self.name(),
                outcome,
                advice = "check the way to its KMS; other seals are asked before it, and it is \
                          tried again by itself",
                "the seal does not answer"
            );
        }
    }

    /// What keeps it from being described, or trusted.
    #[must_use]
    pub fn fault_or(&self, fault: SealFault) -> SealFault {
        self.state().health.fault.clone().unwrap_or(fault)
    }

    /// Whether nothing has changed between the stanza of `other` and this one's.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.is_about_same_key(other)
            && self.setup.settings == other.setup.settings
            && self.setup.fingerprints == other.setup.fingerprints
            && self.setup.poll_interval == other.setup.poll_interval
            && match (self.pin(), other.pin()) {
                (Some(one), Some(other)) => one.is_same(other),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    }

    /// Whether both lead to the same master key.
    pub(super) fn is_about_same_key(&self, other: &Self) -> bool {
        let is_learned = !self.is_fixed && !other.is_fixed;
        is_learned && self.setup.kind == other.setup.kind && self.setup.target == other.setup.target
    }

    /// Takes over what `other` learned about the same master key, but no trust that it owed to
    /// fingerprints which are not declared here.
    pub(super) fn inherit(&self, other: &Self) {
        let (known, health, since, pin, answers, ahead) = {
            let theirs = other.state();
            let (known, health) = (theirs.known.clone(), theirs.health.clone());
            (known, health, theirs.since, theirs.pin, theirs.answers, theirs.ahead.clone())
        };
        let known = known.map(|known| Arc::new(known.under(self.fingerprints())));
        let mut state = self.state();
        (state.known, state.health, state.since, state.pin) = (known, health, since, pin);
        (state.answers, state.ahead) = (answers, ahead);
        drop(state);
        self.inherit_canaries(other);
    }

    /// Begins with what the pin file says, if anything can be believed of it.
    pub(super) fn read_pin(&self) {
        let Some(file) = self.pin() else { return };
        let pin = file.read();
        // Who has removed the pin file accepts another key.
        if !matches!(pin, Ok(None)) {
            self.read_canaries(file);
        }
        match pin {
            Ok(None) => {}
            Ok(Some(pinned)) => {
                let known = Known::pinned(pinned, self.fingerprints());
                let trust = known.current_trust().map_or("none", |trust| trust.as_str());
                let kek = known.keks.current().id.clone();
                tracing::info!(seal = %self.name(), file = %file.path().display(), %kek, trust, "pin read");
                self.state().known = Some(Arc::new(known));
            }
            Err(error) => {
                self.state().pin = PinState::Refused;
                self.tell_refused_pin(file, &error);
            }
        }
    }

    fn tell_refused_pin(&self, file: &PinFile, error: &PinError) {
        tracing::error!(
            seal = %self.name(),
            file = %file.path().display(),
            reason = %crate::telemetry::WithCauses(error),
            advice = "the seal encrypts once its KMS has confirmed the key; the file stays until then",
            "the pin file is not used"
        );
    }

    pub(super) fn pin_state(&self) -> PinState {
        self.state().pin
    }

    pub(super) fn note_pin_good(&self) {
        self.state().pin = PinState::Good;
    }

    pub(super) fn set_known(&self, known: Arc<Known>) {
        self.state().known = Some(known);
    }

    /// Notes how a run of learning ended, at `now`.
    pub(super) fn note(&self, fault: Option<SealFault>, is_described: bool, now: u64) {
        let mut state = self.state();
        if state.health.fault.is_some() != fault.is_some() || state.health.since == 0 {
            (state.health.since, state.since) = (now, Some(Instant::now()));
        }
        if is_described {
            state.health.described = Some(now);
        }
        state.health.fault = fault;
        state.last_run = Some(Instant::now());
    }

    pub(super) fn last_run(&self) -> Option<Instant> {
        self.state().last_run
    }

    /// Tells when the runs of learning that begin from now on, or are under way, have ended.
    pub(super) fn watch_runs(&self) -> watch::Receiver<u64> {
        self.runs.subscribe()
    }

    /// The right to a run of learning, unless one is under way.
    pub(super) fn begin_run(self: &Arc<Self>) -> Option<Run> {
        let is_learning = self.is_learning.swap(true, Ordering::AcqRel);
        (!is_learning).then(|| Run(Arc::clone(self)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run of learning; it ends when this is dropped, however that comes.
pub(super) struct Run(pub(super) Arc<Connection>);

impl Drop for Run {
    fn drop(&mut self) {
        // In this order: who finds it still learning has subscribed before it is told.
        self.0.is_learning.store(false, Ordering::Release);
        self.0.runs.send_modify(|runs| *runs = runs.wrapping_add(1));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("seal", self.name()).finish_non_exhaustive()
    }
}
