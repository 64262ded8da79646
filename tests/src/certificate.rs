//! A certificate authority of the tests' own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// An authority that signs certificates for 127.0.0.1.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its private key, both PEM.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    ///
    /// If no key can be made.
    pub fn new() -> Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "Selkie's tests");
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate })
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for 127.0.0.1 under the given common name.
    ///
    /// # Errors
    ///
    /// If no key can be made.
    pub fn issue(&self, common_name: &str) -> Result<Certificate> {
        let mut parameters = CertificateParams::new(["127.0.0.1".to_owned()])?;
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { certificate, key: key.serialize_pem() })
    }

    /// What a client needs that trusts this authority.
    ///
    /// # Errors
    ///
    /// If the certificate cannot be read back.
    pub fn trusted(&self) -> Result<Arc<ClientConfig>> {
        trusting(self.certificate.as_bytes())
    }
}

impl Certificate {
    /// Writes `cert.pem` and `key.pem` into a directory.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(PathBuf, PathBuf)> {
        let (cert_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
        fs::write(&cert_file, &self.certificate)?;
        fs::write(&key_file, &self.key)?;
        Ok((cert_file, key_file))
    }
}

/// A client configuration that trusts what the PEM text contains.
pub(crate) fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.context("no PEM certificate")?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
