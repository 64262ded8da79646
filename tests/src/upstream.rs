//! A real Vault whose transit engine others unseal against.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::http::Client;
use crate::port::free_port;
use crate::process::Process;

/// A Vault with the transit engine at `transit/`; it unseals itself at each start.
#[derive(Debug)]
pub struct UpstreamVault {
    /// The process; its log is the standard error output.
    pub process: Process,
    /// Its API, as root.
    pub root: Client,
    program: std::path::PathBuf,
    arguments: Vec<String>,
}

impl UpstreamVault {
    /// Starts it over the directory `storage` and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start(program: &Path, storage: &Path) -> Result<Self> {
        let listen = format!("-listen=127.0.0.1:{}", free_port()?);
        let storage = format!("-storage={}", storage.display());
        let arguments = vec!["transit".to_owned(), listen, storage];
        let (process, root) = launch(program, &arguments)?;
        Ok(Self { process, root, program: program.to_owned(), arguments })
    }

    /// Kills it and starts it again at the same address.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        (self.process, self.root) = launch(&self.program, &self.arguments)?;
        Ok(())
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.root.address)
    }

    /// Does something as root.
    ///
    /// # Errors
    ///
    /// If Vault refuses.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.root.put(path, body)?;
        ensure!(matches!(answer.status, 200 | 204), "{path}: {} {}", answer.status, answer.text());
        Ok(if answer.status == 200 { answer.json() } else { Value::Null })
    }

    /// A new token with these fields and the policy `name`, whose text is `rules`.
    ///
    /// # Errors
    ///
    /// If Vault refuses.
    pub fn token(&self, name: &str, rules: &str, fields: &Value) -> Result<String> {
        self.put(&format!("sys/policies/acl/{name}"), &json!({ "policy": rules }))?;
        let mut fields = fields.clone();
        fields["policies"] = json!([name]);
        let made = self.put("auth/token/create-orphan", &fields)?;
        let token = made["auth"]["client_token"].as_str();
        token.map(str::to_owned).with_context(|| made.to_string())
    }
}

fn launch(program: &Path, arguments: &[String]) -> Result<(Process, Client)> {
    let mut command = Command::new(program);
    command.env_clear().args(arguments);
    let process = Process::start(command)?;
    let (address, token) = process.stdout_line(|line| {
        let (address, token) = line.strip_prefix("READY ")?.split_once(' ')?;
        Some((address.parse().ok()?, token.to_owned()))
    })?;
    Ok((process, Client::plain(address).with_token(&token)))
}
