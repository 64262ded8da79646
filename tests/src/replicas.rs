//! Several servers from one configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::port::free_port;
use crate::selkie::Selkie;
use crate::site::Site;

/// Running servers whose files differ in port and data directory alone.
#[derive(Debug)]
pub struct Replicas {
    /// The servers, in the order in which they were added.
    pub members: Vec<Selkie>,
    template: String,
    address: String,
    dir: PathBuf,
}

impl Replicas {
    /// Where a site's text has this, each replica has a directory of its own.
    pub const DATA_DIR: &'static str = "{data_dir}";

    /// So many servers from the site's configuration, all listening.
    ///
    /// # Errors
    ///
    /// If one does not come up.
    pub fn start(site: &Site, count: usize) -> Result<Self> {
        let address = format!("127.0.0.1:{}", site.port);
        let (template, dir) = (site.text(), site.dir().to_owned());
        let mut replicas = Self { members: Vec::new(), template, address, dir };
        for _ in 0..count {
            replicas.add()?;
        }
        Ok(replicas)
    }

    /// One more, with an empty data directory.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn add(&mut self) -> Result<SocketAddr> {
        let file = self.prepare()?;
        self.members.push(Selkie::configured(&file, 1)?);
        self.addresses().last().copied().context("no replica")
    }

    /// Writes the files of the next replica without starting it.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn prepare(&self) -> Result<PathBuf> {
        let name = format!("replica{}", self.members.len());
        let data_dir = self.dir.join(&name);
        fs::create_dir_all(&data_dir)?;
        let text = self
            .template
            .replace(&self.address, &format!("127.0.0.1:{}", free_port()?))
            .replace(Self::DATA_DIR, &data_dir.display().to_string());
        let file = self.dir.join(format!("{name}.hcl"));
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Where they listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let first = |selkie: &Selkie| selkie.targets.first().map(|target| target.address);
        self.members.iter().filter_map(first).collect()
    }
}
