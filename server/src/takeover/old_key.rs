//! One key of another server that is taken over.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KeyVersion, Plaintext, SealName};
use selkie_kms::KmsError;
use selkie_kms::transit::{TransitDiagnosis, TransitHop, TransitOutcome};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::OldServer;
use crate::clock::Clock;
use crate::deployment::Deployment;
use crate::telemetry::WithCauses;

/// How long a decrypt may wait for the old server (invariant I10).
const PATIENCE: Duration = Duration::from_secs(15);
/// How many requests the old server gets at a time.
const AT_A_TIME: usize = 32;
/// How often it is asked for its newest version; how late a rotation there may be seen.
const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// How long it may take to tell that.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked again because of a version above what it told.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often the same trouble is told of, in seconds.
const TOLD_EVERY: u64 = 3_600;

/// A key of another server that one of ours takes over.
#[derive(Debug)]
pub struct OldKey {
    /// The mount of our key.
    pub mount: MountPath,
    /// The name of our key.
    pub name: KeyName,
    /// The old server, as the audit log names it.
    pub label: SealName,
    /// Where it is, for people.
    pub address: String,
    /// Tells these settings from others.
    settings: [u8; 32],
    server: Arc<dyn OldServer>,
    slots: Semaphore,
    declared: Option<KeyVersion>,
    /// As the old server last told; 0 before that.
    read: AtomicU32,
    /// The highest that it has opened; 0 before that.
    seen: AtomicU32,
    health: Mutex<OldKeyHealth>,
    told: Mutex<Option<(u64, Trouble)>>,
    asked_again: Mutex<Option<Instant>>,
}

/// What an old key is made of.
#[derive(Debug)]
pub(crate) struct OldKeySetup {
    pub(crate) mount: MountPath,
    pub(crate) name: KeyName,
    pub(crate) label: SealName,
    pub(crate) address: String,
    pub(crate) settings: [u8; 32],
    pub(crate) declared: Option<KeyVersion>,
    pub(crate) server: Arc<dyn OldServer>,
}

/// A ciphertext of the old server's, and what it opens with.
#[derive(Clone, Copy)]
pub(crate) struct ForeignCiphertext<'f> {
    pub(crate) ciphertext: &'f str,
    /// That of `ciphertext`.
    pub(crate) version: KeyVersion,
    pub(crate) context: &'f [u8],
    pub(crate) associated_data: &'f [u8],
}

/// How the old server does, as last seen.
#[derive(Clone, Debug, Default)]
pub struct OldKeyHealth {
    /// When it last answered, in seconds since 1970; 0 for never.
    pub answered: u64,
    /// Why it did not do what it was last asked to do; `None` if it did, or found fault with a
    /// ciphertext, or does not let our token read its newest version.
    pub fault: Option<KmsError>,
    /// Why it does not tell its newest version.
    pub read_fault: Option<KmsError>,
}

/// The highest version of the old key that is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestVersion {
    /// It.
    pub version: KeyVersion,
    /// Who says so.
    pub source: VersionSource,
}

/// Who says which version of the old key is its newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionSource {
    /// The configuration.
    Declared,
    /// The old server.
    Read,
    /// Nobody: it is the highest among the ciphertexts that it has opened.
    Seen,
}

impl VersionSource {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Read => "read",
            Self::Seen => "seen",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Our version is not above the old ones.
    Conflict(KeyVersion),
    /// The declared newest version is not the newest.
    Outdated(KeyVersion),
}

impl OldKey {
    pub(crate) fn new(setup: OldKeySetup) -> Self {
        let OldKeySetup { mount, name, label, address, settings, declared, server } = setup;
        Self {
            mount,
            name,
            label,
            address,
            settings,
            server,
            slots: Semaphore::new(AT_A_TIME),
            declared,
            read: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            health: Mutex::default(),
            told: Mutex::default(),
            asked_again: Mutex::default(),
        }
    }

