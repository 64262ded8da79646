//! The whole file.

use std::path::PathBuf;

use selkie_access::Policy;
use selkie_crypto::{OriginKey, PinKey};
use selkie_hcl::{Document, Located, Problems, Section};

use crate::alerts::{self, Alerts};
use crate::audit::{self, Audit};
use crate::auth::{self, DeclaredAuth};
use crate::client::{self, DeclaredClient};
use crate::faults::Faults;
use crate::key::{self, DeclaredKey, Surroundings};
use crate::lease::{self, LeaseTimes};
use crate::listener::{self, Listener};
use crate::mount::{self, Mount};
use crate::pins::{self, PinKeeping};
use crate::policy;
use crate::seal::{self, Declared, RevokedSeal, Seal, UnreadSeal};
use crate::secret::{Purpose, Reading};
use crate::sources::{Sources, SystemSources};
use crate::storage::{self, Storage};
use crate::takeover::Takeover;
use crate::telemetry::{self, Telemetry};
use crate::warning::{Warning, WarningKind};

/// A configuration that passed every check, or one made in code (which then owes them).
///
/// It holds keys, so it can be neither cloned nor printed in full.
#[derive(Debug)]
pub struct Config {
    /// `realm`: the name of this deployment, bound into every envelope.
    pub realm: String,
    /// `realm_aliases`: names it had before; what was encrypted under them still opens.
    pub realm_aliases: Vec<String>,
    /// `origin_key`: proves which deployment made an envelope; once set, decrypt requires it.
    pub origin_key: Option<OriginKey>,
    /// `log_level` and `log_format`.
    pub logging: Logging,
    /// `api_addr`: the URL that `sys/leader` tells clients.
    pub api_addr: Option<String>,
    /// `cluster_name`, as `sys/health` tells it.
    pub cluster_name: Option<String>,
    /// `pid_file`: where the server writes its process id.
    pub pid_file: Option<PathBuf>,
    /// `data_dir`, else systemd's `STATE_DIRECTORY`: where what was learned of master keys is kept;
    /// an absolute path.
    pub data_dir: Option<PathBuf>,
    /// `local_key`: proves that what lies in the data directory is ours.
    pub local_key: Option<PinKey>,
    /// `disable_mlock = false`: lock the whole process into memory. Pages of keys are locked
    /// always; the whole process only on this word, as it needs a high RLIMIT_MEMLOCK.
    pub lock_all_memory: bool,
    /// `sandbox`: whether the server confines itself once it has read its configuration.
    pub sandbox: SandboxMode,
    /// `listener`, at least one.
    pub listeners: Vec<Listener>,
    /// `seal`, at least one, in order of priority.
    pub seals: Vec<Seal>,
    /// `seal` with `revoked`.
    pub revoked_seals: Vec<RevokedSeal>,
    /// `storage`.
    pub storage: Option<Storage>,
    /// `audit_key` and `audit`; nothing is recorded by default.
    pub audit: Audit,
    /// `alerts`; without the stanza nothing is watched.
    pub alerts: Option<Alerts>,
    /// `telemetry`; nothing of it by default.
    pub telemetry: Telemetry,
    /// `mount`, at least one.
    pub mounts: Vec<Mount>,
    /// `key`.
    pub keys: Vec<DeclaredKey>,
    /// `takeover` in those.
    pub takeovers: Vec<Takeover>,
    /// `auth`.
    pub auth: Vec<DeclaredAuth>,
    /// `client`.
    pub clients: Vec<DeclaredClient>,
    /// `policy`, without the built-in ones.
    pub policies: Vec<Policy>,
    /// `default_lease_ttl` and `max_lease_ttl`.
    pub leases: LeaseTimes,
    /// `allow_faults`: whether this server may be a test bench.
    pub allow_faults: bool,
    /// What is to go wrong by a script, which no configuration file says: `--faults` does.
    pub faults: Option<Faults>,
    /// What works and is worth telling.
    pub warnings: Vec<Warning>,
}

/// `sandbox`: whether landlock and seccomp confine the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxMode {
    /// As far as the kernel has them; the default.
    #[default]
    Auto,
    /// Without both the server does not start.
    Required,
    /// Not at all, for debuggers.
    Off,
}

/// What is logged and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// `log_level`.
    pub level: LogLevel,
    /// `log_format`.
    pub format: LogFormat,
}

/// From where on events are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// A line for each request.
    Debug,
    /// Events; the default.
    #[default]
    Info,
    /// What needs attention.
    Warn,
    /// Failures.
    Error,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text; the default.
    #[default]
    Standard,
    /// One JSON object a line.
    Json,
}

