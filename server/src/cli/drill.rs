//! `selkie drill`: has a running server open envelopes through each seal alone, and tells which
//! seals would not carry it by themselves.

mod report;

use std::io::Write;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use self::report::{Report, Row};
use super::arguments::ReportFormat;
use super::remote::{Remote, RemoteError, ServerArguments};
use super::terminal::printable;
use super::{CommandError, print, single_threaded};

/// For one step: what a server takes for a decrypt, and some.
const PATIENCE: Duration = Duration::from_secs(30);

/// The token needs list on sys/drill, and update and sudo on sys/drill/*. Ask a replica itself, not
/// a load balancer: each replica has its own way to each master key.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    format: ReportFormat,
}

pub(super) fn run(
    arguments: &Arguments,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    let runtime = single_threaded()?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let report = runtime.block_on(drill(&server, errors))?;
    print(output, &if arguments.format.is_json() { report.json() } else { report.text() })?;
    if report.is_ok() { Ok(()) } else { Err(CommandError::DrillFailed) }
}

/// What is waited for goes to `errors`, so that the output holds the report and nothing else.
async fn drill(server: &Remote, errors: &mut dyn Write) -> Result<Report, RemoteError> {
    let mut tell = |what: &str| {
        // Whoever does not read it wants the report all the same.
        let _unread = writeln!(errors, "drill: {what}");
    };
    tell(&format!("asking {} for the steps", server.address()));
    let plan = server.ask(Method::GET, "sys/drill/?list=true", "list").await?;
    let plan = &plan["data"];
    let steps = plan["keys"].as_array().ok_or(RemoteError::Unreadable)?;
    let steps: Vec<_> = steps.iter().filter_map(Value::as_str).collect();
    let mut report = Report::of(plan);
    let count = steps.len();
    for (done, step) in steps.into_iter().enumerate() {
        let shown = printable(step);
        let (number, seconds) = (done.saturating_add(1), PATIENCE.as_secs());
        tell(&format!("{number} of {count}, {shown}: each seal by itself, {seconds} s at most"));
        let answer =
            server.ask(Method::POST, &format!("sys/drill/{step}"), "update and sudo").await;
        match answer {
            Ok(answer) => report.rows.extend(rows(step, &answer)?),
            // Another step may still say what is wrong; one that fails as a whole is told as such.
            Err(RemoteError::Told { status, .. }) if status.is_server_error() => {
                report.rows.push(Row::refused(step, status));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

fn rows(step: &str, answer: &Value) -> Result<Vec<Row>, RemoteError> {
    let results = answer["data"]["results"].as_array().ok_or(RemoteError::Unreadable)?;
    Ok(results.iter().map(|result| Row::of(step, result)).collect())
}
