//! Backups of a store, and their way back into another.

use std::time::{Duration, Instant};

use anyhow::Result;
use selkie::backup::{Target as Into, new_key, restore, take, write};

use super::sizes::fill;
use super::target::{Target, engine, sealed};

/// Of what size.
#[derive(Debug, clap::Args)]
pub(crate) struct Copies {
    /// How many records.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
}

impl Copies {
    pub(crate) async fn run(self) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let engine = engine(dir.path()).await?;
        for (from, into) in Target::all()?.into_iter().zip(Target::all()?) {
            let kind = from.address().kind();
            let raw = from.address().open().await?;
            fill(&raw, self.records).await?;
            let state_key = sealed(&raw, &engine).await?.key;
            let began = Instant::now();
            let snapshot = take(&raw, &state_key).await?;
            let (key, envelope) = new_key(&engine).await?;
            let file = write(&snapshot, key, &envelope)?;
            let what = format!("{kind}, {} records", self.records);
            super::print(&format!("{what}: backup"), &rate(file.len(), began.elapsed()))?;
            drop(snapshot);
            let store = into.address().open().await?;
            let target = Into { store: &store, transit: &engine, force: false };
            let began = Instant::now();
            restore(&file, target, &mut |_, _| {}).await?;
            super::print(&format!("{what}: restore"), &rate(file.len(), began.elapsed()))?;
        }
        Ok(())
    }
}

fn rate(bytes: usize, took: Duration) -> String {
    let megabytes = u32::try_from(bytes / 1000).map_or(0.0, f64::from) / 1e3;
    let seconds = took.as_secs_f64();
    format!("{:.1} MB/s ({megabytes:.1} MB in {seconds:.2} s)", megabytes / seconds)
}
