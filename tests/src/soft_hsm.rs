//! SoftHSM 2: a token in a directory, and the processes that load its library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

use crate::peer::skip;
use crate::process::{Process, Signal};
use crate::selkie::binary;

const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOKEN: &str = "selkie";

/// A token with keys.
#[derive(Debug)]
pub struct SoftHsm {
    dir: TempDir,
    /// Its user PIN.
    pub pin: String,
}

impl SoftHsm {
    /// A token with one AES key, labelled `unseal`, with the id 01; `None` if there is no SoftHSM
    /// here.
    ///
    /// # Errors
    ///
    /// If the token cannot be made, or under `CI=true` if there is no SoftHSM.
    pub fn new() -> Result<Option<Self>> {
        if !Path::new(LIBRARY).exists() {
            skip("SoftHSM", "apt-get install softhsm2")?;
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("selkie-softhsm-").tempdir()?;
        let tokens = dir.path().join("tokens");
        fs::create_dir(&tokens)?;
        // So long that chance never produces it anywhere.
        let mut digits = [0; 24];
        getrandom::fill(&mut digits)?;
        let pin = digits.iter().map(|digit| char::from(b'0' + digit % 10)).collect();
        let hsm = Self { dir, pin };
        let configuration = format!("directories.tokendir = {}\n", tokens.display());
        fs::write(hsm.configuration(), configuration)?;
        hsm.tool(&["init"])?;
        hsm.make_key("01")?;
        Ok(Some(hsm))
    }

    fn configuration(&self) -> PathBuf {
        self.dir.path().join("softhsm2.conf")
    }

    /// Makes a key with this id beside the first.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn make_key(&self, id: &str) -> Result<()> {
        self.tool(&["aes", "unseal", id]).map(drop)
    }

    /// Destroys the key with this id.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn destroy_key(&self, id: &str) -> Result<()> {
        self.tool(&["delete", "unseal", id]).map(drop)
    }

    /// Unwraps so often over the bare library; what the tool says about it.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn bare_calls(&self, count: usize) -> Result<String> {
        self.tool(&["calls", &count.to_string()])
    }

    /// Takes the token away, or puts it back; a child that has it in its memory has to end first.
    ///
    /// # Errors
    ///
    /// If it is there already, or away.
    pub fn plug(&self, is_in: bool) -> Result<()> {
        let [tokens, away] = ["tokens", "away"].map(|name| self.dir.path().join(name));
        let (from, to) = if is_in { (away, tokens) } else { (tokens, away) };
        Ok(fs::rename(from, to)?)
    }

    fn tool(&self, command: &[&str]) -> Result<String> {
        let tool = binary()?.with_file_name("examples").join("soft_token");
        ensure!(tool.exists(), "{} is missing: make build", tool.display());
        let output = Command::new(tool)
            .env_clear()
            .env("SOFTHSM2_CONF", self.configuration())
            .args([LIBRARY, TOKEN, &self.pin])
            .args(command)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The fields of a seal on the token, whose PIN is in this file.
    #[must_use]
    pub fn stanza(&self, pin_file: &Path) -> String {
        format!(
            "  lib = \"{LIBRARY}\"\n  token_label = \"{TOKEN}\"\n  pin = \"file://{}\"\n  \
             key_label = \"unseal\"\n  environment = {{ SOFTHSM2_CONF = {:?} }}\n  \
             poll_interval = \"1s\"\n",
            pin_file.display(),
            self.configuration(),
        )
    }
}

/// The child of `parent` that has loaded a PKCS#11 library, if there is one.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub fn hsm_child(parent: &Process) -> Result<Option<u32>> {
    // A confined server has them started by a process of its own.
    let launcher = launch_process(parent)?;
    for entry in fs::read_dir("/proc")? {
        // One that has just ended is nobody's child.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        let Some((id, rest)) = stat.split_once(" (selkie-pkcs11) ") else { continue };
        let mut fields = rest.split(' ');
        let (state, ppid) = (fields.next(), fields.next());
        let launcher = launcher.or_else(|| Some(parent.id()));
        if state != Some("Z") && ppid == launcher.map(|id| id.to_string()).as_deref() {
            return Ok(Some(id.parse()?));
        }
    }
    Ok(None)
}

/// The process that starts HSM processes for a confined server.
///
/// # Errors
///
/// If there is no `/proc`.
pub fn launch_process(parent: &Process) -> Result<Option<u32>> {
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let children = fs::read_to_string(children)?;
    let is_it = |id: &&str| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.windows(6).any(|word| word == b"launch")
    };
    children.split_whitespace().find(is_it).map(|id| Ok(id.parse()?)).transpose()
}

/// Kills that child (SIGKILL); its process id.
///
/// # Errors
///
/// If there is none.
pub fn kill_hsm_child(parent: &Process) -> Result<u32> {
    let id = hsm_child(parent)?.context("there is no child")?;
    let pid = Pid::from_raw(i32::try_from(id)?).context("process id 0")?;
    kill_process(pid, Signal::KILL)?;
    Ok(id)
}
