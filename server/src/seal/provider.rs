//! From a seal's stanza to the connection to its master key: the one place that knows the types.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use selkie_config::{
    AzureKeyVaultSeal, BreakGlassSeal, Config, Pkcs11Seal, PublicKeyFingerprint, SealKind,
    StaticSeal, TransitSeal,
};
use selkie_crypto::{PinKey, Random, SealName, os_random, sha256};
use selkie_kms::azure::{AzureKeyVault, AzureSetupError, WallClock};
use selkie_kms::pkcs11::Pkcs11Kms;
use selkie_kms::transit::{
    InvalidKeyIdPrefix, TransitClient, TransitKeyName, TransitKms, TransitMountPath,
    TransitSetupError,
};
use selkie_kms::{
    Governor, GovernorSettings, InvalidDescription, Kms, KmsError, OfflineKms, StaticKms,
    StaticKmsError,
};

use super::connection::{Connection, Setup};
use super::known::Known;
use super::pin::PinFile;
use super::{azure, pkcs11, transit};
use crate::clock::{Clock, SystemClock};
use crate::faults::{Bench, scripted};

/// Where what is learned is kept.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// `data_dir`; without it nothing is kept.
    pub data_dir: Option<PathBuf>,
    /// `local_key`, which signs the pin files.
    pub local_key: Option<Arc<PinKey>>,
}

impl Keeping {
    /// As configured; the local key leaves `config`.
    #[must_use]
    pub fn take(config: &mut Config) -> Self {
        Self::new(config.data_dir.clone(), config.local_key.take())
    }

    /// In `data_dir`, under `local_key`.
    #[must_use]
    pub fn new(data_dir: Option<PathBuf>, local_key: Option<PinKey>) -> Self {
        Self { data_dir, local_key: local_key.map(Arc::new) }
    }

    /// The pin file of the seal `name`, whose master key is `target`.
    #[must_use]
    pub fn pin(&self, name: &SealName, target: &str) -> Option<PinFile> {
        let data_dir = self.data_dir.as_ref()?;
        Some(PinFile::new(data_dir, name, target, self.local_key.clone()))
    }
}

