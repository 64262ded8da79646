//! [`Pkcs11Kms`]: keys of a token as a [`Kms`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_crypto::{KekId, Random, RecipientSecret, WrapAlgorithm};
use selkie_memory::WipedVec;
use selkie_pkcs11_protocol::{
    Class, KeyFacts, Mechanism, NONCE_BYTES, Reply, Request, Selector, Stage,
};
use tokio::time::Instant;

use super::Pkcs11Settings;
use super::diagnosis::{Diagnosis, Fault};
use super::keys::{self, Key, Keys};
use super::supervisor::Supervisor;
use crate::{Call, KekDescription, Kms, KmsError, KmsFuture, Wrapping};

/// How long a description may take, the start of the library included.
const DESCRIBE_TIME: Duration = Duration::from_secs(40);
/// How long after a look an unwrap looks again for a previous version that was not found well.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The provider of the `pkcs11` seal: keys of one token, through one child process.
///
/// It starts nothing before it is first asked, and needs a tokio runtime with I/O and time. It tries
/// nothing twice; the child opens a session again that was lost. A PIN that was refused is never
/// sent again by the same value. Every failure but that of being late has a [`Diagnosis`] as its
/// cause.
///
/// The id of a version is a PKCS#11 URI, `pkcs11:serial=SERIAL;object=LABEL;id=ID`; where it unwraps
/// the serial number does not count, and any algorithm of AES serves an AES key.
pub struct Pkcs11Kms {
    pub(super) supervisor: Arc<Supervisor>,
    random: Arc<Random>,
    found: Mutex<Found>,
}

/// What the last look has found, and when it began.
#[derive(Default)]
struct Found {
    keys: Option<Arc<Keys>>,
    looked: Option<Instant>,
}

impl Pkcs11Kms {
    /// A provider of these keys; `random` is for nonces.
    #[must_use]
    pub fn new(settings: Pkcs11Settings, random: Arc<Random>) -> Self {
        let supervisor = Arc::new(Supervisor::new(settings));
        Self { supervisor, random, found: Mutex::default() }
    }

