//! What a test logs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt;

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
