//! `selkie backup`: all state of a running server in a file, sealed for its master keys.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::remote::{Remote, ServerArguments};
use super::{CommandError, print, single_threaded};
use crate::backup::read_frame;
use crate::durable_file;

/// A backup of the largest state, over a slow network.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the backup goes: a file, which is replaced if it is there, once the new one is whole; a
    /// pipe or a device, which is written into; or `-` for the standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    server: ServerArguments,
}

/// What the output is.
#[derive(Debug)]
pub(super) enum Target {
    /// A regular file, or nothing yet; a symbolic link has been followed.
    File(PathBuf),
    /// What takes bytes one after the other, and gives none back.
    Stream(PathBuf),
    /// The standard output.
    Standard,
}

pub(super) fn run(
    arguments: &Arguments,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    let runtime = single_threaded()?;
    // Before a server works for it.
    let target = Target::of(&arguments.output)?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let spinner = progress_bar(None);
    spinner.set_message("the server makes the backup");
    let fetched = runtime.block_on(server.fetch("sys/storage/selkie/snapshot", "read and sudo"));
    spinner.finish_and_clear();
    target.keep(&fetched?, &arguments.output, output, errors)
}

/// What the standard output is called.
const STANDARD: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

impl Target {
    pub(super) fn of(path: &Path) -> Result<Self, CommandError> {
        Self::find(path).map_err(at(path))
    }

    fn find(path: &Path) -> io::Result<Self> {
        // Whatever the shell has opened, a file to append to included, is written on.
        if STANDARD.iter().any(|name| path == Path::new(name)) {
            return Ok(Self::Standard);
        }
        match fs::metadata(path) {
            Ok(found) if found.is_file() => fs::canonicalize(path).map(Self::File),
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => Ok(Self::Stream(path.to_owned())),
            // A link to nothing is one that somebody made for something.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                Ok(Self::File(path.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Saves `bytes` and tells their number.
    fn keep(
        &self,
        bytes: &[u8],
        path: &Path,
        output: &mut dyn Write,
        errors: &mut dyn Write,
    ) -> Result<(), CommandError> {
        self.save(bytes, output)?;
        let text = format!("{}: {} bytes\n", path.display(), bytes.len());
        // Nothing else goes into the backup, and a stream may be the standard output by another name.
        print(if matches!(self, Self::File(_)) { output } else { errors }, &text)
    }

    /// Saves `bytes`, if they are a whole backup.
    fn save(&self, bytes: &[u8], output: &mut dyn Write) -> Result<(), CommandError> {
        read_frame(bytes)?;
        self.write(bytes, output)
    }

    /// Writes `bytes`; a file for its owner alone, or it is as it was.
    pub(super) fn write(&self, bytes: &[u8], output: &mut dyn Write) -> Result<(), CommandError> {
        match self {
            Self::File(path) => durable_file::replace(path, bytes).map_err(at(path)),
            Self::Stream(path) => {
                let written = File::options().write(true).open(path);
                written.and_then(|mut file| file.write_all(bytes)).map_err(at(path))
            }
            Self::Standard => {
                let written = output.write_all(bytes).and_then(|()| output.flush());
                written.map_err(CommandError::Output)
            }
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> CommandError {
    move |source| CommandError::File { path: path.to_owned(), source }
}

/// A bar on the terminal; nothing is drawn where there is none.
pub(super) fn progress_bar(total: Option<u64>) -> ProgressBar {
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
}

/// What a fill reports to, as a bar.
pub(super) fn reporter(bar: &ProgressBar) -> impl FnMut(usize, usize) + Send + '_ {
    let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
    move |done, total| {
        bar.set_length(number(total));
        bar.set_position(number(done));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::thread;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    const GOOD: &[u8] = b"selkie-backup 1\n{}\n0123456789abcdef";

    fn save(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
        let target = Target::of(path)?;
        target.save(bytes, &mut io::sink())
    }

    #[test]
    fn a_backup_is_for_its_owner_alone_and_replaces_nothing_unless_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.backup");
        save(&path, GOOD).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut output = Vec::new();
        let target = Target::of(&path).unwrap();
        target.keep(GOOD, &path, &mut output, &mut io::sink()).unwrap();
        assert!(output.ends_with(b": 35 bytes\n"));
        assert!(save(&path, &GOOD[..GOOD.len() - 1]).is_err());
        assert_eq!(fs::read(&path).unwrap(), GOOD);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary stays");
    }

    #[test]
    fn a_backup_goes_to_where_a_link_leads_and_a_link_to_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [link, file] = ["link", "file"].map(|name| dir.path().join(name));
        symlink(&file, &link).unwrap();
        assert!(save(&link, GOOD).is_err());
        fs::write(&file, "old").unwrap();
        save(&link, GOOD).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), GOOD);
        assert!(save(dir.path(), GOOD).is_err(), "a directory");
    }

    #[test]
    fn a_backup_into_a_pipe_or_a_device_leaves_it_one() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let target = Target::of(&pipe).unwrap();
        target.keep(GOOD, &pipe, &mut output, &mut errors).unwrap();
        assert!(output.is_empty(), "it may be the other end of this pipe");
        assert!(errors.ends_with(b": 35 bytes\n"));
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(reader.join().unwrap(), GOOD);
        // By a link, so that a mistake would not cost the machine its device.
        let full = dir.path().join("full");
        symlink("/dev/full", &full).unwrap();
        assert!(matches!(save(&full, GOOD), Err(CommandError::File { .. })));
        assert!(full.is_symlink());
    }

    /// The reading end is gone.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_backup_goes_to_the_standard_output_and_fails_if_that_breaks() {
        for name in STANDARD {
            let target = Target::of(Path::new(name)).unwrap();
            let mut output = Vec::new();
            target.keep(GOOD, Path::new(name), &mut output, &mut io::sink()).unwrap();
            assert_eq!(output, GOOD);
            let error = target.save(GOOD, &mut Broken).unwrap_err();
            assert_eq!(error.exit(), crate::cli::Exit::Failure);
        }
    }
}
