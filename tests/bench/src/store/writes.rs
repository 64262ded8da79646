//! Durable writes, each in a commit of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use selkie_storage::Store;
use tokio::task::JoinSet;

use super::target::{Target, engine, put, sealed};

/// Which writers, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Writes {
    /// How long each round takes.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many write at the same time.
    #[arg(long, default_values_t = [1, 8])]
    writers: Vec<u64>,
}

impl Writes {
    pub(crate) async fn run(self) -> Result<()> {
        for is_sealed in [false, true] {
            for target in Target::all()? {
                let address = target.address();
                let dir = tempfile::tempdir()?;
                let mut store = address.open().await?;
                if is_sealed {
                    store = sealed(&store, &engine(dir.path()).await?).await?.store;
                }
                for &writers in &self.writers {
                    let (figure, rate) = (
                        name(address.kind(), is_sealed, writers),
                        self.rate(&store, writers).await?,
                    );
                    super::print(&figure, &rate)?;
                }
            }
        }
        Ok(())
    }

    /// Writes to records of their own, so that no writer waits for another but in the store.
    async fn rate(&self, store: &Arc<dyn Store>, writers: u64) -> Result<String> {
        let (done, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let span = Duration::from_secs(self.seconds);
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (store, done) = (Arc::clone(store), Arc::clone(&done));
            tasks.spawn(async move {
                let mut longest = Duration::ZERO;
                let mut number = writer << 32;
                while began.elapsed() < span {
                    let asked = Instant::now();
                    store.commit(&[], &[put(number)?]).await?;
                    longest = longest.max(asked.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
                Ok::<_, anyhow::Error>(longest)
            });
        }
        let mut longest = Duration::ZERO;
        while let Some(task) = tasks.join_next().await {
            longest = longest.max(task??);
        }
        let (done, took) = (done.load(Ordering::Relaxed), began.elapsed());
        let rate = u128::from(done) * 1000 / took.as_millis().max(1);
        Ok(format!("{rate} per second (longest {:.1} ms)", longest.as_secs_f64() * 1e3))
    }
}

fn name(kind: &str, is_sealed: bool, writers: u64) -> String {
    let how = if is_sealed { "sealed" } else { "raw" };
    let plural = if writers == 1 { "" } else { "s" };
    format!("durable writes, {kind}, {how}, {writers} writer{plural}")
}
