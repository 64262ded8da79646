//! `selkie server`: serves until a signal ends it.

pub(super) mod signals;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgGroup;
use selkie_access::{TokenText, TokenTextError};
use selkie_config::{Config, Sources, SystemSources, Warning};
use selkie_listener::ActivatedSockets;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use self::signals::{Signals, Wish};
use super::{CommandError, read_config};
use crate::dev::{CertificateDir, Dev, DevSettings};
use crate::hardening::{allow_connections, lock_all_memory};
use crate::serve::{Inventory, Server, serve};
use crate::telemetry::{LEVEL_VARIABLE, Telemetry, WithCauses};

/// How long requests under way have to finish once the server is told to stop, or a listener is
/// replaced: longer than a healthy KMS takes, shorter than service managers wait before they kill.
const GRACE: Duration = Duration::from_secs(10);

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
}

/// Where the configuration comes from.
enum Origin {
    File(PathBuf),
    Dev(Box<Dev>),
}

pub(super) fn run(arguments: Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let names = SystemSources.variable("LISTEN_FDNAMES");
    let names = names.as_ref().and_then(|names| str::from_utf8(names).ok());
    let sockets = ActivatedSockets::inherit(names);
    let origin = Origin::new(arguments)?;
    let config = origin.read()?;
    let level = SystemSources.variable(LEVEL_VARIABLE);
    let telemetry = Telemetry::start(config.logging, level.as_ref().map(|level| &***level))?;
    allow_connections()?;
    if config.lock_all_memory {
        lock_all_memory()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let running = Running::start(origin, config, sockets, output);
    runtime.block_on(async { running.await?.run(&telemetry).await })
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

    fn read(&self) -> Result<Config, CommandError> {
        match self {
            Self::File(path) => read_config(path),
            Self::Dev(dev) => dev.config().map_err(CommandError::Config),
        }
    }
}

/// A server and the signals that steer it.
struct Running {
    server: Server,
    signals: Signals,
    reload_from: ReloadFrom,
}

/// What a reload reads. Of dev mode nothing stays but its files: its tokens have been printed.
enum ReloadFrom {
    File(PathBuf),
    Nothing { _certificates: Option<CertificateDir> },
}

impl Running {
    async fn start(
        origin: Origin,
        config: Config,
        mut sockets: ActivatedSockets,
        output: &mut dyn Write,
    ) -> Result<Self, CommandError> {
        // Before anyone is told that the server is there: a signal must not end it unasked.
        let signals = Signals::new().map_err(CommandError::Runtime)?;
        info!(version = env!("CARGO_PKG_VERSION"), "selkie starts");
        if let Origin::Dev(_) = &origin {
            warn!("dev mode: the master key is public; for trying out only, never for production");
        }
        config.warnings.iter().for_each(log_warning);
        if matches!(origin, Origin::File(_)) && config.audit.devices.is_empty() {
            warn!(
                advice = "declare an audit device, such as audit \"file\"",
                "no audit device is declared: who decrypts what is not recorded"
            );
        }
        let inventory = Inventory::of(&config);
        let server = serve(config, &mut sockets).await?;
        inventory.log(&server.node().deployment());
        announce(&origin, &server, output);
        let reload_from = match origin {
            Origin::File(path) => ReloadFrom::File(path),
            Origin::Dev(dev) => ReloadFrom::Nothing { _certificates: dev.into_certificates() },
        };
        Ok(Self { server, signals, reload_from })
    }

    async fn run(mut self, telemetry: &Telemetry) -> Result<(), CommandError> {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                () = self.server.ended() => break,
                wish = self.signals.next() => match wish {
                    Wish::Reload => self.reload(telemetry).await,
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

    async fn reload(&mut self, telemetry: &Telemetry) {
        // Whether or not the configuration is sound: the log may have been rotated.
        self.server.reopen_audit();
        let ReloadFrom::File(path) = &self.reload_from else {
            return warn!("no reload: dev mode has no configuration file");
        };
        let config = match read_config(path) {
            Ok(config) => config,
            Err(CommandError::Config(problems)) => {
                for problem in problems.iter() {
                    error!(%problem, "the configuration is wrong");
                }
                return refuse(&"the configuration is wrong");
            }
            Err(error) => return refuse(&WithCauses(&error)),
        };
        let level = config.logging.level;
        let (inventory, warnings) = (Inventory::of(&config), config.warnings.clone());
        match self.server.reload(config, GRACE).await {
            Ok(()) => {
                warnings.iter().for_each(log_warning);
                inventory.log(&self.server.node().deployment());
                info!("the configuration was reloaded");
                telemetry.set_level(level);
            }
            Err(error) => refuse(&WithCauses(&error)),
        }
    }
}

fn refuse(reason: &dyn std::fmt::Display) {
    error!(%reason, "reload refused, nothing has changed; correct the file and send SIGHUP again");
}

fn log_warning(warning: &Warning) {
    let Warning { file, position, kind } = warning;
    warn!(%file, %position, warning = %kind, "configuration");
}

/// Says where it listens, in dev mode after all that a newcomer needs. A closed output is no reason
/// to stop serving.
fn announce(origin: &Origin, server: &Server, output: &mut dyn Write) {
    let mut text = Zeroizing::new(String::new());
    if let (Origin::Dev(dev), Some(first)) = (origin, server.listening().next()) {
        text = dev.banner(first.address);
    }
    for listening in server.listening() {
        info!(url = %listening, "listening");
        text.push_str(&format!("selkie: listening on {listening}\n"));
    }
    if let Err(error) = output.write_all(text.as_bytes()) {
        warn!(%error, "nobody reads what the server prints");
    }
}
