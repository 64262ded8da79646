//! Whether a start could write where it is to, and would find what it left there: looked at, and
//! nothing made.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use selkie_config::{AuditKind, Config, Storage};

/// A place where a server could not write, or would find nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitPlace {
    /// The field that names it.
    field: &'static str,
    path: PathBuf,
    why: Unfit,
}

/// The field of an audit file.
const FILE_PATH: &str = "file_path";

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    NoDirectory,
    /// It is made at the start, with nothing in it.
    Missing,
    IsDirectory,
    IsNoDirectory,
    IsLink,
    Denied,
}

impl fmt::Display for UnfitPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, path, why } = self;
        write!(f, "field {field:?}: {} ", path.display())?;
        f.write_str(match why {
            Unfit::NoDirectory => {
                "is in a directory that does not exist, unless systemd creates it for the service"
            }
            Unfit::Missing => {
                "does not exist and will be made: if a server has written there before, the path is \
                 mistyped or its disk is not mounted"
            }
            Unfit::IsDirectory => "is a directory: name a file in it",
            Unfit::IsNoDirectory => "is not a directory",
            Unfit::IsLink => "is a symbolic link, which is not followed: name the file itself",
            Unfit::Denied => {
                "is not writable by this user, unless systemd creates it for the service"
            }
        })
    }
}

impl UnfitPlace {
    /// Whether no start can do with it. For the others a service manager may make the directories when
    /// it starts the service, which this command is not.
    pub(super) fn is_grave(&self) -> bool {
        let may_be_made = matches!(self.why, Unfit::NoDirectory | Unfit::Missing | Unfit::Denied);
        self.field == FILE_PATH || !may_be_made
    }
}

/// The places of `config` that a start would fail on, or make.
pub(super) fn unfit(config: &Config) -> Vec<UnfitPlace> {
    let audit = config.audit.devices.iter().filter_map(|device| match &device.kind {
        AuditKind::File(file) => Some((FILE_PATH, &file.path, unfit_audit_file(&file.path)?)),
        AuditKind::Syslog(_) | AuditKind::Socket(_) => None,
    });
    let pid_file = config.pid_file.iter();
    let pid_file = pid_file.filter_map(|path| Some(("pid_file", path, unfit_file(path)?)));
    let sled = match &config.storage {
        Some(Storage::Sled(sled)) => Some(("path", &sled.path)),
        _ => None,
    };
    let directories = config.data_dir.iter().map(|path| ("data_dir", path)).chain(sled);
    let directories =
        directories.filter_map(|(field, path)| Some((field, path, unfit_directory(path)?)));
    let found = audit.chain(pid_file).chain(directories);
    found.map(|(field, path, why)| UnfitPlace { field, path: path.clone(), why }).collect()
}

/// A device opens its file and no link to another.
fn unfit_audit_file(path: &Path) -> Option<Unfit> {
    let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    if is_link { Some(Unfit::IsLink) } else { unfit_file(path) }
}

fn unfit_file(path: &Path) -> Option<Unfit> {
    if path.is_dir() {
        return Some(Unfit::IsDirectory);
    }
    if path.exists() {
        return denied(path, Access::WRITE_OK);
    }
    let directory = path.parent()?;
    match directory.is_dir() {
        true => denied(directory, Access::WRITE_OK | Access::EXEC_OK),
        false => Some(Unfit::NoDirectory),
    }
}

/// A directory that is not there is made, with those above it.
fn unfit_directory(path: &Path) -> Option<Unfit> {
    let there = path.ancestors().find(|one| one.symlink_metadata().is_ok())?;
    match there.is_dir() {
        true => {
            let missing = (there != path).then_some(Unfit::Missing);
            denied(there, Access::WRITE_OK | Access::EXEC_OK).or(missing)
        }
        false => Some(Unfit::IsNoDirectory),
    }
}

fn denied(path: &Path, wish: Access) -> Option<Unfit> {
    access(path, wish).is_err().then_some(Unfit::Denied)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_start_would_fail_on_is_found_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        symlink(at("file"), at("link")).unwrap();
        assert_eq!(unfit_audit_file(&at("file")), None);
        assert_eq!(unfit_audit_file(&at("new")), None);
        assert_eq!(unfit_audit_file(&at("link")), Some(Unfit::IsLink));
        assert_eq!(unfit_audit_file(dir.path()), Some(Unfit::IsDirectory));
        assert_eq!(unfit_audit_file(&at("missing/file")), Some(Unfit::NoDirectory));
        assert_eq!(unfit_directory(dir.path()), None);
        assert_eq!(unfit_directory(&at("deep/deeper")), Some(Unfit::Missing));
        assert_eq!(unfit_directory(&at("file/deeper")), Some(Unfit::IsNoDirectory));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_a_service_manager_may_make_is_not_grave() {
        let is_grave = |field, why| UnfitPlace { field, path: "x".into(), why }.is_grave();
        assert!(
            is_grave(FILE_PATH, Unfit::NoDirectory) && is_grave("pid_file", Unfit::IsDirectory)
        );
        assert!(!is_grave("pid_file", Unfit::NoDirectory) && !is_grave("data_dir", Unfit::Denied));
        assert!(!is_grave("data_dir", Unfit::Missing));
    }
}
