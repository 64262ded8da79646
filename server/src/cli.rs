//! The command line: what is asked for, what is said about it, and the exit code.

mod accept_losses;
mod arguments;
mod audit;
mod backup;
mod break_glass;
mod client;
mod doctor;
mod drill;
mod error;
mod export;
mod extract;
mod members;
mod migrate;
mod remote;
mod restore;
mod server;
mod status;
mod takeover;
mod terminal;
mod token;
mod validate;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use selkie_config::{Config, Regression, Sources, SystemSources};
use tokio::runtime::{Builder, Runtime};

pub use self::break_glass::{BreakGlassError, WrapObstacle};
pub use self::error::CommandError;
pub use self::remote::RemoteError;
pub use self::validate::UnfitPlace;
use crate::hardening::LAUNCH_COMMAND;
use crate::telemetry::WithCauses;

/// A transit unsealer for Vault and OpenBao.
#[derive(Debug, Parser)]
#[command(name = "selkie", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the transit API.
    Server(server::Arguments),
    /// Check a configuration file and print what it comes to.
    Validate(validate::Arguments),
    /// Walk the way to each master key and back, and say what mends what does not work.
    Doctor(doctor::Arguments),
    /// Print what a running server knows of its master keys.
    Status(status::Arguments),
    /// Have a running server open envelopes through each seal alone.
    Drill(drill::Arguments),
    /// Let go what a configuration does not keep of what earlier ones promised to ciphertexts.
    AcceptLosses(accept_losses::Arguments),
    /// Save all state of a running server into a file, sealed for its master keys.
    Backup(backup::Arguments),
    /// Put a backup into the configured storage, while no server uses it.
    Restore(restore::Arguments),
    /// Copy all state from one storage into another, while no server uses either.
    Migrate(migrate::Arguments),
    /// Print the keys of a running server in the form of the configuration file.
    Export(export::Arguments),
    /// What concerns the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make, look up, renew and revoke tokens on a running server.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// What concerns the clients of a configured server.
    #[command(subcommand)]
    Client(ClientCommand),
    /// What concerns keys of another server that are taken over.
    #[command(subcommand)]
    Takeover(takeover::TakeoverCommand),
    /// Print what a Vault's seal has encrypted, out of a copy of the Vault's storage.
    Extract(extract::Arguments),
    /// With the offline private key: make it, open one ciphertext, or unseal a Vault with it.
    #[command(subcommand)]
    BreakGlass(break_glass::BreakGlassCommand),
    /// Print the version, and of a release the commit that it was built from.
    Version,
    /// What a confined server has HSM processes started by; not for people.
    #[command(name = LAUNCH_COMMAND, hide = true)]
    LaunchHsmProcesses,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(audit::Verify),
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Print all that a new seal client needs: its token, declaration, policy and seal stanza; or an
    /// operator.
    Add(client::Arguments),
}

/// How a run of the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Success,
    /// Something outside did not work.
    Failure,
    /// The command line is wrong (`EX_USAGE`).
    Usage,
    /// A bug (`EX_SOFTWARE`).
    Bug,
    /// The configuration is wrong (`EX_CONFIG`).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::FAILURE,
            Exit::Usage => Self::from(64),
            Exit::Bug => Self::from(70),
            Exit::Config => Self::from(78),
        }
    }
}

/// Runs the program on `arguments`, of which the first is its own name.
///
/// What was asked for goes to `output`, which should not buffer: tokens pass through it. What went
/// wrong goes to `errors`. To be called once, before the process has threads.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Exit {
    let done = Arguments::try_parse_from(arguments)
        .map_err(CommandError::Arguments)
        .and_then(|arguments| arguments.command.run(output, errors));
    match done {
        Ok(()) => Exit::Success,
        Err(error) => {
            // Where even this cannot be written, the exit code must do.
            let _ = tell(&error, output, errors);
            error.exit()
        }
    }
}

