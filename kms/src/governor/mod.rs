//! A KMS used civilly: [`Governor`] stands around any other provider.
//!
//! Each operation waits for its turn ([`queue`]) before a [`valve`] that lets as many calls through
//! as the KMS bears ([`gate`] is the two of them), is tried again as [`patience`] says, and is
//! shared by all that want the same ([`flights`], [`party`]).

mod admission;
mod cause;
mod figures;
mod flights;
mod gate;
mod jitter;
mod party;
mod patience;
mod queue;
mod settings;
mod valve;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::{KekId, Random, RecipientSecret, WrapAlgorithm};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use admission::{Admission, Admitted};
pub use cause::GovernorCause;
use figures::CallerCounts;
pub use figures::{CallOutcomes, GovernorFigures};
use flights::{Flights, Overdue, Passenger};
use gate::Gate;
pub use gate::LONG_CALL;
pub use jitter::Backoff;
use jitter::Jitter;
use party::Party;
use patience::{Next, Patience};
use queue::Place;
pub use settings::GovernorSettings;
use valve::Pace;

use crate::{Call, Cause, ClientTag, KekDescription, Kms, KmsError, KmsFuture};

/// A provider around another one that makes the use of it civil, within each caller's deadline:
///
/// - So many calls run at once and no more. When the KMS throttles, none does until it may, as far
///   as [`GovernorSettings::longest_retry_after`]; then a single one, and with its success more.
/// - A KMS that fails or is away gets, whatever the number of callers, the calls that were running
///   when it went, two more, and one for each time of [`GovernorSettings::probe`], which is at
///   least half of what it says: with the defaults 20 in a second at the very first, and not more
///   than two once they have grown. A call counts as failed when it had half a second.
/// - Clients take turns; a caller that leaves costs nothing.
/// - What may pass is tried again. When no further try fits, the last failure is the answer, with
///   its cause.
/// - Equal unwraps are made once. Their callers share the secret, which nobody else keeps.
///
/// It needs a tokio runtime with time; one task of it runs while operations wait for the KMS.
pub struct Governor {
    core: Arc<Core>,
    admission: Arc<Admission>,
    describes: Arc<Flights<(), KekDescription>>,
    unwraps: Arc<Flights<Arc<Unwrap>, Arc<RecipientSecret>>>,
    counts: CallerCounts,
}

/// What an unwrap is about. Nothing in it is secret: the DEK in it is wrapped.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unwrap {
    kek: KekId,
    algorithm: WrapAlgorithm,
    wrapped: Box<[u8]>,
}

impl Governor {
    /// `inner`, used within `settings`; `random` is for times alone.
    pub fn new(inner: Arc<dyn Kms>, settings: GovernorSettings, random: Arc<Random>) -> Self {
        let jitter = Jitter(random);
        let pace = Pace {
            concurrency: settings.concurrency,
            longest_retry_after: settings.longest_retry_after,
            probe: settings.probe,
        };
        let gate = Arc::new(Gate::new(pace, jitter.clone()));
        Self {
            admission: Arc::new(Admission::new(settings.callers, settings.callers_per_client)),
            describes: Arc::new(Flights::new(Arc::clone(&gate))),
            unwraps: Arc::new(Flights::new(Arc::clone(&gate))),
            counts: CallerCounts::default(),
            core: Arc::new(Core {
                inner,
                gate,
                jitter,
                denied_retries: Arc::new(Semaphore::new(
                    settings.denied_retries.min(Semaphore::MAX_PERMITS),
                )),
                settings,
            }),
        }
    }

    /// What it is doing and has done.
    pub fn figures(&self) -> GovernorFigures {
        self.core.gate.look(|valve, waiting, calls_total| GovernorFigures {
            in_flight: valve.in_flight(),
            waiting,
            callers: self.admission.callers(),
            limit: valve.limit(),
            is_closed: !valve.is_open(),
            calls_total,
            shared_flights_total: self.counts.shared_flights.total(),
            refused_total: self.counts.refused.total(),
            overdue_total: self.counts.overdue.total(),
        })
    }

    fn admit(&self, client: ClientTag) -> Result<Admitted, KmsError> {
        self.admission.admit(client).map_err(|full| {
            self.counts.refused.add();
            KmsError::Throttled { retry_after: None, cause: cause(full) }
        })
    }

    async fn arrive<K, T>(&self, passenger: Passenger<K, T>) -> Result<T, KmsError>
    where
        K: Clone + Eq + std::hash::Hash + Send + 'static,
        T: Clone + Send + Sync + 'static,
    {
        if !passenger.is_first() {
            self.counts.shared_flights.add();
        }
        passenger.arrive().await.unwrap_or_else(|Overdue(seen)| Err(self.overdue(seen)))
    }

    fn overdue(&self, seen: Option<KmsError>) -> KmsError {
        self.counts.overdue.add();
        seen.unwrap_or_else(no_turn)
    }
}

