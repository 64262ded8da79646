//! `selkie takeover`: who still needs the server whose place a running Selkie takes, and the rewrap of
//! what was encrypted there.

mod failure;
mod line;
mod report;
mod rewrap;
mod sink;

use std::io::Write;
use std::time::Duration;

use clap::Subcommand;
use http::Method;

use self::report::{Report, report};
use super::arguments::ReportFormat;
use super::remote::{Remote, RemoteError, ServerArguments};
use super::{CommandError, print, single_threaded};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(super) enum TakeoverCommand {
    /// Print, for each client, what it last opened: of the old server, and of Selkie's own.
    Status(Status),
    /// Rewrap ciphertexts of the old server, one a line, through a running server.
    Rewrap(rewrap::Arguments),
}

/// The token needs read on sys/takeover.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    format: ReportFormat,
}

pub(super) fn run(
    command: &TakeoverCommand,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    match command {
        TakeoverCommand::Status(arguments) => status(arguments, output),
        TakeoverCommand::Rewrap(arguments) => rewrap::run(arguments, output, errors),
    }
}

fn status(arguments: &Status, output: &mut dyn Write) -> Result<(), CommandError> {
    let runtime = single_threaded()?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let answer = runtime.block_on(server.ask(Method::GET, "sys/takeover", "read"))?;
    let data = &answer["data"];
    if !data["takeovers"].is_array() {
        return Err(RemoteError::Unreadable.into());
    }
    let Report { text, needs_attention } = report(data);
    print(output, &if arguments.format.is_json() { format!("{data:#}\n") } else { text })?;
    if needs_attention { Err(CommandError::NeedsAttention) } else { Ok(()) }
}
