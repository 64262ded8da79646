//! Many Vaults that restart at once and unseal against one or several Selkies.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::seal_client::SealClient;

/// How many plaintexts one request encrypts before the Vaults start.
const BATCH: usize = 500;
/// A seal client's own tries, and the pause of a Vault's unseal loop (transit-api.md §1.7).
const TRIES: u32 = 3;
const UNSEAL_PAUSE: Duration = Duration::from_secs(5);
/// How long a seal client waits for all its tries together (transit-api.md §1.7).
const CALL_TIME: Duration = Duration::from_secs(60);

/// Vaults that all decrypt their root key at once, each its own, and try again as Vaults do.
/// Prints one JSON object.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// A Selkie's plain listener; the Vaults are dealt out among all of them.
    #[arg(long = "server", required = true)]
    servers: Vec<SocketAddr>,
    /// A token that may encrypt and decrypt.
    #[arg(long)]
    token: String,
    /// The transit key.
    #[arg(long, default_value = "autounseal")]
    key: String,
    /// How many Vaults.
    #[arg(long, default_value_t = 10_000)]
    vaults: usize,
}

/// What one Vault went through.
struct Unsealed {
    after: Duration,
    refused: u32,
}

impl Drain {
    pub(crate) async fn run(self) -> Result<()> {
        let ciphertexts = self.ciphertexts().await?;
        let began_at = unix_time();
        let began = Instant::now();
        let mut vaults = JoinSet::new();
        for (number, ciphertext) in ciphertexts.into_iter().enumerate() {
            let server = *self.servers.get(number % self.servers.len()).context("no server")?;
            let client = SealClient::new(server, &self.token, &self.key);
            vaults.spawn(unseal(client, json!({ "ciphertext": ciphertext }), began));
        }
        let mut unsealed = Vec::with_capacity(self.vaults);
        while let Some(vault) = vaults.join_next().await {
            unsealed.push(vault??);
        }
        report(&mut unsealed, began_at)
    }

    async fn ciphertexts(&self) -> Result<Vec<String>> {
        let server = *self.servers.first().context("no server")?;
        let client = SealClient::new(server, &self.token, &self.key);
        let mut connection = client.connect().await?;
        let mut ciphertexts = Vec::with_capacity(self.vaults);
        while ciphertexts.len() < self.vaults {
            let count = BATCH.min(self.vaults - ciphertexts.len());
            let items = vec![json!({ "plaintext": "cm9vdCBrZXk=" }); count];
            let body = json!({ "batch_input": items });
            let (status, body) = client.ask(&mut connection, "encrypt", body).await?;
            ensure!(status == StatusCode::OK, "encrypt: {status}");
            let answer: Value = serde_json::from_slice(&body)?;
            let results = answer["data"]["batch_results"].as_array().context("no results")?;
            let made = results.iter().filter_map(|result| result["ciphertext"].as_str());
            ciphertexts.extend(made.map(str::to_owned));
        }
        Ok(ciphertexts)
    }
}

/// Tries until the Vault is unsealed: three tries with pauses of 1 to 1.5 s and 2 to 3 s, in a minute
/// at most, then the unseal loop's pause, and again.
async fn unseal(client: SealClient, body: Value, began: Instant) -> Result<Unsealed> {
    let mut refused = 0;
    loop {
        let call_ends = Instant::now() + CALL_TIME;
        for turn in 1..=TRIES {
            let answer = timeout_at(call_ends, attempt(&client, body.clone())).await;
            match answer.unwrap_or(None) {
                Some(StatusCode::OK) => return Ok(Unsealed { after: began.elapsed(), refused }),
                Some(status) if !status.is_server_error() => bail!("decrypt: {status}"),
                _ => refused += 1,
            }
            if turn < TRIES {
                sleep(jittered() * turn).await;
            }
        }
        sleep(UNSEAL_PAUSE).await;
    }
}

/// The status, or `None` if the server could not be reached.
async fn attempt(client: &SealClient, body: Value) -> Option<StatusCode> {
    let mut connection = client.connect().await.ok()?;
    client.ask(&mut connection, "decrypt", body).await.ok().map(|(status, _)| status)
}

/// By which the reader of the report finds the begin among the windows of the limit.
#[expect(clippy::disallowed_methods, reason = "a figure is of this machine's own time")]
fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// 1 to 1.5 s, as Go's client jitters.
fn jittered() -> Duration {
    let mut random = [0];
    let drawn = getrandom::fill(&mut random).map_or(0, |()| u64::from(random[0]));
    Duration::from_millis(1000 + drawn * 500 / 255)
}

fn report(unsealed: &mut [Unsealed], began_at: Duration) -> Result<()> {
    unsealed.sort_by_key(|vault| vault.after);
    let at = |part: usize| {
        let place = (unsealed.len() * part / 100).min(unsealed.len().saturating_sub(1));
        unsealed.get(place).map_or(0.0, |vault| vault.after.as_secs_f64())
    };
    let refused: u64 = unsealed.iter().map(|vault| u64::from(vault.refused)).sum();
    let report = json!({
        "vaults": unsealed.len(), "refused_tries": refused, "began_at_ms": began_at.as_millis(),
        "p50_seconds": at(50), "p99_seconds": at(99), "last_seconds": at(100),
    });
    writeln!(stdout(), "{report}")?;
    Ok(())
}
