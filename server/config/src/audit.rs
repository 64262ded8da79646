//! `audit`: where each request is recorded before it is answered, and under which key.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use selkie_crypto::{AuditKey, OriginKey, PageError, PinKey};
use selkie_hcl::{Document, Located, Problems, Section};

use crate::secret::{Purpose, Reading};
use crate::sources::Sources;
use crate::warning::WarningKind;

/// The audit devices and what their lines are hashed and chained under.
#[derive(Debug, Default)]
pub struct Audit {
    /// `audit_key`, else derived from `origin_key`, else from `local_key`; always there when a
    /// device is.
    pub key: Option<AuditKey>,
    /// `audit`; of several, one is enough for a line.
    pub devices: Vec<AuditDevice>,
}

/// Where audit lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditDevice {
    /// `path`: its name in `sys/audit`, without slashes; the stanza's label by default.
    pub path: String,
    /// `description`, free text.
    pub description: String,
    /// `checkpoint_interval`: how often a checkpoint is written while there are lines; 1 min by
    /// default.
    pub checkpoint_interval: Duration,
    /// What it is.
    pub kind: AuditKind,
}

/// The kinds of audit device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditKind {
    /// `audit "file"`
    File(AuditFile),
    /// `audit "syslog"`
    Syslog(AuditSyslog),
    /// `audit "socket"`
    Socket(AuditSocket),
}

/// `audit "file"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFile {
    /// `file_path`, absolute.
    pub path: PathBuf,
    /// `mode`: permissions of the file; 0600 by default.
    pub mode: u32,
    /// `fsync`: whether a line counts as written only once the disk has it; false by default.
    pub fsync: bool,
}

/// `audit "syslog"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSyslog {
    /// `facility`, by its number; AUTH by default.
    pub facility: u8,
    /// `tag`: the program's name in each message; `selkie` by default.
    pub tag: String,
    /// `address`: the datagram socket of the daemon; `/dev/log` by default.
    pub socket: PathBuf,
}

/// `audit "socket"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSocket {
    /// `address` and `socket_type`.
    pub target: AuditTarget,
    /// `write_timeout`: how long a connect or a write may take; 2 s by default.
    pub write_timeout: Duration,
}

/// Where a socket device sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// `socket_type = "tcp"`
    Tcp(SocketAddr),
    /// `socket_type = "udp"`: a datagram each line.
    Udp(SocketAddr),
    /// `socket_type = "unix"`: a stream socket.
    Unix(PathBuf),
}

impl AuditKind {
    /// The label of its stanza.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Syslog(_) => "syslog",
            Self::Socket(_) => "socket",
        }
    }
}

/// What it is and where: a file, or an address.
impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "file {}", file.path.display()),
            Self::Syslog(syslog) => write!(f, "syslog at {}", syslog.socket.display()),
            Self::Socket(AuditSocket { target, .. }) => match target {
                AuditTarget::Tcp(address) => write!(f, "socket at tcp {address}"),
                AuditTarget::Udp(address) => write!(f, "socket at udp {address}"),
                AuditTarget::Unix(path) => write!(f, "socket at {}", path.display()),
            },
        }
    }
}

/// What is wrong with an audit device.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error("audit type {found:?} does not exist: there are \"file\", \"socket\" and \"syslog\"")]
    UnknownType { found: String },
    #[error(
        "audit lines are hashed and chained under a key: set \"audit_key\" (or \"origin_key\", \
         from which one is derived)"
    )]
    NoKey,
    #[error("there is no protected memory for the audit key (RLIMIT_MEMLOCK too low?)")]
    NoPage {
        #[source]
        source: PageError,
    },
    #[error(
        "field \"file_path\": {found:?} does not exist here: name a file by its absolute path, or \
         declare audit \"syslog\" or \"socket\""
    )]
    NotAFile { found: String },
    #[error("field {field:?}: must be an absolute path")]
    RelativePath { field: &'static str },
    #[error("field \"path\": a name of 1 to 64 of the characters a-z A-Z 0-9 _ -")]
    NotAName,
    #[error("an audit device {path:?} is declared already: give this one another \"path\"")]
    Repeated { path: String },
    #[error("field \"mode\": expected octal digits such as \"0600\", writable by the owner alone")]
    NotAMode,
    #[error("field \"facility\": expected a syslog facility such as \"AUTH\" or \"LOCAL0\"")]
    UnknownFacility,
    #[error("field \"tag\": a name of 1 to 32 of the characters a-z A-Z 0-9 _ - . /")]
    NotATag,
    #[error("field \"socket_type\": there are \"tcp\", \"udp\" and \"unix\"")]
    UnknownSocketType,
    #[error("field \"address\": expected IP:PORT, or an absolute path for socket_type \"unix\"")]
    NotAnAddress,
    #[error("field {field:?}: must be from 1 s to 1 h")]
    Duration { field: &'static str },
    #[error("{field:?} is not supported: {reason}")]
    NotSupported { field: &'static str, reason: &'static str },
}

/// Options of Vault's devices that would change what the lines say.
const NOT_SUPPORTED: [(&str, &str); 8] = [
    ("elide_list_responses", "large data is left out by itself, under its hash"),
    ("exclude", "every line is recorded whole"),
    ("fallback", "every device takes every line"),
    ("filter", "every device takes every line"),
    ("format", "lines are JSON"),
    ("hmac_accessor", "accessors are always hashed"),
    ("log_raw", "secrets are never recorded in clear"),
    ("prefix", "lines begin with their JSON"),
];

const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV",
    "FTP", "NTP", "SECURITY", "CONSOLE", "CLOCK", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4",
    "LOCAL5", "LOCAL6", "LOCAL7",
];

