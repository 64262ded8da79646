//! Master keys in a simulated cloud, and the way of one replica to each of them.

use std::array::from_fn;
use std::future::pending;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use selkie_crypto::{Kek, KekId, RecipientSecret, WrapAlgorithm};
use selkie_kms::{Call, KekDescription, KekState, KekVersion, Kms, KmsError, KmsFuture, Wrapping};
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::history::MOST_KEKS;
use crate::life::Life;
use crate::rsa::RsaPair;
use crate::world::SEALS;

/// How a KMS does, as one replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Every call takes up to 4 s.
    Slow,
    Away,
    Hanging,
    Throttled,
    Denied,
    /// It unwraps to something else.
    Lying,
}

/// What a master key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Symmetric: it wraps in its KMS alone.
    Remote,
    /// RSA: servers wrap under its public key (invariant I2).
    Local,
    /// RSA, as with `wrap = "remote"`: for a control.
    LocalUntold,
}

/// As many as all seals have versions, made once: each lies in a page of its own.
static SYMMETRIC: LazyLock<[Kek; 8]> = LazyLock::new(|| {
    from_fn(|number| Kek::init_with(|bytes| bytes.fill(u8::try_from(number).unwrap())).unwrap())
});

/// One master key, with all its versions.
#[derive(Debug)]
pub(crate) struct Cloud {
    name: &'static str,
    kind: Kind,
    /// The number of its first version among [`SYMMETRIC`], or of [`RsaPair::of`].
    first: usize,
    versions: Mutex<Vec<Version>>,
}

#[derive(Clone, Debug)]
struct Version {
    id: KekId,
    kek: KekOf,
    is_enabled: bool,
    /// It was destroyed, which it does not say.
    is_gone: bool,
}

#[derive(Clone)]
enum KekOf {
    Symmetric(&'static Kek),
    Rsa(&'static RsaPair),
}

impl std::fmt::Debug for KekOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KekOf").finish_non_exhaustive()
    }
}

impl Cloud {
    pub(crate) fn new(name: &'static str, kind: Kind) -> Arc<Self> {
        let first = if name == SEALS[0] { 0 } else { MOST_KEKS };
        let cloud = Arc::new(Self { name, kind, first, versions: Mutex::default() });
        cloud.rotate();
        cloud
    }

    pub(crate) fn rotate(&self) -> usize {
        let mut versions = self.versions.lock().unwrap();
        let number = versions.len() + 1;
        let id = KekId::new(&format!("{}-{number}", self.name)).unwrap();
        let kek = self.first + number - 1;
        let kek = match self.kind {
            Kind::Remote => KekOf::Symmetric(&SYMMETRIC[kek]),
            Kind::Local | Kind::LocalUntold => KekOf::Rsa(RsaPair::of(kek)),
        };
        versions.push(Version { id, kek, is_enabled: true, is_gone: false });
        number
    }

    pub(crate) fn is_local(&self) -> bool {
        self.kind != Kind::Remote
    }

    pub(crate) fn count(&self) -> usize {
        self.versions.lock().unwrap().len()
    }

    pub(crate) fn enable(&self, number: usize, is: bool) {
        self.versions.lock().unwrap()[number - 1].is_enabled = is;
    }

    /// Destroys all versions, and goes on to list them as enabled.
    pub(crate) fn destroy(&self) {
        self.versions.lock().unwrap().iter_mut().for_each(|version| version.is_gone = true);
    }

    pub(crate) fn enable_all(&self) {
        self.versions.lock().unwrap().iter_mut().for_each(|version| version.is_enabled = true);
    }

    pub(crate) fn is_enabled(&self, kid: &str) -> bool {
        let versions = self.versions.lock().unwrap();
        versions.iter().any(|version| version.id.as_str() == kid && version.is_enabled)
    }

    pub(crate) fn is_current_enabled(&self) -> bool {
        self.versions.lock().unwrap().last().is_some_and(|version| version.is_enabled)
    }

    pub(crate) fn opens_all(&self) -> bool {
        let versions = self.versions.lock().unwrap();
        versions.iter().all(|version| version.is_enabled && !version.is_gone)
    }

    fn find(&self, kek: &KekId) -> Result<Version, KmsError> {
        let versions = self.versions.lock().unwrap();
        let found = versions.iter().find(|version| version.id == *kek).cloned();
        let found = found.ok_or(KmsError::UnknownKek(None))?;
        match found {
            Version { is_gone: true, .. } => Err(KmsError::UnknownKek(None)),
            Version { is_enabled: false, .. } => Err(KmsError::Disabled(None)),
            found => Ok(found),
        }
    }

