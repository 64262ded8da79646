//! Lines go to the devices together: requests that are ready add theirs, then one wake-up of each
//! device's thread, one write, one sync, one timer and one answer serve them all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::NotRecorded;
use super::device::{Device, PATIENCE};

/// When lines go without waiting for more.
const MOST_BYTES: usize = 1 << 20;
const MOST_LINES: usize = 1024;

/// The devices, and the lines that go to them next.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Replaced only while `next` is locked and nothing waits there: each batch has one set of them.
    devices: ArcSwap<Devices>,
    next: Mutex<Option<Next>>,
}

/// All devices of the moment.
pub(super) type Devices = Vec<Arc<Device>>;

/// Lines that still wait for others.
#[derive(Debug)]
struct Next {
    lines: Vec<Vec<u8>>,
    bytes: usize,
    fate: Arc<Fate>,
}

/// Lines on their way to the devices.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) lines: Vec<Vec<u8>>,
    pub(super) bytes: usize,
    fate: Arc<Fate>,
}

/// What becomes of the lines of a batch: each waits for the first device that takes it, or the last
/// that does not (I8).
#[derive(Debug)]
pub(super) struct Fate {
    known: Mutex<Known>,
    /// For whoever tells the others.
    courier: Notify,
    lines: Notify,
}

#[derive(Debug)]
struct Known {
    /// Of each line, by its place, whether a device has it; once it is settled how many there are.
    taken: Option<Vec<bool>>,
    /// How many devices have not answered.
    left: usize,
}

impl Gathering {
    pub(super) fn of(devices: Devices) -> Self {
        Self { devices: ArcSwap::from_pointee(devices), next: Mutex::new(None) }
    }

    pub(super) fn devices(&self) -> Guard<Arc<Devices>> {
        self.devices.load()
    }

    /// Puts `devices` in place of others, for all lines from now on; those others.
    pub(super) fn replace(&self, devices: Devices) -> Arc<Devices> {
        let mut held = self.lock();
        self.send(&mut held);
        self.devices.swap(Arc::new(devices))
    }

    /// Waits until a device has `line`.
    ///
    /// # Errors
    ///
    /// [`NotRecorded`] if none takes it, or none within [`PATIENCE`].
    pub(super) async fn record(self: &Arc<Self>, line: Vec<u8>) -> Result<(), NotRecorded> {
        let (place, fate) = self.begin(line);
        fate.of(place).await
    }

