//! An honest seal client: it encrypts and decrypts as a Vault does, on new connections and on kept
//! ones, and tries again as Vault's client does.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use selkie_tests::{Answer, Client, Connection, Request, until};
use serde_json::{Value, json};

use super::sealing;

/// Bounds a failing test, in each try: long enough for the slowest answer to be told.
const PATIENCE: Duration = Duration::from_secs(45);
/// No answer may take longer: a server that waits for others takes as long as they do. On a machine of
/// two busy cores the slowest took 4.3 s. The second and a half that an encrypt may take (I10) is
/// tested where time stands still.
const SLOWEST: Duration = Duration::from_secs(10);
/// A seal client tries three times, with a second or more between.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Between its rounds: it is there to be served, not to be one more load.
const REST: Duration = Duration::from_millis(10);

/// The client, and how far it has come.
pub(super) struct Honest<'a> {
    client: &'a Client,
    rounds: AtomicUsize,
    is_over: AtomicBool,
    has_failed: AtomicBool,
}

/// What it met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    rounds: usize,
    tries_again: usize,
    slowest: Duration,
}

/// Ends the client's work, also when the attack ends in a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Honest<'a> {
    pub(super) const fn new(client: &'a Client) -> Self {
        Self {
            client,
            rounds: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Works for as long as `attack` lasts.
    pub(super) fn while_it_works(self, attack: impl FnOnce(&Self) -> Result<()>) -> Result<Met> {
        thread::scope(|scope| {
            let works = scope.spawn(|| {
                let met = self.work();
                self.has_failed.store(met.is_err(), Ordering::Relaxed);
                met
            });
            let over = Over(&self.is_over);
            let attacked = attack(&self);
            drop(over);
            let met = works.join().map_err(|_panic| anyhow::anyhow!("the client panicked"))?;
            let met = met.context("the honest client was not served")?;
            attacked?;
            ensure!(met.slowest <= SLOWEST, "one answer took longer than {SLOWEST:?}: {met}");
            Ok(met)
        })
    }

    /// Waits until it has been served so many times more: so long, an attack stands.
    pub(super) fn is_served(&self, rounds: usize) -> Result<()> {
        let aim = self.rounds() + rounds;
        until("the honest client is served", || {
            ensure!(!self.has_failed.load(Ordering::Relaxed), "it is not");
            Ok((self.rounds() >= aim).then_some(()))
        })
    }

    /// How many times it has encrypted and decrypted.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(super) fn asks_once(&self) -> Result<()> {
        self.round(&mut None, &mut Met::default())
    }

    fn work(&self) -> Result<Met> {
        let (mut kept, mut met) = (None, Met::default());
        while !self.is_over.load(Ordering::Relaxed) || met.rounds == 0 {
            if met.rounds.is_multiple_of(2) {
                kept = None;
            }
            self.round(&mut kept, &mut met)?;
            met.rounds = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
            thread::sleep(REST);
        }
        Ok(met)
    }

    fn round(&self, kept: &mut Option<Connection>, met: &mut Met) -> Result<()> {
        let sealed = self.ask("encrypt", &sealing("YQ=="), kept, met)?;
        let sealed = json!({ "ciphertext": sealed.field("ciphertext")? });
        let opened = self.ask("decrypt", &sealed, kept, met)?;
        ensure!(opened.field("plaintext")? == "YQ==", "another plaintext");
        Ok(())
    }

    fn ask(
        &self,
        operation: &str,
        body: &Value,
        kept: &mut Option<Connection>,
        met: &mut Met,
    ) -> Result<Answer> {
        let mut refusals = Vec::new();
        for number in 0..TRIES {
            if number > 0 {
                met.tries_again += 1;
                thread::sleep(PAUSE);
            }
            let began = Instant::now();
            let answer = self.attempt(operation, body, kept);
            let took = began.elapsed();
            met.slowest = met.slowest.max(took);
            match answer {
                Ok(answer) if answer.status == 200 && took <= PATIENCE => return Ok(answer),
                Ok(answer) => refusals.push(format!("{} after {took:?}", answer.status)),
                Err(error) => {
                    *kept = None;
                    refusals.push(format!("{error:#} after {took:?}"));
                }
            }
        }
        bail!("{operation}: {}", refusals.join("; "))
    }

    /// One try. Like Go's client, it notices that a kept connection was closed by sending, and
    /// connects again at once.
    fn attempt(
        &self,
        operation: &str,
        body: &Value,
        kept: &mut Option<Connection>,
    ) -> Result<Answer> {
        let request = Request::new("PUT", &format!("transit/{operation}/autounseal")).json(body);
        if let Some(Ok(answer)) = kept.as_mut().map(|kept| kept.send(request.clone())) {
            return Ok(answer);
        }
        kept.insert(self.client.connect()?).send(request)
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, tries_again, slowest } = self;
        write!(
            f,
            "an honest client was served {rounds} times, slowest answer {} ms, {tries_again} tries \
             repeated",
            slowest.as_millis()
        )
    }
}
