//! PEM files: the authorities of TLS, and the certificate of an application.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::setting::Setting;
use crate::secret::Reading;
use crate::sources::SourceError;

/// The OID `rsaEncryption` (RFC 8017 appendix C) in DER.
const RSA_ENCRYPTION: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Bytes of a PKCS#8 key within which its algorithm is named.
const ALGORITHM_WITHIN: usize = 64;

/// A certificate of an application, with its private key.
pub struct AzureCertificate {
    /// The certificate that Entra knows, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key (RSA).
    pub key: PrivateKeyDer<'static>,
}

impl fmt::Debug for AzureCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AzureCertificate")
    }
}

/// What is wrong with a PEM file.
#[derive(Debug, thiserror::Error)]
enum PemFileError {
    #[error("file {path:?} {error}")]
    File { path: PathBuf, error: SourceError },
    #[error("file {path:?} holds no certificate in PEM")]
    NoCertificate { path: PathBuf },
    #[error("file {path:?} holds no private key in PEM beside the certificate")]
    NoKey { path: PathBuf },
    #[error(
        "file {path:?}: the private key is encrypted: openssl pkey -in OLD -out NEW removes it"
    )]
    EncryptedKey { path: PathBuf },
    #[error("file {path:?}: Entra takes certificates with RSA keys only")]
    NotRsa { path: PathBuf },
    #[error(
        "file {path:?} is PKCS#12, which is not read here; convert it: openssl pkcs12 -in {} -out \
         {} -nodes",
        path.display(),
        pem.display()
    )]
    Pkcs12 { path: PathBuf, pem: PathBuf },
}

/// All certificates of the file that `setting` names.
pub(in crate::seal) fn authorities(
    setting: Setting<'_>,
    reading: &Reading<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let authorities = setting.try_map(|path| {
        let path = PathBuf::from(path);
        if reading.makes_up_access() {
            return Ok(Vec::new());
        }
        match reading.sources.text_file(&path) {
            Err(error) => Err(PemFileError::File { path, error }),
            Ok(text) => chain(text.as_bytes(), &path),
        }
    });
    authorities.map(|authorities| authorities.value)
}

/// The certificate and key of the file that `setting` names.
pub(super) fn client_certificate(
    setting: Setting<'_>,
    reading: &Reading<'_>,
) -> Option<AzureCertificate> {
    reading.check_exposure(setting.place, Path::new(&setting.value));
    let certificate = setting.try_map(|path| {
        let path = PathBuf::from(path);
        if reading.makes_up_access() {
            let key = PrivatePkcs8KeyDer::from(Vec::new()).into();
            return Ok(AzureCertificate { chain: Vec::new(), key });
        }
        match reading.sources.secret_file(&path) {
            Err(error) => Err(PemFileError::File { path, error }),
            Ok(pem) => parse(&pem, path),
        }
    });
    certificate.map(|certificate| certificate.value)
}

fn parse(pem: &[u8], path: PathBuf) -> Result<AzureCertificate, PemFileError> {
    // PKCS#12 is DER and begins with a SEQUENCE.
    if pem.first() == Some(&0x30) {
        let is_named_pem = path.extension().is_some_and(|extension| extension == "pem");
        let pem = path.with_extension(if is_named_pem { "converted.pem" } else { "pem" });
        return Err(PemFileError::Pkcs12 { path, pem });
    }
    let chain = chain(pem, &path)?;
    let Ok(key) = PrivateKeyDer::from_pem_slice(pem) else {
        let marker = b"ENCRYPTED PRIVATE KEY";
        let is_encrypted = pem.windows(marker.len()).any(|window| window == marker);
        return Err(match is_encrypted {
            true => PemFileError::EncryptedKey { path },
            false => PemFileError::NoKey { path },
        });
    };
    if is_rsa(&key) {
        Ok(AzureCertificate { chain, key })
    } else {
        Err(PemFileError::NotRsa { path })
    }
}

fn chain(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFileError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = read.ok().filter(|chain| !chain.is_empty());
    found.ok_or_else(|| PemFileError::NoCertificate { path: path.to_owned() })
}

fn is_rsa(key: &PrivateKeyDer<'_>) -> bool {
    match key {
        PrivateKeyDer::Pkcs1(_) => true,
        PrivateKeyDer::Pkcs8(key) => {
            let der = key.secret_pkcs8_der();
            let head = der.get(..ALGORITHM_WITHIN.min(der.len())).unwrap_or_default();
            head.windows(RSA_ENCRYPTION.len()).any(|window| *window == RSA_ENCRYPTION)
        }
        _ => false,
    }
}
