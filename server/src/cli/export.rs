//! `selkie export --declared`: the managed keys of a running server as `key` stanzas.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, StatusCode};
use selkie_access::{KeyName, MountPath};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::remote::{Remote, RemoteError, ServerArguments};
use super::{CommandError, print, read_config, single_threaded};

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prints the keys of all mounts below which the token may do anything, and says which those are: of any
/// other mount a server tells it nothing. The token needs list on MOUNT/keys and read on each key.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As stanzas of the configuration file.
    #[arg(long, required = true)]
    declared: bool,
    /// The keys of this mount alone, which the token must see. May be given several times.
    #[arg(long, value_name = "PATH")]
    mount: Vec<MountPath>,
    /// A configuration file whose own keys are left out: those are declared already.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Mounts {
    secret: BTreeMap<String, Mount>,
}

#[derive(Deserialize)]
struct Mount {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Names {
    keys: Vec<String>,
}

/// What the API says of a key.
#[derive(Debug, Deserialize)]
struct Key {
    derived: bool,
    deletion_allowed: bool,
    #[serde(default)]
    allow_missing_seals: bool,
    latest_version: u32,
    min_available_version: u32,
    min_decryption_version: u32,
    min_encryption_version: u32,
    keys: BTreeMap<String, i64>,
}

const HEAD: &str = "\
# Keys of a running Selkie, as of now. Declared keys need no storage: their version is stated here,
# and each rotation is made by raising it. A ciphertext opens by its seals, whatever its version.
# These are the keys of all mounts that the token may see, or that were asked for:
";

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let declared = match &arguments.config {
        Some(path) => read_config(path)?.keys,
        None => Vec::new(),
    };
    let declared = declared.into_iter().map(|key| (key.mount, key.name)).collect();
    let runtime = single_threaded()?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let text = runtime.block_on(async {
        let mounts = chosen(visible(&server).await?, &arguments.mount)?;
        let stanzas = stanzas(&server, &mounts, &declared).await?;
        Ok::<_, CommandError>(head(&mounts) + &stanzas)
    })?;
    print(output, &text)
}

/// The mounts that the server tells the token of.
async fn visible(server: &Remote) -> Result<BTreeSet<MountPath>, RemoteError> {
    let mounts: Data<Mounts> = read(server, "sys/internal/ui/mounts", "a policy").await?;
    let mounts = mounts.data.secret.into_iter().filter(|(_, mount)| mount.kind == "transit");
    let mounts = mounts.map(|(path, _)| path.trim_end_matches('/').parse());
    mounts.collect::<Result<_, _>>().map_err(|_invalid| RemoteError::Unreadable)
}

/// All of them, or those that were asked for.
fn chosen(
    visible: BTreeSet<MountPath>,
    asked: &[MountPath],
) -> Result<BTreeSet<MountPath>, CommandError> {
    if let Some(mount) = asked.iter().find(|mount| !visible.contains(*mount)) {
        return Err(CommandError::MountNotSeen { mount: mount.clone() });
    }
    match (asked.is_empty(), visible.is_empty()) {
        (true, true) => Err(CommandError::NoMountSeen),
        (true, false) => Ok(visible),
        (false, _) => Ok(asked.iter().cloned().collect()),
    }
}

/// What stands above the stanzas. What is missing from a list shows, and nothing else would tell of it.
fn head(mounts: &BTreeSet<MountPath>) -> String {
    let mounts: Vec<_> = mounts.iter().map(|mount| format!("# - {mount}\n")).collect();
    format!("{HEAD}{}", mounts.concat())
}

async fn stanzas(
    server: &Remote,
    mounts: &BTreeSet<MountPath>,
    declared: &BTreeSet<(MountPath, KeyName)>,
) -> Result<String, RemoteError> {
    let mut text = String::new();
    for mount in mounts {
        for name in names(server, mount).await? {
            if declared.contains(&(mount.clone(), name.clone())) {
                continue;
            }
            let path = format!("{mount}/keys/{name}");
            let key: Data<Key> = read(server, &path, "read").await?;
            text.push_str(&stanza(mount, &name, &key.data));
        }
    }
    Ok(text)
}

async fn names(server: &Remote, mount: &MountPath) -> Result<Vec<KeyName>, RemoteError> {
    let path = format!("{mount}/keys?list=true");
    // Vault has it that nothing listed is nothing found.
    let names: Data<Names> = match server.send(Method::GET, &path).await? {
        (StatusCode::NOT_FOUND, _) => return Ok(Vec::new()),
        _ => read(server, &path, "list").await?,
    };
    let names = names.data.keys.iter().map(|name| name.parse());
    names.collect::<Result<_, _>>().map_err(|_invalid| RemoteError::Unreadable)
}

