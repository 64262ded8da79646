//! The stores that are measured, and how they are opened.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use selkie::backup::offline;
use selkie::state::opening::{Opened, State};
use selkie::transit::Transit;
use selkie_config::{Config, SystemSources};
use selkie_storage::{
    EtcdSettings, EtcdStore, RecordKey, RecordValue, SledSettings, SledStore, Store, Write,
};
use selkie_tests::Etcd;
use serde_json::json;
use tempfile::TempDir;

/// Where the records of the managed keys of the mount `transit` are.
const KEYS: &str = "transit/transit";

/// A place for a store, empty at first, which goes with this value.
pub(super) enum Target {
    Sled(TempDir),
    Etcd(Box<Etcd>),
}

impl Target {
    pub(super) fn sled() -> Result<Self> {
        Ok(Self::Sled(tempfile::Builder::new().prefix("selkie-bench-store-").tempdir()?))
    }

    /// One member that is started for this; `None` if there is no etcd here.
    pub(super) fn etcd() -> Result<Option<Self>> {
        Ok(Etcd::start()?.map(|etcd| Self::Etcd(Box::new(etcd))))
    }

    /// sled, and etcd if there is one.
    pub(super) fn all() -> Result<Vec<Self>> {
        Ok([Some(Self::sled()?), Self::etcd()?].into_iter().flatten().collect())
    }

    pub(super) fn address(&self) -> Address {
        match self {
            Self::Sled(dir) => Address { sled: Some(dir.path().join("store")), etcd: None },
            Self::Etcd(etcd) => Address { sled: None, etcd: Some(etcd.url()) },
        }
    }
}

/// Where a store is.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Address {
    /// Its directory.
    #[arg(long)]
    pub(super) sled: Option<PathBuf>,
    /// The URL of a member.
    #[arg(long)]
    pub(super) etcd: Option<String>,
}

impl Address {
    pub(super) const fn kind(&self) -> &'static str {
        if self.sled.is_some() { "sled" } else { "etcd, one member" }
    }

    pub(super) async fn open(&self) -> Result<Arc<dyn Store>> {
        if let Some(path) = &self.sled {
            return Ok(Arc::new(SledStore::open(SledSettings::new(path)).await?));
        }
        let settings = EtcdSettings {
            endpoints: self.etcd.iter().cloned().collect(),
            prefix: "bench/".into(),
            ca_pem: None,
            identity: None,
            credentials: None,
            request_timeout: Duration::from_secs(10),
        };
        Ok(Arc::new(EtcdStore::connect(settings)?))
    }
}

/// An engine whose static seal is the same in each process.
pub(super) async fn engine(dir: &Path) -> Result<Transit> {
    let kek = dir.join("kek");
    fs::write(&kek, [7; 32])?;
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o600))?;
    let text = format!(
        "realm = \"bench\"\nlistener \"tcp\" {{\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}}\n\
         seal \"static\" {{\n  current_key_id = \"k1\"\n  current_key = \"file://{}\"\n}}\n\
         key \"autounseal\" {{}}\n",
        kek.display()
    );
    let config = Config::parse("bench.hcl", &text, &SystemSources);
    let config = config.map_err(|problems| anyhow::anyhow!("{problems}"))?;
    Ok(offline(config).await?)
}

/// The sealed store in `raw`, made ready if it is empty.
pub(super) async fn sealed(raw: &Arc<dyn Store>, engine: &Transit) -> Result<Opened> {
    let opened = State::new(Arc::clone(raw), None, None).open(engine).await;
    opened.context("the sealed store does not open")
}

/// The key of record number `number`, that of a managed key: names of a token's length, in no order.
pub(super) fn key(number: u64) -> Result<RecordKey> {
    Ok(format!("{KEYS}/{}", name(number)).parse()?)
}

/// The name of the managed key number `number`.
pub(super) fn name(number: u64) -> String {
    // An odd factor, so that no two numbers meet.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}{number:048x}")
}

pub(super) fn put(number: u64) -> Result<Write> {
    let version = json!({
        "version": 1,
        "created": number,
        "keks": [{
            "seal": "weu",
            "kek": "https://selkie-weu.vault.azure.net/keys/unseal/0123456789abcdef0123456789abcdef",
        }],
    });
    let record = json!({
        "format": 1,
        "derived": false,
        "deletion_allowed": false,
        "min_decryption_version": 1,
        "min_encryption_version": 0,
        "min_available_version": 0,
        "versions": [version],
    });
    Ok(Write::Put(key(number)?, RecordValue::new(serde_json::to_vec(&record)?)?))
}
