//! The certificates of `--dev-tls`, in a directory of their own.

use std::fs::Permissions;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// A directory that only this user may enter, with a server certificate, its key and the
/// certificate of the authority that issued it. It is removed when dropped.
#[derive(Debug)]
pub struct CertificateDir(TempDir);

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// They could not be made.
    #[error("cannot be made")]
    Make(#[from] rcgen::Error),
    /// They could not be written.
    #[error("cannot be written below {}", std::env::temp_dir().display())]
    Write(#[source] io::Error),
}

impl CertificateDir {
    /// Makes an authority of this title, and a certificate for this machine and `address`. The
    /// authority's key is never written, so nothing else can be issued under it.
    pub(crate) fn new(address: IpAddr, title: &str) -> Result<Self, CertificateError> {
        let (authority, issuer) = authority(title)?;
        let key = KeyPair::generate()?;
        let certificate = server_parameters(address, title)?.signed_by(&key, &issuer)?;
        let key = Zeroizing::new(key.serialize_pem());
        let dir = Self::create().map_err(CertificateError::Write)?;
        let write = |path: PathBuf, content: &str| std::fs::write(path, content);
        write(dir.authority(), &authority)
            .and_then(|()| write(dir.certificate(), &certificate.pem()))
            .and_then(|()| write(dir.key(), &key))
            .map_err(CertificateError::Write)?;
        Ok(dir)
    }

    fn create() -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("selkie-dev-");
        builder.permissions(Permissions::from_mode(0o700)).tempdir().map(Self)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn authority(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// The path of the authority's certificate.
    pub(crate) fn authority_text(&self) -> String {
        self.authority().display().to_string()
    }

    /// The file of the server's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path().join("cert.pem")
    }

    /// The file of the server's key.
    pub(crate) fn key(&self) -> PathBuf {
        self.path().join("key.pem")
    }
}

fn authority(title: &str) -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut parameters = CertificateParams::default();
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, format!("{title} authority"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?.pem();
    Ok((certificate, Issuer::new(parameters, key)))
}

fn server_parameters(address: IpAddr, title: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    let address = address.to_string();
    if !names.contains(&address) {
        names.push(address);
    }
    let mut parameters = CertificateParams::new(names)?;
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, title);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}
