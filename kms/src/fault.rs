//! A KMS that misbehaves as scripted, to see what the rest of the world makes of it.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm};

use crate::description::KekDescription;
use crate::error::KmsError;
use crate::{Call, Kms, KmsFuture};

/// A provider around another one, with a [`FaultScript`] for each operation; without faults it is
/// the other one. It counts calls. Delays are tokio's time, which tests can pause.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Kms>,
    describe: FaultScript<KekDescription>,
    wrap: FaultScript<Vec<u8>>,
    unwrap: FaultScript<Arc<RecipientSecret>>,
}

impl Faulty {
    /// `inner`, without faults so far.
    pub fn new(inner: Arc<dyn Kms>) -> Self {
        Self {
            inner,
            describe: FaultScript::default(),
            wrap: FaultScript::default(),
            unwrap: FaultScript::default(),
        }
    }

    /// What happens to [`Kms::describe`].
    pub const fn on_describe(&self) -> &FaultScript<KekDescription> {
        &self.describe
    }

    /// What happens to [`Kms::wrap_dek`].
    pub const fn on_wrap(&self) -> &FaultScript<Vec<u8>> {
        &self.wrap
    }

    /// What happens to [`Kms::unwrap_dek`].
    pub const fn on_unwrap(&self) -> &FaultScript<Arc<RecipientSecret>> {
        &self.unwrap
    }

    /// How many calls there were, of all operations together.
    pub fn calls(&self) -> u64 {
        self.describe.calls() + self.wrap.calls() + self.unwrap.calls()
    }
}

impl Kms for Faulty {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(self.describe.apply(self.inner.describe()))
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        call: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(self.wrap.apply(self.inner.wrap_dek(kek, dek, call)))
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(self.unwrap.apply(self.inner.unwrap_dek(kek, algorithm, wrapped, call)))
    }
}

/// What happens to the calls of one operation, in the order in which they are first polled.
pub struct FaultScript<T> {
    state: Mutex<ScriptState<T>>,
}

struct ScriptState<T> {
    next: VecDeque<Fault<T>>,
    always: Option<Fault<T>>,
    decide: Option<Decide<T>>,
    calls: u64,
}

/// What befalls the call that begins now.
type Decide<T> = Arc<dyn Fn() -> Option<Fault<T>> + Send + Sync>;

impl<T> FaultScript<T> {
    /// `fault` befalls the next `calls` calls, after those that already have one coming.
    pub fn next(&self, calls: usize, fault: Fault<T>) {
        self.state().next.extend(std::iter::repeat_n(fault, calls));
    }

    /// `fault` befalls every call that no [`FaultScript::next`] speaks of, until it is replaced.
    pub fn always(&self, fault: Fault<T>) {
        self.state().always = Some(fault);
    }

    /// `decide` is asked about every call that neither [`FaultScript::next`] nor
    /// [`FaultScript::always`] speaks of.
    pub fn decide(&self, decide: impl Fn() -> Option<Fault<T>> + Send + Sync + 'static) {
        self.state().decide = Some(Arc::new(decide));
    }

    /// No more faults. Calls that have begun keep theirs.
    pub fn clear(&self) {
        let mut state = self.state();
        state.next.clear();
        state.always = None;
        state.decide = None;
    }

    /// How many calls have begun, with or without a fault.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    async fn apply(&self, call: KmsFuture<'_, T>) -> Result<T, KmsError> {
        let Some(fault) = self.begin() else {
            return call.await;
        };
        if !fault.delay.is_zero() {
            tokio::time::sleep(fault.delay).await;
        }
        match fault.outcome {
            Outcome::Answer => call.await,
            Outcome::Fail(error) => Err(error),
            Outcome::Hang => pending().await,
            Outcome::Alter(alter) => call.await.map(|answer| alter(answer)),
        }
    }

    fn begin(&self) -> Option<Fault<T>> {
        let mut state = self.state();
        state.calls += 1;
        let scripted = state.next.pop_front().or_else(|| state.always.clone());
        let decide = state.decide.clone();
        // It may do what it likes: not under our lock.
        drop(state);
        scripted.or_else(|| decide.and_then(|decide| decide()))
    }

    fn state(&self) -> MutexGuard<'_, ScriptState<T>> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for FaultScript<T> {
    fn default() -> Self {
        let state = ScriptState { next: VecDeque::new(), always: None, decide: None, calls: 0 };
        Self { state: Mutex::new(state) }
    }
}

impl<T> fmt::Debug for FaultScript<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultScript").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

/// What goes wrong with one call that would answer a `T`.
pub struct Fault<T> {
    delay: Duration,
    outcome: Outcome<T>,
}

enum Outcome<T> {
    Answer,
    Fail(KmsError),
    Hang,
    Alter(Arc<dyn Fn(T) -> T + Send + Sync>),
}

impl<T> Fault<T> {
    /// The call takes `delay` longer.
    pub const fn delay(delay: Duration) -> Self {
        Self { delay, outcome: Outcome::Answer }
    }

    /// The call fails, and the provider behind is not asked.
    pub const fn fail(error: KmsError) -> Self {
        Self::of(Outcome::Fail(error))
    }

    /// The call never answers, and the provider behind is not asked.
    pub const fn hang() -> Self {
        Self::of(Outcome::Hang)
    }

    /// The call answers what `alter` makes of the true answer.
    pub fn alter(alter: impl Fn(T) -> T + Send + Sync + 'static) -> Self {
        Self::of(Outcome::Alter(Arc::new(alter)))
    }

    /// The same, but first the call waits for `delay`.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    const fn of(outcome: Outcome<T>) -> Self {
        Self { delay: Duration::ZERO, outcome }
    }
}

impl Fault<Arc<RecipientSecret>> {
    /// The DEK unwraps to another one.
    pub fn other_secret() -> Self {
        Self::alter(|secret| {
            Arc::new(RecipientSecret::init_with(|bytes| {
                for (byte, true_byte) in bytes.iter_mut().zip(secret.expose_for_wrap()) {
                    *byte = !true_byte;
                }
            }))
        })
    }
}

impl Fault<Vec<u8>> {
    /// The wrapped DEK arrives with its last bit changed.
    pub fn damaged() -> Self {
        Self::alter(|mut wrapped| {
            if let Some(last) = wrapped.last_mut() {
                *last ^= 1;
            }
            wrapped
        })
    }
}

impl Fault<KekDescription> {
    /// Another key is described in place of the true one: `replacement`, whatever was asked.
    pub fn other_kek(replacement: KekDescription) -> Self {
        Self::alter(move |_| replacement.clone())
    }
}

impl<T> Clone for Fault<T> {
    fn clone(&self) -> Self {
        let outcome = match &self.outcome {
            Outcome::Answer => Outcome::Answer,
            Outcome::Fail(error) => Outcome::Fail(error.clone()),
            Outcome::Hang => Outcome::Hang,
            Outcome::Alter(alter) => Outcome::Alter(Arc::clone(alter)),
        };
        Self { delay: self.delay, outcome }
    }
}

impl<T> fmt::Debug for Fault<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match &self.outcome {
            Outcome::Answer => "answer",
            Outcome::Fail(_) => "fail",
            Outcome::Hang => "hang",
            Outcome::Alter(_) => "alter",
        };
        write!(f, "Fault({outcome} after {:?})", self.delay)
    }
}

#[cfg(test)]
mod tests;
