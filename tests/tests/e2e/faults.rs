//! The test bench, `selkie server --faults`: what a real Vault core does with each of the scripts in
//! docs/examples/faults. docs/test-bench.md tells what is seen here.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Client, Peer, Request, Selkie, Signal, Site, VaultCore, binary, key_ids, until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::vault::{Deployment, SECRET};

/// Nothing happens to anyone but to who asks for this.
const QUIET: &str = "fault \"quiet\" {\n  on    = [\"lookup-self\"]\n  delay = \"1ms\"\n}\n";

/// What a Vault's unseal loop says of an attempt that failed.
const FAILED: &str = "failed to unseal core";

fn example(name: &str) -> Result<String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/faults");
    fs::read_to_string(examples.join(format!("{name}.hcl"))).with_context(|| name.to_owned())
}

/// A dev server that plays a script.
struct Bench {
    selkie: Selkie,
    dir: TempDir,
}

impl Bench {
    fn playing(script: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = Self::file(&dir);
        fs::write(&file, script)?;
        let file = file.to_str().context("a path in UTF-8")?;
        Ok(Self { selkie: Selkie::dev(&["--faults", file])?, dir })
    }

    fn file(dir: &TempDir) -> PathBuf {
        dir.path().join("faults.hcl")
    }

    /// Puts another script into the place of the one that is played.
    fn play(&self, script: &str) -> Result<()> {
        self.reload(script, "the script of faults was read")
    }

    fn reload(&self, script: &str, answer: &str) -> Result<()> {
        fs::write(Self::file(&self.dir), script)?;
        let from = self.selkie.process.stderr().len();
        self.selkie.process.signal(Signal::HUP)?;
        let is_it = |line: &str| line.contains(answer).then_some(());
        self.selkie.process.stderr_line(from, is_it)
    }

    /// How often a fault has happened, by the metrics.
    fn happened(&self, fault: &str) -> Result<u64> {
        let text = self.selkie.root()?.get("sys/metrics")?.text();
        let name = format!("selkie_faults_total{{fault=\"{fault}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
        Ok(count.unwrap_or(0))
    }
}

/// A Vault that was initialised while all was well, and then stopped.
struct Stage {
    bench: Bench,
    deployment: Deployment,
    root: String,
}

impl Stage {
    fn new(key: &str) -> Result<Option<Self>> {
        let Some(program) = Peer::VaultCore.find()? else { return Ok(None) };
        let bench = Bench::playing(QUIET)?;
        let token = bench.selkie.root()?.token.context("no token")?;
        if key != "autounseal" {
            let root = bench.selkie.root()?;
            root.put(&format!("transit/keys/{key}"), &json!({}))?.data()?;
            root.put(&format!("transit/keys/{key}/rotate"), &json!({}))?.data()?;
        }
        let deployment = Deployment::new(program, bench.dir.path(), &bench.selkie, &token, key);
        let root = deployment.with_secret()?;
        Ok(Some(Self { bench, deployment, root }))
    }

    /// The Vault, unsealed with its secret; it was started as often as a service manager would, and
    /// this often it ended by itself.
    fn comes_up(&self, what: &str) -> Result<(VaultCore, usize)> {
        let (begun, mut ended) = (Instant::now(), 0);
        let vault = until("a Vault stays up", || match self.deployment.start() {
            Ok(vault) => Ok(Some(vault)),
            Err(_) => {
                ended += 1;
                Ok(None)
            }
        })?;
        let vault = VaultCore { client: vault.client.with_token(&self.root), ..vault };
        vault.unsealed()?;
        ensure!(vault.read_secret()? == SECRET, "another secret");
        let repeated = vault.process.stderr().iter().filter(|line| line.contains(FAILED)).count();
        let took = begun.elapsed().as_millis();
        say(&format!("{what}: up after {took} ms, {ended} exits, {repeated} unseals repeated"))?;
        Ok((vault, ended))
    }

    /// What a Vault says that does not even start.
    fn refuses_to_start(&self, what: &str) -> Result<String> {
        let Deployment { program, storage, seal } = &self.deployment;
        let begun = Instant::now();
        let mut vault = VaultCore::launch(program, storage, seal)?;
        ensure!(vault.exit_code()? == 1, "another exit code");
        let said = vault.stderr().join("\n");
        ensure!(said.contains("Error parsing Seal configuration"), "{said}");
        say(&format!("{what}: exit 1 after {} ms", begun.elapsed().as_millis()))?;
        Ok(said)
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "{line}")?)
}

#[test]
fn a_vault_that_boots_faster_than_its_unsealer_exits_until_that_is_there() -> Result<()> {
    let Some(stage) = Stage::new("autounseal")? else { return Ok(()) };
    stage.bench.play(&example("down-at-start")?)?;
    stage.refuses_to_start("down at start")?;
    stage.comes_up("down at start")?;
    assert!(stage.bench.happened("down")? >= 6, "three tries to renew and three to encrypt");
    Ok(())
}

