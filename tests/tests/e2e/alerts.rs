//! Alerts as operators get them: in the log, in the metrics, and at a receiver of the webhook, which
//! is the one in `deploy/`. The client is a real Vault; then somebody who has its token.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Answer, Client, Peer, Process, Request, Selkie, Site, evidence, free_port, python, until,
};
use serde_json::json;

use crate::trio::encrypt;
use crate::vault::Deployment;

/// The kinds that decrypts raise.
const KINDS: [&str; 6] =
    ["new_client", "new_key", "new_pair", "new_network", "client_burst", "key_burst"];

/// A server that learns nothing silently, whose metrics can be asked for.
struct Watched {
    selkie: Selkie,
    site: Site,
    metrics: SocketAddr,
    /// The tokens of two Vaults.
    tokens: [String; 2],
    /// Who decrypts a thousand times when a test does.
    busy: String,
}

impl Watched {
    fn start(storage: &str, hook: u16) -> Result<Self> {
        let mut site = Site::new()?;
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let key = site.random_key("hook-key")?;
        let storage = match storage {
            "sled" => format!("storage \"sled\" {{ path = {:?} }}\n", site.dir().join("state")),
            other => format!("storage \"{other}\" {{}}\n"),
        };
        // A thief is somewhere else, which a test on one machine can only say.
        site.listener = "x_forwarded_for_authorized_addrs = [\"127.0.0.1\"]\n  \
                         x_forwarded_for_reject_not_present = false"
            .to_owned();
        site.keys += "key \"second\" {}\n";
        site.extra += &storage;
        site.extra += &format!(
            "telemetry {{ metrics_address = \"{metrics}\" }}\nalerts {{\n  learning = \"0s\"\n  \
             webhook {{\n    url = \"http://127.0.0.1:{hook}/\"\n    hmac_key = \"{key}\"\n    \
             timeout = \"10s\"\n  }}\n}}\n"
        );
        site.policy(
            "seal",
            &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])],
        );
        let tokens =
            [site.client("vault-a", &["seal"], "")?, site.client("vault-b", &["seal"], "")?];
        let busy = site.client("busy", &["seal"], "")?;
        let selkie = site.start()?;
        let watched = Self { site, selkie, metrics, tokens, busy };
        watched.is_watching()?;
        Ok(watched)
    }

    /// Before the state opens nothing is judged.
    fn is_watching(&self) -> Result<()> {
        let says_so = |line: &str| line.contains("alerts watch decrypts").then_some(());
        self.selkie.process.stderr_line(0, says_so)
    }

    fn receiver(&self, python: &Path, port: u16) -> Result<Process> {
        let mut command = Command::new(python);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/webhook/receiver.py");
        command.env_clear().arg(script).args(["--port", &port.to_string(), "--key"]);
        command.arg(self.site.dir().join("hook-key"));
        Process::start(command)
    }

    fn vault(&self, program: PathBuf) -> Deployment {
        Deployment::new(program, self.site.dir(), &self.selkie, &self.tokens[0], "autounseal")
    }

    /// How many alerts of a kind were told, as the metrics have it.
    fn told(&self, kind: &str) -> Result<u64> {
        self.figure(&format!("selkie_alerts_total{{kind=\"{kind}\"}}"))
    }

    fn figure(&self, name: &str) -> Result<u64> {
        let answer = Client::plain(self.metrics).send(Request::absolute("GET", "/metrics"))?;
        let text = answer.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(Ok(0), |value| value.parse().with_context(|| format!("{name}: {value}")))
    }

    /// What all kinds of alerts came to, in the order of [`KINDS`].
    fn all_told(&self) -> Result<Vec<u64>> {
        KINDS.iter().map(|kind| self.told(kind)).collect()
    }

    /// Somebody with the token `token`, who seems to come from `address`, opens `ciphertext`.
    fn decrypt(&self, token: &str, key: &str, ciphertext: &str, address: &str) -> Result<Answer> {
        let request = Request::new("PUT", &format!("transit/decrypt/{key}"))
            .header("X-Vault-Token", token)
            .header("X-Forwarded-For", address)
            .json(&json!({ "ciphertext": ciphertext }));
        let answer = self.selkie.client().send(request)?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(answer)
    }

    fn ciphertext(&self, key: &str) -> Result<String> {
        encrypt(&self.selkie.client().with_token(&self.tokens[0]), key)?.field("ciphertext")
    }

    /// One alert of this kind is in the log, in the metrics and with the receiver, about these.
    fn raises(&self, receiver: &Process, kind: &str, about: &[&str]) -> Result<()> {
        let is_it = |line: &str| {
            let has_kind = line.contains(kind);
            (has_kind && about.iter().all(|part| line.contains(part))).then(|| line.to_owned())
        };
        let posted =
            receiver.stdout_line(|line| is_it(line).filter(|_| line.contains(" warning ")))?;
        // The receiver and the log name the same request.
        let request = posted.split("request_id=").nth(1).and_then(|rest| rest.split(' ').next());
        let request = request.with_context(|| posted.clone())?.to_owned();
        let logged = format!("\"kind\":\"{kind}\"");
        let in_log = |line: &str| (line.contains(&logged) && line.contains(&request)).then_some(());
        self.selkie.process.stderr_line(0, in_log)?;
        until("the metric counts it", || Ok((self.told(kind)? > 0).then_some(())))
    }
}