impl Command {
    fn run(self, output: &mut dyn Write, errors: &mut dyn Write) -> Result<(), CommandError> {
        if cfg!(feature = "unhygienic") && !matches!(&self, Self::Server(server) if server.dev) {
            return Err(CommandError::Unhygienic);
        }
        match self {
            Self::Server(arguments) => server::run(arguments, output),
            Self::Validate(arguments) => validate::run(&arguments, output, errors),
            Self::Doctor(arguments) => doctor::run(&arguments, output),
            Self::Status(arguments) => status::run(&arguments, output),
            Self::Token(command) => token::run(command, output),
            Self::Drill(arguments) => drill::run(&arguments, output, errors),
            Self::AcceptLosses(arguments) => accept_losses::run(&arguments, output),
            Self::Backup(arguments) => backup::run(&arguments, output, errors),
            Self::Restore(arguments) => restore::run(&arguments, output),
            Self::Migrate(arguments) => migrate::run(&arguments, output),
            Self::Export(arguments) => export::run(&arguments, output),
            Self::Audit(AuditCommand::Verify(arguments)) => audit::run(&arguments, output),
            Self::Client(ClientCommand::Add(arguments)) => client::add(arguments, output),
            Self::Takeover(command) => takeover::run(&command, output, errors),
            Self::Extract(arguments) => extract::run(&arguments, output),
            Self::BreakGlass(command) => break_glass::run(command, output, errors),
            Self::LaunchHsmProcesses => server::launch_hsm_processes(),
            Self::Version => print(output, &version(COMMIT)),
        }
    }
}

/// The commit of a release, as `deploy/release/build` gives it; no other build looks for one.
const COMMIT: Option<&str> = option_env!("SELKIE_COMMIT");

fn version(commit: Option<&str>) -> String {
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    format!("selkie {}{commit}\n", env!("CARGO_PKG_VERSION"))
}

fn tell(error: &CommandError, output: &mut dyn Write, errors: &mut dyn Write) -> io::Result<()> {
    match error {
        CommandError::Arguments(help) if !help.use_stderr() => write!(output, "{help}"),
        CommandError::Arguments(usage) => write!(errors, "{usage}"),
        CommandError::Config(problems) => writeln!(errors, "{problems}"),
        CommandError::Regressions(regressions) => {
            regressions.iter().try_for_each(|regression| writeln!(errors, "{regression}"))?;
            if regressions.iter().any(Regression::is_loss) {
                writeln!(
                    errors,
                    "if nothing needs what is lost, let it go: selkie accept-losses FILE, with the \
                     new configuration, then restart the server"
                )?;
            }
            Ok(())
        }
        CommandError::UnfitPlaces(places) => {
            places.iter().try_for_each(|place| writeln!(errors, "{place}"))
        }
        // What was asked for ends with it.
        CommandError::Unwell
        | CommandError::NeedsAttention
        | CommandError::NotAllRewrapped
        | CommandError::DrillFailed
        | CommandError::AuditNotWhole => Ok(()),
        other => writeln!(errors, "selkie: {}", WithCauses(other)),
    }
}

fn print(output: &mut dyn Write, text: &str) -> Result<(), CommandError> {
    output.write_all(text.as_bytes()).map_err(CommandError::Output)
}

/// What a command runs on that waits for one thing at a time.
fn single_threaded() -> Result<Runtime, CommandError> {
    Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)
}

/// What a command runs on that opens a state, or serves.
fn multi_threaded() -> Result<Runtime, CommandError> {
    Builder::new_multi_thread().enable_all().build().map_err(CommandError::Runtime)
}

/// The configuration file at `path`, with its secrets.
fn read_config(path: &Path) -> Result<Config, CommandError> {
    read_config_with(path, &SystemSources)
}

fn read_config_with(path: &Path, sources: &dyn Sources) -> Result<Config, CommandError> {
    let text = read_text(path)?;
    Config::parse(&path.display().to_string(), &text, sources).map_err(CommandError::Config)
}

fn read_text(path: &Path) -> Result<String, CommandError> {
    let read = SystemSources.text_file(path);
    read.map_err(|source| CommandError::Unreadable { path: PathBuf::from(path), source })
}

#[cfg(test)]
mod tests;
