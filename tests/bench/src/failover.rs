//! What a client behind a round robin sees of a replica that is killed.

use std::io::{Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selkie_tests::{Balancer, Client, Replicas, Site};
use serde_json::json;

const REPLICAS: usize = 3;
/// Between two requests of the client.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the client goes on around the kill.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(2);

/// Three replicas with nothing shared, one of which is killed under a client of decrypts that opens a
/// connection per request. Prints `figure TAB value` lines.
#[derive(Debug, clap::Args)]
pub(crate) struct Failover {
    /// How often.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

/// What one kill came to.
struct Seen {
    requests: u32,
    lost: u32,
    /// From the first loss, or the kill, to the next answer; the longest wait for an answer without.
    gap: Duration,
}

impl Failover {
    pub(crate) fn run(self) -> Result<()> {
        let mut site = Site::new()?;
        let token = site.client("vault", &["seal"], "")?;
        let rule: (&str, &[&str]) = ("transit/+/autounseal", &["update"]);
        site.policy("seal", &[rule]);
        let mut seen = Vec::new();
        for round in 0..self.rounds {
            let mut replicas = Replicas::start(&site, REPLICAS)?;
            let balancer = Balancer::start(replicas.addresses())?;
            let client = Client::plain(balancer.address).with_token(&token);
            seen.push(killed(&mut replicas, &client, round % REPLICAS)?);
        }
        report(&seen)
    }
}

fn killed(replicas: &mut Replicas, client: &Client, victim: usize) -> Result<Seen> {
    let made = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "c2VjcmV0" }))?;
    let body = json!({ "ciphertext": made.field("ciphertext")? });
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(client, &body, &is_over));
        thread::sleep(BEFORE);
        let outcome = replicas.members.get_mut(victim).context("no replica")?.kill();
        thread::sleep(AFTER);
        is_over.store(true, Ordering::Relaxed);
        outcome?;
        asking.join().map_err(|_panic| anyhow::anyhow!("the client panicked"))
    })
}

fn ask(client: &Client, body: &serde_json::Value, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen { requests: 0, lost: 0, gap: Duration::ZERO };
    let mut answered = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        seen.requests += 1;
        let answer = client.put("transit/decrypt/autounseal", body);
        if answer.is_ok_and(|answer| answer.status == 200) {
            seen.gap = seen.gap.max(answered.elapsed());
            answered = Instant::now();
        } else {
            seen.lost += 1;
        }
        thread::sleep(PAUSE);
    }
    // A replica that is never answered for again must not pass for one that was.
    seen.gap = seen.gap.max(answered.elapsed());
    seen
}

fn report(seen: &[Seen]) -> Result<()> {
    ensure!(!seen.is_empty(), "no round");
    let mut gaps: Vec<_> = seen.iter().map(|seen| seen.gap).collect();
    gaps.sort_unstable();
    let millis = |gap: Option<&Duration>| gap.map_or(0.0, |gap| gap.as_secs_f64() * 1e3);
    let (median, most) = (millis(gaps.get(gaps.len() / 2)), millis(gaps.last()));
    let requests: u32 = seen.iter().map(|seen| seen.requests).sum();
    let lost: u32 = seen.iter().map(|seen| seen.lost).sum();
    let worst = seen.iter().map(|seen| seen.lost).max().unwrap_or(0);
    let rounds = seen.len();
    writeln!(
        stdout(),
        "a replica of {REPLICAS} killed, {rounds} rounds: longest time without an answer\t\
         {median:.1} ms, at most {most:.1} ms\n\
         a replica of {REPLICAS} killed, {rounds} rounds: requests lost\t\
         {worst} at most, {lost} of {requests} in all"
    )?;
    Ok(())
}
