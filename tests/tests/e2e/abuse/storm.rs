//! More clients than places, all of them at once: each handshake takes long, because all do.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Client, Request, evidence, python};
use serde_json::Value;

use super::controls::naive;
use super::{COMMAND, Victim, count, sealing};

/// So many clients for each place.
const CROWDING: usize = 2;
/// Not how long it may take, but when it will not come any more.
const SECONDS: usize = 120;

/// What came of a storm.
#[derive(Debug)]
struct Raged {
    answered: u64,
    connections: u64,
}

/// So many clients, none of which goes before all are answered, or before so many seconds are over.
fn rage(client: &Client, clients: usize, seconds: usize) -> Result<Option<Raged>> {
    let Some(python) = python()? else { return Ok(None) };
    let request = Request::new("PUT", "transit/encrypt/autounseal").json(&sealing("YQ=="));
    let request = request.header("X-Vault-Token", client.token.as_deref().context("no token")?);
    let scheme = if client.tls.is_some() { "https" } else { "http" };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/abuse/storm.py");
    let mut command = Command::new(python);
    command.env_clear().arg(script).arg(scheme).arg(client.address.ip().to_string());
    command.args([client.address.port().to_string(), clients.to_string(), seconds.to_string()]);
    let output = command.arg(String::from_utf8(request.bytes())?).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let raged: Value = serde_json::from_slice(&output.stdout)?;
    let number = |field: &str| raged[field].as_u64().context("no number");
    Ok(Some(Raged { answered: number("answered")?, connections: number("connections")? }))
}

#[test]
fn a_storm_of_handshakes_at_the_limit_is_answered_to_the_last_client() -> Result<()> {
    let clients = count("SELKIE_STORM", 1_000)?;
    let mut victim = Victim::tls(&format!("max_connections = {}", clients / CROWDING))?;
    let mut raged = None;
    let toll = victim.endures(128, |victim, honest| {
        raged = rage(&victim.client, clients, SECONDS)?;
        honest.is_served(1)
    })?;
    let Some(raged) = raged else { return Ok(()) };
    assert_eq!(raged.answered, u64::try_from(clients)?, "{raged:?}; {toll}");
    evidence(
        "a storm of handshakes at the limit of connections is answered to the last client",
        COMMAND,
        format!(
            "{clients} clients at {} places, answered on {} connections; {toll}",
            clients / CROWDING,
            raged.connections
        ),
        "a server that keeps its place for who has it leaves the same clients without",
    )
}

#[test]
fn control_a_server_that_sends_nobody_away_does_not_answer_a_storm() -> Result<()> {
    let Some((_process, client)) = naive("one by one")? else { return Ok(()) };
    let raged = rage(&client, 20, 2)?.context("Python was there before")?;
    assert_eq!(raged.answered, 1, "{raged:?}");
    Ok(())
}