/// What is wrong at the top level.
#[derive(Debug, thiserror::Error)]
enum ConfigError {
    #[error("field {field:?}: a realm has 1 to 128 of the characters A-Z a-z 0-9 _ - . /")]
    NotARealm { field: &'static str },
    #[error(
        "field \"log_level\": there are \"trace\", \"debug\", \"info\", \"warn\" and \"error\""
    )]
    UnknownLogLevel,
    #[error("field \"sandbox\": there are \"auto\", \"required\" and \"off\"")]
    UnknownSandbox,
    #[error("field \"log_format\": there are \"standard\" and \"json\"")]
    UnknownLogFormat,
    #[error("field \"api_addr\": expected a URL that begins with \"https://\" or \"http://\"")]
    NotAUrl,
    #[error("field {field:?}: must not be empty")]
    Empty { field: &'static str },
    #[error("{name:?} is not used by Selkie: remove it")]
    NotUsed { name: &'static str },
}

/// What stands in many a Vault's configuration and has no meaning here.
const NOT_USED: [&str; 18] = [
    "administrative_namespace_path",
    "cluster_addr",
    "disable_cache",
    "disable_clustering",
    "disable_performance_standby",
    "disable_sealwrap",
    "enable_response_header_hostname",
    "enable_response_header_raft_node_id",
    "ha_storage",
    "introspection_endpoint",
    "license_path",
    "plugin",
    "plugin_directory",
    "raw_storage_endpoint",
    "replication",
    "sentinel",
    "service_registration",
    "ui",
];

impl Config {
    /// Reads the text of a configuration; `file` is the name its problems are reported under.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in order of position.
    pub fn parse(file: &str, text: &str, sources: &dyn Sources) -> Result<Self, Problems> {
        // To serve, a seal without its key is a problem: there are none here.
        Ok(Self::read(file, text, Reading::new(sources, Purpose::Serve))?.config)
    }

    /// The same of a text without a `seal` stanza, with these `seals` for all keys.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in order of position.
    pub fn parse_around(seals: Vec<Seal>, file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let reading = Reading::new(&SystemSources, Purpose::Serve);
        let read = decode(document.root(), reading, Some(seals));
        document.finish()?;
        Ok(read.config)
    }

    pub(crate) fn read(file: &str, text: &str, reading: Reading<'_>) -> Result<Read, Problems> {
        let document = Document::parse(file, text)?;
        let read = decode(document.root(), reading, None);
        document.finish()?;
        Ok(read)
    }
}

/// What a reading comes to.
pub(crate) struct Read {
    pub(crate) config: Config,
    /// Those without a key; none in a reading to serve.
    pub(crate) unread_seals: Vec<UnreadSeal>,
}

/// What has problems is left out or reads as its default; the caller looks at the document's
/// problems before it uses the result. Seals that are `given` stand in place of all `seal` stanzas.
fn decode(mut root: Section<'_>, reading: Reading<'_>, given: Option<Vec<Seal>>) -> Read {
    // Before any secret is read.
    if root.field("allow_readable_secrets").boolean().is_some_and(|flag| flag.value) {
        reading.allow_exposed();
    }
    let data_dir = pins::data_dir(&mut root, &reading);
    let local_key = pins::local_key(&mut root, &reading);
    let keeping = PinKeeping::new(data_dir.as_ref(), local_key.as_ref());
    let listeners = listener::decode(&mut root, &reading);
    let seals = match given {
        None => seal::decode(&mut root, keeping, &listeners, &reading),
        Some(seals) => Declared::given(seals),
    };
    let mounts = mount::decode(&mut root);
    let (policies, policy_names) = policy::decode(&mut root, &reading);
    let surroundings =
        Surroundings { mounts: &mounts, seals: &seals, listeners: &listeners, reading: &reading };
    let (keys, takeovers) = key::decode(&mut root, surroundings);
    let clients = client::decode(&mut root, &policy_names, &listeners);
    let can_show = listeners.iter().any(Listener::asks_clients);
    let origin_key = origin_key(&mut root, &reading);
    let audit_keys = (origin_key.as_ref(), local_key.as_ref());
    let audit = audit::decode(&mut root, audit_keys, &reading);
    let storage = storage::decode(&mut root, data_dir.as_deref(), &reading);
    let remembers = storage.is_some() || (data_dir.is_some() && local_key.is_some());
    let leases = lease::decode(&mut root, storage.as_ref());
    let config = Config {
        realm: realm(&mut root),
        realm_aliases: realm_aliases(&mut root),
        origin_key,
        audit,
        logging: logging(&mut root),
        api_addr: api_addr(&mut root),
        cluster_name: non_empty(&mut root, "cluster_name"),
        pid_file: non_empty(&mut root, "pid_file").map(PathBuf::from),
        lock_all_memory: root.field("disable_mlock").boolean().is_some_and(|flag| !flag.value),
        sandbox: sandbox(&mut root, &reading),
        telemetry: telemetry::decode(&mut root, &listeners, &reading),
        listeners,
        storage,
        alerts: alerts::decode(&mut root, remembers, &reading),
        leases,
        auth: auth::decode(&mut root, &reading, can_show),
        allow_faults: allow_faults(&mut root, &reading),
        faults: None,
        warnings: Vec::new(),
        data_dir,
        local_key,
        seals: seals.seals,
        revoked_seals: seals.revoked,
        mounts,
        keys,
        takeovers,
        clients,
        policies,
    };
    refuse_what_is_not_here(&mut root);
    root.finish();
    let config = Config { warnings: reading.into_warnings(), ..config };
    Read { config, unread_seals: seals.unread }
}

fn refuse_what_is_not_here(root: &mut Section<'_>) {
    for name in NOT_USED {
        root.refuse(name, || ConfigError::NotUsed { name });
    }
}

fn sandbox(root: &mut Section<'_>, reading: &Reading<'_>) -> SandboxMode {
    let Some(text) = root.field("sandbox").string() else { return SandboxMode::default() };
    let place = text.place;
    let mode = text.try_map(|text| match text.as_str() {
        "auto" => Ok(SandboxMode::Auto),
        "required" => Ok(SandboxMode::Required),
        "off" => Ok(SandboxMode::Off),
        _ => Err(ConfigError::UnknownSandbox),
    });
    let mode = mode.map(|mode| mode.value).unwrap_or_default();
    if mode == SandboxMode::Off {
        reading.warn(place, WarningKind::NotConfined);
    }
    mode
}

fn allow_faults(root: &mut Section<'_>, reading: &Reading<'_>) -> bool {
    let allowed = root.field("allow_faults").boolean().filter(|flag| flag.value);
    allowed.inspect(|flag| reading.warn(flag.place, WarningKind::FaultsAllowed)).is_some()
}

fn realm(root: &mut Section<'_>) -> String {
    let realm = root.field("realm").string().and_then(|text| checked_realm(text, "realm"));
    realm.unwrap_or_else(|| "default".to_owned())
}

fn realm_aliases(root: &mut Section<'_>) -> Vec<String> {
    let aliases = root.field("realm_aliases").strings().map(|list| list.value);
    let aliases = aliases.unwrap_or_default().into_iter();
    aliases.filter_map(|alias| checked_realm(alias, "realm_aliases")).collect()
}

fn checked_realm(text: Located<'_, String>, field: &'static str) -> Option<String> {
    let realm = text.try_map(|text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(text) } else { Err(ConfigError::NotARealm { field }) }
    });
    realm.map(|realm| realm.value)
}