async fn read<T: DeserializeOwned>(
    server: &Remote,
    path: &str,
    right: &'static str,
) -> Result<T, RemoteError> {
    let body = server.fetch(path, right).await?;
    serde_json::from_slice(&body).map_err(|_other| RemoteError::Unreadable)
}

/// The key as a stanza, after what a stanza cannot say.
fn stanza(mount: &MountPath, name: &KeyName, key: &Key) -> String {
    let mut text = String::from("\n");
    let older: Vec<_> = key.keys.keys().filter_map(|number| number.parse::<u32>().ok()).collect();
    let older = older.into_iter().filter(|number| *number < key.latest_version).count();
    let mut notes = Vec::new();
    if older > 0 {
        notes.push(format!("{older} older versions are not listed; their ciphertexts still open"));
    }
    if key.min_available_version > 0 {
        notes.push(format!(
            "min_available_version = {} cannot be declared; min_decryption_version stands for it",
            key.min_available_version
        ));
    }
    if key.allow_missing_seals {
        notes.push("allow_missing_seals cannot be declared: each seal must wrap".to_owned());
    }
    if key.deletion_allowed {
        notes.push("deletion_allowed cannot be declared: to delete the key, remove it".to_owned());
    }
    if key.derived {
        notes.push(
            "derived cannot be declared, and without it no context is bound: this key must stay \
             in the storage"
                .to_owned(),
        );
    }
    for note in notes {
        let _ = writeln!(text, "# {name}: {note}");
    }
    // A declared key would not open what a derived one made.
    let comment = if key.derived { "# " } else { "" };
    let oldest = key.min_decryption_version.max(key.min_available_version).max(1);
    let _ = writeln!(text, "{comment}key \"{name}\" {{");
    let _ = writeln!(text, "{comment}  mount   = \"{mount}\"");
    let _ = writeln!(text, "{comment}  version = {}", key.latest_version);
    let _ = writeln!(text, "{comment}  min_decryption_version = {oldest}");
    if key.min_encryption_version > 0 {
        let least = key.min_encryption_version.max(oldest);
        let _ = writeln!(text, "{comment}  min_encryption_version = {least}");
    }
    let _ = writeln!(text, "{comment}}}");
    text
}

#[cfg(test)]
mod tests {
    use selkie_config::{Config, SystemSources, VersionRule};

    use super::*;

    fn key(derived: bool) -> Key {
        Key {
            derived,
            deletion_allowed: true,
            allow_missing_seals: true,
            latest_version: 7,
            min_available_version: 3,
            min_decryption_version: 2,
            min_encryption_version: 5,
            keys: (3..=7).map(|number| (number.to_string(), 0)).collect(),
        }
    }

    fn stanza_of(key: &Key) -> String {
        stanza(&"transit".parse().unwrap(), &"autounseal".parse().unwrap(), key)
    }

    fn parsed(stanza: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("key");
        crate::cli::tests::write_secret(&secret, &[0xa5; 32]);
        let text = format!(
            "listener \"tcp\" {{ tls_disable = true }}\nmount \"transit\" {{}}\n\
             seal \"static\" {{\n  current_key_id = \"k1\"\n  current_key = \"file://{}\"\n}}\n{stanza}",
            secret.display()
        );
        Config::parse("exported.hcl", &text, &SystemSources).unwrap()
    }

    #[test]
    fn an_exported_key_is_declared_with_the_same_latest_version_and_limits() {
        let text = stanza_of(&key(false));
        let config = parsed(&[HEAD, &text].concat());
        let [declared] = config.keys.as_slice() else { panic!("{text}") };
        assert_eq!(declared.name.as_str(), "autounseal");
        assert!(matches!(declared.version, VersionRule::Stated(version) if version.get() == 7));
        assert_eq!(declared.min_decryption_version.get(), 3);
        assert_eq!(declared.min_encryption_version.unwrap().get(), 5);
        for said in [
            "4 older versions",
            "min_available_version = 3",
            "deletion_allowed",
            "allow_missing_seals",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn a_derived_key_is_never_declared() {
        let text = stanza_of(&key(true));
        let config = parsed(&format!("{text}\nkey \"other\" {{}}\n"));
        assert_eq!(config.keys.len(), 1, "{text}");
        assert!(text.contains("must stay"));
    }
}