    /// Sends `line` on its way: its place in its batch, and what becomes of that batch.
    pub(super) fn begin(self: &Arc<Self>, line: Vec<u8>) -> (usize, Arc<Fate>) {
        let (place, fate) = self.add(line);
        if place == 0 {
            let courier = Courier { gathering: Arc::clone(self), fate: Arc::clone(&fate) };
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(courier.carry())),
                // A request that is dropped with its runtime: the line goes at once.
                Err(_none) => drop(courier),
            }
        }
        (place, fate)
    }

    /// Adds a line to the next batch: its place, and what becomes of that batch.
    fn add(&self, line: Vec<u8>) -> (usize, Arc<Fate>) {
        let mut held = self.lock();
        let devices = self.devices().len();
        let next = held.get_or_insert_with(|| Next::for_devices(devices));
        let (place, fate) = (next.lines.len(), Arc::clone(&next.fate));
        next.bytes = next.bytes.saturating_add(line.len());
        next.lines.push(line);
        if next.bytes >= MOST_BYTES || next.lines.len() >= MOST_LINES {
            self.send(&mut held);
        }
        (place, fate)
    }

    /// Hands the lines that wait to the devices.
    pub(super) fn flush(&self) {
        self.send(&mut self.lock());
    }

    /// Hands the lines of this batch to the devices, unless they have them.
    fn flush_for(&self, fate: &Arc<Fate>) {
        let mut held = self.lock();
        if held.as_ref().is_some_and(|next| Arc::ptr_eq(&next.fate, fate)) {
            self.send(&mut held);
        }
    }

    fn send(&self, held: &mut Option<Next>) {
        let Some(Next { lines, bytes, fate }) = held.take() else { return };
        fate.lock().taken = Some(vec![false; lines.len()]);
        let batch = Arc::new(Batch { lines, bytes, fate });
        // Still locked, so that every device gets the batches in one order.
        for device in self.devices().iter() {
            device.push(&batch);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Next>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Next {
    fn for_devices(devices: usize) -> Self {
        let fate = Fate {
            known: Mutex::new(Known { taken: None, left: devices }),
            courier: Notify::new(),
            lines: Notify::new(),
        };
        Self { lines: Vec::new(), bytes: 0, fate: Arc::new(fate) }
    }
}

impl Batch {
    /// A device has those of the lines, from the first on, that are `taken`, and will have no more of
    /// them.
    pub(super) fn answer(&self, taken: &[bool]) {
        let mut known = self.fate.lock();
        let all = known.taken.iter_mut().flatten();
        all.zip(taken).for_each(|(known, taken)| *known |= taken);
        known.left = known.left.saturating_sub(1);
        drop(known);
        self.fate.courier.notify_one();
    }
}

impl Fate {
    /// What becomes of the line at `place`.
    async fn of(&self, place: usize) -> Result<(), NotRecorded> {
        loop {
            let told = self.lines.notified();
            let known = self.lock().of(place);
            if let Some(known) = known {
                return known;
            }
            told.await;
        }
    }

    /// Tells those who wait what is known, until all is known.
    async fn tell(&self) {
        loop {
            self.courier.notified().await;
            self.lines.notify_waiters();
            if self.lock().is_all() {
                return;
            }
        }
    }

    /// What no device has taken by now counts as not taken.
    fn end(&self) {
        self.lock().left = 0;
        self.lines.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What has become of the line at `place`, as soon as that is certain.
    fn of(&self, place: usize) -> Option<Result<(), NotRecorded>> {
        match self.taken.as_ref().and_then(|taken| taken.get(place)) {
            Some(true) => Some(Ok(())),
            _ => (self.left == 0).then_some(Err(NotRecorded)),
        }
    }

    /// Whether that is certain of all lines.
    fn is_all(&self) -> bool {
        self.left == 0 || self.taken.as_ref().is_some_and(|taken| taken.iter().all(|one| *one))
    }
}

/// Brings one batch to the devices, and the answers back.
struct Courier {
    gathering: Arc<Gathering>,
    fate: Arc<Fate>,
}

impl Courier {
    async fn carry(self) {
        // On a single core each line would cost two context switches otherwise.
        tokio::task::yield_now().await;
        self.gathering.flush_for(&self.fate);
        // Whoever has no answer until then gets one from the drop.
        let _in_time = timeout(PATIENCE, self.fate.tell()).await;
    }
}

/// Also where the runtime ends before it has come so far.
impl Drop for Courier {
    fn drop(&mut self) {
        self.gathering.flush_for(&self.fate);
        self.fate.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether lines of these lengths, the last one among them, wait for more.
    fn wait(lengths: &[usize]) -> bool {
        let gathering = Gathering::of(Vec::new());
        let fates: Vec<_> = lengths.iter().map(|bytes| gathering.add(vec![b'x'; *bytes])).collect();
        assert!(fates.iter().enumerate().all(|(at, (place, _))| *place == at), "{lengths:?}");
        let waits = gathering.lock().is_some();
        let settled = |fate: &Fate| fate.lock().taken.as_ref().map(Vec::len);
        let settled = fates.last().and_then(|(_, fate)| settled(fate));
        assert_eq!(settled, (!waits).then_some(lengths.len()), "a batch that goes is settled");
        let (place, _) = gathering.add(vec![b'x']);
        assert_eq!(place, if waits { lengths.len() } else { 0 }, "the next one begins anew");
        waits
    }

    #[test]
    fn a_batch_that_is_full_waits_for_nobody() {
        assert!(wait(&[1; MOST_LINES - 1]) && !wait(&[1; MOST_LINES]));
        assert!(wait(&[MOST_BYTES - 1]) && !wait(&[MOST_BYTES]) && !wait(&[MOST_BYTES - 1, 1]));
        assert!(!wait(&[2 * MOST_BYTES]), "one line alone");
    }
}