fn origin_key(root: &mut Section<'_>, reading: &Reading<'_>) -> Option<OriginKey> {
    let reference = root.field("origin_key").string()?;
    let keep = |bytes: &[u8; 32]| OriginKey::init_with(|page| page.copy_from_slice(bytes));
    reading.key("origin_key", &reference, keep)
}

fn logging(root: &mut Section<'_>) -> Logging {
    let level = root.field("log_level").string().and_then(|text| {
        text.try_map(|text| match text.as_str() {
            "trace" => Ok(LogLevel::Trace),
            "debug" => Ok(LogLevel::Debug),
            "info" => Ok(LogLevel::Info),
            "warn" => Ok(LogLevel::Warn),
            "error" => Ok(LogLevel::Error),
            _ => Err(ConfigError::UnknownLogLevel),
        })
    });
    let format = root.field("log_format").string().and_then(|text| {
        text.try_map(|text| match text.as_str() {
            "standard" => Ok(LogFormat::Standard),
            "json" => Ok(LogFormat::Json),
            _ => Err(ConfigError::UnknownLogFormat),
        })
    });
    Logging {
        level: level.map(|level| level.value).unwrap_or_default(),
        format: format.map(|format| format.value).unwrap_or_default(),
    }
}

fn api_addr(root: &mut Section<'_>) -> Option<String> {
    let url = root.field("api_addr").string()?.try_map(|text| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match rest {
            Some(rest) if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()) => {
                Ok(text)
            }
            _ => Err(ConfigError::NotAUrl),
        }
    });
    url.map(|url| url.value)
}

fn non_empty(root: &mut Section<'_>, field: &'static str) -> Option<String> {
    let text = root
        .field(field)
        .string()?
        .try_map(|text| if text.is_empty() { Err(ConfigError::Empty { field }) } else { Ok(text) });
    text.map(|text| text.value)
}
