//! Keeps one child running, and what it is asked within bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{self, Arc, PoisonError};
use std::time::Duration;

use selkie_memory::WipedVec;
use selkie_pkcs11_protocol::{Class, Failure, Open, Reply, Request, Selector, Stage, Token};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::child::Running;
use super::diagnosis::{Diagnosis, Fault};
use super::launcher::LaunchError;
use super::probe::Probe;
use super::{Launcher, Pkcs11Settings};
use crate::KmsError;

/// How long a library may take to load, find its token and log in.
const OPEN_TIME: Duration = Duration::from_secs(30);
/// How long after the second failure in a row the child is started again; each further one doubles
/// it, up to the last. After the first it is started at once.
const FIRST_REST: Duration = Duration::from_millis(100);
const LAST_REST: Duration = Duration::from_secs(10);
/// After so many failures in a row that no rule is known for the library is loaded anew.
const UNEXPLAINED_FAILURES: u32 = 3;

/// The keeper of one child.
pub(super) struct Supervisor {
    pub(super) settings: Pkcs11Settings,
    launcher: Launcher,
    sessions: Arc<Semaphore>,
    state: Mutex<State>,
    /// In a row.
    unexplained: AtomicU32,
    refused: Arc<PinRefusal>,
}

/// What a token has said against a PIN: it is not sent again.
#[derive(Default)]
struct PinRefusal(sync::Mutex<Option<Diagnosis>>);

/// By the digests of the PINs. They outlive who sent the PIN: a reload that changes anything but the
/// PIN makes a new keeper, and tokens count.
static REFUSALS: sync::Mutex<BTreeMap<[u8; 32], Arc<PinRefusal>>> =
    sync::Mutex::new(BTreeMap::new());

impl PinRefusal {
    /// The refusal, if there is or will be one, of the PIN with this digest.
    fn of(pin_digest: [u8; 32]) -> Arc<Self> {
        let mut all = REFUSALS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(pin_digest).or_default())
    }

    fn lock(&self) -> sync::MutexGuard<'_, Option<Diagnosis>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> Option<Diagnosis> {
        self.lock().clone()
    }

    /// The first word counts.
    fn tell(&self, diagnosis: &Diagnosis) {
        self.lock().get_or_insert_with(|| diagnosis.clone());
    }
}

/// Lets PINs be sent again that tokens said to be locked or expired: somebody says that this has been
/// attended to. A token that is locked still counts nothing. A wrong PIN stays wrong.
pub fn retry_locked_pins() {
    let is_locked = |one: &Diagnosis| one.fault == Fault::Token(Class::PinLocked);
    let all = REFUSALS.lock().unwrap_or_else(PoisonError::into_inner);
    for refusal in all.values() {
        refusal.lock().take_if(|one| is_locked(one));
    }
}

/// Whether the PIN must not be sent again after this. One that was spared was not sent: the token is
/// asked again whether it would lock.
const fn is_final(fault: Fault) -> bool {
    matches!(fault, Fault::Token(Class::PinRefused | Class::PinLocked))
}

#[derive(Default)]
struct State {
    ready: Option<Ready>,
    /// Failures since a DEK was last wrapped or unwrapped.
    failures: u32,
    rest_until: Option<Instant>,
    last: Option<Diagnosis>,
}

/// A child that is logged in.
#[derive(Clone, Debug)]
struct Ready {
    child: Arc<Running>,
    token: Arc<Token>,
}

impl Supervisor {
    pub(super) fn new(settings: Pkcs11Settings) -> Self {
        let launcher = settings.launcher();
        let sessions = Arc::new(Semaphore::new(settings.max_sessions.get().into()));
        let refused = PinRefusal::of(settings.pin_digest());
        let (state, unexplained) = (Mutex::default(), AtomicU32::new(0));
        Self { settings, launcher, sessions, state, unexplained, refused }
    }

