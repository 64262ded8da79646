//! One device: a queue that never blocks those who record, and a thread that writes all lines that
//! wait at once (group commit).

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::gathering::Batch;
use super::writer::Writer;

/// What may wait for a device (invariant I10); a line beyond that fails at once.
const QUEUE_LINES: usize = 16 * 1024;
const QUEUE_BYTES: usize = 32 << 20;
/// A device whose last write takes longer is stuck: further lines fail at once. A request waits for
/// two lines, and an encrypt is to be answered within 1.5 s (invariant I10).
pub(super) const PATIENCE: Duration = Duration::from_millis(700);
/// How long a start or a reload waits for a device to open: a disk that hangs, or a collector that
/// takes no more connections, would hold it for ever.
const OPENING_WAIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// How long the end of the server waits for the last lines.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// A device as those see it who record.
pub(super) struct Device {
    /// As `sys/audit` tells it.
    pub(super) settings: Arc<selkie_config::AuditDevice>,
    pub(super) figures: Arc<Figures>,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    opened: Mutex<mpsc::Receiver<io::Result<()>>>,
}

/// How a device does.
#[derive(Debug, Default)]
pub struct Figures {
    /// Lines that it took since the start, its own among them.
    pub written: AtomicU64,
    /// Lines that it did not take.
    pub failed: AtomicU64,
    /// Whether the last attempt failed.
    pub is_failing: AtomicBool,
}

/// What the thread does next.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) batches: Vec<Arc<Batch>>,
    pub(super) begin: bool,
    pub(super) reopen: bool,
    pub(super) stop: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    work: Work,
    lines: usize,
    bytes: usize,
    /// Since when the thread works at what it took last.
    busy_since: Option<Instant>,
    is_waiting: bool,
    /// Whether the thread is to end without a further word.
    is_abandoned: bool,
}

impl Device {
    /// Starts the thread of a device, which opens it.
    ///
    /// # Errors
    ///
    /// What the system says when it has no thread for us.
    pub(super) fn start(
        settings: selkie_config::AuditDevice,
        figures: Arc<Figures>,
        mut writer: Writer,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let taken_from = Arc::clone(&queue);
        // Lines that come before it is open have the patience of all others.
        queue.tell(|state| state.busy_since = Some(Instant::now()));
        let (tell, opened) = mpsc::sync_channel(1);
        let name = format!("audit-{}", settings.path);
        let thread = thread::Builder::new().name(name).spawn(move || {
            writer.open(&taken_from, &tell);
            writer.run(&taken_from);
        })?;
        let (settings, thread) = (Arc::new(settings), Mutex::new(Some(thread)));
        Ok(Self { settings, figures, queue, thread, opened: Mutex::new(opened) })
    }

    /// Waits for the outcome of its opening, but not for ever: then its thread goes on with it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn opened(&self) -> io::Result<()> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.recv_timeout(OPENING_WAIT).unwrap_or_else(|_no_word| {
            self.figures.is_failing.store(true, Ordering::Relaxed);
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it has not opened in {} s", OPENING_WAIT.as_secs()),
            ))
        })
    }

    /// Queues lines to be written; if that cannot be, they have failed here.
    pub(super) fn push(&self, batch: &Arc<Batch>) {
        if !self.queue.push(batch) {
            let lines = u64::try_from(batch.lines.len()).unwrap_or(u64::MAX);
            self.figures.failed.fetch_add(lines, Ordering::Relaxed);
            batch.answer(&[]);
        }
    }

    /// Whether it took nothing of late, or hangs.
    pub(super) fn is_failing(&self) -> bool {
        self.figures.is_failing.load(Ordering::Relaxed) || self.queue.lock().is_stuck()
    }

    /// It is in use from now on.
    pub(super) fn begin(&self) {
        self.queue.tell(|state| state.work.begin = true);
    }

    pub(super) fn reopen(&self) {
        self.queue.tell(|state| state.work.reopen = true);
    }

    /// Has the thread of a device that could not be opened let go of what it had opened of it.
    pub(super) fn discard(self) {
        self.queue.abandon();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that still opens it lets go of it later.
        if let Some(thread) = thread.filter(|_| !self.queue.lock().is_stuck()) {
            let _panicked = thread.join();
        }
    }

    /// Lets the thread write what waits and its last checkpoint, and waits for that a while. One that
    /// comes back later from a disk that hung writes nothing more: the file may have another writer.
    pub(super) fn stop(&self) {
        self.queue.tell(|state| state.work.stop = true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(thread), until) = (thread, Instant::now() + LAST_WAIT) else { return };
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            self.queue.abandon();
            tracing::error!(
                device = self.settings.path,
                "an audit device hangs: it is left without its last lines, and has its file until \
                 its disk comes back"
            );
        }
    }
}

/// Nobody records to it any more, if anybody ever did: what a reload did not take in, or waited for in
/// vain, leaves no line.
impl Drop for Device {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

impl State {
    fn is_stuck(&self) -> bool {
        self.busy_since.is_some_and(|since| since.elapsed() > PATIENCE)
    }
}

impl Queue {
    fn push(&self, batch: &Arc<Batch>) -> bool {
        let mut state = self.lock();
        let lines = state.lines.saturating_add(batch.lines.len());
        let bytes = state.bytes.saturating_add(batch.bytes);
        if state.is_stuck() || lines > QUEUE_LINES || bytes > QUEUE_BYTES || state.work.stop {
            return false;
        }
        (state.lines, state.bytes) = (lines, bytes);
        state.work.batches.push(Arc::clone(batch));
        // Once for all that is queued: the thread takes it as a whole.
        if std::mem::take(&mut state.is_waiting) {
            drop(state);
            self.changed.notify_one();
        }
        true
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// The thread has finished what it was at.
    pub(super) fn rest(&self) {
        self.tell(|state| state.busy_since = None);
    }

    fn abandon(&self) {
        self.tell(|state| (state.work.stop, state.is_abandoned) = (true, true));
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    /// Waits for work, until `due` at the latest; whoever asks has finished what came before.
    pub(super) fn next(&self, due: Option<Instant>) -> Work {
        let mut state = self.lock();
        state.busy_since = None;
        loop {
            let Work { batches, begin, reopen, stop } = &state.work;
            let is_asked = !batches.is_empty() || *begin || *reopen || *stop;
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if is_asked || left == Some(Duration::ZERO) {
                break;
            }
            state.is_waiting = true;
            let left = left.unwrap_or(Duration::from_secs(3600));
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.is_waiting = false;
        }
        (state.lines, state.bytes) = (0, 0);
        state.busy_since = Some(Instant::now());
        let stop = state.work.stop;
        // It stays stopped for those who come later.
        std::mem::replace(&mut state.work, Work { stop, ..Work::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.settings.path)
    }
}
