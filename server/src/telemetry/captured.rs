//! What a test logs.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::fmt;

/// While `tracing` knows of one subscriber alone, it asks whichever thread comes first to a line of the
/// log whether anybody wants that line, and remembers the answer for all threads: without this other
/// one, that of a test beside this one which takes no log.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// What this test's thread logs.
pub(crate) struct Log {
    text: Text,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn start() -> Self {
        LazyLock::force(&ANOTHER);
        let text = Text::default();
        let writer = text.clone();
        let lines = fmt().with_writer(move || writer.clone()).with_ansi(false).without_time();
        let lines = lines.with_max_level(tracing::Level::DEBUG);
        Self { text, _guard: tracing::subscriber::set_default(lines.finish()) }
    }

    pub(crate) fn take(&self) -> String {
        let mut text = self.text.0.lock().unwrap();
        String::from_utf8(std::mem::take(&mut *text)).unwrap()
    }
}

#[test]
fn a_line_is_taken_although_a_thread_without_a_log_came_to_it_first() {
    let line = || tracing::warn!("told by two threads");
    let log = Log::start();
    std::thread::spawn(line).join().unwrap();
    line();
    assert_eq!(log.take().matches("told by two threads").count(), 1);
}