#[test]
fn what_a_vault_does_for_the_first_time_and_what_a_thief_of_its_token_does_is_told_everywhere()
-> Result<()> {
    let (Some(program), Some(python)) = (Peer::VaultCore.find()?, python()?) else {
        return Ok(());
    };
    let hook = free_port()?;
    let mut watched = Watched::start("sled", hook)?;
    let receiver = watched.receiver(&python, hook)?;
    let vault = watched.vault(program);
    let vault_token = vault.with_secret()?;
    vault.assert_comes_up_by_itself(&vault_token)?;
    watched.raises(&receiver, "new_client", &["client=vault-a", "key=transit/autounseal"])?;

    let [stolen, other] = watched.tokens.clone();
    let (first, second) = (watched.ciphertext("autounseal")?, watched.ciphertext("second")?);
    watched.decrypt(&stolen, "second", &second, "127.0.0.1")?;
    watched.raises(&receiver, "new_key", &["client=vault-a", "key=transit/second"])?;
    watched.decrypt(&stolen, "autounseal", &first, "192.0.2.7")?;
    watched.raises(&receiver, "new_network", &["client=vault-a", "address=192.0.2.7"])?;
    watched.decrypt(&other, "autounseal", &first, "127.0.0.1")?;
    watched.raises(&receiver, "new_client", &["client=vault-b"])?;
    watched.decrypt(&other, "second", &second, "127.0.0.1")?;
    watched.raises(&receiver, "new_pair", &["client=vault-b", "key=transit/second"])?;
    for _ in 0..21 {
        watched.decrypt(&other, "second", &second, "127.0.0.1")?;
    }
    watched.raises(&receiver, "client_burst", &["client=vault-b", "decrypts="])?;
    watched.raises(&receiver, "key_burst", &["key=transit/second", "decrypts="])?;
    let told = watched.all_told()?;
    assert_eq!(told, [2, 1, 1, 1, 1, 1], "{KINDS:?}");

    // What was seen is written within ten seconds, and known after a restart: the Vault is unsealed
    // again and nobody hears of it.
    thread::sleep(Duration::from_secs(25));
    watched.selkie.stop()?;
    watched.selkie.restart()?;
    watched.is_watching()?;
    vault.assert_comes_up_by_itself(&vault_token)?;
    watched.decrypt(&other, "second", &second, "127.0.0.1")?;
    watched.decrypt(&stolen, "autounseal", &first, "192.0.2.7")?;
    // The control, in the same breath: what is new is still told, and is told last.
    watched.decrypt(&stolen, "autounseal", &first, "198.51.100.1")?;
    watched.raises(&receiver, "new_network", &["address=198.51.100.1"])?;
    assert_eq!(watched.all_told()?, [0, 0, 0, 1, 0, 0], "{KINDS:?}");
    evidence(
        "a decrypt by a client, from a network or of a key not seen before, and a burst, each reach log, metric and webhook; what was seen outlives a restart",
        "cargo test -p selkie-tests --test e2e alerts",
        format!(
            "{} alerts of a real Vault and a thief of its token; 0 of known things after a restart",
            told.iter().sum::<u64>()
        ),
        "without storage the same restart raises new_client again; a new network after it is told",
    )
}

