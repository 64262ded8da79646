//! Everything that one reading of the configuration file says, ready for requests. A reload makes
//! a new one and swaps it in, whole or not at all.

mod declared_keys;

use std::sync::Arc;

use selkie_access::{KeyName, MountPath, Policy};
use selkie_config::{ClientName, Config, DeclaredKey, Mount, Promises, VersionRule};
use selkie_crypto::{KeyVersion, OriginKey, SealName};
use selkie_kms::transit::TransitSetupError;
use selkie_listener::TlsError;

use self::declared_keys::DeclaredKeys;
use crate::auth::Clients;
use crate::auth::methods::DeclaredMounts;
use crate::auth::tokens::LeaseLimits;
use crate::faults::Bench;
use crate::promises::PromiseMemory;
use crate::seal::{Connection, Keeping, Known, ProviderError, Seal, Seals};
use crate::takeover::Takeovers;
use crate::transit::TransitKey;

/// What the configuration file says.
#[derive(Debug)]
pub struct Deployment {
    /// The declared name of the deployment, and then its aliases.
    pub realms: Arc<[String]>,
    /// Proves which envelopes are ours.
    pub origin_key: Option<Arc<OriginKey>>,
    /// The master keys.
    pub seals: Seals,
    /// The declared clients.
    pub clients: Arc<Clients>,
    /// The declared mounts of login methods.
    pub auth_mounts: DeclaredMounts,
    /// The declared policies.
    pub policies: Arc<[Policy]>,
    /// The limits of tokens' lifetimes.
    pub leases: LeaseLimits,
    /// As `sys/health` and `sys/leader` tell them.
    pub cluster: Cluster,
    /// The mounted transit engines.
    pub mounts: Mounts,
    /// Where what is learned is kept, and what proves that it is ours.
    pub keeping: Keeping,
    /// The keys of other servers that are taken over.
    pub takeovers: Takeovers,
    /// What it promises to ciphertexts.
    pub promises: Arc<Promises>,
    /// What is remembered of what was promised.
    pub memory: Arc<PromiseMemory>,
    declared: Arc<[DeclaredKey]>,
    keys: DeclaredKeys,
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
    /// A stanza makes no seal.
    #[error("seal \"{seal}\": {source}")]
    Seal {
        /// The seal's name.
        seal: SealName,
        /// The error behind it.
        source: ProviderError,
    },
    /// What the certificate of a client is verified against cannot be used.
    #[error("client \"{client}\"")]
    Client {
        /// The client's name.
        client: ClientName,
        /// The error behind it.
        source: TlsError,
    },
    /// An old server cannot be asked as configured.
    #[error("key \"{key}\": takeover")]
    Takeover {
        /// The key's name.
        key: KeyName,
        /// The error behind it.
        source: TransitSetupError,
    },
    /// A declared key would encrypt what it refuses to decrypt, or nothing at all.
    #[error("key \"{key}\": its minimum versions must not be above its version, which is {latest}")]
    MinimumAboveLatest {
        /// The key's name.
        key: KeyName,
        /// Its version.
        latest: KeyVersion,
    },
    /// A declared key's version number does not fit; lower its `generation`.
    #[error("key \"{key}\": its version number is above 4294967295; lower \"generation\"")]
    VersionTooHigh {
        /// The key's name.
        key: KeyName,
    },
}

impl Deployment {
    /// What `config` comes to by itself: nothing is asked of a KMS far away, and no pin file is read.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`].
    pub async fn connect(mut config: Config) -> Result<Self, DeploymentError> {
        let promises = config.promises();
        let keeping = Keeping::take(&mut config);
        let seals = connect_seals(&mut config, &keeping, None).await?;
        let takeovers = Takeovers::connect(&mut config, None)?;
        let memory = Arc::default();
        Self::of(config, Built { seals, takeovers, promises, keeping, memory })
    }

    /// The same, going on from what the deployment `before` has learned, else from the pin files;
    /// with a `bench`, its faults lie before the master keys. `promises` are those of `config` while
    /// it had its storage, which belongs to the node.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`].
    pub async fn resume(
        mut config: Config,
        promises: Promises,
        before: Option<&Self>,
        bench: Option<&Arc<Bench>>,
    ) -> Result<Self, DeploymentError> {
        let keeping = Keeping::take(&mut config);
        let seals = connect_seals(&mut config, &keeping, bench).await?;
        let seals = seals.resumed(before.map(|before| &before.seals));
        let takeovers = Takeovers::connect(&mut config, before.map(|before| &before.takeovers))?;
        let memory = before.map(|before| Arc::clone(&before.memory));
        let memory = memory.unwrap_or_else(|| Arc::new(PromiseMemory::new(&keeping)));
        Self::of(config, Built { seals, takeovers, promises, keeping, memory })
    }

    /// What follows from `config` with these seals in place of its own. As the file does not tell them,
    /// nothing is promised of them.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`].
    pub fn assemble(mut config: Config, seals: Seals) -> Result<Self, DeploymentError> {
        let keeping = Keeping::take(&mut config);
        let takeovers = Takeovers::connect(&mut config, None)?;
        let (promises, memory) = (Promises::default(), Arc::default());
        Self::of(config, Built { seals, takeovers, promises, keeping, memory })
    }

