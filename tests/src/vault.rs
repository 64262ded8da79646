//! A real Vault as seal client.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::http::Client;
use crate::peer::Peer;
use crate::port::free_port;
use crate::process::Process;
use crate::wait::until;

/// How often a Vault is given another port.
const PORTS_TRIED: usize = 5;

/// What stands in a `seal "transit"` stanza.
#[derive(Clone, Debug)]
pub struct SealArguments {
    /// `address`.
    pub address: String,
    /// `token`.
    pub token: String,
    /// `key_name`, under the mount `transit`.
    pub key: String,
    /// Further arguments of vault-core.
    pub further: Vec<String>,
}

impl SealArguments {
    /// Has the Vault store its data with raft, at a port of its own: by default raft takes the one
    /// after the Vault's, which is another test's.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub fn with_raft(&mut self) -> Result<()> {
        let cluster = format!("-raft-cluster=127.0.0.1:{}", free_port()?);
        self.further.extend(["-raft".into(), cluster]);
        Ok(())
    }

    /// As vault-core takes them.
    fn of_the_stanza(&self) -> Vec<String> {
        let stanza = [
            ["-seal-mount", "transit"],
            ["-seal-address", &self.address],
            ["-seal-token", &self.token],
            ["-seal-key", &self.key],
        ];
        let stanza = stanza.into_iter().flatten().map(str::to_owned);
        stanza.chain(self.further.iter().cloned()).collect()
    }
}

/// A Vault over a storage directory that outlives it.
#[derive(Debug)]
pub struct VaultCore {
    /// The process; its log is the standard error output.
    pub process: Process,
    /// Its API.
    pub client: Client,
}

impl VaultCore {
    /// Starts it, without waiting for anything.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn launch(program: &Path, storage: &Path, seal: &SealArguments) -> Result<Process> {
        Self::launch_with(program, storage, &seal.of_the_stanza())
    }

    /// Starts it with the seal stanzas that these arguments stand for, without waiting for anything.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn launch_with(program: &Path, storage: &Path, seals: &[String]) -> Result<Process> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .arg("server")
            .arg(format!("-listen=127.0.0.1:{}", free_port()?))
            .arg("-storage")
            .arg(storage)
            .args(["-unseal-retry", "500ms"])
            .args(seals);
        Process::start(command)
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start(program: &Path, storage: &Path, seal: &SealArguments) -> Result<Self> {
        Self::start_with(program, storage, &seal.of_the_stanza())
    }

    /// Starts it with the seal stanzas that these arguments stand for, and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start_with(program: &Path, storage: &Path, seals: &[String]) -> Result<Self> {
        // Another program may take the port between our look and the Vault's.
        for _ in 0..PORTS_TRIED {
            let process = Self::launch_with(program, storage, seals)?;
            match process.stdout_line(|line| line.strip_prefix("READY ")?.parse().ok()) {
                Ok(address) => return Ok(Self { process, client: Client::plain(address) }),
                Err(error) if error.to_string().contains("address already in use") => {}
                Err(error) => return Err(error),
            }
        }
        bail!("each of {PORTS_TRIED} free ports was taken by another program")
    }

    /// Initialises it and keeps the root token.
    ///
    /// # Errors
    ///
    /// If it cannot be initialised.
    pub fn initialise(&mut self) -> Result<String> {
        let shares = json!({"recovery_shares": 1, "recovery_threshold": 1});
        let answer = self.client.put("sys/init", &shares)?;
        let answer = answer.json();
        let token = answer["root_token"].as_str().with_context(|| answer.to_string())?;
        self.client.token = Some(token.to_owned());
        self.unsealed()?;
        Ok(token.to_owned())
    }

    /// Waits until it is unsealed and active.
    ///
    /// # Errors
    ///
    /// If it stays sealed.
    pub fn unsealed(&self) -> Result<()> {
        until("Vault is unsealed", || {
            Ok((self.client.get("sys/health")?.status == 200).then_some(()))
        })
        .with_context(|| self.process.stderr().join("\n"))
    }

    /// Writes a secret into a new kv mount.
    ///
    /// # Errors
    ///
    /// If Vault refuses.
    pub fn write_secret(&self, value: &str) -> Result<()> {
        for (path, body) in
            [("sys/mounts/kv", json!({"type": "kv"})), ("kv/secret", json!({"value": value}))]
        {
            let answer = self.client.put(path, &body)?;
            ensure!(answer.status == 204, "{path}: {} {}", answer.status, answer.text());
        }
        Ok(())
    }

    /// Reads that secret.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn read_secret(&self) -> Result<String> {
        self.client.get("kv/secret")?.field("value")
    }
}

/// Under which versions of the transit key a stopped Vault's stored keys are encrypted.
///
/// # Errors
///
/// If its storage cannot be read.
pub fn key_ids(storage: &Path) -> Result<Vec<String>> {
    let program: PathBuf = Peer::VaultCore.find()?.context("vault-core has gone")?;
    let output =
        Command::new(program).env_clear().args(["key-ids", "-storage"]).arg(storage).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ids: Value = serde_json::from_slice(&output.stdout)?;
    let ids = ids.as_object().context("no JSON object")?;
    Ok(ids.values().filter_map(|id| id.as_str().map(str::to_owned)).collect())
}
