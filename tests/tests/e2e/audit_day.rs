//! The day of the audit: one server that keeps an audit file, and three Vaults that it unseals: by a
//! periodic token, by a certificate alone, and by a token that an agent got with a token of a
//! provider. In the end the files of that day are whole, and any flipped byte in them is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rcgen::SanType;
use selkie_tests::{
    Authority, Client, Peer, SealArguments, Selkie, Signal, Site, binary, evidence, until,
};
use serde_json::{Value, json};

use crate::logins::Provider;
use crate::tls::config;
use crate::vault::{Deployment, SECRET};

/// What a renewal of the first Vault's token is worth: enough for a busy machine to restart it in.
const PERIOD: Duration = Duration::from_secs(40);
/// So often it is renewed, each time when the most of that is over.
const RENEWALS: usize = 3;
/// Base64 of something that must be in no line.
const CANARY: &str = "Y2FuYXJ5LW9mLXRoZS1hdWRpdC1kYXk=";

/// What the day takes place in.
struct Day {
    selkie: Selkie,
    site: Site,
    authority: Authority,
    provider: Provider,
    root: Client,
    vault_core: PathBuf,
    /// Every token of the day.
    tokens: Mutex<Vec<String>>,
}

impl Day {
    fn begin() -> Result<Option<Self>> {
        let (Some(vault_core), Some(python)) = (Peer::VaultCore.find()?, Provider::python()?)
        else {
            return Ok(None);
        };
        let (mut site, authority) = (Site::new()?, Authority::new()?);
        let provider = Provider::start(&python, &authority, site.dir())?;
        let root = declare(&mut site, &authority, &provider)?;
        let selkie = site.start()?;
        let tls = config(&authority, rustls::ALL_VERSIONS, None)?;
        let client = Client { tls: Some(tls), ..selkie.client() }.with_token(&root);
        let tokens = Mutex::new(vec![root, provider.token.clone()]);
        let day = Self { site, authority, provider, selkie, root: client, vault_core, tokens };
        until("the state is open", || {
            Ok((day.root.list("auth/token/accessors")?.status == 200).then_some(()))
        })?;
        Ok(Some(day))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.dir().join(name)
    }

    /// A Vault with a storage of its own under the declared key.
    fn vault(&self, name: &str, token: &str, further: &[(&str, PathBuf)]) -> Deployment {
        let ca = [("-seal-ca-cert", self.file("ca.pem"))];
        let further = ca.iter().chain(further);
        let seal = SealArguments {
            address: self.selkie.url(),
            token: token.to_owned(),
            key: "autounseal".to_owned(),
            further: further.map(|(flag, file)| format!("{flag}={}", file.display())).collect(),
        };
        Deployment { program: self.vault_core.clone(), storage: self.file(name), seal }
    }

