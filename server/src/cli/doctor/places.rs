//! The directories that a server of this machine writes to: whether there is space, whether it can be
//! written there, and whose they are.

use std::fmt;
use std::fs::{self, File, FileType};
use std::io;
use std::path::{Path, PathBuf};

use selkie_config::{AuditFile, AuditKind, Config, Storage};
use selkie_storage::{Holder, SledError, SledStore};

use crate::audit;
use crate::seal::{Finding, Step};
use crate::telemetry::WithCauses;

/// A server writes its storage and its pins anew as a whole: with less it may not be able to.
const LEAST_BYTES: u64 = 16 << 20;

/// A directory, and what it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    what: &'static str,
    dir: PathBuf,
    /// The one file in it that counts.
    file: Option<PathBuf>,
}

const STORAGE: &str = "storage";
const AS_SELKIE: &str = "run doctor as the user that Selkie runs as";

/// Those of `config`.
pub(super) fn of(config: &Config) -> Vec<Place> {
    let place = |what: &'static str, dir: &Path| Place { what, dir: dir.to_owned(), file: None };
    let data_dir = config.data_dir.iter().map(|dir| place("data_dir", dir));
    let storage = config.storage.iter().filter_map(|storage| match storage {
        Storage::Sled(sled) => Some(place(STORAGE, &sled.path)),
        Storage::InMemory | Storage::Etcd(_) => None,
    });
    let audit = config.audit.devices.iter().filter_map(|device| match &device.kind {
        AuditKind::File(AuditFile { path, .. }) => {
            Some(Place { file: Some(path.clone()), ..place("audit", path.parent()?) })
        }
        AuditKind::Syslog(_) | AuditKind::Socket(_) => None,
    });
    let mut places: Vec<_> = data_dir.chain(storage).chain(audit).collect();
    places.dedup();
    places
}

impl Place {
    pub(super) fn examine(&self) -> Vec<Step> {
        let holder = match &self.file {
            Some(file) => Some(writer_of(file)),
            None => (self.what == STORAGE).then(|| self.holder()),
        };
        let space = Some(self.space(LEAST_BYTES));
        let findings = [("space", space), ("write", self.write()), ("holder", holder)];
        let told = |(hop, finding): (&str, Option<Finding>)| {
            Some(Step { hop: hop.to_owned(), finding: finding? })
        };
        findings.into_iter().filter_map(told).collect()
    }

    fn space(&self, least_bytes: u64) -> Finding {
        let dir = self.dir.display();
        // One that is not there yet will lie where the first of its parents does.
        let there = self.dir.ancestors().find(|dir| dir.exists()).unwrap_or(&self.dir);
        let free = match rustix::fs::statvfs(there) {
            Ok(of) if of.f_blocks == 0 => {
                return Finding::Passed("unlimited or unknown".to_owned());
            }
            Ok(of) => of.f_bavail.saturating_mul(of.f_frsize),
            Err(error) => {
                let what = format!("cannot tell how much space the disk of {dir} has: {error}");
                return Finding::Warned {
                    what,
                    advice: "check that the directory can be read".to_owned(),
                };
            }
        };
        let mebibytes = free >> 20;
        if free < least_bytes {
            let what = format!("only {mebibytes} MiB free: a server may be unable to write");
            return Finding::Failed { what, advice: format!("free space on the disk of {dir}") };
        }
        Finding::Passed(format!("{mebibytes} MiB free"))
    }

    /// Whether this user can write there; `None` of an audit file that may be none, or has no directory.
    fn write(&self) -> Option<Finding> {
        let tried = match self.file.as_deref().map(|file| (file, file.symlink_metadata())) {
            // To append needs no right to the directory.
            Some((file, Ok(found))) if found.is_file() => {
                File::options().append(true).open(file).map(drop)
            }
            Some((_, Ok(found))) => return unfit(found.file_type()),
            _ if self.dir.is_dir() => try_in(&self.dir),
            None if !self.dir.exists() => return Some(missing()),
            _ => return None,
        };
        Some(match tried {
            Ok(()) => Finding::Passed("possible".to_owned()),
            Err(error) => Finding::Failed {
                what: format!("a server of this user could not: {error}"),
                advice: format!(
                    "{AS_SELKIE}; then see how the disk of {} is mounted, and whose it is",
                    self.dir.display()
                ),
            },
        })
    }

    /// Who has the storage open, which may well be the server that is to.
    fn holder(&self) -> Finding {
        match SledStore::check_unused(&self.dir) {
            Ok(()) => Finding::Passed("no process has it open".to_owned()),
            Err(SledError::InUse { pid, .. }) => Finding::Passed(format!(
                "{} has it open: if that is not this configuration's server, stop it, because a \
                 second server waits for it",
                Holder(pid)
            )),
            Err(error) => Finding::Warned {
                what: WithCauses(&error).to_string(),
                advice: AS_SELKIE.to_owned(),
            },
        }
    }
}

