//! `damaged-N`: what was found damaged is kept there, for whoever wants to know why. The first of each
//! kind shows how it began, the last ones how it is now; those between go, or a disk that fails again
//! and again would be filled with them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::files::sync;

/// How many of one kind stay, the first among them.
const KEPT: usize = 4;
const PREFIX: &str = "damaged-";

/// What lies in such a directory. What somebody else has put there is of no kind, and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Journal,
    Database,
    Snapshots,
}

/// Keeps what `put` puts into a new directory; the directory. If `put` fails there is none, and all
/// that was kept before is there.
pub(super) fn keep(dir: &Path, put: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    let aside = make(dir)?;
    if let Err(error) = put(&aside).and_then(|()| sync(&aside)) {
        // What was moved, and not copied, has no other place: it stays.
        if fs::remove_dir(&aside).is_err() {
            thin_out(dir);
        }
        return Err(error);
    }
    thin_out(dir);
    Ok(aside)
}

/// Keeps a copy of `file`; a part of one on a full disk is worth less than its space.
pub(super) fn copy(dir: &Path, file: &Path) -> io::Result<PathBuf> {
    let name = file.file_name().ok_or(ErrorKind::InvalidInput)?;
    keep(dir, |aside| {
        let to = aside.join(name);
        let copied = fs::copy(file, &to).and_then(|_bytes| sync(&to));
        if copied.is_err() {
            drop(fs::remove_file(&to));
        }
        copied
    })
}

fn make(dir: &Path) -> io::Result<PathBuf> {
    let last = numbered(dir)?.into_keys().next_back().unwrap_or(0);
    let aside = dir.join(format!("{PREFIX}{}", last.saturating_add(1)));
    fs::create_dir(&aside)?;
    if let Err(error) = sync(dir) {
        drop(fs::remove_dir(&aside));
        return Err(error);
    }
    Ok(aside)
}

/// Those that there are, by their numbers.
fn numbered(dir: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        all.extend(number.map(|number| (number, entry.path())));
    }
    Ok(all)
}

/// Deletes those between the first and the last of each kind. What cannot be deleted stays: that is no
/// reason to stop.
fn thin_out(dir: &Path) {
    let mut kinds = BTreeMap::<Kind, Vec<PathBuf>>::new();
    for path in numbered(dir).into_iter().flat_map(BTreeMap::into_values) {
        match kind(&path) {
            Some(kind) => kinds.entry(kind).or_default().push(path),
            // Left by a run that was killed; it fails for what is not empty.
            None => drop(fs::remove_dir(&path)),
        }
    }
    for of_a_kind in kinds.into_values() {
        let too_many = of_a_kind.len().saturating_sub(KEPT);
        for path in of_a_kind.iter().skip(1).take(too_many) {
            match fs::remove_dir_all(path) {
                Ok(()) => {
                    tracing::warn!(deleted = %path.display(), "too many damaged copies are kept: the first and the last of each kind stay")
                }
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a damaged copy cannot be deleted")
                }
            }
        }
    }
}

fn kind(path: &Path) -> Option<Kind> {
    let mut kinds = fs::read_dir(path).ok()?.map(|entry| {
        let name = entry.ok()?.file_name();
        match name.to_str()? {
            super::journal::NAME => Some(Kind::Journal),
            super::start::ENGINE => Some(Kind::Database),
            name if name.starts_with(super::start::SNAPSHOT) => Some(Kind::Snapshots),
            _ => None,
        }
    });
    let first = kinds.next()??;
    kinds.all(|other| other == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<u64> {
        numbered(dir).unwrap().into_keys().collect()
    }

    fn put(name: &'static str) -> impl Fn(&Path) -> io::Result<()> {
        move |aside| fs::write(aside.join(name), "damaged")
    }

    #[test]
    fn the_first_and_the_last_of_each_kind_are_kept_and_what_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        keep(dir, put("journal")).unwrap();
        keep(dir, put("snap.00A")).unwrap();
        fs::write(keep(dir, put("journal")).unwrap().join("notes"), "why?").unwrap();
        for _ in 0..20 {
            keep(dir, put("journal")).unwrap();
            keep(dir, put("sled")).unwrap();
        }
        assert_eq!(names(dir), [1, 2, 3, 5, 38, 39, 40, 41, 42, 43]);
        assert!(dir.join("damaged-1/journal").exists(), "the first of all");
    }

    #[test]
    fn what_could_not_be_kept_leaves_nothing_and_costs_nothing_that_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for _ in 0..KEPT {
            keep(dir, put("journal")).unwrap();
        }
        for _ in 0..20 {
            keep(dir, |_| Err(ErrorKind::StorageFull.into())).unwrap_err();
            copy(dir, &dir.join("not there")).unwrap_err();
        }
        assert_eq!(names(dir), [1, 2, 3, 4]);
    }

    #[test]
    fn what_a_killed_run_left_empty_goes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("damaged-7")).unwrap();
        assert!(keep(dir.path(), put("sled")).unwrap().ends_with("damaged-8"));
        assert_eq!(names(dir.path()), [8]);
    }

    #[test]
    fn what_was_moved_half_is_kept_whatever_else_fails() {
        let dir = tempfile::tempdir().unwrap();
        let half = |aside: &Path| put("snap.00A")(aside).and(Err(ErrorKind::Other.into()));
        keep(dir.path(), half).unwrap_err();
        assert!(dir.path().join("damaged-1/snap.00A").exists());
    }
}
