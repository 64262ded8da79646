//! What operators run and scrape: the drill, ha-status, the listener for metrics, a clean stop, and
//! backup, restore and migration under a seal in Key Vault.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use selkie_tests::{Client, Process, Request, Selkie, Signal, Site, binary, free_port, until};
use serde_json::{Value, json};

use crate::azure::Azure;
use crate::trio::{encrypt, opens};

const KEY: &str = "managed";

/// A server under Key Vault and a static key, whose state is in sled.
struct Operated {
    selkie: Selkie,
    azure: Azure,
    metrics: SocketAddr,
    token_file: String,
}

impl Operated {
    fn start() -> Result<Self> {
        let mut azure = Azure::new()?;
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let k1 = azure.site.random_key("static")?;
        azure.site.seal += "  priority = 1\n";
        azure.site.extra += &format!(
            "storage \"sled\" {{}}\ntelemetry {{ metrics_address = \"{metrics}\" }}\n\
             seal \"static\" {{\n  priority = 2\n  current_key_id = \"k1\"\n  \
             current_key = \"{k1}\"\n}}\n"
        );
        let token_file = azure.site.secret_file("token", azure.token.as_bytes())?;
        let selkie = azure.start()?;
        let operated =
            Self { azure, selkie, metrics, token_file: token_file.display().to_string() };
        until("a key can be made", || {
            let answer = operated.client().put(&format!("transit/keys/{KEY}"), &json!({}))?;
            Ok((answer.status < 300).then_some(()))
        })?;
        Ok(operated)
    }

    fn client(&self) -> Client {
        self.selkie.client().with_token(&self.azure.token)
    }

    /// Runs a command against the server.
    fn command(&self, arguments: &[&str]) -> Result<Output> {
        let remote = ["--address", &self.selkie.url(), "--token-file", &self.token_file];
        run(&[arguments, &remote[..]].concat())
    }

    /// What the metric `name` says; `None` if it is not told.
    fn metric(&self, name: &str) -> Result<Option<String>> {
        let answer = Client::plain(self.metrics).send(Request::absolute("GET", "/metrics"))?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map(str::to_owned))
    }

    fn latest(&self) -> Result<u64> {
        latest(&self.client())
    }

    /// The configuration with another place for the state, a port and metrics of its own.
    fn elsewhere(&self, name: &str) -> Result<(String, std::path::PathBuf)> {
        let (site, dir) = (&self.azure.site, self.azure.site.dir());
        let data_dir = dir.join(name);
        fs::create_dir(&data_dir)?;
        let text = site.text().replace(&shown(&dir.join("data")), &shown(&data_dir));
        let text = text.replace(&self.metrics.to_string(), &format!("127.0.0.1:{}", free_port()?));
        let address = format!("127.0.0.1:{}", site.port);
        let file = dir.join(format!("{name}.hcl"));
        fs::write(&file, text.replace(&address, &format!("127.0.0.1:{}", free_port()?)))?;
        Ok((shown(&file), data_dir))
    }

    /// A server on such a configuration has the key, and opens what was made before.
    fn assert_has_it_all(&self, config: &str, ciphertext: &str, version: u64) -> Result<()> {
        let mut selkie = Selkie::configured(Path::new(config), 1)?;
        let client = selkie.client().with_token(&self.azure.token);
        until("managed keys serve", || Ok((encrypt(&client, KEY)?.status == 200).then_some(())))?;
        assert_eq!(latest(&client)?, version);
        opens(&client, KEY, ciphertext)?;
        selkie.stop()
    }
}

fn latest(client: &Client) -> Result<u64> {
    let data = client.get(&format!("transit/keys/{KEY}"))?.data()?;
    data["latest_version"].as_u64().context("no version")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).env_clear().args(arguments).output()?)
}

fn succeeds(output: &Output) -> Result<String> {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, complained) = (said(&output.stdout), said(&output.stderr));
    ensure!(output.status.success(), "{} {told}{complained}", output.status);
    Ok(told)
}

