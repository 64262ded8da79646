//! What the tests stand on: randomness by seed, and KMSs that do what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Weak};
use std::time::Duration;

use selkie_crypto::Kek;

use super::super::*;
use crate::{Fault, Faulty, StaticKms};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// SplitMix64: good enough to be fair, and the same every time.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low)
    }

    pub(super) const fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

pub(super) fn random(seed: u64) -> Arc<Random> {
    let dice = Mutex::new(Dice::new(seed));
    Arc::new(move |bytes: &mut [u8]| {
        let mut dice = dice.lock().unwrap();
        bytes.fill_with(|| dice.roll().to_le_bytes()[0]);
        Ok(())
    })
}

pub(super) fn kek() -> KekId {
    KekId::new("1").unwrap()
}

pub(super) fn static_kms() -> Arc<dyn Kms> {
    let kek = |id: &str, byte: u8| {
        (KekId::new(id).unwrap(), Kek::init_with(|bytes| bytes.fill(byte)).unwrap())
    };
    Arc::new(StaticKms::new(vec![kek("1", 1), kek("2", 2)], &KekId::new("1").unwrap()).unwrap())
}

pub(super) fn dek(byte: u8) -> RecipientSecret {
    RecipientSecret::init_with(|bytes| bytes.fill(byte))
}

/// A governor around a faulty static KMS.
pub(super) struct World {
    pub(super) kms: Arc<Faulty>,
    pub(super) governor: Arc<Governor>,
    start: Instant,
}

pub(super) type Unwrapped = Result<Arc<RecipientSecret>, KmsError>;

impl World {
    pub(super) fn new(change: impl FnOnce(&mut GovernorSettings)) -> Self {
        let mut settings = GovernorSettings::default();
        change(&mut settings);
        let kms = Arc::new(Faulty::new(static_kms()));
        let governor =
            Arc::new(Governor::new(Arc::clone(&kms) as Arc<dyn Kms>, settings, random(1)));
        Self { kms, governor, start: Instant::now() }
    }

    pub(super) fn of_one_call() -> Self {
        Self::new(|settings| settings.concurrency = NonZeroUsize::MIN)
    }

    /// Every unwrap takes so long and succeeds.
    pub(super) fn slow(&self, delay: Duration) {
        self.kms.on_unwrap().always(Fault::delay(delay));
    }

    pub(super) fn fail(&self, error: KmsError) {
        self.kms.on_unwrap().always(Fault::fail(error));
    }

    pub(super) fn calls(&self) -> u64 {
        self.kms.calls()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) async fn wrapped(byte: u8) -> Vec<u8> {
        let call = Call { client: ClientTag::SELKIE, deadline: Instant::now() + SECOND };
        static_kms().wrap_dek(&kek(), &dek(byte), call).await.unwrap()
    }

    /// An unwrap of the DEK of `byte`, in a task of its own.
    pub(super) fn unwrap(&self, client: u64, byte: u8, patience: Duration) -> Task<Unwrapped> {
        let governor = Arc::clone(&self.governor);
        Task(tokio::spawn(async move { unwrap(&*governor, client, byte, patience).await }))
    }

    /// The same for several DEKs of one client.
    pub(super) fn unwraps(&self, client: u64, bytes: std::ops::Range<u8>) -> Vec<Task<Unwrapped>> {
        bytes.map(|byte| self.unwrap(client, byte, 15 * SECOND)).collect()
    }
}

pub(super) async fn unwrap(kms: &dyn Kms, client: u64, byte: u8, patience: Duration) -> Unwrapped {
    let wrapped = World::wrapped(byte).await;
    let call = Call { client: ClientTag::new(client), deadline: Instant::now() + patience };
    kms.unwrap_dek(&kek(), WrapAlgorithm::A256Kw, &wrapped, call).await
}

/// A task that ends with its handle.
pub(super) struct Task<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Task<T> {
    pub(super) async fn end(mut self) -> T {
        (&mut self.0).await.unwrap()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets everything run that can run now.
pub(super) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// A KMS whose unwraps an async function makes.
pub(super) struct Scripted<F>(pub(super) F);

impl<F> fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl<F, R> Kms for Scripted<F>
where
    F: Fn(Vec<u8>, Call) -> R + Send + Sync,
    R: Future<Output = Result<(), KmsError>> + Send + 'static,
{
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async { Err(KmsError::UnknownKek(None)) })
    }

    fn wrap_dek<'a>(
        &'a self,
        _: &'a KekId,
        _: &'a RecipientSecret,
        _: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async { Err(KmsError::UnknownKek(None)) })
    }

    fn unwrap_dek<'a>(
        &'a self,
        _: &'a KekId,
        _: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        let answer = (self.0)(wrapped.to_vec(), call);
        Box::pin(async move { answer.await.map(|()| Arc::new(dek(1))) })
    }
}

/// Counts those alive.
#[derive(Clone, Default)]
pub(super) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(super) fn enter(&self) -> impl Send + use<> {
        struct One(Weak<AtomicUsize>);
        impl Drop for One {
            fn drop(&mut self) {
                if let Some(count) = self.0.upgrade() {
                    count.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        One(Arc::downgrade(&self.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) use std::future::Future;
pub(super) use std::num::NonZeroUsize;

/// The governor's own reason, if it is the governor that answers so.
pub(super) fn own_cause(error: &KmsError) -> Option<GovernorCause> {
    std::error::Error::source(error)?
        .downcast_ref::<Cause>()
        .and_then(|cause| cause.downcast_ref())
        .or_else(|| std::error::Error::source(error)?.downcast_ref())
        .copied()
}
