//! Why a command fails, with its exit code, and what to do next.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use selkie_access::MountPath;
use selkie_config::{Problems, Regression, SourceError};
use selkie_crypto::{ProtectError, RandomError};

use super::validate::UnfitPlace;
use super::{BreakGlassError, Exit, RemoteError};
use crate::backup::{Back, ContentError, CopyError, listed};
use crate::deployment::DeploymentError;
use crate::dev::DevError;
use crate::hardening::HardeningError;
use crate::listener_certificates::Notice;
use crate::node::NodeError;
use crate::promises::PromiseFileError;
use crate::serve::{EndpointName, ServeError};
use crate::state::backend::BackendError;
use crate::state::others::Nested;
use crate::telemetry::TelemetryError;
use crate::vault_storage::VaultStorageError;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line is wrong, or it asked for help.
    #[error(transparent)]
    Arguments(clap::Error),
    /// This build leaves secrets in its memory.
    #[error(
        "this build does not wipe its memory (feature \"unhygienic\") and runs \"server --dev\" \
         only; build without the feature"
    )]
    Unhygienic,
    /// The configuration file cannot be read.
    #[error("{} {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error behind it.
        source: SourceError,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(Problems),
    /// A server that others may depend on is not made to misbehave by one option.
    #[error(
        "--faults with --config needs allow_faults = true in the configuration: never set it where \
         anyone depends on the server"
    )]
    FaultsNotAllowed,
    /// A server could not write where it is to.
    #[error("a server could not write where it is to")]
    UnfitPlaces(Vec<UnfitPlace>),
    /// A listener shows a certificate that clients refuse.
    #[error("listener {endpoint}: {notice}: {}", notice.advice())]
    ListenerCertificate {
        /// The listener.
        endpoint: EndpointName,
        /// The notice.
        notice: Notice,
    },
    /// The configuration breaks what the previous one promised.
    #[error("the new configuration breaks what the previous one promised")]
    Regressions(Vec<Regression>),
    /// The configuration cannot be put to work.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A running server does not do what it is asked for.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// State was not copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A backup was not put into a storage.
    #[error("{} is not restored into the storage of {}: {}", backup.display(), config.display(), next_step(source))]
    Restore {
        /// The backup.
        backup: PathBuf,
        /// The configuration that names the storage.
        config: PathBuf,
        /// Why not.
        source: Box<CopyError>,
    },
    /// A backup would take a storage back.
    #[error(
        "nothing has changed: with {}, the storage of {} would go back: {}. If all of that may be lost: \
         --force", backup.display(), config.display(), listed(back)
    )]
    RestoreGoesBack {
        /// The backup.
        backup: PathBuf,
        /// The configuration that names the storage.
        config: PathBuf,
        /// What would be lost.
        back: Vec<Back>,
    },
    /// What the server sent is no backup.
    #[error("what was received is not kept: {0}")]
    Backup(#[from] ContentError),
    /// A configuration has no storage.
    #[error("{}: there is no storage stanza", path.display())]
    NoStorage {
        /// The file.
        path: PathBuf,
    },
    /// What the storage holds ends with the process.
    #[error("{}: storage \"inmem\" keeps nothing: there is nothing to copy from or to", path.display())]
    KeepsNothing {
        /// The file.
        path: PathBuf,
    },
    /// A server tells a token nothing of mounts below which it may do nothing.
    #[error(
        "the token sees no mount, and so none of the keys: it needs list on MOUNT/keys and read on \
         MOUNT/keys/* of each mount (selkie client add NAME --operator)"
    )]
    NoMountSeen,
    /// The same of one that was asked for.
    #[error(
        "there is no mount {mount}, or the token may do nothing below it: it needs list on {mount}/keys \
         and read on {mount}/keys/*"
    )]
    MountNotSeen {
        /// The mount.
        mount: MountPath,
    },
    /// There is no place where anything would be remembered.
    #[error(
        "{}: no \"data_dir\" and no STATE_DIRECTORY: nothing is remembered here; run it with the \
         environment of the service", path.display()
    )]
    NothingRemembered {
        /// The file.
        path: PathBuf,
    },
    /// Another user's data directory, whose files the service could not read any more.
    #[error("{} belongs to user {owner}: run it as that user (sudo -u '#{owner}')", path.display())]
    AnothersData {
        /// The directory.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// What was promised cannot be read or written.
    #[error("{}", path.display())]
    Promises {
        /// The file.
        path: PathBuf,
        /// The error behind it.
        source: PromiseFileError,
    },
    /// The storage cannot be opened.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Another deployment keeps its state around the place of the storage.
    #[error("{}: {}", .0, .0.advice())]
    Nested(Nested),
    /// The directory of a storage cannot be opened by a command that needs it alone.
    #[error("storage \"sled\" in {}: {}", path.display(), told(source))]
    StorageDirectory {
        /// The directory.
        path: PathBuf,
        /// The error behind it.
        source: BackendError,
    },
    /// The break-glass key did not do what it was to.
    #[error(transparent)]
    BreakGlass(#[from] BreakGlassError),
    /// Nothing was extracted.
    #[error(transparent)]
    VaultStorage(#[from] VaultStorageError),
    /// Raft's database is in a format that is not read here.
    #[error(
        "{}: bbolt databases are not read here: stop that Vault and take the record out with bbolt's \
         own program (go install go.etcd.io/bbolt/cmd/bbolt@latest): bbolt get --format bytes \
         vault.db data core/hsm/barrier-unseal-keys > FILE; then: selkie extract --from record FILE",
        path.display()
    )]
    RaftDatabase {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Steps of the doctor's walk failed; the output tells which.
    #[error("the way to a master key does not work")]
    Unwell,
    /// Something of the server needs attention; the output tells what.
    #[error("something needs attention")]
    NeedsAttention,
    /// A seal did not open everything by itself; the output tells which.
    #[error("a drill failed")]
    DrillFailed,
    /// Lines were left as they were; the output tells which.
    #[error("not all lines were rewrapped")]
    NotAllRewrapped,
    /// The server went away in the middle of it.
    #[error(
        "stopped after {done} lines, which are written; the same command, with --output, goes on from \
         there"
    )]
    Interrupted {
        /// How many lines are done.
        done: u64,
        /// Why it cannot go on.
        source: RemoteError,
    },
    /// What is written would go into the input.
    #[error("{}: it is the input, which would be lost: name another output", path.display())]
    OutputIsInput {
        /// The file.
        path: PathBuf,
    },
    /// The output has lines that do not come from the input.
    #[error(
        "{}: it holds what no run on this input has written; it is left as it is", path.display()
    )]
    NotOfThisInput {
        /// The file.
        path: PathBuf,
    },
    /// Audit files are not what was written; the output tells where.
    #[error("the audit files are not whole")]
    AuditNotWhole,
    /// The configuration names no key for audit lines.
    #[error("there is no audit key: set \"audit_key\", or declare an audit device")]
    NoAuditKey,
    /// The server did not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Another program has the port that dev mode would have.
    #[error(
        "cannot listen at {address}: another program has this port; stop that, or choose another \
         with --dev-listen-address={}",
        SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024))
    )]
    DevAddress {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Dev mode did not start.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// The log did not start.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The process could not be protected as configured.
    #[error(transparent)]
    Hardening(#[from] HardeningError),
    /// There are no threads or no signals to be had.
    #[error("the operating system refuses what a server needs")]
    Runtime(#[source] io::Error),
    /// An accept loop has ended unasked: a bug.
    #[error("a listener has ended by itself")]
    NobodyListens,
    /// There is no randomness for a token.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A private key cannot be written under its passphrase.
    #[error(transparent)]
    Protect(#[from] ProtectError),
    /// What was asked for cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
}

/// What to do about a storage that does not open.
fn told(error: &BackendError) -> &'static str {
    if error.is_in_use() {
        "stop all servers that use it, and run this again"
    } else if error.is_damaged() {
        "move the directory away, so that a new one is filled"
    } else {
        "cannot be opened"
    }
}

/// What to do about a backup that was not restored.
const fn next_step(error: &CopyError) -> &'static str {
    match error {
        CopyError::Content(ContentError::NotABackup) => {
            "name the file that `selkie backup -o` has written"
        }
        CopyError::Content(ContentError::OtherVersion) => {
            "restore it with the version of Selkie that wrote it"
        }
        CopyError::Content(_) => {
            "the storage is as it was; copy the file again from where it is kept, or take the backup \
             before it"
        }
        CopyError::Seal(_) => {
            "the storage is as it was; configure a seal that the backup was made for, and see with \
             `selkie doctor` that it is reached, or name the file of the break-glass key with --key"
        }
        CopyError::NotOurs(_) => "find out whose it is, and run this again",
        CopyError::Target(_) => "see to that storage, and run this again",
        CopyError::GoesBack(_) => "only if all of it may be lost, run it again with --force",
        CopyError::Fill(_) => {
            "servers refuse the storage until it is whole: see to its disk or to etcd, and run the \
             same command again, which goes on"
        }
        CopyError::InUse(_) => "servers use it",
        CopyError::NotHandedOver(_) | CopyError::HandOver(_) => {
            "see with `selkie doctor` that each seal is reached and trusted, or disable it, and run the \
             same command again"
        }
        CopyError::Source(_)
        | CopyError::SourceInUse(_)
        | CopyError::SameStorage
        | CopyError::SourceEmpty
        | CopyError::SourceBrokenOff
        | CopyError::SourceChanged => "run this again, with all servers stopped",
    }
}

impl CommandError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Arguments(error) if !error.use_stderr() => Exit::Success,
            Self::Remote(error) if error.is_usage() => Exit::Usage,
            Self::Arguments(_)
            | Self::Unhygienic
            | Self::BreakGlass(BreakGlassError::Terminal | BreakGlassError::PlainHttp)
            | Self::FaultsNotAllowed
            | Self::Telemetry(TelemetryError::UnknownLevel) => Exit::Usage,
            Self::Unreadable { .. }
            | Self::Config(_)
            | Self::Remote(RemoteError::Identity(_) | RemoteError::ExposedKey(_))
            | Self::Regressions(_)
            | Self::ListenerCertificate { .. }
            | Self::UnfitPlaces(_)
            | Self::Deployment(_)
            | Self::NoStorage { .. }
            | Self::NothingRemembered { .. }
            | Self::AnothersData { .. }
            | Self::Nested(_)
            | Self::NoAuditKey
            | Self::KeepsNothing { .. }
            | Self::Serve(ServeError::Tls { .. } | ServeError::Node(NodeError::Deployment(_))) => {
                Exit::Config
            }
            Self::Dev(DevError::Name(_) | DevError::ClientName(_))
            | Self::Telemetry(TelemetryError::Started(_))
            | Self::NobodyListens => Exit::Bug,
            Self::Serve(_)
            | Self::DevAddress { .. }
            | Self::Dev(DevError::Random(_) | DevError::Certificates(_))
            | Self::Hardening(_)
            | Self::Telemetry(TelemetryError::Thread(_))
            | Self::Runtime(_)
            | Self::Random(_)
            | Self::Protect(_)
            | Self::Unwell
            | Self::NeedsAttention
            | Self::DrillFailed
            | Self::AuditNotWhole
            | Self::NotAllRewrapped
            | Self::NoMountSeen
            | Self::MountNotSeen { .. }
            | Self::Interrupted { .. }
            | Self::NotOfThisInput { .. }
            | Self::OutputIsInput { .. }
            | Self::Remote(_)
            | Self::Copy(_)
            | Self::Restore { .. }
            | Self::RestoreGoesBack { .. }
            | Self::Backup(_)
            | Self::Backend(_)
            | Self::StorageDirectory { .. }
            | Self::File { .. }
            | Self::Promises { .. }
            | Self::VaultStorage(_)
            | Self::BreakGlass(_)
            | Self::RaftDatabase { .. }
            | Self::Output(_) => Exit::Failure,
        }
    }
}
