use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// What one line waits for: the first device that takes it, or the last that does not (I8).
#[derive(Debug)]
pub(super) struct Ticket {
    left: AtomicUsize,
    answer: Mutex<Option<oneshot::Sender<bool>>>,
}

impl Ticket {
    /// A ticket for `devices` of them, and whether one took the line.
    pub(super) fn new(devices: usize) -> (Arc<Self>, oneshot::Receiver<bool>) {
        let (answer, answered) = oneshot::channel();
        let ticket = Self { left: AtomicUsize::new(devices), answer: Mutex::new(Some(answer)) };
        (Arc::new(ticket), answered)
    }

    pub(super) fn taken(&self) {
        self.answer(true);
    }

    pub(super) fn failed(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.answer(false);
        }
    }

    fn answer(&self, is_taken: bool) {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever has given up waiting needs no answer.
        let _ = answer.map(|answer| answer.send(is_taken));
    }
}
