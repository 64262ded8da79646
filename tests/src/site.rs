//! A configured server's files: the configuration, its static keys, its clients' tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base16ct::lower::encode_string;
use rustix::fs::Mode;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::port::free_port;
use crate::selkie::Selkie;

/// A directory with a configuration that is complete without `extra`: one plain listener, the
/// static seal with KEK `k1`, the declared key `autounseal`.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    /// The port of the first listener.
    pub port: u16,
    /// Whether the first listener speaks TLS; `listener` then names the files.
    pub tls: bool,
    /// Further fields of the first listener.
    pub listener: String,
    /// The type of the seal.
    pub seal_type: &'static str,
    /// The fields of the seal.
    pub seal: String,
    /// The declared keys.
    pub keys: String,
    /// Everything else.
    pub extra: String,
}

impl Site {
    /// The configuration of a newcomer.
    ///
    /// # Errors
    ///
    /// If its files cannot be written.
    pub fn new() -> Result<Self> {
        // Whatever a test writes may be the file of a secret, which a server takes only if nobody
        // else may read it.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let mut site = Self {
            dir: tempfile::Builder::new().prefix("selkie-test-").tempdir()?,
            port: free_port()?,
            tls: false,
            listener: String::new(),
            seal_type: "static",
            seal: String::new(),
            keys: "key \"autounseal\" {}\n".into(),
            extra: String::new(),
        };
        let k1 = site.random_key("k1")?;
        site.seal = format!("  current_key_id = \"k1\"\n  current_key = \"{k1}\"\n");
        Ok(site)
    }

    /// The directory, which goes with this value.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file with 32 random bytes; the reference to it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn random_key(&self, name: &str) -> Result<String> {
        let path = self.secret_file(name, &random::<32>()?)?;
        Ok(format!("file://{}", path.display()))
    }

    /// A file that only its owner may read.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn secret_file(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.dir().join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }

    /// Declares a client with a new token, which is returned, and further fields of its stanza.
    ///
    /// # Errors
    ///
    /// If there is no randomness.
    pub fn client(&mut self, name: &str, policies: &[&str], fields: &str) -> Result<String> {
        let token = token()?;
        let hash = encode_string(&Sha256::digest(&token));
        self.extra += &format!(
            "client \"{name}\" {{\n  token_sha256 = \"{hash}\"\n  policies = {policies:?}\n  \
             {fields}\n}}\n"
        );
        Ok(token)
    }

    /// Declares a policy with these rules.
    pub fn policy(&mut self, name: &str, rules: &[(&str, &[&str])]) {
        self.extra += &format!("policy \"{name}\" {{\n");
        for (path, capabilities) in rules {
            self.extra += &format!("  path \"{path}\" {{ capabilities = {capabilities:?} }}\n");
        }
        self.extra += "}\n";
    }

    /// The configuration's text.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { port, tls, listener, seal_type, seal, keys, extra, .. } = self;
        format!(
            "log_level = \"debug\"\nlog_format = \"json\"\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = {}\n  \
             {listener}\n}}\n\
             seal \"{seal_type}\" {{\n{seal}}}\n{keys}{extra}",
            !tls
        )
    }

    /// Writes the configuration.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self) -> Result<PathBuf> {
        let path = self.dir().join("selkie.hcl");
        fs::write(&path, self.text())?;
        Ok(path)
    }

    /// Writes the configuration and starts a server with it.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start(&self) -> Result<Selkie> {
        let listeners = self.text().matches("listener \"tcp\"").count();
        Selkie::configured(&self.write()?, listeners)
    }
}

/// A new random token of Vault's shape.
///
/// # Errors
///
/// If there is no randomness.
pub fn token() -> Result<String> {
    Ok(format!("hvs.{}", encode_string(&random::<24>()?)))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
