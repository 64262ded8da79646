//! The emulator's CA and its server certificate.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

const NAMES: [&str; 4] =
    ["localhost", "login.emulator.test", "*.vault.emulator.test", "*.managedhsm.emulator.test"];

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file of the CA cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The CA's key is not one.
    #[error("{0}: not the private key of an emulator's CA; remove it to get a new CA")]
    Key(PathBuf),
    /// A certificate cannot be made.
    #[error("no certificate can be made: {0}")]
    Making(#[from] rcgen::Error),
    /// TLS does not take it.
    #[error("TLS does not take the certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// What TLS needs, and where clients find the CA.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) ca_file: PathBuf,
    /// Goes with the emulator.
    pub(crate) temporary: Option<TempDir>,
}

impl Certificates {
    /// With the CA that is kept in a folder, made at the first time; or one for this time only.
    pub(crate) fn new(ca_dir: Option<&Path>) -> Result<Self, CertificateError> {
        let (folder, temporary) = match ca_dir {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|e| file_error(folder, e))?;
                let folder = std::fs::canonicalize(folder).map_err(|e| file_error(folder, e))?;
                (folder, None)
            }
            None => {
                let made = tempfile::Builder::new().prefix("selkie-emulator-").tempdir();
                let made = made.map_err(|e| file_error(&std::env::temp_dir(), e))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let ca_file = folder.join("ca.pem");
        let issuer = authority(&ca_file, temporary.is_none().then(|| folder.join("ca.key")))?;
        Ok(Self { tls: server_config(&issuer)?, ca_file, temporary })
    }
}

/// The CA. Its parameters never change, so key and certificate of an earlier start fit together.
fn authority(
    ca_file: &Path,
    key_file: Option<PathBuf>,
) -> Result<Issuer<'static, KeyPair>, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "selkie-emulator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if let Some(key_file) = key_file.as_ref().filter(|file| file.exists() && ca_file.exists()) {
        let text = std::fs::read_to_string(key_file).map_err(|e| file_error(key_file, e))?;
        let key = KeyPair::from_pem(&text).map_err(|_e| CertificateError::Key(key_file.clone()))?;
        return Ok(Issuer::new(params, key));
    }
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    if let Some(key_file) = key_file {
        write_private(&key_file, &key.serialize_pem()).map_err(|e| file_error(&key_file, e))?;
    }
    std::fs::write(ca_file, certificate.pem()).map_err(|e| file_error(ca_file, e))?;
    Ok(Issuer::new(params, key))
}

fn server_config(issuer: &Issuer<'static, KeyPair>) -> Result<Arc<ServerConfig>, CertificateError> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "selkie-emulator");
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let private = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private.into())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Mode 0600 from the start.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn file_error(path: &Path, error: io::Error) -> CertificateError {
    CertificateError::File(path.to_owned(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_ca_is_the_same_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let first = Certificates::new(Some(folder.path())).unwrap();
        let before = std::fs::read(&first.ca_file).unwrap();
        let second = Certificates::new(Some(folder.path())).unwrap();
        assert_eq!(before, std::fs::read(&second.ca_file).unwrap());
    }

    #[test]
    fn a_damaged_ca_key_is_an_error_that_names_the_file_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        Certificates::new(Some(folder.path())).unwrap();
        let key = folder.path().join("ca.key");
        std::fs::write(&key, "damaged").unwrap();
        let error = Certificates::new(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("ca.key"), "{error}");
        assert_eq!(std::fs::read_to_string(key).unwrap(), "damaged");
    }
}
