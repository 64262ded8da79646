//! What is logged. The tests inside of the crate read it by this file too.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::{Dispatch, subscriber::NoSubscriber};
use tracing_subscriber::fmt;

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// While `tracing` knows of one subscriber alone, the first thread that comes to a line of the log
/// answers for all whether anybody wants it, and that may be one of another test.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// What is logged meanwhile on this thread.
pub(crate) fn logged(log: impl FnOnce()) -> String {
    LazyLock::force(&ANOTHER);
    let text = Text::default();
    let writer = text.clone();
    let lines = fmt().with_writer(move || writer.clone()).with_ansi(false).without_time();
    tracing::subscriber::with_default(lines.finish(), log);
    String::from_utf8(text.0.lock().unwrap().clone()).unwrap()
}
