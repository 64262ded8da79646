//! Where the values behind `env://` and `file://` come from.

pub(crate) mod stand_ins;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};
use zeroize::Zeroizing;

/// No key and no policy comes near; a device or a wrong path shall not fill the memory.
const LARGEST_FILE: usize = 1 << 20;

/// The environment and the files that a configuration refers to.
pub trait Sources {
    /// The value of an environment variable, `None` if it is not set.
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>>;

    /// The value of a variable that counts without being referred to, such as `AZURE_TENANT_ID`;
    /// `None` if it is not set.
    fn ambient(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.variable(name)
    }

    /// The content of a file that holds a secret.
    ///
    /// # Errors
    ///
    /// As [`SourceError`] says.
    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError>;

    /// The content of a file that holds no secret.
    ///
    /// # Errors
    ///
    /// As [`SourceError`] says.
    fn text_file(&self, path: &Path) -> Result<String, SourceError>;

    /// Why the file is not its reader's alone; `None` if it is, or that cannot be told.
    fn exposure(&self, path: &Path) -> Option<Exposure>;
}

/// Who else than this process may read or change the file of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Every user of this machine.
    Everyone {
        /// Its permissions.
        mode: u32,
    },
    /// A group that this process does not belong to.
    Group {
        /// Its permissions.
        mode: u32,
        /// The group's number.
        group: u32,
    },
    /// It belongs to another user, who is not root either and has not opened it to a group of ours.
    Owner {
        /// The user's number.
        owner: u32,
    },
}

/// Why a reference has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is nothing of that name.
    #[error("does not exist")]
    Missing,
    /// This process may not read it.
    #[error("may not be read by this user (under systemd the unit gets it by LoadCredential=)")]
    Denied,
    /// It is longer than anything that belongs there.
    #[error("is larger than 1 MiB")]
    TooLarge,
    /// This process was confined before the file was named.
    #[error("is not below the directories that this process was confined to at its start")]
    Outside,
    /// A credential that systemd would have to bring, which it does when it starts the unit.
    #[error("is no credential that systemd gave this process at its start (LoadCredential=)")]
    NotGiven,
    /// It is no UTF-8.
    #[error("is not text")]
    NotText,
    /// Reading failed.
    #[error("cannot be read ({0})")]
    Unreadable(io::ErrorKind),
}

impl SourceError {
    fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            kind => Self::Unreadable(kind),
        }
    }
}

/// The process's own environment and file system.
///
/// A variable stays readable in `/proc/PID/environ` as long as the process lives; a file does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSources;

impl Sources for SystemSources {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        std::env::var_os(name).map(|value| Zeroizing::new(value.into_vec()))
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let opened = File::open(path).map_err(|error| SourceError::from_io(&error))?;
        // The buffer never grows, so no copy of a secret is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_FILE.saturating_add(64)));
        opened
            .take(LARGEST_FILE.saturating_add(1) as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| SourceError::from_io(&error))?;
        if bytes.len() > LARGEST_FILE { Err(SourceError::TooLarge) } else { Ok(bytes) }
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        let bytes = self.secret_file(path)?;
        let text = str::from_utf8(&bytes).ok().ok_or(SourceError::NotText)?;
        Ok(text.to_owned())
    }

    fn exposure(&self, path: &Path) -> Option<Exposure> {
        let metadata = path.metadata().ok().filter(|_| !is_placed_for_us(path))?;
        let permissions = Permissions {
            mode: metadata.mode() & 0o7777,
            owner: metadata.uid(),
            group: metadata.gid(),
        };
        exposure(permissions, geteuid().as_raw(), is_ours)
    }
}

/// Where Kubernetes puts the token of a service account. `/var/run` is a link to `/run`, or not.
const SERVICE_ACCOUNT: [&str; 2] =
    ["/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets/kubernetes.io/serviceaccount"];

/// Whether systemd or the kubelet has put it there for this service: they see to who may read it, by
/// an ACL, which the mode does not show, or by who is in the pod at all.
fn is_placed_for_us(path: &Path) -> bool {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|text| !text.is_empty());
    let mut directories = directory.iter().map(Path::new).chain(SERVICE_ACCOUNT.map(Path::new));
    directories.any(|directory| lies_below(path, directory))
}

/// By where both really are: the kubelet's files are links.
fn lies_below(path: &Path, directory: &Path) -> bool {
    let real = [path, directory].map(|path| path.canonicalize());
    matches!(&real, [Ok(path), Ok(directory)] if path.starts_with(directory))
}

fn is_ours(group: u32) -> bool {
    let others = || rustix::process::getgroups().unwrap_or_default();
    getegid().as_raw() == group || others().iter().any(|other| other.as_raw() == group)
}

/// Who may do what with a file.
struct Permissions {
    mode: u32,
    owner: u32,
    group: u32,
}