/// `audit_key` and the `audit` stanzas.
pub(crate) fn decode(
    root: &mut Section<'_>,
    (origin_key, local_key): (Option<&OriginKey>, Option<&PinKey>),
    reading: &Reading<'_>,
) -> Audit {
    // One that is declared and could not be read was told of there, and no other takes its place.
    let mut is_unread =
        |field: &'static str, is_read: bool| !is_read && root.field(field).place().is_some();
    let lacks_key = is_unread("origin_key", origin_key.is_some())
        || origin_key.is_none() && is_unread("local_key", local_key.is_some());
    let declared = declared_key(root, reading);
    let has_key_field = root.field("audit_key").place().is_some();
    let mut paths = BTreeSet::new();
    let mut audit = Audit { key: declared, devices: Vec::new() };
    for (index, (label, mut section)) in root.labelled("audit").into_iter().enumerate() {
        if index == 0 && !has_key_field && !lacks_key {
            audit.key = derived(&label, (origin_key, local_key), reading);
        }
        let Some(kind) = kind(&label, &mut section) else { continue };
        let device = device(&label, kind, &mut section);
        section.finish();
        let Some(device) = device else { continue };
        if !paths.insert(device.path.clone()) {
            label.place.report(AuditError::Repeated { path: device.path.clone() });
        }
        audit.devices.push(device);
    }
    audit
}

fn declared_key(root: &mut Section<'_>, reading: &Reading<'_>) -> Option<AuditKey> {
    let reference = root.field("audit_key").string()?;
    let keep = |bytes: &[u8; 32]| AuditKey::init_with(|page| page.copy_from_slice(bytes));
    reading.key("audit_key", &reference, keep)
}

/// The audit key behind `reference`, for those who check lines without a configuration.
///
/// # Errors
///
/// What is wrong with it, as of the field `audit_key` of a file `file`.
pub fn read_audit_key(
    file: &str,
    reference: &str,
    sources: &dyn Sources,
) -> Result<Option<AuditKey>, Problems> {
    let document = Document::parse(file, &format!("audit_key = {reference:?}"))?;
    let mut root = document.root();
    let key = declared_key(&mut root, &Reading::new(sources, Purpose::Serve));
    root.finish();
    document.finish()?;
    Ok(key)
}

fn derived(
    label: &Located<'_, String>,
    keys: (Option<&OriginKey>, Option<&PinKey>),
    reading: &Reading<'_>,
) -> Option<AuditKey> {
    let made = match keys {
        (Some(origin), _) => origin.audit_key(),
        (None, Some(local)) => {
            reading.warn(label.place, WarningKind::AuditKeyOfOneMachine);
            local.audit_key()
        }
        (None, None) => {
            label.place.report(AuditError::NoKey);
            return None;
        }
    };
    made.map_err(|source| label.place.report(AuditError::NoPage { source })).ok()
}

/// `None` for a type that does not exist, the inner one for fields with problems.
fn kind(label: &Located<'_, String>, section: &mut Section<'_>) -> Option<Option<AuditKind>> {
    match label.value.as_str() {
        "file" => Some(file(section).map(AuditKind::File)),
        "syslog" => Some(syslog(section).map(AuditKind::Syslog)),
        "socket" => Some(socket(section).map(AuditKind::Socket)),
        found => {
            label.place.report(AuditError::UnknownType { found: found.to_owned() });
            None
        }
    }
}