impl Kms for Governor {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async move {
            let _admitted = self.admit(ClientTag::SELKIE)?;
            let longest = self.core.settings.describe_time;
            let deadline = Instant::now() + longest;
            let call = self.core.in_time(Call { client: ClientTag::SELKIE, deadline });
            let core = Arc::clone(&self.core);
            let passenger = self.describes.board((), call, |party| {
                Box::pin(
                    async move { core.pursue(&party, longest, |_| core.inner.describe()).await },
                )
            });
            self.arrive(passenger).await
        })
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        call: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let _admitted = self.admit(call.client)?;
            let party = Party::new(&self.core.gate);
            let call = self.core.in_time(call);
            party.join(call);
            let longest = self.core.settings.call_time;
            let ask = |call| self.core.inner.wrap_dek(kek, dek, call);
            let tries = self.core.pursue(&party, longest, ask);
            let outcome = timeout_at(call.deadline, tries).await;
            outcome.unwrap_or_else(|_elapsed| Err(self.overdue(party.last_failure())))
        })
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(async move {
            let _admitted = self.admit(call.client)?;
            let call = self.core.in_time(call);
            let key = Arc::new(Unwrap { kek: kek.clone(), algorithm, wrapped: wrapped.into() });
            let core = Arc::clone(&self.core);
            let of = Arc::clone(&key);
            let passenger = self.unwraps.board(key, call, |party| {
                Box::pin(async move {
                    let Unwrap { kek, algorithm, wrapped } = &*of;
                    let ask = |call| core.inner.unwrap_dek(kek, *algorithm, wrapped, call);
                    core.pursue(&party, core.settings.call_time, ask).await
                })
            });
            self.arrive(passenger).await
        })
    }
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governor")
            .field("inner", &self.core.inner)
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

/// What the tries of an operation need; operations that outlive their first caller share it.
struct Core {
    inner: Arc<dyn Kms>,
    settings: GovernorSettings,
    gate: Arc<Gate>,
    jitter: Jitter,
    denied_retries: Arc<Semaphore>,
}

impl Core {
    /// The same call with a deadline that leaves time to hand the answer on.
    fn in_time(&self, call: Call) -> Call {
        let left = call.deadline.saturating_duration_since(Instant::now());
        let margin = self.settings.margin.min(left / 10);
        Call { deadline: call.deadline - margin, ..call }
    }

    /// Asks until there is an answer, or none that `party` could still use; each time for `longest`
    /// at most.
    async fn pursue<'a, T>(
        &'a self,
        party: &Party,
        longest: Duration,
        ask: impl Fn(Call) -> KmsFuture<'a, T>,
    ) -> Result<T, KmsError> {
        let mut patience = Patience::new(
            self.settings.backoff,
            self.jitter.clone(),
            Arc::clone(&self.denied_retries),
        );
        let mut place = Place::Back;
        loop {
            let error = match self.ask_once(party, place, longest, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::Final(error)) => return Err(error),
                Err(NoAnswer::Failed(error)) => error,
            };
            let next = patience.next(&error);
            party.saw(error.clone());
            place = match next {
                Next::Answer => return Err(error),
                Next::AtGate => Place::Front,
                Next::After(wait) => {
                    if Instant::now() + wait + self.settings.least_call_time > party.deadline() {
                        return Err(error);
                    }
                    sleep(wait).await;
                    Place::Back
                }
            };
        }
    }

    async fn ask_once<'a, T>(
        &'a self,
        party: &Party,
        place: Place,
        longest: Duration,
        ask: &impl Fn(Call) -> KmsFuture<'a, T>,
    ) -> Result<T, NoAnswer> {
        let turn = party.enqueue(place, self.settings.least_call_time);
        let permit = match turn {
            Ok(turn) => turn.come().await,
            Err(gate::Late) => None,
        };
        let Some(mut permit) = permit else {
            return Err(NoAnswer::Final(party.last_failure().unwrap_or_else(no_turn)));
        };
        let (now, last) = (Instant::now(), party.deadline());
        if last < now + self.settings.least_call_time {
            // The KMS would count a call whose answer nobody takes.
            return Err(NoAnswer::Final(party.last_failure().unwrap_or_else(no_turn)));
        }
        let deadline = last.min(now + longest);
        permit.begin(deadline);
        let answer = ask(Call { client: permit.client(), deadline });
        // The provider has the last word when the time is over: its own error says more.
        let outcome = timeout_at(deadline, answer)
            .await
            .unwrap_or_else(|_elapsed| Err(KmsError::TimedOut(cause(GovernorCause::NoAnswer))));
        permit.settle(outcome.as_ref().err());
        outcome.map_err(NoAnswer::Failed)
    }
}

/// Why a try brought no answer.
enum NoAnswer {
    /// It could not be made in time.
    Final(KmsError),
    /// It failed.
    Failed(KmsError),
}

fn no_turn() -> KmsError {
    KmsError::TimedOut(cause(GovernorCause::NoTurn))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that every KmsError has it in")]
fn cause(why: GovernorCause) -> Option<Cause> {
    Some(Arc::new(why))
}

#[cfg(test)]
mod tests;