#[test]
fn a_vault_with_a_slow_unsealer_comes_up_late() -> Result<()> {
    let Some(stage) = Stage::new("autounseal")? else { return Ok(()) };
    stage.bench.play(&example("slow")?)?;
    let begun = Instant::now();
    let (_vault, ended) = stage.comes_up("slow")?;
    assert_eq!(ended, 0);
    assert!(begun.elapsed() >= Duration::from_secs(10), "an encrypt and a decrypt");
    assert!(stage.bench.happened("slow")? >= 2);
    Ok(())
}

#[test]
fn a_vault_whose_token_expired_goes_on_until_it_is_restarted() -> Result<()> {
    let Some(stage) = Stage::new("autounseal")? else { return Ok(()) };
    let (mut vault, _) = stage.comes_up("token good")?;
    stage.bench.play(&example("token-expired")?)?;
    assert_eq!(vault.read_secret()?, SECRET, "a running Vault asks nobody");
    vault.process.kill()?;
    let said = stage.refuses_to_start("token expired")?;
    assert!(said.contains("Code: 403") && said.contains("permission denied"), "{said}");
    stage.bench.play(QUIET)?;
    stage.comes_up("token good again")?;
    Ok(())
}

#[test]
fn a_vault_with_a_flapping_unsealer_comes_up() -> Result<()> {
    let Some(stage) = Stage::new("autounseal")? else { return Ok(()) };
    stage.bench.play(&example("flapping")?)?;
    stage.comes_up("flapping")?;
    until("health says so", || {
        let health = stage.bench.selkie.client().get("sys/health")?;
        Ok((health.status == 503 && health.json()["sealed"] == true).then_some(()))
    })?;
    Ok(())
}

/// Why versions only grow (invariant I7).
#[test]
fn a_version_that_goes_backwards_makes_a_vault_re_encrypt_and_then_lose_its_keys() -> Result<()> {
    let Some(stage) = Stage::new("managed")? else { return Ok(()) };
    let storage = &stage.deployment.storage;
    assert_eq!(key_ids(storage)?, ["v2", "v2"]);
    stage.bench.play(&example("version-backwards")?)?;
    let (mut vault, _) = stage.comes_up("backwards")?;
    vault.process.kill()?;
    assert_eq!(key_ids(storage)?, ["v1", "v1"], "it believed what it was told");
    stage.bench.play(QUIET)?;
    let vault = stage.deployment.start()?;
    vault.process.stderr_line(0, |line| line.contains(FAILED).then_some(()))?;
    let refused = |line: &str| line.contains("message authentication failed").then_some(());
    vault.process.stderr_line(0, refused)?;
    let health = vault.client.get("sys/health")?;
    assert_eq!(health.status, 503, "sealed for good");
    Ok(())
}

#[test]
fn a_vault_takes_no_wrong_answer_for_a_key_and_asks_again() -> Result<()> {
    let Some(stage) = Stage::new("autounseal")? else { return Ok(()) };
    stage.bench.play(&example("wrong-answers")?)?;
    let (vault, ended) = stage.comes_up("wrong answers")?;
    assert_eq!(ended, 0);
    for fault in ["cut-short", "a-proxys-page", "another-plaintext"] {
        assert_eq!(stage.bench.happened(fault)?, 1, "{fault}");
    }
    let said = vault.process.stderr();
    let said: Vec<_> = said.iter().filter(|line| line.contains(FAILED)).collect();
    say(&format!("{said:#?}"))?;
    assert_eq!(said.len(), 3);
    Ok(())
}

#[test]
fn a_vault_waits_for_a_master_key_that_is_away() -> Result<()> {
    let Some(stage) = Stage::new("autounseal")? else { return Ok(()) };
    // Long enough for a Vault that is slow to start to meet it.
    let script = example("seal-away")?;
    ensure!(script.contains("\"5s\""), "{script}");
    stage.bench.play(&script.replace("\"5s\"", "\"30s\""))?;
    let (vault, ended) = stage.comes_up("seal away")?;
    assert_eq!(ended, 0, "encrypting goes on");
    let said = vault.process.stderr().join("\n");
    assert!(said.contains(FAILED), "{said}");
    assert!(stage.bench.happened("away")? >= 1);
    Ok(())
}

#[test]
fn a_vault_has_a_bad_day_and_comes_up() -> Result<()> {
    let Some(stage) = Stage::new("autounseal")? else { return Ok(()) };
    stage.bench.play(&example("bad-day")?)?;
    stage.comes_up("bad day")?;
    Ok(())
}

/// The statuses of so many encrypts.
fn statuses(client: &Client, count: usize) -> Result<Vec<u16>> {
    let body = json!({ "plaintext": "YQ==" });
    (0..count).map(|_| Ok(client.put("transit/encrypt/autounseal", &body)?.status)).collect()
}

#[test]
fn the_same_seed_does_the_same_again() -> Result<()> {
    let script = "seed = 5\nfault \"a\" {\n  probability = 0.4\n  on = [\"encrypt\"]\n  \
                  status = 503\n}\n";
    let bench = Bench::playing(script)?;
    let first = statuses(&bench.selkie.root()?, 40)?;
    assert!(first.contains(&503) && first.contains(&200), "{first:?}");
    bench.play(script)?;
    assert_eq!(statuses(&bench.selkie.root()?, 40)?, first, "it begins anew");
    bench.play(&script.replace("seed = 5", "seed = 6"))?;
    assert_ne!(statuses(&bench.selkie.root()?, 40)?, first);
    Ok(())
}

