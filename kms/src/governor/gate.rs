//! Where operations wait until they may call the KMS.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::figures::CallOutcomes;
use super::jitter::Jitter;
use super::queue::{Place, Queue, Ticket};
use super::valve::{Pace, Pass, Valve, Verdict};
use crate::azure::Diagnosis;
use crate::{ClientTag, KmsError, pkcs11};

/// A call that had this long and brought no answer speaks against the KMS; one that had less
/// speaks of the hurry of its callers.
pub const LONG_CALL: Duration = Duration::from_millis(500);

/// The queue before the valve, and the last failure beyond it.
#[derive(Debug)]
pub(super) struct Gate {
    jitter: Jitter,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    valve: Valve,
    queue: Queue<oneshot::Sender<Permit>>,
    next_ticket: Ticket,
    /// What the KMS failed with since it last succeeded.
    last_failure: Option<KmsError>,
    /// When it last did not fail.
    last_success: Option<Instant>,
    calls: CallOutcomes,
    is_watched: bool,
}

/// No call can begin before the deadline.
#[derive(Debug)]
pub(super) struct Late;

type Grant = (oneshot::Sender<Permit>, Permit);

impl Gate {
    pub(super) fn new(pace: Pace, jitter: Jitter) -> Self {
        let state = State {
            valve: Valve::new(pace),
            queue: Queue::new(),
            next_ticket: 0,
            last_failure: None,
            last_success: None,
            calls: CallOutcomes::default(),
            is_watched: false,
        };
        Self { jitter, state: Mutex::new(state) }
    }

    pub(super) fn ticket(&self) -> Ticket {
        let mut state = self.state();
        state.next_ticket += 1;
        state.next_ticket
    }

    /// Has `ticket` wait for a call that can begin before `latest`, on behalf of `clients`.
    ///
    /// # Errors
    /// [`Late`] if it is known already that none can.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        ticket: Ticket,
        clients: impl Iterator<Item = ClientTag>,
        place: Place,
        latest: Instant,
    ) -> Result<Turn, Late> {
        let (sender, permit) = oneshot::channel();
        let mut state = self.state();
        let now = Instant::now();
        state.valve.lapse(now);
        if state.valve.closed_until().unwrap_or(now) > latest {
            return Err(Late);
        }
        state.queue.insert(ticket, sender, clients, place);
        self.proceed(state);
        Ok(Turn { permit, _waiting: WaitingTicket { gate: Arc::clone(self), ticket } })
    }

    /// `client` waits for `ticket` too.
    pub(super) fn list(&self, ticket: Ticket, client: ClientTag) {
        self.state().queue.list(ticket, client, Place::Back);
    }

    /// `client` no longer waits for `ticket`.
    pub(super) fn unlist(&self, ticket: Ticket, client: ClientTag) {
        self.state().queue.unlist(ticket, client);
    }

    pub(super) fn last_failure(&self) -> Option<KmsError> {
        self.state().last_failure.clone()
    }

    /// The valve, how many operations wait, and the calls so far, for the figures.
    pub(super) fn look<T>(&self, read: impl FnOnce(&Valve, usize, CallOutcomes) -> T) -> T {
        let mut state = self.state();
        state.valve.lapse(Instant::now());
        read(&state.valve, state.queue.len(), state.calls)
    }

    /// Lets through who may go, and sees to it that the valve opens again.
    fn proceed(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let grants = self.grants(&mut state);
        let watch = state.valve.closed_until().is_some()
            && !state.queue.is_empty()
            && !std::mem::replace(&mut state.is_watched, true);
        drop(state);
        if watch {
            self.watch();
        }
        for (sender, permit) in grants {
            // A permit that nobody takes any more comes back by being dropped.
            drop(sender.send(permit));
        }
    }

    fn grants(self: &Arc<Self>, state: &mut State) -> Vec<Grant> {
        let mut grants = Vec::new();
        while !state.queue.is_empty() {
            let Some(pass) = state.valve.admit() else { break };
            let Some((client, sender)) = state.queue.pop() else {
                state.valve.settle(&pass, Verdict::Unused, Instant::now(), &self.jitter);
                break;
            };
            grants.push((sender, Permit::new(Arc::clone(self), pass, client)));
        }
        grants
    }

    /// One task, while operations wait before a closed valve, opens it when its time is over.
    fn watch(self: &Arc<Self>) {
        let watch = Watch(Arc::downgrade(self));
        // Without a runtime, at the end of a program, nobody waits who comes by it: the next that
        // enqueues has one.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(watch.keep()));
        }
    }

    /// Opens the valve if its time has come, else says when to look again.
    fn watched_until(self: &Arc<Self>) -> Option<Instant> {
        let mut state = self.state();
        state.valve.lapse(Instant::now());
        let until = state.valve.closed_until();
        if until.is_none() {
            state.is_watched = false;
            self.proceed(state);
        }
        until
    }

    fn settle(self: &Arc<Self>, pass: &Pass, end: End<'_>) {
        let mut state = self.state();
        let now = Instant::now();
        let verdict = end.verdict(state.last_success.map(|at| now.duration_since(at)));
        state.valve.settle(pass, verdict, now, &self.jitter);
        if let Verdict::Healthy = verdict {
            state.last_success = Some(now);
        }
        match end {
            End::Answered { error, .. } => state.calls.count(error),
            End::Left { .. } => state.calls.abandoned += 1,
            End::Unused => {}
        }
        match (end, verdict) {
            (
                End::Answered { error: Some(error), .. },
                Verdict::Throttled(_) | Verdict::Failing,
            ) => {
                state.last_failure = Some(error.clone());
            }
            (_, Verdict::Healthy) if state.valve.is_open() => state.last_failure = None,
            _ => {}
        }
        self.proceed(state);
    }

    fn remove(&self, ticket: Ticket) {
        drop(self.state().queue.remove(ticket));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that watches a closed valve; if it ends with its runtime, another may begin.
struct Watch(Weak<Gate>);

impl Watch {
    async fn keep(mut self) {
        while let Some(until) = self.0.upgrade().and_then(|gate| gate.watched_until()) {
            sleep_until(until).await;
        }
        // Another may have begun since.
        self.release();
    }

    fn release(&mut self) {
        self.0 = Weak::new();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(gate) = self.0.upgrade() {
            gate.state().is_watched = false;
        }
    }
}

/// A place in the queue, until the permit comes or nobody waits for it any longer.
#[derive(Debug)]
pub(super) struct Turn {
    permit: oneshot::Receiver<Permit>,
    _waiting: WaitingTicket,
}

impl Turn {
    /// The permit. There is always one: the gate keeps its end for as long as this one waits.
    pub(super) async fn come(self) -> Option<Permit> {
        self.permit.await.ok()
    }
}

#[derive(Debug)]
struct WaitingTicket {
    gate: Arc<Gate>,
    ticket: Ticket,
}

impl Drop for WaitingTicket {
    fn drop(&mut self) {
        self.gate.remove(self.ticket);
    }
}

/// How a permit ends.
#[derive(Clone, Copy, Debug)]
enum End<'a> {
    Answered { error: Option<&'a KmsError>, allowed: Duration },
    Left { after: Duration },
    Unused,
}

impl End<'_> {
    /// What it says of the KMS, which last succeeded `success` ago.
    fn verdict(&self, success: Option<Duration>) -> Verdict {
        match self {
            Self::Answered { error, allowed } => match error {
                Some(KmsError::Throttled { retry_after, .. }) => Verdict::Throttled(*retry_after),
                Some(KmsError::TimedOut(_)) if *allowed < LONG_CALL => Verdict::Abandoned,
                Some(error @ KmsError::Misbehaved(_)) if is_of_a_bad_request(error) => {
                    Verdict::Healthy
                }
                Some(error @ KmsError::Misbehaved(_)) if is_of_one_key(error) => Verdict::Unused,
                Some(
                    KmsError::Unavailable(_) | KmsError::TimedOut(_) | KmsError::Misbehaved(_),
                ) => Verdict::Failing,
                _ => Verdict::Healthy,
            },
            // One that answers others meanwhile is slow, or its callers are in a hurry.
            Self::Left { after }
                if *after >= LONG_CALL && success.is_none_or(|ago| ago > *after) =>
            {
                Verdict::Failing
            }
            Self::Left { .. } => Verdict::Abandoned,
            Self::Unused => Verdict::Unused,
        }
    }
}