    fn of(config: Config, built: Built) -> Result<Self, DeploymentError> {
        let Built { seals, takeovers, promises, keeping, memory } = built;
        let mut realms = vec![config.realm];
        realms.extend(config.realm_aliases);
        Ok(Self {
            keys: DeclaredKeys::number(&config.keys, &seals)?,
            declared: config.keys.into(),
            realms: realms.into(),
            origin_key: config.origin_key.map(Arc::new),
            seals,
            clients: Arc::new(Clients::new(config.clients, &config.policies)?),
            auth_mounts: DeclaredMounts::new(config.auth),
            policies: config.policies.into(),
            leases: LeaseLimits {
                default: config.leases.default,
                max: config.leases.max,
                max_staleness: config.leases.max_staleness,
                max_periodic_staleness: config.leases.max_periodic_staleness,
            },
            cluster: Cluster { api_addr: config.api_addr, name: config.cluster_name },
            mounts: Mounts::new(config.mounts),
            keeping,
            takeovers,
            promises: Arc::new(promises),
            memory,
        })
    }

    /// The same configuration, with `known` of the master key behind `connection`.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`]: the versions of a key no longer fit.
    pub fn with_known(
        &self,
        connection: &Arc<Connection>,
        known: &Arc<Known>,
    ) -> Result<Self, DeploymentError> {
        let seals = self.seals.with_known(connection, known);
        let mut next = Self {
            keys: DeclaredKeys::number(&self.declared, &seals)?,
            seals,
            declared: Arc::clone(&self.declared),
            realms: Arc::clone(&self.realms),
            origin_key: self.origin_key.clone(),
            clients: Arc::clone(&self.clients),
            auth_mounts: self.auth_mounts.clone(),
            policies: Arc::clone(&self.policies),
            leases: self.leases,
            cluster: self.cluster.clone(),
            mounts: self.mounts.clone(),
            keeping: self.keeping.clone(),
            takeovers: self.takeovers.clone(),
            promises: Arc::clone(&self.promises),
            memory: Arc::clone(&self.memory),
        };
        next.carry_over(self);
        Ok(next)
    }

    /// Where a key cannot be counted yet, goes on from what clients have seen of it `before`.
    pub(crate) fn carry_over(&mut self, before: &Self) {
        self.keys.carry_over(&before.keys);
    }

    /// Whether the version of this key is stated by hand.
    #[must_use]
    pub fn states_version(&self, mount: &MountPath, name: &KeyName) -> bool {
        let is_it = |key: &&DeclaredKey| key.mount == *mount && key.name == *name;
        let declared = self.declared.iter().find(is_it);
        declared.is_some_and(|key| matches!(key.version, VersionRule::Stated(_)))
    }

    /// Whether the version of a declared key counts those of the seal of this name.
    pub(crate) fn counts(&self, seal: &SealName) -> bool {
        let is_it = |name: &SealName| self.seals.find(name).is_some_and(|one| one.name() == seal);
        let is_counted = |key: &&DeclaredKey| matches!(key.version, VersionRule::Counted { .. });
        self.declared.iter().filter(is_counted).any(|key| key.seals.iter().any(is_it))
    }

    /// The name bound into new envelopes.
    #[must_use]
    pub fn realm(&self) -> &str {
        self.realms.first().map_or("", String::as_str)
    }

    /// The declared key of this name.
    #[must_use]
    pub fn declared_key(&self, mount: &MountPath, name: &str) -> Option<Arc<TransitKey>> {
        self.keys.find(mount, name).cloned()
    }

    /// The seals that the declared key of this name wraps for, whatever is known of them.
    #[must_use]
    pub fn declared_seals(&self, mount: &MountPath, name: &KeyName) -> &[SealName] {
        let is_it = |key: &&DeclaredKey| key.mount == *mount && key.name == *name;
        self.declared.iter().find(is_it).map_or(&[], |key| &key.seals)
    }

    /// All declared keys, with their mounts.
    pub fn declared_keys(&self) -> impl Iterator<Item = (&MountPath, &Arc<TransitKey>)> {
        self.keys.iter()
    }

    /// The names of the declared keys of a mount.
    pub fn declared_names(&self, mount: &MountPath) -> impl Iterator<Item = KeyName> {
        self.keys.names(mount)
    }
}

/// The mounted transit engines, none inside another.
#[derive(Clone, Debug, Default)]
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

/// What is made of a configuration before the rest of a deployment.
struct Built {
    seals: Seals,
    takeovers: Takeovers,
    promises: Promises,
    keeping: Keeping,
    memory: Arc<PromiseMemory>,
}

async fn connect_seals(
    config: &mut Config,
    keeping: &Keeping,
    bench: Option<&Arc<Bench>>,
) -> Result<Seals, DeploymentError> {
    let mut seals = Vec::with_capacity(config.seals.len());
    for seal in std::mem::take(&mut config.seals) {
        let selkie_config::Seal { name, aliases, disabled, kind, .. } = seal;
        let connected = crate::seal::connect(&name, kind, keeping, bench).await;
        let failed = |source| DeploymentError::Seal { seal: name, source };
        seals.push(Seal::new(disabled, connected.map_err(failed)?).known_as(aliases));
    }
    let revoked = std::mem::take(&mut config.revoked_seals);
    Ok(Seals::new(seals).beside_revoked(revoked))
}
