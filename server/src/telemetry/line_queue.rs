//! The log never holds up a request: when its reader is slow, lines are dropped and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written; while so many do, further ones are dropped.
const CAPACITY: usize = 4096;

/// How long the end of the process waits for somebody to read the last lines.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Lines on their way to a writer that may block, from threads that must not: a thread of its own
/// writes them, and what comes too fast for it is dropped and counted. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub(super) struct LineQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// What has left the queue last is not written yet.
    is_writing: bool,
    dropped: u64,
}

/// What the writing thread does next.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Write(Vec<u8>),
    TellDropped(u64),
}

impl LineQueue {
    /// Starts the thread that writes to `output`. It calls `tell_dropped` with the number of lines
    /// that were dropped once there is room again for a line that says so.
    ///
    /// # Errors
    ///
    /// What the system says when it has no thread for us.
    pub(super) fn start(
        mut output: impl Write + Send + 'static,
        tell_dropped: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Self::default();
        let writer = queue.clone();
        let write_all = move || {
            loop {
                match writer.next() {
                    Task::TellDropped(count) => tell_dropped(count),
                    // There is nobody left to be told that the log itself cannot be written.
                    Task::Write(line) => drop(output.write_all(&line)),
                }
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(write_all)?;
        Ok(queue)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.lines.len() >= CAPACITY {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.lines.push_back(line.to_vec());
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits for the next task; whoever asks has finished the one before.
    fn next(&self) -> Task {
        let mut state = self.lock();
        state.is_writing = false;
        self.0.changed.notify_all();
        let task = loop {
            // With half of the queue free the line about the others is not dropped itself.
            if state.dropped > 0 && state.lines.len() <= CAPACITY / 2 {
                break Task::TellDropped(std::mem::take(&mut state.dropped));
            }
            if let Some(line) = state.lines.pop_front() {
                break Task::Write(line);
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.is_writing = true;
        task
    }

    /// Waits until all is written, or for [`LAST_WAIT`] if nobody reads.
    pub(super) fn flush(&self) {
        let is_busy =
            |state: &mut State| state.is_writing || state.dropped > 0 || !state.lines.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.lock(), LAST_WAIT, is_busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call writes one line, as tracing-subscriber does.
impl Write for LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'q> MakeWriter<'q> for LineQueue {
    type Writer = Self;

    fn make_writer(&'q self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a line once `gate` lets it, and hands it to `lines`.
    struct Pipe {
        gate: mpsc::Receiver<()>,
        lines: mpsc::Sender<String>,
    }

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.gate.recv().map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(line).into_owned();
            self.lines.send(text).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_blocks_no_one_and_the_lost_lines_are_counted() {
        let (open, gate) = mpsc::channel();
        let (lines, written) = mpsc::channel();
        let (told, dropped) = mpsc::channel();
        let tell = move |count| told.send(count).unwrap();
        let queue = LineQueue::start(Pipe { gate, lines }, tell).unwrap();
        // One more may be with the writer.
        for _ in 0..CAPACITY + 11 {
            queue.push(b"line");
        }
        assert!(dropped.try_recv().is_err(), "not told while there is no room");
        for _ in 0..CAPACITY {
            open.send(()).unwrap();
            assert_eq!(written.recv().unwrap(), "line");
        }
        let lost = dropped.recv().unwrap();
        assert!((10..=11).contains(&lost), "{lost}");
    }

    #[test]
    fn a_flush_waits_for_the_last_line() {
        let (open, gate) = mpsc::channel();
        let (lines, written) = mpsc::channel();
        let queue = LineQueue::start(Pipe { gate, lines }, |_| ()).unwrap();
        queue.push(b"first");
        queue.push(b"last");
        open.send(()).unwrap();
        open.send(()).unwrap();
        queue.flush();
        assert_eq!(written.try_iter().collect::<Vec<_>>(), ["first", "last"]);
    }
}