#[test]
fn a_connection_is_cut_where_the_script_says() -> Result<()> {
    let bench = Bench::playing(
        "fault \"closed\" {\n  nth = 1\n  connection = \"close\"\n}\n\
         fault \"half\" {\n  nth = 2\n  body = \"truncated\"\n}\n",
    )?;
    let client = bench.selkie.client();
    let closed = format!("{:#}", client.get("sys/health").unwrap_err());
    let half = format!("{:#}", client.get("sys/health").unwrap_err());
    say(&format!("closed: {closed}\nhalf: {half}"))?;
    assert_ne!(closed, half);
    assert_eq!(client.get("sys/health")?.status, 200);
    Ok(())
}

#[test]
fn a_request_that_hangs_keeps_no_server_from_stopping() -> Result<()> {
    let mut bench = Bench::playing("fault \"hung\" {\n  connection = \"hang\"\n}\n")?;
    let impatient = Client { patience: Duration::from_millis(500), ..bench.selkie.client() };
    assert!(impatient.get("sys/health").is_err());
    bench.selkie.stop()
}

#[test]
fn a_test_bench_says_what_it_is() -> Result<()> {
    let bench = Bench::playing("fault \"a\" {\n  nth    = 1\n  status = 503\n}\n")?;
    bench.selkie.process.stdout_line(|line| line.contains("TEST BENCH").then_some(()))?;
    bench.selkie.says("TEST BENCH")?;
    assert_eq!(bench.selkie.client().get("sys/health")?.status, 503);
    let is_told = |line: &str| line.contains("a scripted fault happens to a request").then_some(());
    bench.selkie.process.stderr_line(0, is_told)?;
    assert_eq!(bench.selkie.client().get("sys/health")?.json()["faults_happened"], 1);
    let status = bench.selkie.root()?.get("sys/seal-backend-status")?.data()?;
    assert_eq!(status["faults"], json!({ "rules": 1, "happened": 1 }));
    let token = bench.selkie.root()?.token.context("no token")?;
    let token_file = bench.dir.path().join("token");
    fs::write(&token_file, token)?;
    let token_file = token_file.to_str().context("a path in UTF-8")?;
    let told = run(&["status", "--address", &bench.selkie.url(), "--token-file", token_file])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("TEST BENCH") && told.contains("needs attention: test bench"), "{told}");
    Ok(())
}

#[test]
fn a_wrong_script_is_refused_and_the_one_before_goes_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = Bench::file(&dir);
    fs::write(&file, "fault \"a\" {\n  status = 503\n  onn    = [\"encrypt\"]\n}\n")?;
    let refused = run(&["server", "--dev", "--faults", file.to_str().context("UTF-8")?])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("faults.hcl:3:3: unknown field \"onn\""), "{said}");

    let bench = Bench::playing("fault \"a\" {\n  on     = [\"encrypt\"]\n  status = 503\n}\n")?;
    bench.reload("fault \"a\" {\n  status = 999\n}\n", "reload refused")?;
    assert_eq!(statuses(&bench.selkie.root()?, 1)?, [503]);
    Ok(())
}

#[test]
fn a_configuration_must_allow_faults_by_name() -> Result<()> {
    let mut site = Site::new()?;
    let token = site.client("vault", &["root"], "")?;
    let faults = site.dir().join("faults.hcl");
    fs::write(&faults, "fault \"a\" {\n  client = \"vault\"\n  status = 503\n}\n")?;
    let faults = faults.to_str().context("a path in UTF-8")?;
    let config = site.write()?;
    let config = config.to_str().context("a path in UTF-8")?;
    let refused = run(&["server", "--config", config, "--faults", faults])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(said.contains("allow_faults = true"), "{said}");

    site.extra = format!("allow_faults = true\n{}", site.extra);
    site.write()?;
    let quiet = site.start()?;
    assert_eq!(statuses(&quiet.client().with_token(&token), 1)?, [200]);
    quiet.says("remove it from a configuration")?;
    drop(quiet);
    let arguments = ["server", "--config", config, "--faults", faults].map(Into::into).to_vec();
    let selkie = Selkie::start(&binary()?, arguments, 1)?;
    assert_eq!(statuses(&selkie.client().with_token(&token), 1)?, [503]);
    let health = selkie.client().send(Request::absolute("GET", "/v1/sys/health"))?;
    assert_eq!(health.json()["faults_happened"], 1);

    site.extra = site.extra.replace("allow_faults = true\n", "");
    site.write()?;
    let from = selkie.process.stderr().len();
    selkie.process.signal(Signal::HUP)?;
    let refusal = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["reason"].as_str()?.contains("allow_faults").then_some(())
    };
    selkie.process.stderr_line(from, refusal)
}

fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).env_clear().args(arguments).output()?)
}
