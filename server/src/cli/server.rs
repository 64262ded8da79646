//! `selkie server`: serves until a signal ends it.

mod refusal;
pub(super) mod signals;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgGroup;
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use selkie_access::{TokenText, TokenTextError};
use selkie_config::{Config, Faults, LogLevel, Sources, SystemSources, Warning};
use selkie_kms::pkcs11::{retry_locked_pins, serve_launches};
use selkie_listener::ActivatedSockets;
use selkie_memory::ProgramCode;
use tokio::time::sleep;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use self::refusal::{Refused, refuse_confined, refuse_for, refuse_reload};
use self::signals::{Signals, Wish};
use super::{CommandError, multi_threaded, read_config_with, read_text};
use crate::dev::{CertificateDir, Dev, DevSettings};
use crate::hardening::{
    Confinement, Recording, allow_connections, keep_pages_small, lock_all_memory,
};
use crate::serve::{Inventory, ServeError, Server, serve};
use crate::telemetry::{LEVEL_VARIABLE, Telemetry};

/// How long requests under way have to finish once the server is told to stop, or a listener is
/// replaced: longer than a healthy KMS takes, shorter than service managers wait before they kill.
const GRACE: Duration = Duration::from_secs(10);

/// How long threads that wait for a disk are waited for at the end: one that hangs would never end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// After which the master keys were learned of and the state is open, usually.
const SETTLING: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("origin").required(true).args(["config", "dev"])))]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Try Selkie out: no configuration, nothing kept, a published master key.
    #[arg(long)]
    pub(super) dev: bool,
    /// The root token of dev mode; with the same one, tokens stay the same across restarts.
    #[arg(long, value_name = "TOKEN", conflicts_with = "config", value_parser = token)]
    dev_root_token_id: Option<String>,
    /// Where dev mode listens.
    #[arg(
        long,
        value_name = "IP:PORT",
        conflicts_with = "config",
        default_value = "127.0.0.1:8200"
    )]
    dev_listen_address: SocketAddr,
    /// Let dev mode speak TLS, with certificates of its own.
    #[arg(long, conflicts_with = "config")]
    dev_tls: bool,
    /// Be a test bench: misbehave as this file says. A configuration must allow it.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

/// Where the configuration comes from.
enum Origin {
    File(PathBuf),
    Dev(Box<Dev>),
}

