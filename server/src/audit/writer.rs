//! What a device's thread does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use selkie_crypto::AuditKey;
use selkie_listener::LogBudget;

use super::chain::{Chain, End};
use super::device::{Figures, Queue, Work};
use super::gathering::Batch;
use super::line::OwnLine;
use super::sink::{Failed, Ready, Sink, is_too_long};
use crate::clock::Clock;

/// The most room that is kept for the next lines.
const MOST_ROOM_BYTES: usize = 256 << 10;

/// How long after it failed a device is tried again, were there no line to try it with.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Chains lines and writes them, as many at once as wait.
pub(super) struct Writer {
    pub(super) name: String,
    pub(super) sink: Box<dyn Sink>,
    pub(super) key: Arc<AuditKey>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chain: Chain,
    pub(super) figures: Arc<Figures>,
    pub(super) checkpoint_interval: Duration,
    /// What [`Writer::ready`] found in another run's file, until the first line tells it.
    pub(super) before: Option<End>,
    /// Whether the next line begins a chain or a file.
    pub(super) is_anew: bool,
    /// What was written last, for its room alone.
    pub(super) chained: Chained,
    /// Lines a minute about lines that are too long: clients might cause them at will.
    pub(super) told_too_long: LogBudget,
}

/// Lines as they are written, and where the chain stands after each.
#[derive(Default)]
pub(super) struct Chained {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

struct Step {
    end: usize,
    sequence: u64,
    mac: [u8; 32],
}

impl Writer {
    fn ready(&mut self) -> io::Result<()> {
        if let Ready::Anew(end) = self.sink.ready()? {
            self.is_anew = true;
            // A file that got no line has no end: the one before it is still the last.
            self.before = end.or(self.before.take());
        }
        Ok(())
    }

    /// Opens the device for the first time, and tells who waits for it how that went.
    pub(super) fn open(&mut self, queue: &Queue, waiting: &SyncSender<io::Result<()>>) {
        let opened = self.sink.probe();
        queue.rest();
        match &opened {
            // Nobody waited so long, and nobody wants it any more.
            Ok(()) if queue.is_abandoned() => {}
            // After all, where nobody waited so long.
            Ok(()) => self.tell(Ok(()), 0),
            // Who waits tells why; others may know before the first line.
            Err(_) => self.figures.is_failing.store(true, Ordering::Relaxed),
        }
        let _nobody_waits = waiting.send(opened);
    }

    pub(super) fn run(mut self, queue: &Queue) {
        let mut checked = (Instant::now(), self.chain.end().sequence);
        loop {
            let has_lines = self.chain.end().sequence > checked.1;
            let is_failing = self.figures.is_failing.load(Ordering::Relaxed);
            let due = has_lines.then(|| checked.0 + self.checkpoint_interval);
            let due = if is_failing { Some(Instant::now() + RETRY_PAUSE) } else { due };
            let Work { batches, begin, reopen, stop } = queue.next(due);
            if queue.is_abandoned() {
                return;
            }
            if reopen {
                self.sink.reopen();
            }
            if begin || reopen {
                // So that until the first line nobody can read the file, nor another server find that
                // it was moved away, and make it.
                if let Err(error) = self.ready() {
                    self.tell(Err(error), 0);
                }
            }
            if !batches.is_empty() {
                self.write(&batches);
            } else if is_failing && !stop {
                // A server that is refused by load balancers for it gets no request to try it with.
                self.own(|end, missed| OwnLine::Checkpoint { end, missed });
                checked = (Instant::now(), self.chain.end().sequence);
            }
            if stop {
                // The lines may have taken longer than anybody waited for them.
                if !queue.is_abandoned() {
                    self.own(|end, missed| OwnLine::Stop { end, missed });
                }
                return;
            }
            let sequence = self.chain.end().sequence;
            if sequence > checked.1 && checked.0.elapsed() >= self.checkpoint_interval {
                self.own(|end, missed| OwnLine::Checkpoint { end, missed });
                checked = (Instant::now(), self.chain.end().sequence);
            } else if sequence == checked.1 {
                checked.0 = Instant::now();
            }
        }
    }

    /// Writes the lines, and tells those who wait.
    fn write(&mut self, batches: &[Arc<Batch>]) {
        let lines = batches.iter().flat_map(|batch| &batch.lines).map(Vec::as_slice);
        let (taken, outcome) = self.attempt_each(&lines);
        let written = taken.iter().filter(|taken| **taken).count();
        let missed = taken.len().saturating_sub(written);
        add(&self.figures.written, written);
        add(&self.figures.failed, missed);
        // Lines that are too long say nothing of how the device does.
        if outcome.is_err() || written > 0 {
            self.tell(outcome, missed);
        }
        let mut rest = &taken[..];
        for batch in batches {
            let (here, after) = rest.split_at(batch.lines.len().min(rest.len()));
            batch.answer(here);
            rest = after;
        }
    }

