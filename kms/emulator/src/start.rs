//! Starting and ending an emulator.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{CertificateError, Certificates};
use crate::clock::real_ms;
use crate::emulator::{Addresses, Emulator, Start};
use crate::faults::{Rule, RulesError, parse_rules};
use crate::serve::listener;
use crate::stats::Totals;
use crate::tokens::Tokens;
use crate::world::file::{Misfit, WorldFile};
use crate::world::{DEFAULT_OBJECTS, World};

/// How an emulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Key Vault and Entra are; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where managed identity and the control API are; port 0 takes a free one.
    pub identity_listen: SocketAddr,
    /// The vaults file.
    pub vaults: Option<PathBuf>,
    /// The faults file.
    pub faults: Option<PathBuf>,
    /// Where the state is written at the end, and read from without a vaults file.
    pub save: Option<PathBuf>,
    /// Where the CA is kept; without it there is a new one each time.
    pub ca_dir: Option<PathBuf>,
    /// Whether vaults throttle.
    pub throttle: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            identity_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            vaults: None,
            faults: None,
            save: None,
            ca_dir: None,
            throttle: true,
        }
    }
}

/// Why an emulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// A file says what cannot be.
    #[error("{0}: {1}")]
    Content(PathBuf, #[source] ContentError),
    /// An address cannot be listened on.
    #[error("{0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// There is no key to sign tokens with.
    #[error("no key to sign tokens with: {0}")]
    TokenKey(#[from] aws_lc_rs::error::Unspecified),
}

/// What is wrong in a file.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ContentError(#[from] Wrong);

#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0}")]
    NotAWorld(#[source] serde_json::Error),
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// An emulator that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    emulator: Arc<Emulator>,
    addresses: Addresses,
    tasks: Vec<JoinHandle<()>>,
    _temporary: Option<TempDir>,
}

/// What someone who tries the emulator wants to know first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The tenant.
    pub tenant: String,
    /// The vaults with the names of their keys.
    pub vaults: Vec<(String, Vec<String>)>,
    /// The managed identities.
    pub identities: Vec<String>,
    /// `IDENTITY_HEADER` of App Service's protocol.
    pub app_service_header: String,
}

/// Starts an emulator in the tokio runtime that this is called in.
///
/// # Errors
///
/// A file that cannot be read or understood, an address that is taken.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let world = read_world(&options)?;
    let faults = options.faults.as_deref().map(read_faults).transpose()?.unwrap_or_default();
    let https = bind(options.listen).await?;
    let http = bind(options.identity_listen).await?;
    let certificates = Certificates::new(options.ca_dir.as_deref())?;
    let emulator = Arc::new(Emulator::new(Start {
        world,
        faults,
        tokens: Tokens::new()?,
        throttles: options.throttle,
        save: options.save,
        ca: certificates.ca_file,
    }));
    let address = |listener: &TcpListener, asked| {
        listener.local_addr().map_err(|error| StartError::Listen(asked, error))
    };
    let addresses = Addresses {
        https: address(&https, options.listen)?,
        http: address(&http, options.identity_listen)?,
    };
    let _only_time = emulator.addresses.set(addresses);
    let tls = TlsAcceptor::from(certificates.tls);
    let served = Arc::clone(&emulator);
    let https = tokio::spawn(async move {
        // It ends when the port is lost while it was closed; the control API says so then.
        let _port_lost = listener::https(served, https, tls).await;
    });
    let http = tokio::spawn(listener::http(Arc::clone(&emulator), http));
    let tasks = vec![https, http];
    Ok(Running { emulator, addresses, tasks, _temporary: certificates.temporary })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|error| StartError::File(path.to_owned(), error))
}

fn read_world(options: &Options) -> Result<World, StartError> {
    let saved = options.save.as_ref().filter(|path| path.exists());
    let Some(path) = options.vaults.as_ref().or(saved) else {
        return world(DEFAULT_OBJECTS.as_bytes(), Path::new(""))
            .map_err(|error| StartError::Content("default objects".into(), error));
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    world(&read(path)?, folder).map_err(|error| StartError::Content(path.clone(), error))
}

fn world(text: &[u8], folder: &Path) -> Result<World, ContentError> {
    let file: WorldFile = serde_json::from_slice(text).map_err(Wrong::NotAWorld)?;
    Ok(file.into_world(folder, real_ms()).map_err(Wrong::Misfit)?)
}

fn read_faults(path: &Path) -> Result<Vec<Rule>, StartError> {
    let rules = parse_rules(&read(path)?).map_err(Wrong::Rules);
    rules.map_err(|wrong| StartError::Content(path.to_owned(), wrong.into()))
}

impl Running {
    /// Where Key Vault and Entra are.
    pub fn https(&self) -> SocketAddr {
        self.addresses.https
    }

    /// Where managed identity and the control API are.
    pub fn http(&self) -> SocketAddr {
        self.addresses.http
    }

    /// The CA that clients have to trust, in PEM.
    pub fn ca_file(&self) -> &Path {
        &self.emulator.ca
    }

    /// What there is.
    pub fn welcome(&self) -> Welcome {
        let world = self.emulator.world();
        let keys = |vault: &crate::world::vault::Vault| {
            vault.keys.values().map(|key| key.name.clone()).collect()
        };
        Welcome {
            tenant: world.settings.tenant.clone(),
            vaults: world.vaults.iter().map(|v| (v.name().to_owned(), keys(v))).collect(),
            identities: world.identities.iter().map(|identity| identity.name.clone()).collect(),
            app_service_header: world.settings.app_service_header.clone(),
        }
    }

    /// What was asked until now.
    pub fn totals(&self) -> Totals {
        self.emulator.stats.totals()
    }

    /// Ends it: connections are cut, and the state is saved where that was asked for.
    ///
    /// # Errors
    ///
    /// The state cannot be written.
    pub async fn shutdown(mut self) -> Result<Totals, StartError> {
        for task in &self.tasks {
            task.abort();
        }
        for task in std::mem::take(&mut self.tasks) {
            let _aborted = task.await;
        }
        if let (Err(error), Some(path)) = (self.emulator.save(), &self.emulator.save) {
            return Err(StartError::File(path.clone(), error));
        }
        Ok(self.totals())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