pub(super) fn run(arguments: Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    keep_pages_small();
    let names = SystemSources.variable("LISTEN_FDNAMES");
    let names = names.as_ref().and_then(|names| str::from_utf8(names).ok());
    let sockets = ActivatedSockets::inherit(names);
    let script = arguments.faults.clone();
    let origin = Origin::new(arguments)?;
    let (config, files) = origin.read(&Confinement::none())?;
    let config = with_faults(config, script.as_deref(), origin.is_dev())?;
    let code = ProgramCode::find();
    // Dev mode guards nothing, and keeps its certificates where it finds room.
    let confinement = if origin.is_dev() {
        Confinement::none()
    } else {
        let files: Vec<_> = files.into_iter().chain(script.clone()).collect();
        // Before there is another thread, and after the last program was started.
        Confinement::enter(&config, &files)?
    };
    let level = SystemSources.variable(LEVEL_VARIABLE);
    let telemetry = Telemetry::start(config.logging, level.as_ref().map(|level| &***level))?;
    allow_connections()?;
    if config.lock_all_memory {
        lock_all_memory()?;
    }
    let runtime = multi_threaded()?;
    let sources = ReloadSources { script, confinement };
    let running = Running::start(origin, sources, config, sockets, output);
    let ended = runtime.block_on(async {
        let Some(running) = running.await? else { return Ok(()) };
        give_back(&code);
        running.run(&telemetry, &code).await
    });
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

/// Two thirds of an idle server's memory. Of memory that is locked nothing can be given back.
fn give_back(code: &ProgramCode) {
    if let Err(error) = code.give_back() {
        debug!(%error, "what only the start needed stays in memory");
    }
}

/// The configuration with the script of faults, if it may be had: never by the word of one of them
/// alone.
fn with_faults(
    config: Config,
    script: Option<&Path>,
    is_dev: bool,
) -> Result<Config, CommandError> {
    let Some(script) = script else { return Ok(config) };
    if !is_dev && !config.allow_faults {
        return Err(CommandError::FaultsNotAllowed);
    }
    Ok(Config { faults: Some(read_faults(script)?), allow_faults: true, ..config })
}

fn read_faults(path: &Path) -> Result<Faults, CommandError> {
    Faults::parse(&path.display().to_string(), &read_text(path)?).map_err(CommandError::Config)
}

fn token(text: &str) -> Result<String, TokenTextError> {
    TokenText::from_header(text.as_bytes()).map(|_| text.to_owned())
}

impl Origin {
    fn new(arguments: Arguments) -> Result<Self, CommandError> {
        match arguments.config {
            Some(path) => Ok(Self::File(path)),
            None => Ok(Self::Dev(Box::new(Dev::new(DevSettings {
                listen_address: arguments.dev_listen_address,
                root_token: arguments.dev_root_token_id.map(Zeroizing::new),
                tls: arguments.dev_tls,
            })?))),
        }
    }

    /// `error` with the way out for whoever has started this.
    fn explain(&self, error: ServeError) -> CommandError {
        match error {
            ServeError::Bind { address, source }
                if self.is_dev() && source.kind() == io::ErrorKind::AddrInUse =>
            {
                CommandError::DevAddress { address, source }
            }
            error => error.into(),
        }
    }

    const fn is_dev(&self) -> bool {
        matches!(self, Self::Dev(_))
    }

    /// The configuration, and the files that it was read from.
    fn read(&self, confinement: &Confinement) -> Result<Read, CommandError> {
        match self {
            Self::File(path) => read_from(path, confinement),
            Self::Dev(dev) => Ok((dev.config().map_err(CommandError::Config)?, Vec::new())),
        }
    }
}

/// A configuration, and the files that it was read from.
type Read = (Config, Vec<PathBuf>);

fn read_from(path: &Path, confinement: &Confinement) -> Result<Read, CommandError> {
    let recording = Recording::new(confinement);
    let config = read_config_with(path, &recording)?;
    let files = [path.to_owned()].into_iter().chain(recording.into_files()).collect();
    Ok((config, files))
}

/// The launch process: it ends with the server that has started it.
pub(super) fn launch_hsm_processes() -> Result<(), CommandError> {
    // Also for the processes that it starts. A kernel without a filter is told of by the server.
    let _told = selkie_sandbox::deny_what_concerns_the_machine();
    let socket = io::stdin().as_fd().try_clone_to_owned();
    let launched = socket.and_then(serve_launches);
    launched.map_err(CommandError::Runtime)
}

/// A server and the signals that steer it.
struct Running {
    server: Server,
    signals: Signals,
    reload_from: ReloadFrom,
    sources: ReloadSources,
}

/// What a reload goes by, beside the configuration file.
struct ReloadSources {
    /// The file with the faults.
    script: Option<PathBuf>,
    confinement: Confinement,
}

/// What a reload reads. Of dev mode nothing stays but its files: its tokens have been printed.
enum ReloadFrom {
    File(PathBuf),
    Nothing { _certificates: Option<CertificateDir> },
}

impl Running {
    /// `None` if it is told to stop before it serves.
    async fn start(
        origin: Origin,
        sources: ReloadSources,
        config: Config,
        mut sockets: ActivatedSockets,
        output: &mut dyn Write,
    ) -> Result<Option<Self>, CommandError> {
        // Before anyone is told that the server is there: a signal must not end it unasked.
        let mut signals = Signals::new().map_err(CommandError::Runtime)?;
        tell_start(&origin, &sources, &config);
        let inventory = Inventory::of(&config);
        let served = serve_unless_stopped(config, &mut sockets, &mut signals).await;
        let Some(server) = served.map_err(|error| origin.explain(error))? else {
            info!("stopped before it served");
            return Ok(None);
        };
        inventory.log(&server.node().deployment());
        announce(&origin, &server, sources.script.as_deref(), output);
        let reload_from = match origin {
            Origin::File(path) => ReloadFrom::File(path),
            Origin::Dev(dev) => ReloadFrom::Nothing { _certificates: dev.into_certificates() },
        };
        Ok(Some(Self { server, signals, reload_from, sources }))
    }

    async fn run(mut self, telemetry: &Telemetry, code: &ProgramCode) -> Result<(), CommandError> {
        let mut is_stopping = false;
        let mut settled = std::pin::pin!(sleep(SETTLING).fuse());
        loop {
            tokio::select! {
                () = self.server.ended() => break,
                () = &mut settled, if !settled.is_terminated() => give_back(code),
                wish = self.signals.next() => match wish {
                    Wish::Reload => self.reload(&|level| telemetry.set_level(level)).await,
                    Wish::Stop if is_stopping => {
                        warn!("stopping at once: requests under way are cut");
                        self.server.drain(Duration::ZERO);
                    }
                    Wish::Stop => {
                        let seconds = GRACE.as_secs();
                        info!(seconds, "stopping: requests under way have this long to finish");
                        self.server.drain(GRACE);
                        is_stopping = true;
                    }
                },
            }
        }
        if !is_stopping {
            return Err(CommandError::NobodyListens);
        }
        info!("stopped");
        Ok(())
    }

    async fn reload(&mut self, set_level: &dyn Fn(LogLevel)) {
        // Whether or not the configuration is sound: the log may have been rotated.
        self.server.reopen_audit();
        // Who unlocked a PIN has changed no file.
        retry_locked_pins();
        let taken = match (&self.reload_from, &self.sources.script) {
            (ReloadFrom::File(path), _) => {
                let path = path.clone();
                self.reload_file(&path, set_level).await
            }
            (ReloadFrom::Nothing { .. }, Some(script)) => self.reload_faults(script),
            (ReloadFrom::Nothing { .. }, None) => {
                return warn!("no reload: dev mode has no configuration file");
            }
        };
        let refused = taken.as_ref().err().map(|Refused { reason, remedy }| (&**reason, *remedy));
        self.server.node().note_reload(refused);
    }

    async fn reload_file(
        &mut self,
        path: &Path,
        set_level: &dyn Fn(LogLevel),
    ) -> Result<(), Refused> {
        let ReloadSources { script, confinement } = &self.sources;
        let script = script.as_deref();
        let read = read_from(path, confinement);
        let read =
            read.and_then(|(config, files)| Ok((with_faults(config, script, false)?, files)));
        let (config, files) = read.map_err(|error| refuse_for(&error))?;
        let (promises, before) = (config.promises(), self.server.node().deployment());
        let kept = || before.require_kept_by(&promises, |_seal| true);
        let checked = confinement.check(&config, &files);
        checked.map_err(|error| refuse_confined(&error, kept))?;
        let level = config.logging.level;
        let (inventory, warnings) = (Inventory::of(&config), config.warnings.clone());
        let reloaded = self.server.reload(config, GRACE).await;
        reloaded.map_err(|error| refuse_reload(&error, kept))?;
        warnings.iter().for_each(log_warning);
        inventory.log(&self.server.node().deployment());
        info!("the configuration was reloaded");
        if script.is_some() {
            warn!("the script of faults begins anew");
        }
        set_level(level);
        Ok(())
    }

    /// All that a reload can change of dev mode.
    fn reload_faults(&self, script: &Path) -> Result<(), Refused> {
        let faults = read_faults(script).map_err(|error| refuse_for(&error))?;
        if let Some(bench) = self.server.node().bench() {
            bench.replace(faults);
            warn!(rules = bench.rules(), "the script of faults was read and begins anew");
        }
        Ok(())
    }
}

/// Loud, because whoever depends on such a server is in for a surprise.
fn warn_of_faults(script: Option<&Path>, config: &Config) {
    if let (Some(script), Some(faults)) = (script, &config.faults) {
        warn!(
            file = %script.display(),
            rules = faults.requests.len().saturating_add(faults.seals.len()),
            "TEST BENCH: this server misbehaves by script; nobody may depend on it"
        );
    }
}

fn log_warning(warning: &Warning) {
    let Warning { file, position, kind } = warning;
    warn!(%file, %position, warning = %kind, "configuration");
}

/// What is known before anything is done.
fn tell_start(origin: &Origin, sources: &ReloadSources, config: &Config) {
    info!(version = env!("CARGO_PKG_VERSION"), "selkie starts");
    match origin {
        Origin::Dev(_) => {
            warn!("dev mode: the master key is public; for trying out only, never for production");
        }
        Origin::File(_) => sources.confinement.tell(),
    }
    warn_of_faults(sources.script.as_deref(), config);
    config.warnings.iter().for_each(log_warning);
    if matches!(origin, Origin::File(_)) && config.audit.devices.is_empty() {
        warn!(
            advice = "declare an audit device, such as audit \"file\"",
            "no audit device is declared: who decrypts what is not recorded"
        );
    }
}

/// A start that waits is not waited for: nothing is under way yet that would have to finish.
async fn serve_unless_stopped(
    config: Config,
    sockets: &mut ActivatedSockets,
    signals: &mut Signals,
) -> Result<Option<Server>, ServeError> {
    tokio::select! {
        served = serve(config, sockets) => served.map(Some),
        () = signals.stop() => Ok(None),
    }
}

/// Says where it listens, in dev mode after all that a newcomer needs. A closed output is no reason
/// to stop serving.
fn announce(origin: &Origin, server: &Server, script: Option<&Path>, output: &mut dyn Write) {
    let mut text = Zeroizing::new(String::new());
    if let (Origin::Dev(dev), Some(first)) = (origin, server.listening().next()) {
        text = dev.banner(first.address);
    }
    if let Some(script) = script {
        let script = script.display();
        text.push_str(&format!("selkie: TEST BENCH: it misbehaves as {script} says\n"));
    }
    for listening in server.listening() {
        info!(url = %listening, "listening");
        text.push_str(&format!("selkie: listening on {listening}\n"));
    }
    if let Err(error) = output.write_all(text.as_bytes()) {
        warn!(%error, "nobody reads what the server prints");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::last_reload::Remedy;
    use crate::telemetry::captured::Log;

    /// A server with this file in `dir`, whose text is returned.
    async fn running(dir: &Path) -> (Running, PathBuf, String) {
        let path = dir.join("selkie.hcl");
        let key = dir.join("key");
        fs::write(&key, [7; 32]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let good = format!(
            "listener \"tcp\" {{\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}}\n\
             seal \"static\" {{\n  current_key_id = \"1\"\n  current_key = \"file://{}\"\n}}\n",
            key.display()
        );
        fs::write(&path, &good).unwrap();
        let config = read_config_with(&path, &SystemSources).unwrap();
        let sources = ReloadSources { script: None, confinement: Confinement::none() };
        let running = Running {
            server: serve(config, &mut ActivatedSockets::inherit(None)).await.unwrap(),
            signals: Signals::new().unwrap(),
            reload_from: ReloadFrom::File(path.clone()),
            sources,
        };
        (running, path, good)
    }

    /// A start takes every valid file, with whatever it loses.
    #[tokio::test]
    async fn a_restart_is_advised_for_no_file_that_was_not_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (mut running, path, good) = running(dir.path()).await;
        let pid_file = "pid_file = \"/run/other.pid\"\n";
        let within = |data_dir: &Path| format!("data_dir = {data_dir:?}\nstorage \"sled\" {{}}\n");
        let checks = "put back what only a restart can change";
        for (further, reason, advice) in [
            (pid_file, "\"pid_file\"", checks),
            ("storage \"inmem\" {}\n", "\"storage\"", "put the storage back"),
            (&format!("{pid_file}storage \"inmem\" {{}}\n"), "\"storage\"", "put the storage back"),
            (&within(&dir.path().join("slip")), "\"data_dir\"", "put the storage back"),
            (
                "local_key = \"file:///run/credentials/none.service/key\"\n",
                "no credential that systemd gave",
                checks,
            ),
            (&format!("{pid_file}realm = \"slip\"\n"), "would leave behind", "correct the file"),
        ] {
            fs::write(&path, format!("{further}{good}")).unwrap();
            let log = Log::start();
            running.reload(&|_level| {}).await;
            let refused = running.server.node().last_reload().standing().refused.unwrap();
            assert!(refused.reason.contains(reason), "{refused:?}");
            let told = refused.remedy.advice();
            assert!(told.contains(advice) && !told.contains("to take this file in"), "{told}");
            let log = log.take();
            assert!(log.contains(advice) && !log.contains("a restart takes the file in"), "{log}");
        }
    }

    #[tokio::test]
    async fn a_refused_reload_is_told_until_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (mut running, path, good) = running(dir.path()).await;
        let wrong = Some(("\"bogus\"", Remedy::Correct));
        let fixed = Some(("\"pid_file\"", Remedy::Restart));
        for (text, expected) in [
            (format!("bogus = 1\n{good}"), wrong),
            (format!("pid_file = \"/run/other.pid\"\n{good}"), fixed),
            (good, None),
        ] {
            fs::write(&path, text).unwrap();
            running.reload(&|_level| {}).await;
            let node = running.server.node();
            let refused = node.last_reload().standing().refused;
            let is_taken = expected.is_none();
            assert_eq!(refused.as_ref().map(|one| one.remedy), expected.map(|(_, remedy)| remedy));
            let field = expected.map_or("", |(field, _)| field);
            assert!(refused.is_none_or(|refused| refused.reason.contains(field)));
            let text = node.metrics_text(&node.deployment()).unwrap();
            let line = format!("\nselkie_config_last_reload_successful {}\n", u8::from(is_taken));
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_the_way_out_of_dev_mode_in_dev_mode_alone() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8200));
        let taken = || ServeError::Bind { address, source: io::ErrorKind::AddrInUse.into() };
        let settings = DevSettings { listen_address: address, root_token: None, tls: false };
        let dev = Origin::Dev(Box::new(Dev::new(settings).unwrap()));
        let told = dev.explain(taken()).to_string();
        assert!(told.contains("--dev-listen-address=127.0.0.1:8201"), "{told}");
        let told = Origin::File("selkie.hcl".into()).explain(taken()).to_string();
        assert!(!told.contains("--dev-listen-address"), "{told}");
    }
}
