//! A real Vault whose transit engine others use: an upstream, or the old server of a takeover.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::http::Client;
use crate::port::free_port;
use crate::process::Process;

/// A Vault with a transit engine at `transit/`, over a storage directory that outlives it.
#[derive(Debug)]
pub struct TransitServer {
    /// The process.
    pub process: Process,
    /// Its API, with the root token.
    pub client: Client,
    /// Where it listens.
    pub address: SocketAddr,
    program: PathBuf,
    storage: PathBuf,
}

impl TransitServer {
    /// Starts it on a port of its own; the first start on a storage initialises it.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start(program: &Path, storage: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .arg("transit")
            .arg(format!("-listen=127.0.0.1:{}", free_port()?))
            .arg("-storage")
            .arg(storage);
        let process = Process::start(command)?;
        let (address, root) = process.stdout_line(|line| {
            let (address, root) = line.strip_prefix("READY ")?.split_once(' ')?;
            Some((address.parse::<SocketAddr>().ok()?, root.to_owned()))
        })?;
        Ok(Self {
            process,
            client: Client::plain(address).with_token(&root),
            address,
            program: program.to_owned(),
            storage: storage.to_owned(),
        })
    }

    /// Kills it, and starts it again on another port.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn move_away(&mut self) -> Result<()> {
        self.process.kill()?;
        *self = Self::start(&self.program, &self.storage)?;
        Ok(())
    }

    /// The root token.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn root(&self) -> Result<&str> {
        self.client.token.as_deref().context("no token")
    }
}
