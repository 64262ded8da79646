//! Which files landlock lets through, told without asking it: a file may be opened if one of the
//! directories above it, by device and inode, was allowed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Allowed;

/// What was allowed, as the kernel knows it: by inode, not by name.
#[derive(Debug)]
pub(crate) struct Places {
    read: Vec<Inode>,
    /// These can be read as well.
    write: Vec<Inode>,
}

/// Device and number.
type Inode = (u64, u64);

impl Places {
    pub(crate) fn of(allowed: &Allowed) -> Self {
        let inodes = |paths: &[PathBuf]| paths.iter().filter_map(|path| inode(path)).collect();
        Self { read: inodes(&allowed.read), write: inodes(&allowed.write) }
    }

    pub(crate) fn cover(&self, path: &Path) -> bool {
        above(path).iter().any(|one| self.read.contains(one) || self.write.contains(one))
    }

    pub(crate) fn cover_writing(&self, path: &Path) -> bool {
        above(path).iter().any(|one| self.write.contains(one))
    }
}

/// The file and the directories above it, so far as they are there.
fn above(path: &Path) -> Vec<Inode> {
    existing(path).ancestors().filter_map(inode).collect()
}

/// The path without links, or that of the nearest directory above that is there.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| above.canonicalize().ok());
    found.unwrap_or_else(|| PathBuf::from("/"))
}

fn inode(path: &Path) -> Option<Inode> {
    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_covers_what_is_below_it_and_what_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir_all(inside.join("deep")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        let [read, write] = [vec![inside.clone()], vec![dir.path().join("outside")]];
        let writing = Places::of(&Allowed { write, ..Allowed::default() });
        assert!(writing.cover_writing(&dir.path().join("outside/new")));
        assert!(writing.cover(&dir.path().join("outside/new")));
        let places = Places::of(&Allowed { read, ..Allowed::default() });
        assert!(!places.cover_writing(&inside.join("new")));
        assert!(places.cover(&inside) && places.cover(&inside.join("deep/not-yet")));
        assert!(!places.cover(&dir.path().join("outside/file")));
        symlink(dir.path().join("outside"), inside.join("link")).unwrap();
        assert!(!places.cover(&inside.join("link/file")), "a link leads out");
        fs::rename(&inside, dir.path().join("gone")).unwrap();
        fs::create_dir(&inside).unwrap();
        assert!(!places.cover(&inside.join("file")), "another directory has the name");
        assert!(places.cover(&dir.path().join("gone/file")), "the inode counts");
    }
}
