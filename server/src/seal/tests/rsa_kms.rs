//! A KMS of RSA keys whose versions, states and rights a test changes as it goes.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use selkie_crypto::{KekId, RecipientSecret, RsaPublicKey, WrapAlgorithm};
use selkie_kms::{Call, KekDescription, KekState, KekVersion, Kms, KmsError, KmsFuture, Wrapping};

/// Key generation is slow, and the tests run in one process.
static KEYS: LazyLock<Vec<RsaKey>> = LazyLock::new(|| (0..4).map(|_| RsaKey::generate()).collect());

struct RsaKey {
    public: Arc<RsaPublicKey>,
    private: OaepPrivateDecryptingKey,
}

impl RsaKey {
    fn generate() -> Self {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
        let public = Arc::new(RsaPublicKey::from_spki_der(der.as_ref()).unwrap());
        Self { public, private: OaepPrivateDecryptingKey::new(private).unwrap() }
    }
}

/// One version: its number is in its id, `key` says which key pair it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) key: usize,
    pub(crate) state: KekState,
    /// In seconds since 1970.
    pub(crate) expires: Option<u64>,
    pub(crate) created: Option<u64>,
}

impl Version {
    pub(crate) fn enabled(number: u32) -> Self {
        let (key, state) = (number as usize - 1, KekState::Enabled);
        Self { number, key, state, expires: None, created: None }
    }
}

/// Of which versions the KMS tells the public key; it wraps for the others itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    All,
    /// As Key Vault does: of the current one, while it is enabled.
    TheCurrentOne,
    /// As Key Vault with `wrap = "remote"`.
    None,
}

/// The KMS; the last version listed is current.
#[derive(Debug)]
pub(crate) struct RsaKms {
    listed: Mutex<(Vec<Version>, bool)>,
    tells: Mutex<Tells>,
    /// The oldest that unwraps.
    oldest: AtomicU32,
    /// How the unwraps of single versions fail; `None` for those that never answer.
    troubles: Mutex<BTreeMap<u32, Option<KmsError>>>,
}

pub(crate) fn id(number: u32) -> KekId {
    KekId::new(&format!("https://kms/keys/k/{number}")).unwrap()
}

pub(crate) fn spki(key: usize) -> Vec<u8> {
    KEYS[key].public.spki_der().to_vec()
}

pub(crate) fn fingerprint(key: usize) -> [u8; 32] {
    selkie_crypto::sha256(KEYS[key].public.spki_der())
}

impl RsaKms {
    pub(crate) fn new() -> Arc<Self> {
        let listed = Mutex::new((vec![Version::enabled(1)], true));
        let (tells, troubles) = (Mutex::new(Tells::All), Mutex::default());
        Arc::new(Self { listed, tells, oldest: AtomicU32::new(1), troubles })
    }

    pub(crate) fn refuses(&self, number: u32, error: KmsError) {
        self.troubles.lock().unwrap().insert(number, Some(error));
    }

    pub(crate) fn never_unwraps(&self, number: u32) {
        self.troubles.lock().unwrap().insert(number, None);
    }

    pub(crate) fn unwraps_all(&self) {
        self.troubles.lock().unwrap().clear();
    }

    pub(crate) fn tells(&self, tells: Tells) {
        *self.tells.lock().unwrap() = tells;
    }

    fn wrapping(&self, version: &Version, current: u32) -> Wrapping {
        let is_told = match *self.tells.lock().unwrap() {
            Tells::All => true,
            Tells::TheCurrentOne => version.number == current && version.state == KekState::Enabled,
            Tells::None => false,
        };
        if is_told {
            Wrapping::Local(Arc::clone(&KEYS[version.key].public).into())
        } else {
            Wrapping::Remote(WrapAlgorithm::RsaOaep256)
        }
    }

    /// Whatever it says of their state, it unwraps nothing of the versions before `oldest`.
    pub(crate) fn opens_from(&self, oldest: u32) {
        self.oldest.store(oldest, Ordering::Relaxed);
    }

    pub(crate) fn lists(&self, versions: &[Version]) {
        self.listed.lock().unwrap().0 = versions.to_vec();
    }

    pub(crate) fn may_list(&self, may: bool) {
        self.listed.lock().unwrap().1 = may;
    }

    fn version(&self, kek: &KekId) -> Option<Version> {
        let listed = self.listed.lock().unwrap();
        listed.0.iter().find(|version| id(version.number) == *kek).copied()
    }
}

impl Kms for RsaKms {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async {
            let (versions, is_complete) = self.listed.lock().unwrap().clone();
            let current = versions.last().ok_or(KmsError::UnknownKek(None))?.number;
            let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let describe = |version: &Version| KekVersion {
                id: id(version.number),
                wrapping: self.wrapping(version, current),
                state: version.state,
                created: version.created.map(at),
                expires: version.expires.map(at),
            };
            let listed = if is_complete { &versions[..] } else { &versions[versions.len() - 1..] };
            let keks = KekDescription::new(listed.iter().map(describe).collect(), &id(current));
            Ok(if is_complete { keks.unwrap() } else { keks.unwrap().incomplete() })
        })
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        _: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let version = self.version(kek).ok_or(KmsError::UnknownKek(None))?;
            Ok(KEYS[version.key].public.wrap_dek(dek).unwrap())
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
            let cause = || Some(Arc::new(std::io::Error::other("404")) as selkie_kms::Cause);
            let version = self.version(kek).ok_or_else(|| KmsError::UnknownKek(cause()))?;
            if version.number < self.oldest.load(Ordering::Relaxed) {
                return Err(KmsError::Disabled(None));
            }
            let trouble = self.troubles.lock().unwrap().get(&version.number).cloned();
            match trouble {
                Some(Some(error)) => return Err(error),
                Some(None) => pending().await,
                None => {}
            }
            let private = &KEYS[version.key].private;
            let mut output = vec![0; private.min_output_size()];
            let dek = private.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut output, None);
            let dek = dek.map_err(|_unspecified| KmsError::Rejected(None))?;
            let dek: &[u8; 32] = (&*dek).try_into().unwrap();
            Ok(Arc::new(RecipientSecret::init_with(|bytes| bytes.copy_from_slice(dek))))
        })
    }
}
