//! Stores with few and very many records.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selkie::transit::ManagedKeys;
use selkie_storage::{Page, Store};

use super::target::{Address, Target, engine, key, name, put, sealed};

/// How many records go into one commit while a store is filled.
const BATCH: u64 = 100;
const LOOKUPS: u64 = 20_000;

/// Which sizes.
#[derive(Debug, clap::Args)]
pub(crate) struct Sizes {
    /// How many records.
    #[arg(long, default_values_t = [10, 10_000, 1_000_000])]
    records: Vec<u64>,
    /// The most of them that etcd is filled with, which takes long.
    #[arg(long, default_value_t = 1_000_000)]
    etcd_most: u64,
}

/// A store that is there, and what is in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Held {
    #[command(flatten)]
    address: Address,
    /// How many records.
    #[arg(long)]
    records: u64,
}

impl Sizes {
    pub(crate) async fn run(self) -> Result<()> {
        for &records in &self.records {
            for target in Target::all()? {
                let address = target.address();
                if address.etcd.is_some() && records > self.etcd_most {
                    continue;
                }
                let raw = address.open().await?;
                let (began, longest) = (Instant::now(), fill(&raw, records).await?);
                let what = format!("{}, {records} records", address.kind());
                let took = format!(
                    "{:.1} s (longest commit {})",
                    began.elapsed().as_secs_f64(),
                    millis(longest)
                );
                super::print(&format!("{what}: filled, {BATCH} to a commit"), &took)?;
                drop(raw);
                measure_apart(&address, records)?;
            }
        }
        Ok(())
    }
}

/// Puts so many sealed records; the longest that one commit took.
pub(super) async fn fill(raw: &Arc<dyn Store>, records: u64) -> Result<Duration> {
    let dir = tempfile::tempdir()?;
    let store = sealed(raw, &engine(dir.path()).await?).await?.store;
    let (mut number, mut longest) = (0, Duration::ZERO);
    while number < records {
        let end = records.min(number + BATCH);
        let writes = (number..end).map(put).collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        store.commit(&[], &writes).await?;
        longest = longest.max(began.elapsed());
        number = end;
    }
    Ok(longest)
}

/// In a process of its own, whose memory is that of the opened store alone.
fn measure_apart(address: &Address, records: u64) -> Result<()> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["store", "held"]);
    if let Some(path) = &address.sled {
        command.arg("--sled").arg(path);
    }
    if let Some(url) = &address.etcd {
        command.args(["--etcd", url]);
    }
    let status = command.arg(format!("--records={records}")).status()?;
    ensure!(status.success(), "the store could not be measured");
    Ok(())
}

impl Held {
    pub(crate) async fn run(self) -> Result<()> {
        let what = format!("{}, {} records", self.address.kind(), self.records);
        let print = |figure: &str, value: &str| super::print(&format!("{what}: {figure}"), value);
        let dir = tempfile::tempdir()?;
        let engine = engine(dir.path()).await?;
        let (idle, began) = (Memory::now()?, Instant::now());
        let raw = self.address.open().await?;
        let first = raw.list(&Page::all()).await?;
        ensure!(!first.records.is_empty(), "the store is empty");
        print("opened", &millis(began.elapsed()))?;
        let began = Instant::now();
        let opened = sealed(&raw, &engine).await?;
        print("verified", &millis(began.elapsed()))?;
        ensure!(opened.store.seen().root.records == self.records, "not all records are there");
        let began = Instant::now();
        let keys = ManagedKeys::load(Arc::clone(&opened.store) as _).await?;
        print("loaded as managed keys", &millis(began.elapsed()))?;
        let last = name(self.records.saturating_sub(1));
        ensure!(keys.managed(&"transit".parse()?, &last).is_some(), "the last key is missing");
        print("one lookup, raw", &lookups(&*raw, self.records).await?)?;
        print("one lookup, sealed", &lookups(&*opened.store, self.records).await?)?;
        let memory = Memory::now()?;
        let grown = format!(
            "{} MB (at most {} MB), {} MB without the store",
            memory.resident, memory.peak, idle.resident
        );
        print("resident", &grown)
    }
}

/// The time of one, in no order, over all that there is.
async fn lookups(store: &dyn Store, records: u64) -> Result<String> {
    let keys = (0..LOOKUPS).map(|number| key(number.wrapping_mul(7_919) % records));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut done = 0;
    for key in &keys {
        let found = store.get(key).await?;
        ensure!(found.is_some(), "{key} is gone");
        done += 1;
        if began.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    Ok(format!("{:.2} us", began.elapsed().as_secs_f64() * 1e6 / f64::from(done)))
}

/// Of this process, in megabytes.
struct Memory {
    resident: u64,
    peak: u64,
}

impl Memory {
    fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()).context("no figure")?;
            Ok(kib.parse::<u64>()? * 1024 / 1_000_000)
        };
        Ok(Self { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
