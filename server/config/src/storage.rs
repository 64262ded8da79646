//! `storage`: where managed state is kept.

mod etcd;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selkie_hcl::Section;
use zeroize::Zeroizing;

use crate::secret::Reading;
use crate::warning::WarningKind;

/// Where managed state is kept.
#[derive(Debug)]
pub enum Storage {
    /// `storage "inmem"`: in memory, lost at exit.
    InMemory,
    /// `storage "sled"`: in a directory of this machine.
    Sled(SledStorage),
    /// `storage "etcd"`: in an etcd cluster, shared by all replicas.
    Etcd(EtcdStorage),
}

/// `storage "sled"`.
#[derive(Debug)]
pub struct SledStorage {
    /// `path`: an absolute path; made if its parent exists.
    pub path: PathBuf,
    /// `create`: an empty directory becomes a new state; true by default.
    pub create: bool,
}

/// `storage "etcd"`, with the names of Vault's own stanza.
#[derive(Debug)]
pub struct EtcdStorage {
    /// `address`: URLs of the members, separated by commas.
    pub endpoints: Vec<String>,
    /// `path`: what all keys begin with; `selkie/` by default, always with one slash at its end.
    pub prefix: String,
    /// `tls_ca_file`: who vouches for the members; the system's roots without it.
    pub ca_file: Option<PathBuf>,
    /// `tls_cert_file` and `tls_key_file`: the client certificate.
    pub client_certificate: Option<EtcdCertificate>,
    /// `username` and `password`.
    pub credentials: Option<EtcdCredentials>,
    /// `request_timeout`; 5 s by default.
    pub request_timeout: Duration,
    /// `create`: an empty prefix becomes a new state; true by default.
    pub create: bool,
}

/// A client certificate for etcd.
#[derive(Debug)]
pub struct EtcdCertificate {
    /// `tls_cert_file`: PEM, the whole chain.
    pub cert_file: PathBuf,
    /// `tls_key_file`: PEM.
    pub key_file: PathBuf,
}

/// Whom etcd knows us as.
pub struct EtcdCredentials {
    /// `username`.
    pub username: String,
    /// `password`, from `env://` or `file://`.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for EtcdCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtcdCredentials({:?})", self.username)
    }
}

impl Storage {
    /// The label of its stanza.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::InMemory => "inmem",
            Self::Sled(_) => "sled",
            Self::Etcd(_) => "etcd",
        }
    }

    /// Whether replicas share it.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::InMemory | Self::Sled(_) => false,
            Self::Etcd(_) => true,
        }
    }

    /// Which store it is, as far as the stanza tells.
    #[must_use]
    pub fn identity(&self) -> StoreIdentity {
        let (path, members) = match self {
            Self::InMemory => (PathBuf::new(), Vec::new()),
            Self::Sled(sled) => (sled.path.clone(), Vec::new()),
            Self::Etcd(etcd) => {
                let member = |url: &String| {
                    url.split_once("://").map_or(url.as_str(), |(_, member)| member).to_owned()
                };
                ((&etcd.prefix).into(), etcd.endpoints.iter().map(member).collect())
            }
        };
        StoreIdentity { kind: self.kind(), path, members }
    }

    /// All that the stanza says, but the password: where it says the same, it is the same store, and
    /// spoken to in the same way.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{self:?}")
    }

    /// Whether what is kept there is there after a restart.
    #[must_use]
    pub const fn outlives_the_process(&self) -> bool {
        !matches!(self, Self::InMemory)
    }

    /// Whether a new state may be made where there is none.
    #[must_use]
    pub const fn may_create(&self) -> bool {
        match self {
            Self::InMemory => true,
            Self::Sled(sled) => sled.create,
            Self::Etcd(etcd) => etcd.create,
        }
    }
}

/// What tells a store from others.
#[derive(Clone, Debug)]
pub struct StoreIdentity {
    kind: &'static str,
    /// Its directory, or the prefix of its keys.
    path: PathBuf,
    /// Hosts and ports of the members of its cluster.
    members: Vec<String>,
}

impl StoreIdentity {
    /// Whether `other` is the same store. Members come and go: a cluster that keeps one is the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let is_kept = self.members.iter().any(|member| other.members.contains(member));
        let is_same_cluster = is_kept || self.members == other.members;
        self.kind == other.kind && self.path == other.path && is_same_cluster
    }
}

/// What is wrong with the storage.
#[derive(Debug, thiserror::Error)]
enum StorageError {
    #[error(
        "storage type {found:?} does not exist here: there are \"etcd\", \"inmem\" and \"sled\""
    )]
    UnknownType { found: String },
    #[error("storage may stand once only")]
    Repeated,
    #[error("field \"path\": must be an absolute path")]
    RelativePath,
    #[error("missing field \"path\": it may be left out only where \"data_dir\" is set")]
    NoPath,
    #[error(
        "missing field \"data_dir\" (outside of this stanza), which \"etcd\" needs: there alone is \
         kept what shows that the cluster was emptied or put back, so that no new store is made in \
         place of a lost one"
    )]
    NoDataDir,
}

/// The `storage` stanza. `data_dir` is where a "sled" without a path goes.
pub(crate) fn decode(
    root: &mut Section<'_>,
    data_dir: Option<&Path>,
    reading: &Reading<'_>,
) -> Option<Storage> {
    let mut found = None;
    for (index, (label, mut section)) in root.labelled("storage").into_iter().enumerate() {
        if index > 0 {
            label.place.report(StorageError::Repeated);
        }
        found = match label.value.as_str() {
            "inmem" => {
                reading.warn(label.place, WarningKind::ForgetfulStorage);
                Some(Storage::InMemory)
            }
            "sled" => sled(&mut section, data_dir).map(Storage::Sled),
            "etcd" => {
                if data_dir.is_none() {
                    section.place().report(StorageError::NoDataDir);
                }
                etcd::decode(&mut section, reading).map(Storage::Etcd)
            }
            _ => {
                label.place.report(StorageError::UnknownType { found: label.value });
                continue;
            }
        };
        section.finish();
    }
    found
}

/// `create`. An operator who knows that there is a state says so, so that a disk that is not mounted
/// is no beginning.
fn create(section: &mut Section<'_>) -> bool {
    section.field("create").boolean().is_none_or(|flag| flag.value)
}

fn sled(section: &mut Section<'_>, data_dir: Option<&Path>) -> Option<SledStorage> {
    let create = create(section);
    let field = section.field("path");
    if field.place().is_none() {
        let default =
            data_dir.map(|directory| SledStorage { path: directory.join("state"), create });
        if default.is_none() {
            section.place().report(StorageError::NoPath);
        }
        return default;
    }
    let path = field.string()?.try_map(|text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(StorageError::RelativePath) }
    });
    Some(SledStorage { path: path?.value, create })
}
