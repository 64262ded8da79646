//! A certificate authority of the tests' own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
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
        self.issue_with(common_name, |_parameters| Ok(()))
    }

    /// The same, with whatever else is to stand in it.
    ///
    /// # Errors
    ///
    /// If no key can be made.
    pub fn issue_with(
        &self,
        common_name: &str,
        fill: impl FnOnce(&mut CertificateParams) -> Result<()>,
    ) -> Result<Certificate> {
        let mut parameters = CertificateParams::new(["127.0.0.1".to_owned()])?;
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        fill(&mut parameters)?;
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { certificate, key: key.serialize_pem() })
    }

    /// A list of what it has revoked, PEM, good for a thousand years.
    ///
    /// # Errors
    ///
    /// If it cannot be signed.
    pub fn revocation_list(&self, serials: &[u64]) -> Result<String> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(3026, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
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
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
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
