//! Files and directories that are on the disk once the call returns.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::path::Path;

const BUFFER_BYTES: usize = 256 * 1024;

pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    sync(path)?;
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync)
}

/// Writes `name` in `dir` so that it is afterwards whole: as it was, or as it is to be.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace_with(dir, name, |out| out.write_all(bytes))
}

/// As [`replace`], for what is too much to be held in one piece.
pub(super) fn replace_with(
    dir: &Path,
    name: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(&temporary)?);
    let written =
        write(&mut out).and_then(|()| out.flush()).and_then(|()| out.get_ref().sync_all());
    if let Err(error) = written {
        // What could not be written takes the space that others need.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    fs::rename(&temporary, dir.join(name))?;
    sync(dir)
}

/// Whether the disk says that it cannot give back what lies there, as other files may well be whole.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    // EIO; EBADMSG and EUCLEAN are what file systems make of a wrong checksum of their own.
    const UNREADABLE: [i32; 3] = [5, 74, 117];
    error.raw_os_error().is_some_and(|code| UNREADABLE.contains(&code))
}

/// The bytes of a file; `None` if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
