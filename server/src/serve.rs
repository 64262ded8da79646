//! From a configuration to running listeners, its reload, and its end.

mod descriptors;
mod front;
mod inventory;
mod metrics_front;
mod pid_file;
mod settings;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use selkie_config::{
    Config, Endpoint, Listener, LogFormat, MetricsListener, SandboxMode, Storage, StoreIdentity,
};
use selkie_crypto::AuditKey;
use selkie_listener::{ActivatedSockets, ActivationError, Drain, Drained, TlsError};
use tokio::task::JoinSet;

pub use self::front::Listening;
use self::front::{Bound, Front};
pub use self::inventory::Inventory;
use self::metrics_front::MetricsFront;
use self::pid_file::PidFile;
pub use self::settings::load_tls;
use crate::listener_certificates::Notice;
use crate::node::{Node, NodeError};
use crate::state::backend::{self, BackendError};
use crate::telemetry::WithCauses;
use crate::traces::{Traces, TracesError};

/// What is under way has so long to finish when a listener was lost.
const LAST_GRACE: Duration = Duration::from_secs(10);

/// A server that serves until it is drained.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    fronts: Vec<Front>,
    /// Where metrics are told, and what ends it.
    metrics: Option<(SocketAddr, Drain)>,
    accept_loops: JoinSet<Drained>,
    traces: Option<Traces>,
    fixed: Fixed,
    _pid_file: Option<PidFile>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener's certificates cannot be used.
    #[error("listener {endpoint}")]
    Tls {
        /// The listener.
        endpoint: EndpointName,
        /// The error behind it.
        source: TlsError,
    },
    /// An address cannot be listened at.
    #[error("{}", CannotListen(*address, source, IN_LISTENER))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The address of metrics cannot be listened at.
    #[error("{}", CannotListen(*address, source, "\"metrics_address\" in telemetry"))]
    BindMetrics {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// systemd did not pass the socket.
    #[error("listener {endpoint}: check Sockets= and FileDescriptorName= in the units")]
    Activation {
        /// The listener.
        endpoint: EndpointName,
        /// The error behind it.
        source: ActivationError,
    },
    /// A socket does not work.
    #[error("listener {endpoint}")]
    Socket {
        /// The listener.
        endpoint: EndpointName,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration cannot be put to work.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The file with the process id cannot be written.
    #[error("pid_file {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a reload was refused; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The listeners are at other addresses or sockets than at the start.
    #[error("the addresses and sockets of the listeners cannot change without a restart")]
    ListenersChanged,
    /// A field has changed that only counts at the start.
    #[error("{field:?} cannot change without a restart")]
    NeedsRestart {
        /// The field.
        field: &'static str,
    },
    /// The same of one that says where the state is kept.
    #[error("{field:?} cannot change without a restart, which would use another storage")]
    OtherStorage {
        /// The field.
        field: &'static str,
    },
    /// A certificate that clients refuse would take the place of one that they accept.
    #[error("listener {endpoint}: its new {notice}, and the one in use is good: {}", notice.advice())]
    Certificate {
        /// The listener.
        endpoint: EndpointName,
        /// What is wrong with it.
        notice: Notice,
    },
    /// The server drains.
    #[error("the server is stopping")]
    Stopping,
    /// What the new configuration needs cannot be had.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// What is set at the start for good.
#[derive(Debug)]
struct Fixed {
    pid_file: Option<PathBuf>,
    lock_all_memory: bool,
    sandbox: SandboxMode,
    log_format: LogFormat,
    data_dir: Option<PathBuf>,
    metrics: Option<MetricsListener>,
    traces: Option<FixedTraces>,
    /// A MAC under it, which tells it from another.
    local_key: Option<[u8; 32]>,
    /// What tells it from another; without a device there is none.
    audit_key: Option<String>,
    /// What tells them from others, but for the webhook.
    alerts: Option<[u8; 32]>,
    storage: Option<FixedStorage>,
}

/// The store.
#[derive(Debug)]
struct FixedStorage {
    identity: StoreIdentity,
    /// All that its stanza says, but for secrets and what is in files.
    told: String,
}

/// Where traces go, and how many.
#[derive(Debug, PartialEq)]
struct FixedTraces {
    endpoint: String,
    ca_file: Option<PathBuf>,
    sample_ratio: f64,
}

/// Starts to serve what `config` says. All that can fail comes before the first request.
///
/// Listeners take their activated sockets out of `sockets`. The log, the locking of memory and the
/// signals are the caller's.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve(
    mut config: Config,
    sockets: &mut ActivatedSockets,
) -> Result<Server, ServeError> {
    let mut listeners = std::mem::take(&mut config.listeners);
    descriptors::keep_within(&mut listeners);
    let fixed = Fixed::of(&config);
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in listeners {
        bound.push(Bound::new(listener, sockets)?);
    }
    let metrics = fixed.metrics.map(MetricsFront::bind).transpose()?;
    let traces = config.telemetry.tracing.take();
    let traces = traces.map(|declared| Traces::start(&declared)).transpose()?;
    let node = Arc::new(Node::start(config).await?);
    let pid_file = fixed.pid_file.clone().map(PidFile::write).transpose()?;
    node.follow_promises().await;
    let mut accept_loops = JoinSet::new();
    let open = |one: Bound| one.open(&node, &mut accept_loops);
    let fronts = bound.into_iter().map(open).collect();
    let metrics = metrics.map(|front| front.open(&node, &mut accept_loops));
    Ok(Server { node, fronts, metrics, accept_loops, traces, fixed, _pid_file: pid_file })
}

impl Server {
    /// Where it listens, in the order of the configuration.
    pub fn listening(&self) -> impl Iterator<Item = Listening> {
        self.fronts.iter().map(Front::listening)
    }

    /// Where metrics are told without a token.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(address, _)| *address)
    }

    /// What the requests share.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Opens audit files and connections anew, as after a rotation.
    pub fn reopen_audit(&self) {
        self.node.audit().reopen();
    }

    /// Replaces the current configuration with `config`, atomically.
    ///
    /// Open connections live on, except those of a listener whose protocol or connection limits
    /// changed: they finish what is under way, within `grace`.
    ///
    /// # Errors
    ///
    /// [`ReloadError`].
    pub async fn reload(&mut self, mut config: Config, grace: Duration) -> Result<(), ReloadError> {
        let fixed = Fixed::of(&config);
        self.fixed.check_unchanged(&fixed)?;
        let mut listeners = self.in_order_of_fronts(std::mem::take(&mut config.listeners))?;
        descriptors::keep_within(&mut listeners);
        let mut changes = Vec::with_capacity(listeners.len());
        let now = self.node.clock().unix_seconds();
        for (front, listener) in self.fronts.iter().zip(listeners) {
            changes.push(front.prepare(listener, now)?);
        }
        let credentials = credentials_of(config.storage.as_ref());
        self.node.reload(config).await.map_err(ServeError::from)?;
        self.fixed.tell_of_storage(&fixed);
        self.tell_of_credentials(&credentials);
        for (front, change) in self.fronts.iter_mut().zip(changes) {
            front.apply(change, &self.node, &mut self.accept_loops, grace);
        }
        Ok(())
    }

    /// Credentials for the storage are read until it is open, and not again: etcd refuses those that
    /// have run out meanwhile.
    fn tell_of_credentials(&self, read: &Result<Option<[u8; 32]>, BackendError>) {
        let Some(used) = self.node.store_credentials() else { return };
        match read {
            Ok(read) if read.as_ref() == Some(used) => {}
            Ok(_) => tracing::warn!(
                advice = "restart, one replica at a time, before the former ones end",
                "the certificates or the password for etcd have changed: the former go on to be used"
            ),
            Err(error) => tracing::warn!(
                reason = %WithCauses(error),
                advice = "make the file readable before the next start, which needs it",
                "a certificate or key for etcd cannot be read: what was read at the start is used"
            ),
        }
    }

    fn in_order_of_fronts(&self, mut new: Vec<Listener>) -> Result<Vec<Listener>, ReloadError> {
        let mut ordered = Vec::with_capacity(self.fronts.len());
        for front in &self.fronts {
            let is_this = |listener: &Listener| listener.endpoint == *front.endpoint();
            let at = new.iter().position(is_this);
            ordered.push(new.remove(at.ok_or(ReloadError::ListenersChanged)?));
        }
        if new.is_empty() { Ok(ordered) } else { Err(ReloadError::ListenersChanged) }
    }

    /// Stops to accept and lets what is under way finish; what is not finished after `grace` is
    /// cut. Called again, the new time counts.
    pub fn drain(&mut self, grace: Duration) {
        for front in &mut self.fronts {
            front.drain(grace);
        }
        if let Some((_, drain)) = &self.metrics {
            drain.begin(grace);
        }
    }

    /// Waits until everything has ended after [`Server::drain`], or after it has begun to drain by
    /// itself because one of its listeners was lost: who watches over the process is to start it
    /// anew, where one that lived on would be deaf at that address. May be dropped and called again.
    pub async fn ended(&mut self) {
        while let Some(ended) = self.accept_loops.join_next().await {
            if ended.is_err() {
                tracing::error!(
                    "a listener has ended in panics, which are a bug: stopping, so that Selkie is \
                     started anew"
                );
                self.drain(LAST_GRACE);
            }
        }
        let node = Arc::clone(&self.node);
        // It blocks for a moment, and nothing else is left to do.
        let _ended = tokio::task::spawn_blocking(move || node.audit().stop()).await;
        self.node.leave_state().await;
        if let Some(traces) = self.traces.take() {
            traces.end().await;
        }
    }
}