#[test]
fn a_drill_tells_which_seal_does_not_open_and_the_metrics_say_so() -> Result<()> {
    let operated = Operated::start()?;
    assert!(operated.metric("selkie_drill_age_seconds")?.is_some(), "it is told from the start");
    assert_eq!(operated.metric("selkie_drill_ok")?, None);
    // The state key takes in a seal that has just been learned of within seconds.
    let report = until("every seal opens everything", || {
        let drill = operated.command(&["drill"])?;
        Ok(drill.status.success().then(|| String::from_utf8_lossy(&drill.stdout).into_owned()))
    })?;
    for part in ["azurekeyvault", "static", "state", "key/transit/managed"] {
        assert!(report.contains(part), "no {part} in: {report}");
    }
    assert_eq!(operated.metric("selkie_drill_ok")?.as_deref(), Some("1"));
    operated.azure.emulator.listen("closed")?;
    let failed = operated.command(&["drill"])?;
    let report = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{report}");
    assert!(report.contains("FAILED: azurekeyvault"), "{report}");
    assert_eq!(operated.metric("selkie_drill_ok")?.as_deref(), Some("0"));
    Ok(())
}

/// What is printed for Selkie's file, and the token that stands in a line of its own.
fn operator(name: &str) -> Result<(String, String)> {
    let printed = succeeds(&run(&["client", "add", name, "--operator"])?)?;
    let (ours, theirs) = printed.split_once("# 2.").context("no second part")?;
    let token = theirs.lines().find(|line| line.starts_with("hvs.")).context("no token")?;
    Ok((ours.to_owned(), token.to_owned()))
}

#[test]
fn an_operators_token_is_enough_for_each_command_that_asks_a_server() -> Result<()> {
    let mut site = Site::new()?;
    let (declared, token) = operator("ann")?;
    let (data, local) = (site.dir().join("data"), site.random_key("local")?);
    fs::create_dir(&data)?;
    let state = format!("data_dir = {data:?}\nlocal_key = \"{local}\"\nstorage \"sled\" {{}}\n");
    site.extra += &(state + &declared);
    let selkie = site.start()?;
    selkie.says("the state is open")?;
    let file = shown(&site.secret_file("token", format!("{token}\n").as_bytes())?);
    let backup = shown(&site.dir().join("backup"));
    for command in [
        &["status"][..],
        &["takeover", "status"],
        &["drill"],
        &["backup", "-o", &backup],
        &["export", "--declared"],
    ] {
        let remote = ["--address", &selkie.url(), "--token-file", &file];
        succeeds(&run(&[command, &remote[..]].concat())?).with_context(|| command.join(" "))?;
    }
    let client = selkie.client().with_token(&token);
    assert_eq!(client.get("sys/tokens/in-use")?.status, 200);
    assert_eq!(encrypt(&client, "autounseal")?.status, 403);
    Ok(())
}

#[test]
fn ha_status_tells_of_the_node_that_answers() -> Result<()> {
    let operated = Operated::start()?;
    let data = operated.client().get("sys/ha-status")?.data()?;
    let nodes = data["nodes"].as_array().context("no nodes")?;
    assert_eq!(nodes.len(), 1, "{data}");
    assert_eq!((&nodes[0]["active_node"], &nodes[0]["last_echo"]), (&json!(true), &Value::Null));
    assert_eq!(operated.client().without_token().get("sys/ha-status")?.status, 403);
    Ok(())
}