    fn keep(&self, token: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token.to_owned());
    }

    /// The token in the answer to something that makes one.
    fn issued(&self, client: &Client, path: &str, body: &Value) -> Result<(String, u64)> {
        let answer = client.put(path, body)?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text());
        let auth = answer.json()["auth"].clone();
        let token = auth["client_token"].as_str().context("no token")?;
        self.keep(token);
        Ok((token.to_owned(), auth["lease_duration"].as_u64().context("no lease")?))
    }

    /// (a) A periodic token, made through the API, that nobody but the running Vault renews.
    fn by_a_periodic_token(&self) -> Result<()> {
        let body = json!({ "policies": ["seal"], "period": PERIOD.as_secs(), "display_name": "vault-a",
                           "no_parent": true });
        let (token, lease) = self.issued(&self.root, "auth/token/create", &body)?;
        assert_eq!(lease, PERIOD.as_secs());
        let vault = self.vault("vault-a", &token, &[]);
        let mut running = vault.start()?;
        let vault_token = running.initialise()?;
        running.write_secret(SECRET)?;
        let renewals = || self.responses("auth/token/renew-self", "token-vault-a");
        let (begun, before) = (Instant::now(), renewals()?);
        // A token this short-lived outlives the restart only if it has just been renewed.
        for number in 1..=RENEWALS {
            until("the Vault renews", || Ok((renewals()? >= before + number).then_some(())))?;
        }
        assert!(begun.elapsed() > PERIOD, "the token has outlived its period");
        running.process.kill()?;
        vault.assert_comes_up_by_itself(&vault_token)
    }

    /// (b) A certificate, and no secret in any configuration.
    fn by_a_certificate_alone(&self) -> Result<()> {
        let shown = self.authority.issue_with("anything", |parameters| {
            let id = "spiffe://example.org/vault-b".try_into()?;
            parameters.subject_alt_names = vec![SanType::URI(id)];
            Ok(())
        })?;
        let dir = self.file("client");
        fs::create_dir(&dir)?;
        let (cert, key) = shown.write(&dir)?;
        let files = [("-seal-client-cert", cert), ("-seal-client-key", key)];
        let vault = self.vault("vault-b", "", &files);
        let vault_token = vault.with_secret()?;
        vault.assert_comes_up_by_itself(&vault_token)?;
        let decrypts = self.responses("transit/decrypt/autounseal", "vault-b")?;
        assert!(decrypts > 0, "no decrypt of vault-b is recorded");
        Ok(())
    }

    /// (c) What an agent does: it logs in, renews while that is worth anything, and logs in again;
    /// its Vault is sealed with one of its tokens and unsealed with another.
    fn by_the_tokens_of_an_agent(&self) -> Result<()> {
        let agent = Agent { day: self, token: Mutex::default(), is_over: AtomicBool::new(false) };
        thread::scope(|scope| {
            let loops = scope.spawn(|| agent.run());
            let used = self.with_an_agent(&agent);
            agent.is_over.store(true, Ordering::Relaxed);
            let looped = loops.join().map_err(|_panic| anyhow::anyhow!("the agent panicked"))?;
            used.and(looped)
        })
    }

    fn with_an_agent(&self, agent: &Agent<'_>) -> Result<()> {
        let first = until("the agent has logged in", || Ok(agent.token()))?;
        let mut vault = self.vault("vault-c", &first, &[]);
        let vault_token = vault.with_secret()?;
        let second = until("the agent has logged in again", || {
            Ok(agent.token().filter(|token| *token != first))
        })?;
        vault.seal.token = second;
        vault.assert_comes_up_by_itself(&vault_token)?;
        until("the first token is dead", || {
            let own = self.root.with_token(&first).get("auth/token/lookup-self")?;
            Ok((own.status == 403).then_some(()))
        })
    }

    /// How many answers without an error the audit files record, on this path and to this client.
    fn responses(&self, path: &str, name: &str) -> Result<usize> {
        let mut count = 0;
        for file in self.audit_files()? {
            // The files are rotated meanwhile, and the last line may be half there.
            let text = fs::read_to_string(file).unwrap_or_default();
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                let line: Value = serde_json::from_str(line)?;
                let is_it = line["type"] == "response"
                    && line["request"]["path"] == path
                    && line["auth"]["display_name"] == name
                    && line["error"].is_null();
                count += usize::from(is_it);
            }
        }
        Ok(count)
    }

    /// From the oldest to the newest.
    fn audit_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.site.dir().join("audit"))? {
            files.push(entry?.path());
        }
        files.sort_by_key(|file| std::cmp::Reverse(file.display().to_string()));
        Ok(files)
    }

    /// As logrotate does it, which then sends the signal; or forgets to.
    fn rotates(&self, has_signal: bool) -> Result<()> {
        let current = self.file("audit/audit.log");
        for number in (0..self.audit_files()?.len()).rev() {
            let name = |number: usize| match number {
                0 => current.clone(),
                number => self.file(&format!("audit/audit.log.{number}")),
            };
            fs::rename(name(number), name(number + 1))?;
        }
        if has_signal {
            self.selkie.process.signal(Signal::HUP)?;
        }
        until("there is a new audit file", || {
            self.root.put("transit/encrypt/autounseal", &json!({ "plaintext": CANARY }))?;
            Ok(current.exists().then_some(()))
        })
    }

    fn verify(&self, checkpoints: &Path) -> Result<Output> {
        let mut command = Command::new(binary()?);
        command.env_clear().args(["audit", "verify", "--config"]).arg(self.file("selkie.hcl"));
        command.arg("--checkpoints").arg(checkpoints).args(self.audit_files()?);
        Ok(command.output()?)
    }

    fn assert_whole(&self, log: &str) -> Result<()> {
        let checkpoints = self.file("server.log");
        fs::write(&checkpoints, log)?;
        let output = self.verify(&checkpoints)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        // Twice begun, twice ended; what was told of that in the log is in the files.
        assert!(said.contains("of 2 runs") && !said.contains(" 0 checkpoints"), "{said}");
        Ok(())
    }

    /// One bit in the middle of a line, and the line is named. Then it is put right again.
    fn assert_a_flipped_bit_is_found(&self, file: &Path, line: usize) -> Result<()> {
        let whole = fs::read(file)?;
        let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let before: usize = lines.iter().take(line - 1).map(|line| line.len()).sum();
        let mut flipped = whole.clone();
        flipped[before + lines[line - 1].len() / 2] ^= 1;
        fs::write(file, flipped)?;
        let output = self.verify(&self.file("server.log"))?;
        fs::write(file, whole)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{}:{line}: ", file.display())), "line {line}: {said}");
        Ok(())
    }

    /// No token and no plaintext in any audit file, nor in the log.
    fn assert_nothing_secret(&self, log: &str) -> Result<()> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let parts = tokens.iter().map(String::as_str).chain([CANARY, "canary-of-the", SECRET]);
        let parts: Vec<_> = parts.collect();
        let mut texts = vec![log.to_owned()];
        for file in self.audit_files()? {
            texts.push(fs::read_to_string(file)?);
        }
        for part in parts {
            assert!(!texts.iter().any(|text| text.contains(part)), "{part} is written down");
        }
        Ok(())
    }
}

