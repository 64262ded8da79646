//! Which files landlock lets through, told without asking it: a file may be opened if one of the
//! directories above it, by device and inode, was allowed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Allowed;

/// What was allowed, as the kernel knows it: by inode, not by name.
#[derive(Debug)]
pub(crate) struct Places(Vec<(u64, u64)>);

impl Places {
    pub(crate) fn of(allowed: &Allowed) -> Self {
        Self(allowed.read.iter().chain(&allowed.write).filter_map(|path| inode(path)).collect())
    }

    pub(crate) fn cover(&self, path: &Path) -> bool {
        let there = existing(path);
        let mut above = there.ancestors().filter_map(inode);
        above.any(|one| self.0.contains(&one))
    }
}

/// The path without links, or that of the nearest directory above that is there.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| above.canonicalize().ok());
    found.unwrap_or_else(|| PathBuf::from("/"))
}

fn inode(path: &Path) -> Option<(u64, u64)> {
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
        let read = vec![inside.clone()];
        let places = Places::of(&Allowed { read, ..Allowed::default() });
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
