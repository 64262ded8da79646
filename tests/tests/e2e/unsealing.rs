//! A real Vault that is started, unseals itself and is killed, over and over, in the background of a
//! test; and what came of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use selkie_tests::{key_ids, until};

use crate::vault::{Deployment, SECRET};

/// Between a Vault's kill and its next start.
const PAUSE: Duration = Duration::from_millis(200);

/// What Vault's unseal loop says of an attempt that failed after the seal client's own retries.
const FAILED: &str = "failed to unseal core";

/// What came of all starts so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// How often the Vault was started; the last one may be under way.
    pub(crate) starts: usize,
    /// Starts that did not lead to an unsealed Vault with its secret: why.
    pub(crate) lost: Vec<String>,
    /// Attempts that Vault's unseal loop had to repeat: its log lines.
    pub(crate) repeated: Vec<String>,
    /// From the start of the process to unsealed, of each that did.
    pub(crate) took: Vec<Duration>,
    /// Under which versions of the transit key the stored keys were when last looked at.
    pub(crate) versions: Vec<String>,
}

impl Tally {
    /// How many starts have come to their end, whichever.
    pub(crate) fn ended(&self) -> usize {
        self.took.len() + self.lost.len()
    }

    /// What has been added since an earlier tally.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            starts: self.starts - earlier.starts,
            lost: self.lost[earlier.lost.len()..].to_vec(),
            repeated: self.repeated[earlier.repeated.len()..].to_vec(),
            took: self.took[earlier.took.len()..].to_vec(),
            versions: self.versions.clone(),
        }
    }

    /// A line for people.
    pub(crate) fn told(&self) -> String {
        let slowest = self.took.iter().max().copied().unwrap_or_default();
        format!(
            "{} unseals, {} lost, {} attempts repeated, slowest {} ms, stored under {}",
            self.took.len(),
            self.lost.len(),
            self.repeated.len(),
            slowest.as_millis(),
            self.versions.join(" and "),
        )
    }
}

/// The loop. It ends when dropped.
pub(crate) struct Unsealing {
    tally: Arc<Mutex<Tally>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Unsealing {
    /// Initialises a Vault and lets it come and go.
    pub(crate) fn start(deployment: Deployment) -> Result<Self> {
        let root = deployment.with_secret()?;
        let (tally, is_over) = (Arc::<Mutex<Tally>>::default(), Arc::<AtomicBool>::default());
        let (counted, end) = (Arc::clone(&tally), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                round(&deployment, &root, &counted);
                thread::sleep(PAUSE);
            }
        });
        Ok(Self { tally, is_over, thread: Some(thread) })
    }

    pub(crate) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Waits until so many more starts have come to their end, whichever.
    pub(crate) fn rounds(&self, more: usize) -> Result<()> {
        let ended = || lock(&self.tally).ended();
        let goal = ended() + more;
        until("a Vault has come and gone", || Ok((ended() >= goal).then_some(())))
    }

    /// Waits until the stored keys are under this version.
    pub(crate) fn moves_to(&self, version: &str) -> Result<()> {
        until(&format!("the stored keys are under {version}"), || {
            let versions = &lock(&self.tally).versions;
            let is_there = !versions.is_empty() && versions.iter().all(|v| v == version);
            Ok(is_there.then_some(()))
        })
    }

    /// Ends the loop after the round under way.
    pub(crate) fn end(mut self) -> Tally {
        self.join();
        self.tally()
    }

    fn join(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // A panic there has been shown already.
        self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Unsealing {
    fn drop(&mut self) {
        self.join();
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

fn round(deployment: &Deployment, root: &str, tally: &Mutex<Tally>) {
    lock(tally).starts += 1;
    let came = come_and_go(deployment, root);
    let versions = key_ids(&deployment.storage);
    let mut tally = lock(tally);
    match came {
        Ok((took, repeated)) => {
            tally.took.push(took);
            tally.repeated.extend(repeated);
        }
        Err(error) => tally.lost.push(format!("{error:?}")),
    }
    match versions {
        Ok(versions) => tally.versions = versions,
        Err(error) => tally.lost.push(format!("{error:?}")),
    }
}

/// How long it took to unseal, and the attempts that had to be repeated.
fn come_and_go(deployment: &Deployment, root: &str) -> Result<(Duration, Vec<String>)> {
    let begun = Instant::now();
    let mut vault = deployment.start()?;
    vault.unsealed()?;
    let took = begun.elapsed();
    vault.client.token = Some(root.to_owned());
    ensure!(vault.read_secret()? == SECRET, "another secret");
    vault.process.kill()?;
    let said = vault.process.stderr();
    Ok((took, said.into_iter().filter(|line| line.contains(FAILED)).collect()))
}