/// Writes the authority and declares all that the day needs; the administrator's token.
fn declare(site: &mut Site, authority: &Authority, provider: &Provider) -> Result<String> {
    let (cert, key) = authority.issue("selkie")?.write(site.dir())?;
    let ca = site.dir().join("ca.pem");
    fs::write(&ca, authority.certificate())?;
    fs::create_dir(site.dir().join("audit"))?;
    site.tls = true;
    site.listener = format!(
        "tls_cert_file = {cert:?}\n  tls_key_file = {key:?}\n  tls_client_ca_file = {ca:?}"
    );
    site.policy("seal", &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])]);
    let (audit_key, state) = (site.random_key("audit.key")?, site.dir().join("state"));
    site.extra += &format!(
        "storage \"sled\" {{ path = {state:?} }}\n\
         audit_key = \"{audit_key}\"\naudit \"file\" {{ file_path = {:?} }}\n\
         client \"vault-b\" {{\n  policies = [\"seal\"]\n  certificate {{\n    \
         spiffe_id = \"spiffe://example.org/vault-b\"\n  }}\n}}\n\
         auth \"jwt\" {{\n  oidc_discovery_url = \"{}\"\n  oidc_discovery_ca_pem = <<EOT\n{}EOT\n  \
         role \"vault-c\" {{\n    bound_audiences = [\"selkie\"]\n    bound_subject = \"alice\"\n    \
         user_claim = \"sub\"\n    token_policies = [\"seal\"]\n    token_ttl = \"30s\"\n    \
         token_max_ttl = \"60s\"\n  }}\n}}\n",
        site.dir().join("audit/audit.log"),
        provider.issuer,
        authority.certificate(),
    );
    site.client("admin", &["root"], "")
}

/// What stands beside a Vault and keeps a token in a file for it; here in a field.
struct Agent<'d> {
    day: &'d Day,
    token: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl Agent<'_> {
    fn token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs in and renews at two thirds of what it has, until a renewal is worth less than before.
    fn run(&self) -> Result<()> {
        let client = self.day.root.without_token();
        while !self.is_over.load(Ordering::Relaxed) {
            let body = json!({ "role": "vault-c", "jwt": self.day.provider.token });
            let (token, full) = self.day.issued(&client, "auth/jwt/login", &body)?;
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
            let client = client.with_token(&token);
            let mut lease = full;
            while lease == full && !self.is_over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_secs(lease * 2 / 3));
                let answer = client.put("auth/token/renew-self", &json!({}))?;
                ensure!(answer.status == 200, "{}", answer.text());
                lease = answer.json()["auth"]["lease_duration"].as_u64().context("no lease")?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_day_of_seals_is_told_whole_by_the_audit_files_and_a_flipped_bit_is_found() -> Result<()> {
    let Some(mut day) = Day::begin()? else { return Ok(()) };
    thread::scope(|scope| {
        let seals =
            [Day::by_a_periodic_token, Day::by_a_certificate_alone, Day::by_the_tokens_of_an_agent];
        let day = &day;
        let running: Vec<_> =
            seals.into_iter().map(|seal| scope.spawn(move || seal(day))).collect();
        for has_signal in [true, false] {
            thread::sleep(Duration::from_secs(3));
            day.rotates(has_signal)?;
        }
        running
            .into_iter()
            .try_for_each(|seal| seal.join().map_err(|_panic| anyhow::anyhow!("panicked"))?)
    })?;
    let opened = crate::trio::encrypt(&day.root, "autounseal")?;
    ensure!(opened.status == 200, "{}", opened.text());
    day.selkie.stop()?;
    let mut log = day.selkie.log();
    day.selkie.restart()?;
    day.root.put("transit/encrypt/autounseal", &json!({ "plaintext": CANARY }))?;
    day.selkie.stop()?;
    log += &day.selkie.log();
    let files = day.audit_files()?;
    assert_eq!(files.len(), 3, "{files:?}");
    day.assert_whole(&log)?;
    day.assert_nothing_secret(&log)?;
    let mut flips = 0;
    for file in &files {
        let lines = fs::read_to_string(file)?.lines().count();
        for line in [1, lines / 2, lines] {
            day.assert_a_flipped_bit_is_found(file, line.max(1))?;
            flips += 1;
        }
    }
    day.assert_whole(&log)?;
    evidence(
        "The audit files tell the whole day of three seals, and show when they were changed",
        "cargo test -p selkie-tests --test e2e a_day_of_seals",
        format!("{} files, rotated twice, over a restart, verify", files.len()),
        &format!("{flips} flipped bits, each found in its line"),
    )
}