#[test]
fn the_listener_for_metrics_tells_metrics_alone() -> Result<()> {
    let operated = Operated::start()?;
    let metrics = Client::plain(operated.metrics);
    assert_eq!(operated.metric("selkie_state_open")?.as_deref(), Some("1"));
    assert_eq!(operated.metric("selkie_seal_up{seal=\"azurekeyvault\"}")?.as_deref(), Some("1"));
    for path in ["/v1/sys/health", "/v1/transit/keys/managed", "/"] {
        let answer = metrics.send(Request::absolute("GET", path))?;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    Ok(())
}

#[test]
fn a_clean_stop_writes_down_how_far_the_state_has_come() -> Result<()> {
    let mut operated = Operated::start()?;
    let client = operated.client();
    for _ in 0..5 {
        let rotated = client.put(&format!("transit/keys/{KEY}/rotate"), &json!({}))?;
        assert!(rotated.status < 300, "{}", rotated.text());
    }
    let sequence = operated.metric("selkie_state_sequence")?.context("no sequence")?;
    operated.selkie.stop()?;
    let file = operated.azure.site.dir().join("data/state-checkpoint");
    let checkpoint: Value = serde_json::from_slice(&fs::read(file)?)?;
    assert_eq!(checkpoint["sequence"].to_string(), sequence);
    Ok(())
}

#[test]
fn a_backup_under_key_vault_restores_on_another_machine_and_migrates_over_an_old_one() -> Result<()>
{
    let mut operated = Operated::start()?;
    let rotated = operated.client().put(&format!("transit/keys/{KEY}/rotate"), &json!({}))?;
    assert!(rotated.status < 300, "{}", rotated.text());
    let ciphertext = encrypt(&operated.client(), KEY)?.field("ciphertext")?;
    let version = operated.latest()?;
    let backup = shown(&operated.azure.site.dir().join("backup"));
    succeeds(&operated.command(&["backup", "--output", &backup])?)?;
    operated.selkie.stop()?;

    let (restored, _) = operated.elsewhere("restored")?;
    succeeds(&run(&["restore", "--config", &restored, &backup])?)?;
    operated.assert_has_it_all(&restored, &ciphertext, version)?;

    // Another store was there, and its checkpoint would stand against the one that comes.
    let (target, data_dir) = operated.elsewhere("target")?;
    succeeds(&run(&["restore", "--config", &target, &backup])?)?;
    operated.assert_has_it_all(&target, &ciphertext, version)?;
    let checkpoint = data_dir.join("state-checkpoint");
    assert!(checkpoint.exists());
    fs::remove_dir_all(data_dir.join("state"))?;
    let source = shown(&operated.azure.site.write()?);
    let told = succeeds(&run(&["migrate", "--from", &source, "--to", &target])?)?;
    assert!(told.contains("removed ") && !checkpoint.exists(), "{told}");
    operated.assert_has_it_all(&target, &ciphertext, version)
}

#[test]
fn a_stop_ends_a_start_that_waits_for_an_audit_file_which_another_process_has() -> Result<()> {
    let mut site = Site::new()?;
    let (key, log) = (site.random_key("audit-key")?, site.dir().join("audit.log"));
    site.extra = format!("audit_key = {key:?}\naudit \"file\" {{ file_path = {log:?} }}\n");
    let held = File::create(&log)?;
    held.lock()?;
    let mut command = Command::new(binary()?);
    command.env_clear().args(["server", "--config"]).arg(site.write()?);
    let mut starting = Process::start(command)?;
    let told = starting.stderr_line(0, |line| {
        line.contains("another process writes to an audit file").then(|| line.to_owned())
    })?;
    let holder = format!("process {}", std::process::id());
    assert_eq!(told.contains(&holder), is_told_by_the_kernel(&held)?, "{told}");
    starting.signal(Signal::TERM)?;
    assert_eq!(starting.exit_code()?, 0, "it waits, and is refused the file: {told}");
    Ok(())
}

/// Whether `/proc/locks` has our lock on `file`. It has another number for the device of some file
/// systems (btrfs).
fn is_told_by_the_kernel(file: &File) -> Result<bool> {
    let (of, own) = (file.metadata()?, std::process::id().to_string());
    let (major, minor) = (rustix::fs::major(of.dev()), rustix::fs::minor(of.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", of.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    Ok(locks.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        matches!(fields[..], [_, "FLOCK", _, _, pid, at, ..] if pid == own && at == place)
    }))
}
