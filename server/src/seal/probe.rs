//! Finds out, one attempt at a time, whether a silent seal is back.

use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::Random;
use selkie_kms::{KekVersion, Wrapping};
use tokio::time::Instant;

use super::connection::Connection;
use super::decrypting::HEDGE_AFTER;
use super::error::SealFault;
use super::health::Standing;
use super::round_trip;
use super::seals::Seal;

/// The one attempt at a time to find out whether a seal that others are asked before answers again.
/// It goes on when the request that began it is over.
#[derive(Debug)]
pub(crate) struct Probe {
    connection: Arc<Connection>,
    is_well: bool,
}

impl Probe {
    /// Probes `seal` in the background if it does not answer decrypts, as far as is known, and it is
    /// time to try again. One whose KMS does not even describe its key is tried again by polling.
    pub(super) fn begin_if_due(seal: &Seal, random: &Arc<Random>) {
        let connection = &seal.connection;
        if connection.standing() != Standing::Well && !connection.is_unlearned() {
            Self::begin(seal, random);
        }
    }

    /// Probes `seal` in the background, unless somebody does or it has failed a moment ago.
    pub(crate) fn begin(seal: &Seal, random: &Arc<Random>) {
        let connection = &seal.connection;
        let Some(known) = seal.known.clone() else { return };
        if !connection.breaker.begin_probe() {
            return;
        }
        let mut probe = Self { connection: Arc::clone(connection), is_well: false };
        let random = Arc::clone(random);
        drop(tokio::spawn(async move {
            let version = known.keks.current();
            let calls = if matches!(version.wrapping, Wrapping::Local(_)) { 1 } else { 2 };
            probe.run(version, &*random, calls * HEDGE_AFTER).await;
        }));
    }

    /// One that answers late would be overtaken again by the next decrypt.
    async fn run(&mut self, version: &KekVersion, random: &Random, in_time: Duration) {
        let began = Instant::now();
        let answer = round_trip::confirm(&self.connection, version, random).await;
        let is_there = !matches!(&answer, Err(SealFault::Kms(error)) if error.is_transient());
        self.is_well = is_there && began.elapsed() <= in_time;
        if self.is_well {
            self.connection.note_answer();
        } else {
            let why = answer.err().map_or("slow", |fault| fault.outcome());
            self.connection.note_silence(why);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.connection.breaker.end_probe(self.is_well);
    }
}
