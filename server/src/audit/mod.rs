//! The audit log (invariant I8): each request is recorded before it is worked on, and each reply
//! before it is sent, by at least one device. Lines have the shape of Vault's and form a chain that
//! [`verify`] checks.

mod chain;
mod change;
mod claims;
mod device;
mod events;
mod file;
mod gathering;
mod json;
mod known;
mod line;
mod lock;
pub(crate) mod record;
pub(crate) mod redact;
mod sink;
mod socket;
mod syslog;
#[cfg(test)]
mod tests;
mod trail;
pub mod verify;
mod writer;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use base16ct::HexDisplay;
use selkie_config::{AuditDevice, AuditKind};
use selkie_crypto::AuditKey;
use selkie_listener::LogBudget;
use uuid::Uuid;

use self::chain::Chain;
pub use self::chain::{End, NotAnEnd};
pub(crate) use self::change::remedy;
use self::claims::{Claimed, Claims};
use self::device::Device;
pub use self::device::Figures;
pub use self::events::{Events, KeyEvent, Watch};
use self::file::FileSink;
use self::gathering::Gathering;
use self::known::KnownHashes;
use self::lock::HeldElsewhere;
pub(crate) use self::lock::{await_others, holder};
use self::sink::Sink;
use self::socket::SocketSink;
use self::syslog::SyslogSink;
pub(crate) use self::trail::DecryptedEnvelope;
pub use self::trail::{KeyUse, Trail};
use self::writer::{Chained, Writer};
use crate::auth::ClientNetwork;
use crate::clock::Clock;

/// How many strangers a second are recorded: whoever knows no token cannot fill our disk.
const STRANGERS_PER_SECOND: u32 = 50;
/// How many logins a second there are of those that come from one place, recorded or not.
const LOGINS_PER_SECOND: u32 = 25;
/// How many places are told apart.
const PLACES: usize = 16;

/// All audit devices; none, and then nothing is recorded, where none is declared.
pub struct Audit {
    gathering: Arc<Gathering>,
    /// There since the first device is.
    key: OnceLock<Arc<AuditKey>>,
    claims: Arc<Claims>,
    clock: Arc<dyn Clock>,
    strangers: LogBudget,
    logins: [LogBudget; PLACES],
    hasher: RandomState,
    events: Events,
    known: KnownHashes,
}

/// No device took the line: nothing may happen, and nothing may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRecorded;

/// Why the devices could not be started.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be opened, which is a mistake in the configuration or in the permissions.
    #[error(
        "audit device {device:?}: \"file_path\" {} cannot be opened{}",
        path.display(),
        advice(source)
    )]
    File {
        /// Its path in `sys/audit`.
        device: String,
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A reload would take in a device that does not work.
    #[error("audit device {device:?} ({place}) cannot be opened; those in use stay")]
    Unopened {
        /// Its path in `sys/audit`.
        device: String,
        /// What it is, and where.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// A reload would go on with the chains under another key.
    #[error("another audit key needs a restart")]
    OtherKey,
    /// There is no thread for a device.
    #[error("there is no thread for an audit device")]
    Thread(#[source] io::Error),
    /// A reload would switch the audit log off.
    #[error("the last audit device cannot be removed without a restart")]
    Off,
    /// A reload would change a device that is in use, or have another one write to its file.
    #[error(
        "audit device {device:?}: what is in use cannot change without a restart; give the new \
         device a path and a file of its own"
    )]
    InUse {
        /// Its path in `sys/audit`.
        device: String,
    },
}

fn advice(error: &io::Error) -> &'static str {
    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    match error.kind() {
        _ if is_link => " (a symbolic link is not followed: name the file itself)",
        io::ErrorKind::NotFound => " (make its directory first)",
        _ => "",
    }
}