    /// Asks, and stops to wait at `deadline`; the call itself may go on until its own time is over,
    /// since nothing can take it back from a library.
    pub(super) async fn ask(
        self: &Arc<Self>,
        stage: Stage,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, KmsError> {
        self.ask_with(stage, request, None, deadline).await
    }

    /// The same; where `probe` does not open, a ciphertext is not said to be wrong.
    pub(super) async fn ask_with(
        self: &Arc<Self>,
        stage: Stage,
        request: Request,
        probe: Option<Probe>,
        deadline: Instant,
    ) -> Result<Reply, KmsError> {
        let keeper = Arc::clone(self);
        let call = async move { keeper.exchange(stage, request, probe, deadline).await };
        let call = tokio::spawn(call);
        match timeout_at(deadline, call).await {
            Ok(Ok(outcome)) => outcome.map_err(KmsError::from),
            // It panicked, or the runtime ends.
            Ok(Err(_lost)) => Err(Diagnosis::new(stage, Fault::Stopped).into()),
            Err(_late) => Err(KmsError::TimedOut(None)),
        }
    }

    /// The token, from a child that is logged in.
    pub(super) async fn token(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Token>, KmsError> {
        let keeper = Arc::clone(self);
        let open = tokio::spawn(async move { keeper.ready().await });
        match timeout_at(deadline, open).await {
            Ok(Ok(ready)) => ready.map(|ready| ready.token).map_err(KmsError::from),
            Ok(Err(_lost)) => Err(Diagnosis::new(Stage::Library, Fault::Stopped).into()),
            Err(_late) => Err(KmsError::TimedOut(None)),
        }
    }

    async fn exchange(
        &self,
        stage: Stage,
        request: Request,
        probe: Option<Probe>,
        deadline: Instant,
    ) -> Result<Reply, Diagnosis> {
        let _session = timeout_at(deadline, self.sessions.acquire())
            .await
            .map_err(|_late| Diagnosis::new(stage, Fault::NoSession))?;
        let ready = self.ready().await?;
        let is_of_previous = self.is_of_previous(&request);
        match timeout(self.settings.call_time, ready.child.ask(&request)).await {
            Ok(Ok(Reply::Failed(failure))) => {
                let failure = match probe {
                    Some(probe) => self.judge(&ready, failure, &probe).await,
                    None => failure,
                };
                Err(self.failed(&ready, failure, is_of_previous).await)
            }
            Ok(Ok(reply)) => {
                self.note_success(&reply);
                Ok(reply)
            }
            Ok(Err(gone)) => {
                let diagnosis = Diagnosis::of_gone(stage, gone);
                self.retire(&ready, diagnosis.clone()).await;
                Err(diagnosis)
            }
            Err(_hangs) => {
                let diagnosis = Diagnosis::new(stage, Fault::Hung);
                self.retire(&ready, diagnosis.clone()).await;
                Err(diagnosis)
            }
        }
    }

    /// A ciphertext that is said to be wrong is so where the same child opens the probe. Whatever
    /// the result was: one that is probed for, and one that is not, would tell by their time.
    async fn judge(&self, ready: &Ready, failure: Failure, probe: &Probe) -> Failure {
        if failure.class != Class::Rejected {
            return failure;
        }
        let Some(request) = probe.request() else { return failure };
        match timeout(self.settings.call_time, ready.child.ask(&request)).await {
            Ok(Ok(Reply::Dek(dek))) if probe.is(&dek) => failure,
            // It cannot tell now, and serves others meanwhile.
            Ok(Ok(Reply::Failed(busy))) if busy.class == Class::Busy => busy,
            _ => Failure { class: Class::Lost, ..failure },
        }
    }

    /// Whether a previous key is looked for: one that the token fails at says nothing of the library.
    fn is_of_previous(&self, request: &Request) -> bool {
        let Request::Inspect(Selector { id: Some(id), .. }) = request else { return false };
        self.settings.previous_key_ids.contains(id)
    }

    /// What a failure comes to, beside what the caller is told.
    async fn failed(&self, ready: &Ready, failure: Failure, is_of_previous: bool) -> Diagnosis {
        let class = failure.class;
        let diagnosis = Diagnosis::from(failure);
        let unexplained = match class {
            Class::Failed if !is_of_previous => {
                self.unexplained.fetch_add(1, Ordering::Relaxed).saturating_add(1)
            }
            _ => 0,
        };
        match class {
            _ if is_final(diagnosis.fault) => self.refused.tell(&diagnosis),
            // Some libraries find a token again only when they are loaded anew.
            Class::Lost | Class::Odd | Class::NoSlot => {
                self.retire(ready, diagnosis.clone()).await;
            }
            Class::Failed if unexplained >= UNEXPLAINED_FAILURES => {
                self.unexplained.store(0, Ordering::Relaxed);
                self.retire(ready, diagnosis.clone()).await;
            }
            _ => {}
        }
        diagnosis
    }

    fn note_success(&self, reply: &Reply) {
        self.unexplained.store(0, Ordering::Relaxed);
        // Where somebody else has the state, the next success will do.
        if matches!(reply, Reply::Wrapped(_) | Reply::Dek(_))
            && let Ok(mut state) = self.state.try_lock()
        {
            state.failures = 0;
        }
    }

    /// Ends the child, unless another one has taken its place.
    async fn retire(&self, ready: &Ready, why: Diagnosis) {
        ready.child.stop();
        let mut state = self.state.lock().await;
        let is_same = |one: &Ready| Arc::ptr_eq(&one.child, &ready.child);
        if state.ready.as_ref().is_some_and(is_same) {
            tracing::warn!(
                program = %self.launcher.program().display(),
                library = %self.settings.library.display(),
                reason = %why,
                "the process of the PKCS#11 library is ended, and started again when it is needed"
            );
            state.ready = None;
            state.failed(why);
        }
    }

    /// The child that runs, else a new one, if it is time for that.
    async fn ready(&self) -> Result<Ready, Diagnosis> {
        let mut state = self.state.lock().await;
        // After the lock: the one before may have been refused.
        if let Some(refused) = self.refused.told() {
            state.ready = None;
            return Err(refused);
        }
        if let Some(ready) = &state.ready {
            match ready.child.gone() {
                None => return Ok(ready.clone()),
                Some(gone) => {
                    let diagnosis = Diagnosis::of_gone(Stage::Library, gone);
                    state.ready = None;
                    state.failed(diagnosis);
                }
            }
        }
        if state.rest_until.is_some_and(|end| Instant::now() < end) {
            let resting = Diagnosis::new(Stage::Library, Fault::Resting);
            return Err(state.last.clone().unwrap_or(resting));
        }
        match self.open().await {
            Ok(ready) => {
                state.ready = Some(ready.clone());
                Ok(ready)
            }
            Err(diagnosis) => {
                if is_final(diagnosis.fault) {
                    self.refused.tell(&diagnosis);
                }
                state.failed(diagnosis.clone());
                Err(diagnosis)
            }
        }
    }

    /// Launches a child and lets it open the token.
    async fn open(&self) -> Result<Ready, Diagnosis> {
        let launched = self.launcher.launch().await.map_err(|error| match error {
            LaunchError::NobodyLaunches => Diagnosis::new(Stage::Library, Fault::NobodyLaunches),
            LaunchError::Failed(error) => Diagnosis {
                said: Some(format!("{}: {error}", self.launcher.program().display())),
                ..Diagnosis::new(Stage::Library, Fault::NoProgram)
            },
        });
        let (process, socket) = launched?;
        let child = Arc::new(Running::new(process, socket));
        let library = self.settings.library.to_string_lossy().into_owned();
        let request = Request::Open(Open {
            library,
            slot: self.settings.slot.clone(),
            pin: WipedVec::new(self.settings.pin.expose().to_vec()),
            sessions: self.settings.max_sessions.get(),
        });
        match timeout(OPEN_TIME, child.ask(&request)).await {
            Ok(Ok(Reply::Opened(token))) => Ok(Ready { child, token: Arc::new(token) }),
            Ok(Ok(Reply::Failed(failure))) => Err(failure.into()),
            Ok(Ok(_)) => Err(Diagnosis::new(Stage::Library, Fault::Nonsense)),
            Ok(Err(gone)) => Err(Diagnosis::of_gone(Stage::Library, gone)),
            Err(_hangs) => Err(Diagnosis::new(Stage::Library, Fault::Hung)),
        }
    }
}

impl State {
    fn failed(&mut self, why: Diagnosis) {
        self.failures = self.failures.saturating_add(1);
        self.rest_until = rest(self.failures).map(|rest| Instant::now() + rest);
        self.last = Some(why);
    }
}

/// How long to rest after so many failures in a row.
fn rest(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(2)?.min(16);
    Some(FIRST_REST.saturating_mul(1 << doublings).min(LAST_REST))
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("launcher", &self.launcher).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::settings;
    use super::*;

    #[test]
    fn the_first_failure_costs_no_rest_and_each_further_one_doubles_it() {
        let millis = |failures| rest(failures).map(|rest| rest.as_millis());
        assert_eq!([0, 1].map(millis), [None, None]);
        assert_eq!([2, 3, 4].map(millis), [Some(100), Some(200), Some(400)]);
        assert_eq!([9, 50, u32::MAX].map(millis), [Some(10_000); 3]);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let mut settings = settings();
        settings.program = "/nowhere/selkie-pkcs11".into();
        let keeper = Arc::new(Supervisor::new(settings));
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = keeper.token(deadline).await.unwrap_err();
        let diagnosis = Diagnosis::of(&error).unwrap();
        assert_eq!((diagnosis.stage, diagnosis.fault), (Stage::Library, Fault::NoProgram));
        assert!(diagnosis.to_string().contains("/nowhere/selkie-pkcs11"), "{diagnosis}");
        assert!(error.is_transient());
    }

    #[tokio::test]
    async fn a_refused_pin_is_not_sent_again_whatever_else_changes() {
        let of = |pin: &str| Pkcs11Settings {
            program: "/nowhere/selkie-pkcs11".into(),
            pin: zeroize::Zeroizing::new(pin.to_owned()).into(),
            ..settings()
        };
        let fault = async |settings| {
            let keeper = Arc::new(Supervisor::new(settings));
            let error = keeper.token(Instant::now() + Duration::from_secs(10)).await.unwrap_err();
            Diagnosis::of(&error).unwrap().fault
        };
        let refused = Fault::Token(Class::PinRefused);
        Supervisor::new(of("a wrong one")).refused.tell(&Diagnosis::new(Stage::Login, refused));
        let (call_time, environment) = (Duration::from_secs(7), vec![("A".into(), "b".into())]);
        let reloaded = Pkcs11Settings { call_time, environment, ..of("a wrong one") };
        assert_eq!(fault(reloaded).await, refused);
        retry_locked_pins();
        assert_eq!(fault(of("a wrong one")).await, refused, "no reload makes it right");
        let remedy = Diagnosis::new(Stage::Login, refused).remedy();
        assert!(remedy.contains("that of the token and restart"), "{remedy}");
        assert_eq!(fault(of("another")).await, Fault::NoProgram);
        let elsewhere = Pkcs11Settings { library: "/other.so".into(), ..of("a wrong one") };
        assert_eq!(fault(elsewhere).await, Fault::NoProgram);
    }

    #[tokio::test]
    async fn a_program_that_says_nothing_and_ends_is_taken_for_a_crash() {
        let mut settings = settings();
        settings.program = "/bin/true".into();
        let keeper = Arc::new(Supervisor::new(settings));
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = keeper.token(deadline).await.unwrap_err();
        let fault = Diagnosis::of(&error).unwrap().fault;
        assert_eq!(fault, Fault::Crashed { signal: None, code: Some(0) });
    }

    #[tokio::test]
    async fn a_program_that_talks_back_is_taken_for_nonsense() {
        // Writes the request itself to where replies are read.
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("echo");
        std::fs::write(&program, "#!/bin/sh\nexec /bin/cat <&0 >&0\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).unwrap();
        let keeper = Arc::new(Supervisor::new(Pkcs11Settings { program, ..settings() }));
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = keeper.token(deadline).await.unwrap_err();
        assert_eq!(Diagnosis::of(&error).unwrap().fault, Fault::Nonsense);
    }
}