fn credentials_of(storage: Option<&Storage>) -> Result<Option<[u8; 32]>, BackendError> {
    Ok(storage.map(backend::credentials_of).transpose()?.flatten())
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            pid_file: config.pid_file.clone(),
            lock_all_memory: config.lock_all_memory,
            sandbox: config.sandbox,
            log_format: config.logging.format,
            data_dir: config.data_dir.clone(),
            metrics: config.telemetry.metrics,
            traces: config.telemetry.tracing.as_ref().map(|tracing| FixedTraces {
                endpoint: tracing.endpoint.to_string(),
                ca_file: tracing.ca_file.clone(),
                sample_ratio: tracing.sample_ratio,
            }),
            local_key: config.local_key.as_ref().map(|key| key.mac(b"the same key?")),
            audit_key: config.audit.key.as_ref().map(AuditKey::id),
            alerts: config.alerts.as_ref().map(selkie_config::Alerts::digest),
            storage: config
                .storage
                .as_ref()
                .map(|storage| FixedStorage { identity: storage.identity(), told: storage.told() }),
        }
    }

    fn check_unchanged(&self, new: &Self) -> Result<(), ReloadError> {
        // First, as nothing else loses as much at a start. A "sled" without a path lies in "data_dir".
        if self.has_other_store(new) {
            let is_data_dir = self.data_dir != new.data_dir;
            let field = if is_data_dir { "data_dir" } else { "storage" };
            return Err(ReloadError::OtherStorage { field });
        }
        let changed = [
            ("pid_file", self.pid_file != new.pid_file),
            ("disable_mlock", self.lock_all_memory != new.lock_all_memory),
            ("sandbox", self.sandbox != new.sandbox),
            ("log_format", self.log_format != new.log_format),
            ("otlp_endpoint", self.traces != new.traces),
            ("metrics_address", self.metrics != new.metrics),
            ("data_dir", self.data_dir != new.data_dir),
            ("local_key", self.local_key != new.local_key),
            ("audit_key", self.has_other_audit_key(new)),
            ("alerts", self.alerts != new.alerts),
        ];
        match changed.into_iter().find(|(_, is_changed)| *is_changed) {
            Some((field, _)) => Err(ReloadError::NeedsRestart { field }),
            None => Ok(()),
        }
    }

    fn has_other_store(&self, new: &Self) -> bool {
        match (&self.storage, &new.storage) {
            (Some(one), Some(other)) => !one.identity.is_same(&other.identity),
            (one, other) => one.is_some() != other.is_some(),
        }
    }

    /// What else the stanza of the storage says is taken at the start alone, and must not keep other
    /// changes out until then.
    fn tell_of_storage(&self, new: &Self) {
        let told = |fixed: &Self| fixed.storage.as_ref().map(|storage| storage.told.clone());
        if told(self) != told(new) {
            tracing::warn!(
                advice = "nothing, if it can wait until the next start, which takes it; else restart, \
                          one replica at a time",
                "what the storage stanza says has changed: the former goes on to be used"
            );
        }
    }

    fn has_other_audit_key(&self, new: &Self) -> bool {
        let keys = self.audit_key.as_ref().zip(new.audit_key.as_ref());
        keys.is_some_and(|(one, other)| one != other)
    }
}

/// A listener as its operator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointName(Endpoint);

impl From<Endpoint> for EndpointName {
    fn from(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Endpoint::Address(address) => write!(f, "{address}"),
            Endpoint::ActivatedName(name) => write!(f, "activated_socket {name:?}"),
            Endpoint::ActivatedIndex(index) => write!(f, "activated_socket {index}"),
        }
    }
}

/// Where a listener says its address.
const IN_LISTENER: &str = "\"address\" in the listener stanza";

/// With the field that says the address.
struct CannotListen<'e>(SocketAddr, &'e io::Error, &'static str);

impl fmt::Display for CannotListen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, error, field) = self;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen at {address}: another program, or another listener, has this port; \
                 stop that, or choose another with {field}"
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "cannot listen at {address}: this machine does not have that address")
            }
            io::ErrorKind::PermissionDenied => write!(
                f,
                "cannot listen at {address}: ports below 1024 need the capability \
                 CAP_NET_BIND_SERVICE or a socket from systemd (\"activated_socket\")"
            ),
            _ => write!(f, "cannot listen at {address}"),
        }
    }
}

#[cfg(test)]
mod tests;