impl Audit {
    /// No devices.
    #[must_use]
    pub fn none(clock: Arc<dyn Clock>) -> Self {
        let strangers = LogBudget::new(STRANGERS_PER_SECOND);
        let logins = std::array::from_fn(|_| LogBudget::new(LOGINS_PER_SECOND));
        let (hasher, events) = (RandomState::new(), Events::default());
        let gathering = Arc::new(Gathering::of(Vec::new()));
        let (key, claims, known) = (OnceLock::new(), Arc::default(), KnownHashes::default());
        Self { gathering, key, claims, clock, strangers, logins, hasher, events, known }
    }

    /// Opens the devices of `declared`. A collector that is away is tried again, and a full disk; so
    /// is a file that another process has, where another device works.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub fn start(
        declared: selkie_config::Audit,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuditError> {
        let audit = Self::none(clock);
        let (mut change, wanted) = audit.compare(declared)?;
        audit.open(&mut change, wanted)?;
        let _none_before = audit.put_to_use(change);
        Ok(audit)
    }

    /// Whether anything is recorded; under which key then.
    #[must_use]
    pub fn key(&self) -> Option<&AuditKey> {
        self.key.get().map(|key| &**key).filter(|_| !self.gathering.devices().is_empty())
    }

    /// The devices, and how they do.
    #[must_use]
    pub fn devices(&self) -> Vec<(Arc<AuditDevice>, Arc<Figures>)> {
        let told = |one: &Arc<Device>| (Arc::clone(&one.settings), Arc::clone(&one.figures));
        self.gathering.devices().iter().map(told).collect()
    }

    /// Whether no device takes lines, as far as is known: every request is refused then (I8).
    #[must_use]
    pub fn refuses_all(&self) -> bool {
        let devices = self.gathering.devices();
        !devices.is_empty() && devices.iter().all(|device| device.is_failing())
    }

    /// Tells the names of the devices of each moment, and how they do.
    pub(crate) fn watch_devices(&self) -> impl Fn() -> Vec<(String, Arc<Figures>)> + use<> {
        let gathering = Arc::clone(&self.gathering);
        let told = |one: &Arc<Device>| (one.settings.path.clone(), Arc::clone(&one.figures));
        move || gathering.devices().iter().map(told).collect()
    }

    /// What stands for tokens and accessors that were seen before.
    pub(crate) const fn known(&self) -> &KnownHashes {
        &self.known
    }

    /// Where the use of keys is told within this process.
    #[must_use]
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// What stands for `value` in the log.
    #[must_use]
    pub fn hash(&self, value: &[u8]) -> Option<String> {
        let hash = self.key()?.value_hash(value);
        Some(format!("hmac-sha256:{:x}", HexDisplay(&hash)))
    }

    /// Hands `line`, a JSON object without its last brace, to all devices and waits until one has
    /// it.
    ///
    /// # Errors
    ///
    /// [`NotRecorded`] if none takes it in time.
    pub(crate) async fn record(&self, line: Vec<u8>) -> Result<(), NotRecorded> {
        match self.gathering.devices().is_empty() {
            true => Ok(()),
            false => self.gathering.record(line).await,
        }
    }

    /// The same for a line that nobody is there to wait for.
    pub(crate) fn leave(&self, line: Vec<u8>) {
        if !self.gathering.devices().is_empty() {
            let _nobody_waits = self.gathering.begin(line);
        }
    }

    /// Whether a stranger may be recorded now; then, how many were not before it.
    pub(crate) fn admit_stranger(&self) -> Option<u64> {
        self.strangers.spend(self.clock.unix_seconds())
    }

    /// Whether a login from `address` may be tried, and recorded, now. Whoever floods us with others,
    /// or with what is no login, keeps nobody out but those who share a place with him.
    pub(crate) fn admit_login(&self, address: IpAddr) -> bool {
        let hash = self.hasher.hash_one(ClientNetwork::from(address));
        let hash = usize::try_from(hash >> 1).unwrap_or_default();
        let budget = self.logins.get(hash % PLACES);
        budget.is_some_and(|budget| budget.spend(self.clock.unix_seconds()).is_some())
    }

