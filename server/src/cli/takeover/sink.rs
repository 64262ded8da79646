//! Where rewrapped lines go, and how far an earlier run came.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

/// The output of a rewrap: a file that a later run goes on with, or what cannot be read again.
pub(super) enum Sink<'o> {
    File {
        /// Of what an earlier run wrote, so that nothing is lost before that is known to be one's.
        file: BufReader<File>,
        /// How many bytes the lines have that were read and are whole.
        whole: u64,
    },
    Stream(&'o mut dyn Write),
}

/// What an earlier run wrote.
#[derive(Debug, PartialEq)]
pub(super) enum Earlier {
    /// A line, without its end.
    Line(Vec<u8>),
    /// The beginning of one, at the end of the file; perhaps of no byte.
    Cut(Vec<u8>),
}

impl<'o> Sink<'o> {
    /// The file at `path`, as it is.
    pub(super) fn resume(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // A device may be read for ever.
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file, and a later run could not go on"));
        }
        Ok(Self::File { file: BufReader::new(file), whole: 0 })
    }

    pub(super) fn stream(output: &'o mut dyn Write) -> Self {
        Self::Stream(output)
    }

    /// The next line of an earlier run.
    pub(super) fn earlier(&mut self) -> io::Result<Earlier> {
        let Self::File { file, whole } = self else { return Ok(Earlier::Cut(Vec::new())) };
        let mut line = Vec::new();
        let read = file.read_until(b'\n', &mut line)?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(Earlier::Cut(line));
        }
        *whole = whole.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(Earlier::Line(line))
    }

    /// Cuts off what is not whole, to write on from there.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let Self::File { file, whole } = self else { return Ok(()) };
        file.get_mut().set_len(*whole)?;
        file.get_mut().seek(SeekFrom::End(0)).map(|_end| ())
    }

    /// Writes whole lines at once.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.get_mut().write_all(lines),
            Self::Stream(output) => output.write_all(lines),
        }
    }

    /// What was written is on the disk.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.get_ref().sync_all(),
            Self::Stream(output) => output.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_not_resumed() {
        assert!(Sink::resume(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_line_that_was_cut_off_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut sink = Sink::resume(&path).unwrap();
        assert_eq!(sink.earlier().unwrap(), Earlier::Cut(Vec::new()));
        sink.begin().unwrap();
        sink.write(b"one\ntwo\nthr").unwrap();
        sink.finish().unwrap();
        let mut sink = Sink::resume(&path).unwrap();
        for line in ["one", "two"] {
            assert_eq!(sink.earlier().unwrap(), Earlier::Line(line.into()));
        }
        assert_eq!(sink.earlier().unwrap(), Earlier::Cut(b"thr".to_vec()));
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthr", "nothing is cut yet");
        sink.begin().unwrap();
        sink.write(b"three\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }
}
