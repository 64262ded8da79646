//! What a loss means for a Vault, running and restarting, and how it comes back. The table in
//! docs/losses.md is made from what is seen here.

mod rows;
mod seen;
mod table;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Peer, SoftHsm, evidence};

use rows::rows;
use seen::{Fate, Seen};
use world::World;

/// Something that is lost, and what must come of it.
struct Row {
    /// What is lost, in the document's words.
    lost: &'static str,
    /// What there was.
    with: &'static str,
    /// All that it takes to run.
    world: fn() -> Result<World>,
    /// Loses it.
    lose: fn(&mut World) -> Result<()>,
    /// Gives it back, or puts something in its place.
    mend: fn(&mut World) -> Result<()>,
    /// What that is, in the document's words.
    cure: &'static str,
    /// What becomes of a Vault that restarts meanwhile.
    fate: Fate,
}

/// Most of a row's time is spent waiting.
const AT_A_TIME: usize = 6;

#[test]
fn every_loss_has_a_fate_and_an_end() -> Result<()> {
    if Peer::VaultCore.find()?.is_none() || SoftHsm::new()?.is_none() {
        return Ok(());
    }
    let rows = rows();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let seen = suffered(row).with_context(|| format!("row: {}", row.lost));
                    outcomes.lock().unwrap().push((row.lost, seen));
                }
            });
        }
    });
    let (mut seen, mut failed) = (Vec::new(), Vec::new());
    for (lost, outcome) in outcomes.into_inner()? {
        match outcome {
            Ok(outcome) => seen.push((lost, outcome)),
            Err(error) => failed.push(format!("{error:?}")),
        }
    }
    assert!(failed.is_empty(), "{} rows failed:\n{}", failed.len(), failed.join("\n"));
    table::check(&rows, &seen)?;
    evidence(
        "Losing any one thing loses no Vault",
        "cargo test -p selkie-tests --test e2e every_loss",
        format!(
            "{} losses suffered by a real Vault, running and restarting: docs/losses.md",
            rows.len()
        ),
        "where nothing else can open, the Vault stays sealed until the cure, and the row says so",
    )
}

/// A Vault runs while the loss happens, restarts, and comes back.
fn suffered(row: &Row) -> Result<Seen> {
    let mut world = (row.world)()?;
    let running = world.vault()?;
    (row.lose)(&mut world)?;
    world.assert_serves(&running).context("the running Vault")?;
    drop(running);
    let (fate, restart, sealed) = world.restarted(row.fate)?;
    ensure!(fate == row.fate, "restarting: {fate:?} after {restart:?}, not {:?}", row.fate);
    let back = world.comes_back(row.mend, fate, sealed)?;
    let seen = Seen { fate, restart, back };
    world.say(&format!("{}: {seen:?}", row.lost))?;
    Ok(seen)
}
