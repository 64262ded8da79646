//! Everything that one reading of the configuration file says, ready for requests. A reload makes
//! a new one and swaps it in, whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use selkie_access::{KeyName, MountPath};
use selkie_config::{Config, DeclaredKey, Mount, SealKind, StaticSeal, VersionRule};
use selkie_crypto::{KeyVersion, OriginKey, SealName};
use selkie_kms::{Kms, KmsError, StaticKms, StaticKmsError};

use crate::auth::Clients;
use crate::azure_seal;
use crate::seal::{KekRef, Seal, Seals};
use crate::transit::{KeySource, TransitKey, VersionRecord};

/// What the configuration file says.
#[derive(Debug)]
pub struct Deployment {
    /// The declared name of the deployment, and then its aliases.
    pub realms: Vec<String>,
    /// Proves which envelopes are ours.
    pub origin_key: Option<Arc<OriginKey>>,
    /// The master keys.
    pub seals: Seals,
    /// The declared clients.
    pub clients: Clients,
    /// As `sys/health` and `sys/leader` tell them.
    pub cluster: Cluster,
    /// The mounted transit engines.
    pub mounts: Mounts,
    keys: HashMap<MountPath, BTreeMap<KeyName, Arc<TransitKey>>>,
}

/// How the server presents itself.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The URL that clients are told.
    pub api_addr: Option<String>,
    /// The cluster's name.
    pub name: Option<String>,
}

/// A mounted transit engine.
#[derive(Clone, Debug)]
pub struct MountPoint {
    /// Where it answers.
    pub path: MountPath,
    /// Its path and then its aliases: what was encrypted under one of them opens here.
    pub accepted_paths: Vec<String>,
}

/// Why a configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The keys of a static seal do not make one master key.
    #[error("seal \"{seal}\": {source}")]
    StaticSeal {
        /// Which.
        seal: SealName,
        /// Why.
        source: StaticKmsError,
    },
    /// There is no provider for this seal.
    #[error("seal \"{seal}\": there is no provider for {endpoint} in this build")]
    NoProvider {
        /// Which.
        seal: SealName,
        /// Where its master key is.
        endpoint: String,
    },
    /// A seal does not say what its master key is.
    #[error("seal \"{seal}\": {source}")]
    Describe {
        /// Which.
        seal: SealName,
        /// Why.
        source: KmsError,
    },
    /// A declared key would encrypt what it refuses to decrypt, or nothing at all.
    #[error("key \"{key}\": its minimum versions must not be above its version, which is {latest}")]
    MinimumAboveLatest {
        /// Which.
        key: KeyName,
        /// Its version.
        latest: KeyVersion,
    },
    /// A declared key's version number does not fit; lower its `generation`.
    #[error("key \"{key}\": its version number is above 4294967295; lower \"generation\"")]
    VersionTooHigh {
        /// Which.
        key: KeyName,
    },
}

impl Deployment {
    /// Connects the seals of `config` and computes what follows from them.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`].
    pub async fn connect(mut config: Config) -> Result<Self, DeploymentError> {
        let mut seals = Vec::with_capacity(config.seals.len());
        for seal in std::mem::take(&mut config.seals) {
            seals.push(connect_seal(seal).await?);
        }
        Self::assemble(config, Seals::new(seals))
    }

    /// What follows from `config` with these seals in the place of its own.
    ///
    /// # Errors
    ///
    /// [`DeploymentError::VersionTooHigh`].
    pub fn assemble(config: Config, seals: Seals) -> Result<Self, DeploymentError> {
        let mut keys: HashMap<_, BTreeMap<_, _>> = HashMap::new();
        for declared in config.keys {
            let mount = declared.mount.clone();
            let key = declared_key(declared, &seals)?;
            keys.entry(mount).or_default().insert(key.name.clone(), Arc::new(key));
        }
        let mut realms = vec![config.realm];
        realms.extend(config.realm_aliases);
        Ok(Self {
            realms,
            origin_key: config.origin_key.map(Arc::new),
            seals,
            clients: Clients::new(config.clients, &config.policies),
            cluster: Cluster { api_addr: config.api_addr, name: config.cluster_name },
            mounts: Mounts::new(config.mounts),
            keys,
        })
    }

    /// The name bound into new envelopes.
    #[must_use]
    pub fn realm(&self) -> &str {
        self.realms.first().map_or("", String::as_str)
    }

    /// The declared key of this name.
    #[must_use]
    pub fn declared_key(&self, mount: &MountPath, name: &str) -> Option<Arc<TransitKey>> {
        self.keys.get(mount)?.get(name).cloned()
    }