    /// Writes `lines` but for those that are too long for a datagram, which are left out of the chain:
    /// which were taken, and why others were not. The lines that are whole in a file count, unless the
    /// disk was asked for and failed.
    pub(super) fn attempt_each<'l>(
        &mut self,
        lines: &(impl Iterator<Item = &'l [u8]> + Clone),
    ) -> (Vec<bool>, io::Result<()>) {
        let all = lines.clone().count();
        let mut taken = Vec::with_capacity(all);
        while let Err((error, more)) = self.attempt(lines.clone().skip(taken.len())) {
            taken.resize(taken.len().saturating_add(more).min(all), true);
            // Before the first line of its own, which is short, it is the device that fails.
            if !is_too_long(&error) || self.is_anew {
                taken.resize(all, false);
                return (taken, Err(error));
            }
            taken.push(false);
            self.tell_too_long();
            if taken.len() >= all {
                return (taken, Ok(()));
            }
        }
        taken.resize(all, true);
        (taken, Ok(()))
    }

    /// The line about the request that was refused for it tells who sent that.
    fn tell_too_long(&self) {
        let minute = self.clock.unix_seconds() / 60;
        let Some(not_told) = self.told_too_long.spend(minute) else { return };
        tracing::error!(
            device = self.name,
            not_told,
            advice = "its request is refused unless another audit device takes the line; a file takes \
                      lines of any length",
            "an audit line is too long for its device"
        );
    }

    /// A line of our own, which nobody waits for.
    fn own(&mut self, line: impl FnOnce(&End, u64) -> OwnLine<'_>) {
        let missed = self.figures.failed.load(Ordering::Relaxed);
        let end = self.chain.end().clone();
        let text = line(&end, missed).text(self.clock.unix_nanos());
        let outcome = self.attempt(std::iter::once(&text[..])).map_err(|(error, _)| error);
        if outcome.is_ok() {
            add(&self.figures.written, 1);
            tracing::info!(device = self.name, checkpoint = %self.chain.end(), "audit checkpoint");
        }
        self.tell(outcome, 0);
    }

    /// Chains and writes `lines`; if it fails, how many were taken all the same.
    fn attempt<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l [u8]>,
    ) -> Result<(), (io::Error, usize)> {
        self.ready().map_err(|error| (error, 0))?;
        let was = self.chain.end().clone();
        let mut chained = std::mem::take(&mut self.chained).emptied();
        if self.is_anew {
            let text = self.first_line(&was);
            chained.add(&mut self.chain, &self.key, &text);
        }
        let own = chained.steps.len();
        lines.for_each(|line| chained.add(&mut self.chain, &self.key, line));
        let outcome = match self.sink.write(&chained.bytes) {
            Ok(()) => {
                add(&self.figures.written, own);
                (self.is_anew, self.before) = (false, None);
                Ok(())
            }
            Err(Failed { kept_bytes, are_lasting, source }) => {
                let kept = chained.steps.iter().take_while(|step| step.end <= kept_bytes);
                let (kept, last) = (kept.clone().count(), kept.last());
                let (sequence, mac) = last.map_or((was.sequence, was.mac), |l| (l.sequence, l.mac));
                self.chain.rewind(sequence, mac);
                self.is_anew &= kept == 0;
                Err((source, if are_lasting { kept.saturating_sub(own) } else { 0 }))
            }
        };
        self.chained = chained;
        outcome
    }

    fn first_line(&self, was: &End) -> Vec<u8> {
        let line = match was.sequence {
            0 => OwnLine::Start { device: &self.name, before: self.before.as_ref() },
            _ => OwnLine::File { end: was },
        };
        line.text(self.clock.unix_nanos())
    }

    /// Says once that the device fails, and once that it works again.
    fn tell(&self, outcome: Result<(), io::Error>, missed: usize) {
        let is_failing = outcome.is_err();
        if self.figures.is_failing.swap(is_failing, Ordering::Relaxed) == is_failing {
            return;
        }
        match outcome {
            Err(error) => tracing::error!(
                device = self.name,
                reason = %error,
                lines = missed,
                advice = "requests are refused unless another audit device works: make room, or see \
                          to the way to it; it is tried again with each line",
                "an audit device fails"
            ),
            Ok(()) => {
                let missed = self.figures.failed.load(Ordering::Relaxed);
                tracing::warn!(device = self.name, missed, "an audit device works again");
            }
        }
    }
}

impl Chained {
    /// Its room for the next lines, unless that is more than lines usually need.
    fn emptied(mut self) -> Self {
        if self.bytes.capacity() > MOST_ROOM_BYTES {
            return Self::default();
        }
        self.bytes.clear();
        self.steps.clear();
        self
    }

    fn add(&mut self, chain: &mut Chain, key: &AuditKey, line: &[u8]) {
        chain.link(key, line, &mut self.bytes);
        let End { sequence, mac, .. } = *chain.end();
        self.steps.push(Step { end: self.bytes.len(), sequence, mac });
    }
}

fn add(counter: &AtomicU64, lines: usize) {
    counter.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
}
