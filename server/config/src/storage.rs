//! `storage`: where managed state is kept.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

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

impl std::fmt::Debug for EtcdCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
}