    /// All declared keys, with their mounts.
    pub fn declared_keys(&self) -> impl Iterator<Item = (&MountPath, &Arc<TransitKey>)> {
        self.keys.iter().flat_map(|(mount, keys)| keys.values().map(move |key| (mount, key)))
    }

    /// The names of the declared keys of a mount.
    pub fn declared_names(&self, mount: &MountPath) -> impl Iterator<Item = KeyName> {
        self.keys.get(mount).into_iter().flat_map(|keys| keys.keys().cloned())
    }
}

/// The mounted transit engines, none inside another.
#[derive(Debug, Default)]
pub struct Mounts(Vec<MountPoint>);

impl Mounts {
    /// `mounts`, as configured.
    #[must_use]
    pub fn new(mounts: Vec<Mount>) -> Self {
        Self(mounts.into_iter().map(MountPoint::new).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &MountPoint> {
        self.0.iter()
    }

    /// The engine mounted at exactly `path`.
    #[must_use]
    pub fn at(&self, path: &MountPath) -> Option<&MountPoint> {
        self.0.iter().find(|mount| mount.path == *path)
    }

    /// The mount that a request path lies in, and the rest of the path. A path may lack the final
    /// slash of the mount itself.
    #[must_use]
    pub fn split<'p>(&self, path: &'p str) -> Option<(&MountPath, &'p str)> {
        self.0.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.path.as_str())?;
            let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
            Some((&mount.path, rest))
        })
    }
}

impl MountPoint {
    fn new(mount: Mount) -> Self {
        let paths = std::iter::once(&mount.path).chain(&mount.aliases);
        let accepted_paths = paths.map(ToString::to_string).collect();
        Self { path: mount.path, accepted_paths }
    }
}

async fn connect_seal(seal: selkie_config::Seal) -> Result<Seal, DeploymentError> {
    let selkie_config::Seal { name, disabled, kind, .. } = seal;
    let (kind, kms): (_, Arc<dyn Kms>) = match kind {
        SealKind::Static(keys) => {
            let failed = |source| DeploymentError::StaticSeal { seal: name.clone(), source };
            ("static", Arc::new(static_kms(keys).map_err(failed)?))
        }
        SealKind::AzureKeyVault(azure) => {
            let endpoint = azure_seal::settings(*azure).endpoint.to_string();
            return Err(DeploymentError::NoProvider { seal: name, endpoint });
        }
    };
    let failed = |source| DeploymentError::Describe { seal: name.clone(), source };
    let keks = kms.describe().await.map_err(failed)?;
    Ok(Seal { name, kind, disabled, kms, keks })
}

fn static_kms(seal: StaticSeal) -> Result<StaticKms, StaticKmsError> {
    let current = seal.current.id.clone();
    let oldest_first = seal.previous.into_iter().chain([seal.current]);
    StaticKms::new(oldest_first.map(|key| (key.id, key.key)).collect(), &current)
}

fn declared_key(declared: DeclaredKey, seals: &Seals) -> Result<TransitKey, DeploymentError> {
    let of_key = || declared.seals.iter().filter_map(|name| seals.find(name));
    let listed = of_key().map(|seal| seal.keks.versions().len()).sum();
    let latest = latest_version(declared.version, listed)
        .ok_or_else(|| DeploymentError::VersionTooHigh { key: declared.name.clone() })?;
    if declared.min_decryption_version.max(declared.min_encryption_version.unwrap_or(latest))
        > latest
    {
        return Err(DeploymentError::MinimumAboveLatest { key: declared.name, latest });
    }
    let keks: Vec<KekRef> = of_key().map(Seal::current_kek).collect();
    let created = of_key().filter_map(|seal| seal.keks.current().created).map(unix_seconds).max();
    let record = VersionRecord { created: created.unwrap_or(0), keks };
    Ok(TransitKey {
        name: declared.name,
        source: KeySource::Declared,
        derived: false,
        deletion_allowed: false,
        min_decryption: declared.min_decryption_version,
        min_encryption: declared.min_encryption_version,
        min_available: None,
        latest,
        versions: BTreeMap::from([(latest, record)]),
    })
}

/// `generation x 10,000 + listed`, or what was stated (design §6).
fn latest_version(rule: VersionRule, listed: usize) -> Option<KeyVersion> {
    match rule {
        VersionRule::Stated(version) => Some(version),
        VersionRule::Counted { generation } => {
            let listed = u32::try_from(listed).ok()?;
            let base = generation.checked_mul(VersionRule::GENERATION_SIZE)?;
            KeyVersion::new(base.checked_add(listed)?)
        }
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