    fn wrapping(&self, version: &Version) -> Wrapping {
        match &version.kek {
            KekOf::Symmetric(_) => Wrapping::Remote(WrapAlgorithm::A256Kw),
            KekOf::Rsa(pair) if self.kind == Kind::Local => {
                Wrapping::Local(Arc::clone(&pair.public).into())
            }
            KekOf::Rsa(_) => Wrapping::Remote(WrapAlgorithm::RsaOaep256),
        }
    }

    fn describe(&self) -> KekDescription {
        let versions = self.versions.lock().unwrap();
        let listed = versions.iter().map(|version| KekVersion {
            id: version.id.clone(),
            wrapping: self.wrapping(version),
            state: if version.is_enabled { KekState::Enabled } else { KekState::Disabled },
            created: None,
            expires: None,
        });
        KekDescription::new(listed.collect(), &versions.last().unwrap().id).unwrap()
    }
}

/// The way of one replica to one master key; shared by all its lives.
#[derive(Debug)]
pub(crate) struct Road {
    pub(crate) cloud: Arc<Cloud>,
    mood: Mutex<Mood>,
    chance: Chance,
    pub(crate) counts: Mutex<Counts>,
}

/// What happened on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) slow: u64,
    pub(crate) away: u64,
    pub(crate) hung: u64,
    pub(crate) throttled: u64,
    pub(crate) denied: u64,
    pub(crate) lies: u64,
    pub(crate) disabled: u64,
}

impl Road {
    pub(crate) fn new(cloud: &Arc<Cloud>, chance: Chance) -> Arc<Self> {
        let (mood, counts) = (Mutex::new(Mood::Well), Mutex::default());
        Arc::new(Self { cloud: Arc::clone(cloud), mood, chance, counts })
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.counts.lock().unwrap());
    }
}

/// What a server is given for its KMS.
#[derive(Debug)]
pub(crate) struct SimKms {
    road: Arc<Road>,
    life: Life,
}

impl SimKms {
    pub(crate) fn new(road: &Arc<Road>, life: &Life) -> Arc<Self> {
        Arc::new(Self { road: Arc::clone(road), life: life.clone() })
    }

    /// The way there and back, with what happens on it.
    async fn pass(&self) -> Result<(), KmsError> {
        let road = &self.road;
        road.count(|counts| counts.calls += 1);
        let takes = Duration::from_millis(1 + road.chance.below(40));
        self.life.way(Instant::now() + takes).await;
        match road.mood() {
            Mood::Well | Mood::Lying => Ok(()),
            Mood::Slow => {
                road.count(|counts| counts.slow += 1);
                sleep(Duration::from_millis(road.chance.below(4000))).await;
                Ok(())
            }
            Mood::Hanging => {
                road.count(|counts| counts.hung += 1);
                pending().await
            }
            Mood::Away => {
                road.count(|counts| counts.away += 1);
                Err(KmsError::Unavailable(None))
            }
            Mood::Throttled => {
                road.count(|counts| counts.throttled += 1);
                let retry_after = road.chance.is(50).then(|| Duration::from_secs(2));
                Err(KmsError::Throttled { retry_after, cause: None })
            }
            Mood::Denied => {
                road.count(|counts| counts.denied += 1);
                Err(KmsError::Denied(None))
            }
        }
    }

    fn version(&self, kek: &KekId) -> Result<Version, KmsError> {
        let found = self.road.cloud.find(kek);
        if matches!(found, Err(KmsError::Disabled(_))) {
            self.road.count(|counts| counts.disabled += 1);
        }
        found
    }
}

impl Kms for SimKms {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async {
            self.pass().await?;
            Ok(self.road.cloud.describe())
        })
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        _: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async move {
            self.pass().await?;
            match self.version(kek)?.kek {
                KekOf::Symmetric(kek) => Ok(kek.wrap_dek(dek).to_vec()),
                KekOf::Rsa(pair) => {
                    pair.public.wrap_dek(dek).map_err(|_failed| KmsError::Rejected(None))
                }
            }
        })
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        _: WrapAlgorithm,
        wrapped: &'a [u8],
        _: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(async move {
            self.pass().await?;
            let dek = match self.version(kek)?.kek {
                KekOf::Symmetric(kek) => kek.unwrap_dek(wrapped).ok(),
                KekOf::Rsa(pair) => pair.unwrap_dek(wrapped),
            };
            let dek = dek.ok_or(KmsError::Rejected(None))?;
            if self.road.mood() == Mood::Lying {
                self.road.count(|counts| counts.lies += 1);
                return Ok(Arc::new(RecipientSecret::init_with(|bytes| bytes.fill(0x55))));
            }
            Ok(Arc::new(dek))
        })
    }
}
