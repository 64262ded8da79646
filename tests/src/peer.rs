//! The programs that the tests run against Selkie, and what happens if one is missing.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A program that a test needs and that this repository does not contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The real Vault core.
    VaultCore,
    /// HashiCorp's transit wrapper v0.7.0.
    WrapperV0,
    /// HashiCorp's transit wrapper v2.0.13.
    WrapperV2,
    /// HashiCorp's Go API client.
    ApiClient,
    /// HashiCorp's azurekeyvault wrapper v2.0.14: the native seal.
    AzureKeyVaultWrapper,
    /// Python with hvac, jwcrypto and Microsoft's Key Vault client.
    Python,
    /// curl.
    Curl,
    /// OpenSSL's program, by which the README makes certificates.
    OpenSsl,
    /// etcd, the server.
    Etcd,
    /// A kube-apiserver, which takes minutes to build: `make proof` alone does.
    KubeApiServer,
}

impl Peer {
    fn path(self) -> PathBuf {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        match self {
            Self::VaultCore => peers.join("bin/vault-core"),
            Self::WrapperV0 => peers.join("bin/wrapper-v0"),
            Self::WrapperV2 => peers.join("bin/wrapper-v2"),
            Self::ApiClient => peers.join("bin/api-client"),
            Self::AzureKeyVaultWrapper => peers.join("bin/azure-keyvault"),
            Self::Python => peers.join(".venv/bin/python"),
            Self::Curl => PathBuf::from("/usr/bin/curl"),
            Self::OpenSsl => PathBuf::from("/usr/bin/openssl"),
            Self::Etcd => PathBuf::from("/usr/bin/etcd"),
            Self::KubeApiServer => peers.join("bin/kubernetes"),
        }
    }

    const fn how_to_get_it(self) -> &'static str {
        match self {
            Self::VaultCore
            | Self::WrapperV0
            | Self::WrapperV2
            | Self::ApiClient
            | Self::AzureKeyVaultWrapper => "install Go 1.26 and run `make peers`",
            Self::Python => "install python3-venv and run `make peers`",
            Self::Curl => "apt-get install curl",
            Self::OpenSsl => "apt-get install openssl",
            Self::Etcd => "apt-get install etcd-server",
            Self::KubeApiServer => "tests/run kubernetes, as make proof does",
        }
    }

    /// Where it is, or `None` if it cannot be had here: the test then has nothing to do.
    ///
    /// # Errors
    ///
    /// Under `CI=true`, if it is missing and not left to `make proof`.
    pub fn find(self) -> Result<Option<PathBuf>> {
        let path = self.path();
        if path.exists() {
            return Ok(Some(path));
        }
        if self == Self::KubeApiServer {
            writeln!(io::stderr(), "left to make proof, for want of a kube-apiserver")?;
            return Ok(None);
        }
        skip(&format!("{self:?} (no {})", path.display()), self.how_to_get_it())?;
        Ok(None)
    }
}

/// The interpreter of the virtual environment, or `None` if it cannot be had here.
///
/// # Errors
///
/// As for [`Peer::find`].
pub fn python() -> Result<Option<PathBuf>> {
    Peer::Python.find()
}

/// Names what a test has to go without.
///
/// # Errors
///
/// Under `CI=true`, always: there, everything is tested.
#[expect(clippy::disallowed_methods, reason = "CI is the environment's to say")]
pub fn skip(what: &str, how_to_get_it: &str) -> Result<()> {
    if env::var("CI").is_ok_and(|value| value == "true") {
        bail!("{what} is missing: {how_to_get_it}");
    }
    // Written past the test runner, which shows the output of failed tests only.
    writeln!(io::stderr(), "SKIPPED for want of {what}: {how_to_get_it}")?;
    Ok(())
}
