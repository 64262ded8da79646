//! Where rewrapped lines go, and how far an earlier run came.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

/// The output of a rewrap: a file that a later run goes on with, or what cannot be read again.
pub(super) enum Sink<'o> {
    File(File),
    Stream(&'o mut dyn Write),
}

impl<'o> Sink<'o> {
    /// The file at `path`, of which a last line that is not whole is cut off, and how many lines it
    /// has.
    pub(super) fn resume(path: &Path) -> io::Result<(Self, u64)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let (mut lines, mut whole) = (0_u64, 0_u64);
        let mut line = Vec::new();
        let mut reader = BufReader::new(&mut file);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            lines = lines.saturating_add(1);
            whole = whole.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok((Self::File(file), lines))
    }

    pub(super) fn stream(output: &'o mut dyn Write) -> Self {
        Self::Stream(output)
    }

    /// Writes whole lines at once.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(lines),
            Self::Stream(output) => output.write_all(lines),
        }
    }

    /// What was written is on the disk.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_all(),
            Self::Stream(output) => output.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let (mut sink, lines) = Sink::resume(&path).unwrap();
        assert_eq!(lines, 0);
        sink.write(b"one\ntwo\nthr").unwrap();
        sink.finish().unwrap();
        let (mut sink, lines) = Sink::resume(&path).unwrap();
        assert_eq!(lines, 2);
        sink.write(b"three\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }
}