/// A server makes it, and all looks well.
fn missing() -> Finding {
    Finding::Warned {
        what: "it does not exist and will be made".to_owned(),
        advice:
            "if a server has written there before, see whether the path is mistyped or its disk is \
                 not mounted"
                .to_owned(),
    }
}

/// What a server does not take for an audit file; `None` of a device or a pipe.
fn unfit(found: FileType) -> Option<Finding> {
    let (what, advice) = if found.is_symlink() {
        ("a symbolic link, which a server does not follow", "name the file itself in \"file_path\"")
    } else if found.is_dir() {
        ("a directory", "name a file in it in \"file_path\"")
    } else {
        return None;
    };
    Some(Finding::Failed { what: format!("this is {what}"), advice: advice.to_owned() })
}

/// Makes a file and removes it again: a mode alone tells nothing of mounts and access lists.
fn try_in(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".selkie-doctor.{}", std::process::id()));
    File::create_new(&path)?;
    fs::remove_file(path)
}

/// Who writes to an audit file, which may well be the server that is to.
fn writer_of(file: &Path) -> Finding {
    match audit::holder(file) {
        Ok(None) => Finding::Passed("no process writes to it".to_owned()),
        Ok(Some(holder)) => Finding::Passed(format!(
            "{holder} writes to it: if that is not the server of this configuration, stop it, as a \
             second one goes on without the file, or does not start"
        )),
        Err(error) => Finding::Warned {
            what: format!("cannot tell which process writes to it: {error}"),
            advice: AS_SELKIE.to_owned(),
        },
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.file.as_ref().unwrap_or(&self.dir).display())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use selkie_storage::SledSettings;

    use super::*;

    #[tokio::test]
    async fn who_has_the_storage_open_is_told_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { what: STORAGE, dir: dir.path().join("state"), file: None };
        let holder = || match &place.examine()[..] {
            [.., Step { finding: Finding::Passed(seen), .. }] => seen.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(holder(), "no process has it open");
        let _store = SledStore::open(SledSettings::new(&place.dir)).await.unwrap();
        assert!(holder().starts_with(&format!("process {} has it open", std::process::id())));
    }

    #[test]
    fn who_writes_to_an_audit_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let place = Place { what: "audit", dir: dir.path().to_owned(), file: Some(path.clone()) };
        let writer = || match &place.examine()[..] {
            [.., Step { finding: Finding::Passed(seen), .. }] => seen.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(writer(), "no process writes to it");
        let _locked = File::create(&path).map(|file| file.lock().map(|()| file));
        assert!(writer().contains(" writes to it: if that is not the server"), "{}", writer());
        // Nor can root look below what is no directory.
        let Finding::Warned { what, advice } = writer_of(&path.join("below")) else { panic!() };
        assert!(what.contains("cannot tell") && advice.contains("as the user"), "{what}");
    }

    #[test]
    fn whether_it_can_be_written_is_tried_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = |dir: &Path| Place { what: "data_dir", dir: dir.to_owned(), file: None };
        assert!(matches!(place(dir.path()).write(), Some(Finding::Passed(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let later = place(&dir.path().join("later")).write();
        assert!(matches!(&later, Some(Finding::Warned { .. })), "{later:?}");
        // Nor can root write there.
        let Some(Finding::Failed { what, advice }) = place(Path::new("/proc/self")).write() else {
            panic!()
        };
        assert!(what.contains("could not: ") && advice.contains("/proc/self"), "{what} {advice}");
        let file = dir.path().join("audit.log");
        fs::write(&file, "line\n").unwrap();
        let audit = Place { file: Some(file.clone()), ..place(Path::new("/proc/self")) };
        assert!(matches!(audit.write(), Some(Finding::Passed(_))));
        assert_eq!(fs::read(file).unwrap(), b"line\n");
    }

    #[test]
    fn a_link_or_a_directory_in_place_of_an_audit_file_fails() {
        let dir = tempfile::tempdir().unwrap();
        let [file, link, lost] = ["file", "link", "lost"].map(|name| dir.path().join(name));
        fs::write(&file, "line\n").unwrap();
        symlink(&file, &link).unwrap();
        symlink(dir.path().join("nothing"), &lost).unwrap();
        for (path, told) in [(&link, "symbolic"), (&lost, "symbolic"), (&dir.path().into(), "dir")]
        {
            let place =
                Place { what: "audit", dir: dir.path().to_owned(), file: Some(path.clone()) };
            let Some(Finding::Failed { what, .. }) = place.write() else { panic!("{path:?}") };
            assert!(what.contains(told), "{what}");
        }
    }

    #[test]
    fn a_disk_with_little_space_left_fails_and_names_the_directory() {
        let place = Place { what: "data_dir", dir: "/not/there/yet".into(), file: None };
        let Finding::Failed { advice, .. } = place.space(u64::MAX) else { panic!() };
        assert_eq!(advice, "free space on the disk of /not/there/yet");
        assert!(matches!(place.space(1), Finding::Passed(_)));
        let unlimited = Place { what: "data_dir", dir: "/proc".into(), file: None };
        assert!(matches!(unlimited.space(u64::MAX), Finding::Passed(_)));
    }
}
