//! `selkie status`: what a running server knows of its master keys.

pub(super) mod table;

use std::io::Write;
use std::time::Duration;

use http::Method;

use self::table::{Told, told};
use super::remote::{Remote, RemoteError, ServerArguments};
use super::{CommandError, print};

const PATIENCE: Duration = Duration::from_secs(10);

/// The token needs read on sys/seal-backend-status.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let path = "sys/seal-backend-status";
    let asked = server.ask(Method::GET, path, "read");
    let status = runtime.block_on(asked)?;
    if !status["backends"].is_array() {
        return Err(RemoteError::Unreadable.into());
    }
    let Told { text, in_need } = told(&status);
    print(output, &text)?;
    if in_need.is_empty() { Ok(()) } else { Err(CommandError::NeedsAttention) }
}