/// Of a process of `user`, which belongs to the groups that are ours.
fn exposure(
    Permissions { mode, owner, group }: Permissions,
    user: u32,
    is_ours: impl Fn(u32) -> bool,
) -> Option<Exposure> {
    // Another user has put it there for a group of ours; root reads everybody's.
    let is_meant_for_us = user == 0 || (mode & 0o040 != 0 && is_ours(group));
    if mode & 0o006 != 0 {
        Some(Exposure::Everyone { mode })
    } else if mode & 0o060 != 0 && !is_ours(group) {
        Some(Exposure::Group { mode, group })
    } else if owner == 0 || owner == user || is_meant_for_us {
        None
    } else {
        Some(Exposure::Owner { owner })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::{NamedTempFile, tempdir};

    use super::*;

    /// A file that is gone when the test ends.
    fn file(content: &[u8], mode: u32) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_secret_is_for_its_reader_and_root_alone() {
        let of = |mode, (owner, group)| {
            exposure(Permissions { mode, owner, group }, 7, |group| group == 70)
        };
        for mode in [0o400, 0o600, 0o440, 0o640, 0o660] {
            assert_eq!(of(mode, (7, 70)), None, "{mode:o}: ours");
            assert_eq!(of(mode, (0, 70)), None, "{mode:o}: root's, for our group");
        }
        assert_eq!(of(0o644, (7, 70)), Some(Exposure::Everyone { mode: 0o644 }));
        assert_eq!(of(0o602, (7, 70)), Some(Exposure::Everyone { mode: 0o602 }));
        let group = Some(Exposure::Group { mode: 0o640, group: 71 });
        assert_eq!(of(0o640, (7, 71)), group);
        assert_eq!(of(0o600, (0, 71)), None);
        assert_eq!(of(0o600, (8, 70)), Some(Exposure::Owner { owner: 8 }));
    }

    #[test]
    fn another_user_may_hand_a_secret_to_our_group() {
        let of = |mode, (owner, group)| {
            exposure(Permissions { mode, owner, group }, 7, |group| group == 70)
        };
        assert_eq!(of(0o640, (8, 70)), None);
        assert_eq!(of(0o440, (8, 70)), None);
        assert_eq!(of(0o620, (8, 70)), Some(Exposure::Owner { owner: 8 }), "not to be read");
        assert_eq!(of(0o644, (8, 70)), Some(Exposure::Everyone { mode: 0o644 }));
        assert_eq!(of(0o640, (8, 71)), Some(Exposure::Group { mode: 0o640, group: 71 }));
    }

    #[test]
    fn root_takes_a_secret_from_any_user_but_not_one_that_others_share() {
        let of = |mode, (owner, group)| {
            exposure(Permissions { mode, owner, group }, 0, |group| group == 0)
        };
        assert_eq!(of(0o600, (8, 70)), None);
        assert_eq!(of(0o640, (8, 70)), Some(Exposure::Group { mode: 0o640, group: 70 }));
        assert_eq!(of(0o604, (8, 70)), Some(Exposure::Everyone { mode: 0o604 }));
    }

    #[test]
    fn what_lies_below_a_directory_is_told_behind_links() {
        let dir = tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("account/..1")).unwrap();
        fs::write(root.join("account/..1/token"), "x").unwrap();
        fs::write(root.join("other"), "x").unwrap();
        std::os::unix::fs::symlink("..1/token", root.join("account/token")).unwrap();
        std::os::unix::fs::symlink("account", root.join("link")).unwrap();
        let below =
            |path: &str, directory: &str| lies_below(&root.join(path), &root.join(directory));
        let told = [below("account/token", "link"), below("link/token", "account")];
        let others = [below("other", "account"), below("other", "missing")];
        assert_eq!((told, others), ([true; 2], [false; 2]));
    }

    #[test]
    fn the_mode_of_a_file_is_looked_at() {
        for (mode, exposed) in [(0o400, false), (0o600, false), (0o640, false), (0o604, true)] {
            let file = file(b"x", mode);
            assert_eq!(SystemSources.exposure(file.path()).is_some(), exposed, "{mode:o}");
        }
        assert_eq!(SystemSources.exposure(Path::new("/nonexistent")), None);
    }

    #[test]
    fn what_may_not_be_read_is_told_with_the_way_of_systemd() {
        let denied = SourceError::from_io(&io::ErrorKind::PermissionDenied.into());
        assert!(denied.to_string().contains("LoadCredential="), "{denied}");
    }

    #[test]
    fn a_file_reads_as_it_is() {
        let file = file(b"\xffabc\n", 0o600);
        assert_eq!(**SystemSources.secret_file(file.path()).unwrap(), *b"\xffabc\n");
        assert_eq!(SystemSources.text_file(file.path()), Err(SourceError::NotText));
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        let read = |path: &str| SystemSources.secret_file(Path::new(path)).err();
        assert_eq!(read("/nonexistent/key"), Some(SourceError::Missing));
        assert_eq!(read("/dev/zero"), Some(SourceError::TooLarge));
        assert!(matches!(read("/"), Some(SourceError::Unreadable(_))));
    }

    #[test]
    fn the_environment_is_the_process_own() {
        let path = SystemSources.variable("PATH").map(|value| value.to_vec());
        assert_eq!(path, std::env::var_os("PATH").map(OsStringExt::into_vec));
        assert!(SystemSources.variable("SELKIE_NO_SUCH_VARIABLE").is_none());
    }
}