/// Why a stanza makes no seal: the configuration is wrong, not the KMS away.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The keys of a static seal do not make one master key.
    #[error(transparent)]
    Static(#[from] StaticKmsError),
    /// A public key makes no master key: a bug.
    #[error(transparent)]
    Offline(#[from] InvalidDescription),
    /// The provider does not say what its key is, although it holds it.
    #[error(transparent)]
    Describe(#[from] KmsError),
    /// The settings of a seal in Azure are unfit.
    #[error(transparent)]
    Azure(#[from] AzureSetupError),
    /// The settings of a seal at another server are unfit.
    #[error(transparent)]
    Transit(#[from] TransitSetupError),
    /// The ids of its key's versions cannot begin so.
    #[error(transparent)]
    KeyIdPrefix(#[from] InvalidKeyIdPrefix),
    /// Its mount or key has a name that no transit engine has.
    #[error("no transit engine has a mount or a key of such a name")]
    UnfitName,
}

/// The connection that a stanza describes. No network is touched: what is far away is described
/// once the server runs. With a `bench`, the faults of its script lie before the master key.
///
/// # Errors
///
/// [`ProviderError`].
pub async fn connect(
    name: &SealName,
    kind: SealKind,
    keeping: &Keeping,
    bench: Option<&Arc<Bench>>,
) -> Result<Connection, ProviderError> {
    let label = kind.label();
    match kind {
        SealKind::Static(seal) => {
            let kms: Arc<dyn Kms> = Arc::new(static_kms(seal)?);
            let known = Known::configured(kms.describe().await?);
            Ok(Connection::fixed(configured(name, label, scripted(kms, name, bench)), known))
        }
        SealKind::BreakGlass(BreakGlassSeal { public_key, kek, private_key }) => {
            let kms = OfflineKms::new(kek, public_key)?;
            let known = Known::configured(kms.describe().await?);
            let (kms, connection): (_, fn(Setup, Known) -> Connection) = match private_key {
                None => (kms, Connection::offline),
                Some(key) => (kms.unlocked(*key), Connection::fixed),
            };
            Ok(connection(configured(name, label, Arc::new(kms)), known))
        }
        SealKind::AzureKeyVault(seal) => key_vault(name, label, *seal, keeping, bench),
        SealKind::Pkcs11(seal) => Ok(hsm(name, label, *seal, keeping, bench)),
        SealKind::Transit(seal) => upstream(name, label, *seal, keeping, bench),
    }
}

/// A master key that the configuration holds, or of which it holds all that there is to know.
fn configured(name: &SealName, label: &'static str, kms: Arc<dyn Kms>) -> Setup {
    Setup {
        name: name.clone(),
        kind: label,
        kms,
        governor: None,
        target: String::new(),
        former_targets: Vec::new(),
        settings: [0; 32],
        fingerprints: Vec::new(),
        poll_interval: Duration::MAX,
        pin: None,
        examiner: None,
        upstream: None,
    }
}

fn key_vault(
    name: &SealName,
    label: &'static str,
    seal: AzureKeyVaultSeal,
    keeping: &Keeping,
    bench: Option<&Arc<Bench>>,
) -> Result<Connection, ProviderError> {
    let Target { name: target, fingerprints } = Target::in_key_vault(&seal);
    let former = seal.former_vaults.iter().map(|vault| key_in(vault, &seal.key_name));
    let former_targets = former.collect();
    let poll_interval = seal.poll_interval;
    let settings = azure::settings(seal);
    let digest = settings.digest();
    let provider = Arc::new(AzureKeyVault::new(settings, wall_clock())?);
    let random: Arc<Random> = Arc::new(os_random);
    let limits = GovernorSettings::default();
    let governor = Arc::new(Governor::new(scripted(provider.clone(), name, bench), limits, random));
    Ok(Connection::new(Setup {
        name: name.clone(),
        kind: label,
        kms: governor.clone(),
        governor: Some(governor),
        pin: keeping.pin(name, &target),
        target,
        former_targets,
        settings: digest,
        fingerprints,
        poll_interval,
        examiner: Some(provider),
        upstream: None,
    }))
}

fn upstream(
    name: &SealName,
    label: &'static str,
    seal: TransitSeal,
    keeping: &Keeping,
    bench: Option<&Arc<Bench>>,
) -> Result<Connection, ProviderError> {
    let poll_interval = seal.poll_interval;
    let Target { name: target, fingerprints } = Target::upstream(&seal)?;
    let prefix = seal.key_id_prefix.clone();
    let mount = TransitMountPath::new(&seal.mount_path).ok_or(ProviderError::UnfitName)?;
    let key = TransitKeyName::new(&seal.key_name).ok_or(ProviderError::UnfitName)?;
    let settings = transit::settings(seal, mount);
    let digest = sha256(&[&settings.digest()[..], prefix.as_bytes()].concat());
    let random: Arc<Random> = Arc::new(os_random);
    let client = TransitClient::new(settings, Arc::clone(&random))?;
    let provider = TransitKms::new(Arc::clone(&client), key, Some(&prefix))?;
    let provider = Arc::new(provider);
    let limits = GovernorSettings::default();
    let governor = Arc::new(Governor::new(scripted(provider.clone(), name, bench), limits, random));
    Ok(Connection::new(Setup {
        name: name.clone(),
        kind: label,
        kms: governor.clone(),
        governor: Some(governor),
        pin: keeping.pin(name, &target),
        target,
        former_targets: Vec::new(),
        settings: digest,
        fingerprints,
        poll_interval,
        examiner: Some(provider),
        upstream: Some(client),
    }))
}

fn hsm(
    name: &SealName,
    label: &'static str,
    seal: Pkcs11Seal,
    keeping: &Keeping,
    bench: Option<&Arc<Bench>>,
) -> Connection {
    let fingerprints = declared(&seal.public_keys);
    let poll_interval = seal.poll_interval;
    let settings = pkcs11::settings(seal);
    let (target, digest) = (settings.target(), settings.digest());
    let limits = GovernorSettings {
        // As many as there are sessions: what waits does so in turns.
        concurrency: settings.max_sessions.into(),
        call_time: settings.call_time,
        ..GovernorSettings::default()
    };
    let random: Arc<Random> = Arc::new(os_random);
    let provider = Arc::new(Pkcs11Kms::new(settings, Arc::clone(&random)));
    let governor = Arc::new(Governor::new(scripted(provider.clone(), name, bench), limits, random));
    Connection::new(Setup {
        name: name.clone(),
        kind: label,
        kms: governor.clone(),
        governor: Some(governor),
        pin: keeping.pin(name, &target),
        target,
        former_targets: Vec::new(),
        settings: digest,
        fingerprints,
        poll_interval,
        examiner: Some(provider),
        upstream: None,
    })
}

/// Which master key a pin file must be about, and what vouches for it beside a MAC.
#[derive(Debug)]
pub struct Target {
    /// As in [`Setup::target`].
    pub(crate) name: String,
    /// As in [`Setup::fingerprints`].
    pub(crate) fingerprints: Vec<[u8; 32]>,
}

impl Target {
    /// The master key of a seal that a KMS holds, without a connection to it; `None` where there is
    /// no pin file, or such a key cannot be.
    #[must_use]
    pub fn of(kind: SealKind) -> Option<Self> {
        match kind {
            SealKind::Static(_) | SealKind::BreakGlass(_) => None,
            SealKind::AzureKeyVault(seal) => Some(Self::in_key_vault(&seal)),
            SealKind::Transit(seal) => Self::upstream(&seal).ok(),
            SealKind::Pkcs11(seal) => {
                let fingerprints = declared(&seal.public_keys);
                Some(Self { name: pkcs11::settings(*seal).target(), fingerprints })
            }
        }
    }

    fn in_key_vault(seal: &AzureKeyVaultSeal) -> Self {
        let name = key_in(&seal.endpoint, &seal.key_name);
        Self { name, fingerprints: declared(&seal.public_keys) }
    }

    fn upstream(seal: &TransitSeal) -> Result<Self, ProviderError> {
        let mount = TransitMountPath::new(&seal.mount_path).ok_or(ProviderError::UnfitName)?;
        let key = TransitKeyName::new(&seal.key_name).ok_or(ProviderError::UnfitName)?;
        // What was learned at another server, or under other ids, does not hold for this one.
        let name = format!("{}{mount}/keys/{key} as {}", seal.address, seal.key_id_prefix);
        Ok(Self { name, fingerprints: Vec::new() })
    }
}

/// `https://HOST/keys/NAME`.
fn key_in(vault: &impl fmt::Display, name: &str) -> String {
    format!("{vault}keys/{name}")
}

fn declared(public_keys: &[PublicKeyFingerprint]) -> Vec<[u8; 32]> {
    public_keys.iter().map(PublicKeyFingerprint::as_bytes).copied().collect()
}

/// For what expires.
fn wall_clock() -> WallClock {
    Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(SystemClock.unix_seconds()))
}

fn static_kms(seal: StaticSeal) -> Result<StaticKms, StaticKmsError> {
    let current = seal.current.id.clone();
    let oldest_first = seal.previous.into_iter().chain([seal.current]);
    StaticKms::new(oldest_first.map(|key| (key.id, key.key)).collect(), &current)
}