    /// Whether the settings of both are the same, so that one may go on in the other's place.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.declared == other.declared
            && self.label == other.label
            && (&self.mount, &self.name) == (&other.mount, &other.name)
    }

    /// The version above which nothing is sent to the old server; `None` if it has not told. What is
    /// declared may be out of date.
    #[must_use]
    pub fn limit(&self) -> Option<KeyVersion> {
        version(&self.read)
    }

    /// The highest version of the old key that is known of.
    #[must_use]
    pub fn newest(&self) -> Option<NewestVersion> {
        let known = [
            (self.declared, VersionSource::Declared),
            (version(&self.read), VersionSource::Read),
            (version(&self.seen), VersionSource::Seen),
        ];
        // `max_by_key` takes the last of equals; the first here is to count.
        let known = known.into_iter().rev();
        let known =
            known.filter_map(|(version, source)| Some(NewestVersion { version: version?, source }));
        known.max_by_key(|one| one.version)
    }

    /// Whether a ciphertext of `version` may be the old key's. If it is above what was read, the old
    /// server is asked again, but rarely: whoever sends garbage causes no more.
    pub(crate) async fn admits(&self, version: KeyVersion, clock: &dyn Clock) -> bool {
        let is_within = || self.limit().is_none_or(|limit| version <= limit);
        if is_within() {
            return true;
        }
        let now = Instant::now();
        let is_due = {
            let mut asked = lock(&self.asked_again);
            let is_due = asked.is_none_or(|last| now.duration_since(last) >= ASKED_AGAIN_AFTER);
            if is_due {
                *asked = Some(now);
            }
            is_due
        };
        if is_due {
            self.read_newest(clock).await;
        }
        is_within()
    }

    /// How the old server does.
    #[must_use]
    pub fn health(&self) -> OldKeyHealth {
        self.health_mut().clone()
    }

    /// Has the old server open `foreign`, for whose answer nobody waits after `until`.
    ///
    /// # Errors
    ///
    /// [`KmsError`].
    pub(crate) async fn decrypt(
        &self,
        foreign: ForeignCiphertext<'_>,
        until: Instant,
        clock: &dyn Clock,
    ) -> Result<Plaintext, KmsError> {
        let deadline = (Instant::now() + PATIENCE).min(until);
        // It is never closed. To wait for it says nothing of the old server.
        let Ok(_slot) = timeout_at(deadline, self.slots.acquire()).await else {
            return Err(KmsError::Throttled { retry_after: None, cause: None });
        };
        let ForeignCiphertext { ciphertext, version, context, associated_data } = foreign;
        let asked = self.server.decrypt(ciphertext, context, associated_data);
        let answer = timeout_at(deadline, asked).await;
        let answer = answer.unwrap_or_else(|late| Err(KmsError::TimedOut(Some(Arc::new(late)))));
        let mut health = self.health_mut();
        match &answer {
            Ok(_) | Err(KmsError::Rejected(_)) => {
                health.answered = clock.unix_seconds();
                health.fault = None;
            }
            Err(fault) if ciphertext_fault(fault).is_some() => {
                health.answered = clock.unix_seconds();
            }
            Err(fault) => health.fault = Some(fault.clone()),
        }
        if answer.is_ok() {
            self.seen.fetch_max(version.get(), Ordering::Relaxed);
        }
        answer
    }

    /// Follows the newest version of the old key for as long as the deployment has it, and tells of
    /// what is wrong about ours.
    pub(crate) async fn poll(
        self: Arc<Self>,
        current: Arc<ArcSwap<Deployment>>,
        clock: Arc<dyn Clock>,
    ) {
        while current.load().takeovers.has(&self) {
            self.read_newest(&*clock).await;
            self.look_at_versions(&current.load(), clock.unix_seconds());
            sleep(POLL_INTERVAL).await;
        }
    }

    pub(super) async fn read_newest(&self, clock: &dyn Clock) {
        let answer = timeout(READ_PATIENCE, self.server.newest_version()).await;
        let answer = answer.unwrap_or_else(|late| Err(KmsError::TimedOut(Some(Arc::new(late)))));
        let mut health = self.health_mut();
        match &answer {
            // What refuses this alone answers, and knows our token.
            Err(fault) if !lacks_right(fault) => health.fault = Some(fault.clone()),
            // The right to decrypt is another one.
            _ if !health.fault.as_ref().is_some_and(lacks_right) => health.fault = None,
            _ => {}
        }
        match answer {
            Ok(newest) => {
                if self.read.swap(newest.get(), Ordering::Relaxed) != newest.get() {
                    tracing::info!(
                        key = %format_args!("{}/{}", self.mount, self.name),
                        old_server = %self.address,
                        newest = newest.get(),
                        "the key of the old server has this newest version"
                    );
                }
                health.answered = clock.unix_seconds();
                health.read_fault = None;
            }
            Err(fault) => {
                if health.read_fault.is_none() {
                    tracing::warn!(
                        key = %format_args!("{}/{}", self.mount, self.name),
                        old_server = %self.address,
                        reason = %WithCauses(&fault),
                        advice = "allow the takeover's token `read` on the old key, or declare \
                                  last_version",
                        "the old server does not tell the newest version of its key"
                    );
                }
                health.read_fault = Some(fault);
            }
        }
    }

    fn look_at_versions(&self, deployment: &Deployment, now: u64) {
        let Some(trouble) = self.trouble(deployment) else {
            *lock(&self.told) = None;
            return;
        };
        let mut told = lock(&self.told);
        let is_told = |(at, what): (u64, Trouble)| what == trouble && now.abs_diff(at) < TOLD_EVERY;
        if told.is_some_and(is_told) {
            return;
        }
        *told = Some((now, trouble));
        drop(told);
        self.tell(trouble);
    }

    fn trouble(&self, deployment: &Deployment) -> Option<Trouble> {
        if let Some(newest) = self.conflict(deployment) {
            return Some(Trouble::Conflict(newest));
        }
        let known = version(&self.read).max(version(&self.seen));
        let declared = self.declared?;
        known.filter(|known| *known > declared).map(Trouble::Outdated)
    }

    /// The newest version of the old key, if ours is not above it: a Vault whose stored keys are of
    /// the same version never encrypts them anew (invariant I7).
    #[must_use]
    pub fn conflict(&self, deployment: &Deployment) -> Option<KeyVersion> {
        let ours = deployment.declared_key(&self.mount, self.name.as_str())?;
        let newest = self.newest()?.version;
        (ours.uncounted.is_empty() && ours.latest <= newest).then_some(newest)
    }

    fn tell(&self, trouble: Trouble) {
        let key = format_args!("{}/{}", self.mount, self.name);
        match trouble {
            Trouble::Conflict(newest) => tracing::error!(
                %key,
                old_server = %self.address,
                newest = newest.get(),
                advice = "raise the key's \"generation\" (or \"version\") above it, so that Vaults \
                          move to Selkie's envelopes",
                "the key's version is not above that of the old key, and Vaults do not re-encrypt"
            ),
            Trouble::Outdated(newest) => tracing::warn!(
                %key,
                old_server = %self.address,
                newest = newest.get(),
                advice = "set last_version to it, or leave it out where the old key can be read",
                "the old key has a version above its declared last_version"
            ),
        }
    }

    fn health_mut(&self) -> MutexGuard<'_, OldKeyHealth> {
        lock(&self.health)
    }
}

