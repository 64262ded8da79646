//! `selkie status`: what a running server knows of its master keys.

mod table;

use std::io::Write;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use self::table::{Report, told};
use super::arguments::ReportFormat;
use super::remote::{Remote, RemoteError, ServerArguments};
use super::terminal::printable;
use super::{CommandError, print, single_threaded};

const PATIENCE: Duration = Duration::from_secs(10);

/// The token needs read on sys/seal-backend-status.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    format: ReportFormat,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let runtime = single_threaded()?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let path = "sys/seal-backend-status";
    let status = runtime.block_on(async {
        match server.ask(Method::GET, path, "read").await {
            Err(RemoteError::Told { status, texts }) if status.is_server_error() => {
                Err(why(&server).await.unwrap_or(RemoteError::Told { status, texts }))
            }
            other => other,
        }
    })?;
    if !status["backends"].is_array() {
        return Err(RemoteError::Unreadable.into());
    }
    let Report { text, in_need } = told(&status);
    // An answer has its members twice, the second time below "data", as those of Vault do.
    let data = status.get("data").unwrap_or(&status);
    print(output, &if arguments.format.is_json() { format!("{data:#}\n") } else { text })?;
    if in_need.is_empty() { Ok(()) } else { Err(CommandError::NeedsAttention) }
}

/// What a server that answers nothing else says of itself to everybody.
async fn why(server: &Remote) -> Option<RemoteError> {
    let (_status, body) = server.send(Method::GET, "sys/health").await.ok()?;
    let health = serde_json::from_slice::<Value>(&body).ok()?;
    let warning = health["warning"].as_str()?;
    Some(RemoteError::Refuses(printable(warning)))
}