#[test]
fn without_storage_a_restart_forgets_what_was_seen_which_is_the_control() -> Result<()> {
    let mut watched = Watched::start("inmem", free_port()?)?;
    let ciphertext = watched.ciphertext("autounseal")?;
    for restart in [true, false] {
        watched.decrypt(&watched.tokens[0], "autounseal", &ciphertext, "127.0.0.1")?;
        until("it is told", || Ok((watched.told("new_client")? == 1).then_some(())))?;
        if restart {
            watched.selkie.stop()?;
            watched.selkie.restart()?;
            watched.is_watching()?;
        }
    }
    Ok(())
}

/// The worst of these receivers accepts everything and never says a word.
fn silent_receiver() -> Result<(u16, thread::JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let held = move || {
        let read = |mut stream: TcpStream| {
            let mut nothing = [0; 4096];
            while stream.read(&mut nothing).is_ok_and(|read| read > 0) {}
        };
        for stream in listener.incoming().flatten() {
            thread::spawn(move || read(stream));
        }
    };
    Ok((port, thread::spawn(held)))
}

/// How long the slowest of so many decrypts took, each from a network of its own.
fn slowest(watched: &Watched, networks: std::ops::Range<u8>) -> Result<Duration> {
    let ciphertext = watched.ciphertext("autounseal")?;
    let mut slowest = Duration::ZERO;
    for network in networks {
        let begun = Instant::now();
        watched.decrypt(&watched.busy, "autounseal", &ciphertext, &format!("10.0.{network}.1"))?;
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

#[test]
fn a_receiver_that_is_away_or_says_nothing_delays_no_decrypt() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    // Away, until it comes.
    let hook = free_port()?;
    let watched = Watched::start("inmem", hook)?;
    let away = slowest(&watched, 1..60)?;
    let failed = "selkie_alert_posts_total{outcome=\"connection\"}";
    until("a post has failed", || Ok((watched.figure(failed)? > 0).then_some(())))?;
    let receiver = watched.receiver(&python, hook)?;
    watched.raises(&receiver, "new_network", &["client=busy", "address=10.0.59.1"])?;
    assert_eq!(watched.figure("selkie_alerts_lost_total{cause=\"given_up\"}")?, 0);
    // Silent: while a post hangs at the receiver, decrypts go on.
    let (hook, _held) = silent_receiver()?;
    let watched = Watched::start("inmem", hook)?;
    let timed_out = "selkie_alert_posts_total{outcome=\"timed_out\"}";
    let mut silent = slowest(&watched, 1..2)?;
    for network in 2..u8::MAX {
        silent = silent.max(slowest(&watched, network..network + 1)?);
        if watched.figure(timed_out)? > 0 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(watched.figure(timed_out)? > 0, "no post has timed out while it was decrypted");
    // A decrypt that had waited for a post would have waited for its ten seconds.
    let bound = Duration::from_secs(8);
    assert!(away < bound && silent < bound, "{away:?} {silent:?}");
    evidence(
        "a webhook that is away or says nothing delays no decrypt",
        "cargo test -p selkie-tests --test e2e alerts",
        format!(
            "slowest decrypt {away:.1?} with the receiver away, {silent:.1?} with a silent one"
        ),
        "the posts themselves failed (connection) and timed out (10 s)",
    )
}