    /// Looks for the keys, each by itself: only the current one has to be there and to suit.
    pub(super) async fn find(&self, deadline: Instant) -> Result<Arc<Keys>, KmsError> {
        let settings = &self.supervisor.settings;
        self.found().looked = Some(Instant::now());
        let token = self.supervisor.token(deadline).await?;
        let (before, selector) = keys::selectors(settings);
        let found = self.inspect(selector.clone(), deadline).await?;
        let current = keys::only(found, &selector)?;
        let was = self.found().keys.clone();
        let mut previous = Vec::new();
        for selector in before {
            let found = self.inspect(selector.clone(), deadline).await;
            previous.push(keys::previous(found, &selector, was.as_deref())?);
        }
        let keys = Arc::new(Keys::new(previous, current, &token, settings.mechanism)?);
        let mut found = self.found();
        tell_news(found.keys.as_deref(), &keys);
        found.keys = Some(Arc::clone(&keys));
        drop(found);
        Ok(keys)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn inspect(
        &self,
        selector: Selector,
        deadline: Instant,
    ) -> Result<Vec<KeyFacts>, KmsError> {
        let request = Request::Inspect(selector);
        match self.supervisor.ask(Stage::Key, request, deadline).await? {
            Reply::Keys(keys) => Ok(keys),
            _ => Err(Diagnosis::new(Stage::Key, Fault::Nonsense).into()),
        }
    }

    /// What was found, or is now.
    async fn keys(&self, deadline: Instant) -> Result<Arc<Keys>, KmsError> {
        let found = self.found().keys.clone();
        match found {
            Some(keys) => Ok(keys),
            None => self.find(deadline).await,
        }
    }

    /// The same for whoever needs the version `kek`: where it is a previous one that the last look did
    /// not find well, another one is taken, since what comes of it is final for a client.
    async fn keys_for(&self, kek: &KekId, deadline: Instant) -> Result<Arc<Keys>, KmsError> {
        let keys = self.keys(deadline).await?;
        let is_due = || {
            let mut found = self.found();
            let is = found.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
            if is {
                found.looked = Some(Instant::now());
            }
            is
        };
        if keys.lacks(kek) && is_due() { self.find(deadline).await } else { Ok(keys) }
    }

    async fn wrap(
        &self,
        kek: &KekId,
        dek: &RecipientSecret,
        deadline: Instant,
    ) -> Result<Vec<u8>, KmsError> {
        check_ours(kek, Stage::Wrap)?;
        let keys = self.keys(deadline).await?;
        let key = known(&keys, kek, Stage::Wrap)?;
        key.usable()?;
        let nonsense = || Diagnosis::new(Stage::Wrap, Fault::Nonsense);
        match &key.wrapping {
            Wrapping::Local(public) => Ok(public.wrap_dek(dek).or(Err(nonsense()))?),
            Wrapping::Remote(algorithm) => {
                let mechanism = keys::mechanism(*algorithm).ok_or_else(nonsense)?;
                let request = self.wrap_request(key, mechanism, dek)?;
                let reply = self.supervisor.ask(Stage::Wrap, request, deadline).await?;
                let Reply::Wrapped(wrapped) = reply else { return Err(nonsense().into()) };
                let fits = key.unwraps(*algorithm, wrapped.len()).is_some();
                if fits { Ok(wrapped) } else { Err(nonsense().into()) }
            }
        }
    }

    fn wrap_request(
        &self,
        key: &Key,
        mechanism: Mechanism,
        dek: &RecipientSecret,
    ) -> Result<Request, KmsError> {
        let mut nonce = [0; NONCE_BYTES];
        (self.random)(&mut nonce).map_err(|none| KmsError::Unavailable(Some(Arc::new(none))))?;
        let dek = WipedVec::new(dek.expose_for_wrap().to_vec());
        Ok(Request::Wrap { key: key.name.clone(), mechanism, nonce, dek })
    }

    async fn unwrap(
        &self,
        kek: &KekId,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
        deadline: Instant,
    ) -> Result<Arc<RecipientSecret>, KmsError> {
        check_ours(kek, Stage::Unwrap)?;
        let keys = self.keys_for(kek, deadline).await?;
        let key = known(&keys, kek, Stage::Unwrap)?;
        key.usable()?;
        // Garbage of a length that no wrapped DEK has never reaches the token.
        let mechanism = key
            .unwraps(algorithm, wrapped.len())
            .ok_or_else(|| Diagnosis::new(Stage::Unwrap, Fault::Token(Class::Rejected)))?;
        let (probe, witness) = (keys.probe(key), keys.witness(key, mechanism));
        let (key, wrapped) = (key.name.clone(), wrapped.to_vec());
        let request = Request::Unwrap { key, mechanism, wrapped, witness };
        let nonsense = || Diagnosis::new(Stage::Unwrap, Fault::Nonsense);
        match self.supervisor.ask_with(Stage::Unwrap, request, probe, deadline).await? {
            Reply::Dek(dek) => {
                let dek: &[u8; 32] = (*dek).try_into().or(Err(nonsense()))?;
                Ok(Arc::new(RecipientSecret::init_with(|bytes| bytes.copy_from_slice(dek))))
            }
            _ => Err(nonsense().into()),
        }
    }
}

/// Once for each previous version that opens nothing or was missed, and again when that changes.
fn tell_news(before: Option<&Keys>, now: &Keys) {
    let was_missed =
        |one: &&Diagnosis| before.is_some_and(|keys| keys.missed().any(|was| was == *one));
    for missed in now.missed().filter(|one| !was_missed(one)) {
        tracing::warn!(
            key = %now.current().id,
            reason = %missed,
            advice = "nothing, unless it lasts: what was found before is used",
            "a previous version of the master key is not found now"
        );
    }
    let is_known =
        |one: &&Diagnosis| before.is_some_and(|keys| keys.troubles().any(|was| was == *one));
    for trouble in now.troubles().filter(|one| !is_known(one)) {
        tracing::warn!(
            key = %now.current().id,
            reason = %trouble,
            advice = trouble.remedy(),
            "a previous version of the master key opens nothing"
        );
    }
}

/// An id of no token's costs no call.
fn check_ours(kek: &KekId, stage: Stage) -> Result<(), Diagnosis> {
    keys::without_serial(kek).map(drop).ok_or_else(|| no_such_key(stage))
}

fn known<'k>(keys: &'k Keys, kek: &KekId, stage: Stage) -> Result<&'k Key, Diagnosis> {
    let missing = || keys.unsure().unwrap_or_else(|| no_such_key(stage));
    keys.named(kek).ok_or_else(missing)
}

fn no_such_key(stage: Stage) -> Diagnosis {
    Diagnosis::new(stage, Fault::Token(Class::NoKey))
}

impl Kms for Pkcs11Kms {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async move {
            let keys = self.find(Instant::now() + DESCRIBE_TIME).await?;
            Ok(keys.description()?)
        })
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        call: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(self.wrap(kek, dek, call.deadline))
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(self.unwrap(kek, algorithm, wrapped, call.deadline))
    }
}

impl fmt::Debug for Pkcs11Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Kms").field("supervisor", &self.supervisor).finish_non_exhaustive()
    }
}
