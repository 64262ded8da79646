//! The Key Vault emulator: `selkie-emulator` as a process, and its control API.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Client, Request};
use crate::port::free_port;
use crate::process::{Process, Signal};

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    /// The process.
    pub process: Process,
    /// Where Key Vault and Entra are, over TLS.
    pub https: SocketAddr,
    /// Where IMDS, App Service and the control API are, over plain HTTP.
    pub http: SocketAddr,
    dir: TempDir,
    arguments: Vec<OsString>,
}

/// What a fault rule of the emulator applies to, as its interface names it.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// `keyvault`, `imds`, `appservice` or `entra`.
    pub service: &'a str,
    /// `get`, `list`, `wrap`, `unwrap`, `token`, ...; `any` for all.
    pub operation: &'a str,
}

impl Emulator {
    /// With its default objects, without throttling.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn new() -> Result<Self> {
        Self::with(None)
    }

    /// With these objects instead, in the form of its vaults file.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn with(vaults: Option<&Value>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("selkie-emulator-").tempdir()?;
        let (https, http) = (free_port()?, free_port()?);
        let mut arguments: Vec<OsString> = vec![
            format!("--listen=127.0.0.1:{https}").into(),
            format!("--identity-listen=127.0.0.1:{http}").into(),
            "--quiet".into(),
            "--ca-dir".into(),
            dir.path().into(),
            "--save".into(),
            dir.path().join("state.json").into(),
        ];
        if let Some(vaults) = vaults {
            let file = dir.path().join("vaults.json");
            std::fs::write(&file, vaults.to_string())?;
            arguments.extend(["--vaults".into(), file.into()]);
        }
        let process = start(&arguments)?;
        let (https, http) = process.stdout_line(ready)?;
        Ok(Self { process, https, http, dir, arguments })
    }

    /// Ends it (SIGTERM); its objects are kept for [`Emulator::restart`].
    ///
    /// # Errors
    ///
    /// If it does not end with 0.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        let code = self.process.exit_code()?;
        ensure!(code == 0, "exit code {code}: {}", self.process.stderr().join("\n"));
        Ok(())
    }

    /// Starts it again at the same place, with the objects that it ended with.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn restart(&mut self) -> Result<()> {
        let vaults = self.arguments.iter().position(|argument| argument == "--vaults");
        self.arguments.truncate(vaults.unwrap_or(self.arguments.len()));
        self.process = start(&self.arguments)?;
        self.process.stdout_line(ready)?;
        Ok(())
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The base URL of Key Vault and Entra.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.https.port())
    }

    /// The base URL of IMDS and the control API.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Asks the control API.
    ///
    /// # Errors
    ///
    /// If it refuses.
    pub fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let client = Client::plain(self.http);
        let request = Request::absolute(method, &format!("/control/{path}"));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = client.send(request.header("Content-Type", "application/json"))?;
        ensure!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        Ok(answer.json())
    }

    /// Sends a request to Key Vault with a good token, as any client of it would.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn key_vault(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        self.key_vault_by("selkie", method, path, body)
    }

    /// The key in the form in which [`Emulator::restore`] takes it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn backup(&self) -> Result<Value> {
        let answer = self.key_vault_by("officer", "POST", "/keys/selkie/backup", &json!({}))?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(answer.json())
    }

    /// Restores a key from the backup of another vault.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn restore(&self, backup: &Value) -> Result<()> {
        let answer = self.key_vault_by("officer", "POST", "/keys/restore", backup)?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    }

    fn key_vault_by(
        &self,
        principal: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Answer> {
        let token = self.control("POST", "tokens", &json!({ "principal": principal }))?;
        let token = token["access_token"].as_str().context("no token")?;
        let tls = crate::certificate::trusting(&std::fs::read(self.ca_file())?)?;
        let client = Client { tls: Some(tls), ..Client::plain(self.https) };
        client.send(
            Request::absolute(method, &format!("{path}?api-version=7.6"))
                .header("Authorization", &format!("Bearer {token}"))
                .header("Content-Type", "application/json")
                .json(body),
        )
    }

    /// Makes what `aim` names fail in this way until the faults are cleared.
    ///
    /// # Errors
    ///
    /// If the rule is refused.
    pub fn fault(&self, aim: Aim<'_>, how: &Value) -> Result<()> {
        let Aim { service, operation } = aim;
        let rule = json!({ "match": { "service": service, "operation": operation }, "how": how });
        self.control("POST", "faults", &rule)?;
        Ok(())
    }

    /// Ends all faults.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn heal(&self) -> Result<()> {
        self.control("DELETE", "faults", &Value::Null)?;
        Ok(())
    }

    /// Changes the default vault.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn change_vault(&self, change: &Value) -> Result<()> {
        self.control("PATCH", "vaults/kv1", change)?;
        Ok(())
    }

    /// Changes the default key's newest version.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn change_key(&self, change: &Value) -> Result<()> {
        self.control("PATCH", "vaults/kv1/keys/selkie/versions/latest", change)?;
        Ok(())
    }

    /// Makes a new version of the default key.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn rotate(&self) -> Result<()> {
        self.control("POST", "vaults/kv1/keys/selkie/rotate", &Value::Null)?;
        Ok(())
    }

    /// Takes the HTTPS port away (`closed`, `silent`) or gives it back (`open`).
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn listen(&self, how: &str) -> Result<()> {
        self.control("POST", "listen", &json!({ "https": how }))?;
        Ok(())
    }

    /// Forgets what was counted.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn forget_counts(&self) -> Result<()> {
        self.control("POST", "stats/reset", &Value::Null)?;
        Ok(())
    }

    /// How often Key Vault was asked for an operation, whatever it answered.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn count(&self, operation: &str) -> Result<u64> {
        let stats = self.control("GET", "stats", &Value::Null)?;
        let answers = stats["by"]["keyvault"][operation].as_object();
        Ok(answers.map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum()))
    }
}

fn start(arguments: &[OsString]) -> Result<Process> {
    let mut command = Command::new(emulator_binary()?);
    command.args(arguments).env_clear();
    Process::start(command)
}

fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (https, rest) = line.strip_prefix("READY https=")?.split_once(" http=")?;
    let (http, _) = rest.split_once(" ca=")?;
    Some((https.parse().ok()?, http.parse().ok()?))
}

/// The program: `SELKIE_EMULATOR_BIN`, or what `make` built.
///
/// # Errors
///
/// If it is not there.
pub fn emulator_binary() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/selkie-emulator");
    let path = env::var_os("SELKIE_EMULATOR_BIN").map_or(built, PathBuf::from);
    ensure!(path.exists(), "{} is missing: make build", path.display());
    Ok(path)
}