    pub(crate) fn unix_nanos(&self) -> u128 {
        self.clock.unix_nanos()
    }

    /// Opens files and connections anew, as after a rotation.
    pub fn reopen(&self) {
        self.gathering.devices().iter().for_each(|device| device.reopen());
    }

    /// Writes what waits and the last checkpoint of each device. Blocks for a few seconds at most.
    pub fn stop(&self) {
        self.gathering.flush();
        self.gathering.devices().iter().for_each(|device| device.stop());
    }
}

/// Whether the daemon or the collector of a device is there; `None` of a file.
pub(crate) fn reach(kind: &AuditKind) -> Option<io::Result<()>> {
    match kind.clone() {
        AuditKind::File(_) => None,
        AuditKind::Syslog(syslog) => Some(SyslogSink::new(syslog).probe()),
        AuditKind::Socket(socket) => Some(SocketSink::new(socket).probe()),
    }
}

/// Whether a device may be opened later.
#[derive(Clone, Copy, Debug)]
enum Opening {
    /// At a start, for what may pass: a server that comes up is worth more.
    May,
    Must,
}

/// What all devices share.
#[derive(Clone)]
struct Means {
    key: Arc<AuditKey>,
    clock: Arc<dyn Clock>,
    claims: Arc<Claims>,
}

/// A device whose thread runs.
struct Started {
    device: Device,
    /// Why it is not open yet.
    unopened: Option<io::Error>,
}

fn start(
    settings: AuditDevice,
    Means { key, clock, claims }: Means,
    opening: Opening,
) -> Result<Started, AuditError> {
    let sink: Box<dyn Sink> = match settings.kind.clone() {
        AuditKind::File(file) => Box::new(FileSink::new(file, &settings.path, &claims)),
        AuditKind::Syslog(syslog) => Box::new(SyslogSink::new(syslog)),
        AuditKind::Socket(socket) => Box::new(SocketSink::new(socket)),
    };
    let figures = Arc::<Figures>::default();
    let writer = Writer {
        name: settings.path.clone(),
        sink,
        key,
        clock,
        chain: Chain::new(Uuid::new_v4().to_string()),
        figures: Arc::clone(&figures),
        checkpoint_interval: settings.checkpoint_interval,
        before: None,
        is_anew: true,
        chained: Chained::default(),
        told_too_long: LogBudget::new(1),
    };
    let device = Device::start(settings, figures, writer).map_err(AuditError::Thread)?;
    let is_file = matches!(device.settings.kind, AuditKind::File(_));
    let unopened = match (device.opened(), opening) {
        // A socket that is missing comes with its collector; its thread tries it again meanwhile.
        (Err(source), Opening::May) if !(is_file && is_lasting(&source)) => Some(source),
        (Err(source), _) => {
            let refusal = refusal(&device.settings, source);
            device.discard();
            return Err(refusal);
        }
        (Ok(()), _) => None,
    };
    Ok(Started { device, unopened })
}

fn refusal(settings: &AuditDevice, source: io::Error) -> AuditError {
    let device = settings.path.clone();
    match &settings.kind {
        AuditKind::File(file) if is_lasting(&source) || HeldElsewhere::is_in(&source) => {
            AuditError::File { device, path: file.path.clone(), source }
        }
        kind => AuditError::Unopened { device, place: kind.to_string(), source },
    }
}

/// Whether somebody must mend it by hand: what a full or broken disk says may pass, and another
/// process may end.
fn is_lasting(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    // What opening a link without following it fails with.
    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    let is_claimed = error.get_ref().is_some_and(|source| source.is::<Claimed>());
    is_link
        || is_claimed
        || matches!(error.kind(), NotFound | PermissionDenied | NotADirectory | IsADirectory)
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.gathering.devices().iter()).finish()
    }
}