/// Whether the KMS found fault with what it was sent. The client is told no more than that the
/// answer made no sense; but it is no failure of the KMS, or a few forged ciphertexts would close
/// the valve for everyone.
fn is_of_a_bad_request(error: &KmsError) -> bool {
    Diagnosis::of(error).is_some_and(Diagnosis::is_of_a_bad_request)
}

/// Whether the HSM was not asked, as nothing opens what a previous version wrapped that it did not
/// give when it was last looked for. A client that names that one must not close the valve for all.
fn is_of_one_key(error: &KmsError) -> bool {
    pkcs11::Diagnosis::of(error).is_some_and(|diagnosis| diagnosis.is_of_previous)
}

/// The right to make one call, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    pass: Option<Pass>,
    client: ClientTag,
    began: Option<Began>,
}

#[derive(Clone, Copy, Debug)]
struct Began {
    at: Instant,
    deadline: Instant,
}

impl Permit {
    const fn new(gate: Arc<Gate>, pass: Pass, client: ClientTag) -> Self {
        Self { gate, pass: Some(pass), client, began: None }
    }

    /// Whose turn it is.
    pub(super) const fn client(&self) -> ClientTag {
        self.client
    }

    /// The call begins, and has until `deadline`.
    pub(super) fn begin(&mut self, deadline: Instant) {
        self.began = Some(Began { at: Instant::now(), deadline });
    }

    /// The call has ended, with `error` if it failed.
    pub(super) fn settle(mut self, error: Option<&KmsError>) {
        if let Some(pass) = self.pass.take() {
            let allowed = self.began.map(|began| began.deadline - began.at).unwrap_or_default();
            self.gate.settle(&pass, End::Answered { error, allowed });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            let end =
                self.began.map_or(End::Unused, |began| End::Left { after: began.at.elapsed() });
            self.gate.settle(&pass, end);
        }
    }
}
