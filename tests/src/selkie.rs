//! The released program under test.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use tempfile::TempDir;

use crate::certificate::trusting;
use crate::http::Client;
use crate::port::free_port;
use crate::process::{Process, Signal};

/// What a listener says of itself at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

impl Target {
    fn from_line(line: &str) -> Option<Self> {
        let url = line.strip_prefix("selkie: listening on ")?;
        let (scheme, address) = url.split_once("://")?;
        Some(Self { address: address.parse().ok()?, is_tls: scheme == "https" })
    }
}

/// A running server. Whoever keeps it with the directory that it works in keeps it before that: it is
/// killed, and only then can the directory go.
#[derive(Debug)]
pub struct Selkie {
    /// The process; its log is the standard error output.
    pub process: Process,
    /// Its listeners in the order of their start.
    pub targets: Vec<Target>,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    /// Has the files that it makes for itself, which it cannot remove when it is killed.
    _temporary: TempDir,
}

/// The root token of dev mode in the tests.
const ROOT_TOKEN: &str = "root-token-of-the-tests";

impl Selkie {
    /// Dev mode on a port of its own, with further arguments.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn dev(further: &[&str]) -> Result<Self> {
        let token = format!("--dev-root-token-id={ROOT_TOKEN}");
        Self::dev_of(&binary()?, &[&[token.as_str()], further].concat())
    }

    /// Dev mode of some build of the program, with a root token that it makes itself unless the
    /// arguments have one.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn dev_of(program: &Path, further: &[&str]) -> Result<Self> {
        let listen = format!("--dev-listen-address=127.0.0.1:{}", free_port()?);
        let mut arguments: Vec<OsString> = vec!["server".into(), "--dev".into(), listen.into()];
        arguments.extend(further.iter().map(OsString::from));
        Self::start(program, arguments, 1)
    }

    /// A configured server with so many listeners.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn configured(config: &Path, listeners: usize) -> Result<Self> {
        let arguments = vec!["server".into(), "--config".into(), config.into()];
        Self::start(&binary()?, arguments, listeners)
    }

    /// Starts the program with these arguments and waits for its listeners.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start(program: &Path, arguments: Vec<OsString>, listeners: usize) -> Result<Self> {
        Self::start_in(program, arguments, listeners, Vec::new())
    }

    /// The same with these variables, which also a restart has.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start_in(
        program: &Path,
        arguments: Vec<OsString>,
        listeners: usize,
        environment: Vec<(&'static str, OsString)>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        let variables = environment.iter().map(|(name, value)| (*name, value.as_os_str()));
        let temporary = tempfile::Builder::new().prefix("selkie-temporary-").tempdir()?;
        command.args(&arguments).env_clear().env("TMPDIR", temporary.path()).envs(variables);
        let process = Process::start(command)?;
        let targets = listening(&process, listeners)?;
        let (program, _temporary) = (program.to_owned(), temporary);
        Ok(Self { process, targets, program, arguments, environment, _temporary })
    }

    /// Starts again with the same arguments, after [`Selkie::stop`] or [`Selkie::kill`].
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn restart(&mut self) -> Result<()> {
        let (program, arguments) = (self.program.clone(), self.arguments.clone());
        let environment = self.environment.clone();
        *self = Self::start_in(&program, arguments, self.targets.len(), environment)?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and checks that it does so without complaint.
    ///
    /// # Errors
    ///
    /// If it does not end with 0.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        let code = self.process.exit_code()?;
        ensure!(code == 0, "exit code {code} after SIGTERM:\n{}", self.log());
        Ok(())
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr().join("\n")
    }

    /// Waits until the log has a line with this in it. An answer is no sign that its line is there:
    /// the log has a thread of its own.
    ///
    /// # Errors
    ///
    /// If there is none within a minute.
    pub fn says(&self, text: &str) -> Result<()> {
        self.process.stderr_line(0, |line| line.contains(text).then_some(()))
    }

    /// The URL of the first listener.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.first().is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.first().address)
    }

    /// A client of the first listener without TLS and token.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::plain(self.first().address)
    }

    /// A client of the first listener in dev mode, with the root token, and TLS if it has that.
    ///
    /// # Errors
    ///
    /// If the token was not printed, or the certificate of the authority cannot be read.
    pub fn root(&self) -> Result<Client> {
        let token = self
            .process
            .stdout_line(|line| line.trim().strip_prefix("export VAULT_TOKEN=").map(unquoted))?;
        Ok(Client { tls: self.dev_tls()?, ..self.client().with_token(&token) })
    }

    /// The file with the authority's certificate, from the line `export VAULT_CACERT='…'`.
    ///
    /// # Errors
    ///
    /// If there is no such line.
    pub fn dev_authority(&self) -> Result<PathBuf> {
        self.process
            .stdout_line(|line| {
                let (_, value) = line.split_once("export VAULT_CACERT=")?;
                Some(unquoted(value).into())
            })
            .context("dev mode names no VAULT_CACERT")
    }

    fn dev_tls(&self) -> Result<Option<Arc<ClientConfig>>> {
        if !self.first().is_tls {
            return Ok(None);
        }
        trusting(&fs::read(self.dev_authority()?)?).map(Some)
    }

    fn first(&self) -> Target {
        self.targets[0]
    }
}

/// A value as the line `export NAME='VALUE'` has it.
fn unquoted(value: &str) -> String {
    value.trim_matches(|c| c == '\'' || c == '"').to_owned()
}

fn listening(process: &Process, listeners: usize) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    while targets.len() < listeners.max(1) {
        let target = process.stdout_line(|line| {
            Target::from_line(line).filter(|target| !targets.contains(target))
        })?;
        targets.push(target);
    }
    Ok(targets)
}

/// The program: `SELKIE_BIN`, or what `make` built.
///
/// # Errors
///
/// If it is not there.
pub fn binary() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/selkie");
    let path = env::var_os("SELKIE_BIN").map_or(built, PathBuf::from);
    ensure!(path.exists(), "{} is missing: cargo build --release", path.display());
    Ok(path)
}
