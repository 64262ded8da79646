//! Files that take the place of others as a whole: what is there after a crash at any moment is the
//! old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Puts `bytes` at `path`, for its owner alone, on the disk and read back before anything that was
/// there goes.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::InvalidData`] if the disk gives back something else. What
/// was there is still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    remove(&temporary)?;
    let replaced = write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = replaced {
        // What could not be written takes the space that others need.
        let _left = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory(path))?.sync_all()
}

/// The first `most` bytes of the file; `None` if there is none. What is longer is no whole JSON then.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::InvalidInput`] for what is no file.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match fs::metadata(path) {
        // To open a named pipe would wait for whoever writes into it.
        Ok(found) if !found.is_file() => Err(io::ErrorKind::InvalidInput.into()),
        Ok(_) => File::open(path),
        Err(error) => Err(error),
    };
    let file = match file {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome?,
    };
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Makes the directory that `path` lies in, for its owner alone, unless it is there.
///
/// # Errors
///
/// What the system says.
pub(crate) fn make_directory_of(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory(path))
}

fn directory(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if fs::read(path)? == bytes { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_replaced_file_is_for_its_owner_alone_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub").join("file");
        assert!(replace(&path, b"1").is_err(), "there is no directory");
        make_directory_of(&path).unwrap();
        fs::write(temporary(&path), b"left by a crash").unwrap();
        for text in [&b"1"[..], b"2"] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-directory");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"1").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