fn device(
    label: &Located<'_, String>,
    kind: Option<AuditKind>,
    section: &mut Section<'_>,
) -> Option<AuditDevice> {
    let path = section.field("path").string().map(|text| text.try_map(|text| checked_name(&text)));
    let path = path.map_or_else(|| Some(label.value.clone()), |path| path.map(|path| path.value));
    let description = section.field("description").string().map(|text| text.value);
    let interval = seconds(section, "checkpoint_interval", Duration::from_secs(60));
    for (field, reason) in NOT_SUPPORTED {
        section.refuse(field, || AuditError::NotSupported { field, reason });
    }
    Some(AuditDevice {
        path: path?,
        description: description.unwrap_or_default(),
        checkpoint_interval: interval,
        kind: kind?,
    })
}

fn checked_name(text: &str) -> Result<String, AuditError> {
    let name = text.strip_suffix('/').unwrap_or(text).to_owned();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
    if fits { Ok(name) } else { Err(AuditError::NotAName) }
}

fn seconds(section: &mut Section<'_>, field: &'static str, default: Duration) -> Duration {
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    let given = section.field(field).duration().and_then(|given| {
        let error = AuditError::Duration { field };
        given.try_map(|time| if range.contains(&time) { Ok(time) } else { Err(error) })
    });
    given.map_or(default, |given| given.value)
}

fn absolute(section: &mut Section<'_>, field: &'static str) -> Option<PathBuf> {
    let path = section.field(field).required().string()?.try_map(|text| {
        if ["stdout", "discard"].contains(&text.as_str()) && field == "file_path" {
            return Err(AuditError::NotAFile { found: text });
        }
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(AuditError::RelativePath { field }) }
    });
    path.map(|path| path.value)
}

fn file(section: &mut Section<'_>) -> Option<AuditFile> {
    let mode = section.field("mode").string().map(|text| {
        text.try_map(|text| match u32::from_str_radix(&text, 8) {
            // Readable by its owner, and written by nobody else.
            Ok(mode) if mode & !0o644 == 0 && mode & 0o600 == 0o600 => Ok(mode),
            Ok(_) | Err(_) => Err(AuditError::NotAMode),
        })
    });
    let mode = mode.map_or(Some(0o600), |mode| mode.map(|mode| mode.value));
    let fsync = section.field("fsync").boolean().is_some_and(|flag| flag.value);
    Some(AuditFile { path: absolute(section, "file_path")?, mode: mode?, fsync })
}

fn syslog(section: &mut Section<'_>) -> Option<AuditSyslog> {
    let facility = section.field("facility").string().map(|text| {
        text.try_map(|text| {
            let known = FACILITIES.iter().position(|name| name.eq_ignore_ascii_case(&text));
            known.and_then(|at| u8::try_from(at).ok()).ok_or(AuditError::UnknownFacility)
        })
    });
    let facility = facility.map_or(Some(4), |facility| facility.map(|facility| facility.value));
    let tag = section.field("tag").string().map(|text| {
        text.try_map(|text| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
            let fits = (1..=32).contains(&text.len()) && text.bytes().all(allowed);
            if fits { Ok(text) } else { Err(AuditError::NotATag) }
        })
    });
    let tag = tag.map_or_else(|| Some("selkie".to_owned()), |tag| tag.map(|tag| tag.value));
    let has_address = section.field("address").place().is_some();
    let socket = if has_address { absolute(section, "address") } else { Some("/dev/log".into()) };
    Some(AuditSyslog { facility: facility?, tag: tag?, socket: socket? })
}

fn socket(section: &mut Section<'_>) -> Option<AuditSocket> {
    let kind = section.field("socket_type").string();
    let kind = kind.as_ref().map_or("tcp", |kind| kind.value.as_str()).to_owned();
    let place = section.field("socket_type").place().unwrap_or_else(|| section.place());
    let write_timeout = seconds(section, "write_timeout", Duration::from_secs(2));
    let address = section.field("address").required().string()?;
    let target = address.try_map(|text| {
        let ip = |text: &str| text.parse().map_err(|_bad| AuditError::NotAnAddress);
        match kind.as_str() {
            "tcp" => ip(&text).map(|address| Some(AuditTarget::Tcp(address))),
            "udp" => ip(&text).map(|address| Some(AuditTarget::Udp(address))),
            "unix" if text.starts_with('/') => Ok(Some(AuditTarget::Unix(PathBuf::from(text)))),
            "unix" => Err(AuditError::NotAnAddress),
            _ => Ok(None),
        }
    });
    let Some(target) = target?.value else {
        place.report(AuditError::UnknownSocketType);
        return None;
    };
    Some(AuditSocket { target, write_timeout })
}