/// What an old server finds wrong with a ciphertext, and not with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CiphertextFault {
    /// Its version is not decrypted any more.
    TooOld,
    /// There is no such version.
    TooNew,
    /// The key is derived.
    NoContext,
}

/// Anybody can have such an answer, by what is sent: it is no trouble of the server's.
pub(crate) fn ciphertext_fault(error: &KmsError) -> Option<CiphertextFault> {
    let diagnosis = TransitDiagnosis::of(error)?;
    if (diagnosis.hop, diagnosis.status) != (TransitHop::Decrypt, Some(400)) {
        return None;
    }
    match diagnosis.outcome {
        TransitOutcome::VersionDisallowed => Some(CiphertextFault::TooOld),
        TransitOutcome::VersionMissing => Some(CiphertextFault::TooNew),
        TransitOutcome::KeyUnsuitable => Some(CiphertextFault::NoContext),
        _ => None,
    }
}

pub(super) fn lacks_right(error: &KmsError) -> bool {
    let diagnosis = TransitDiagnosis::of(error);
    diagnosis.is_some_and(|diagnosis| diagnosis.outcome == TransitOutcome::PolicyMissing)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn version(number: &AtomicU32) -> Option<KeyVersion> {
    KeyVersion::new(number.load(Ordering::Relaxed))
}
