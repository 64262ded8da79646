//! What is wrong with files for TLS or with a handshake, without a byte of the files.

use std::{io, path::PathBuf};

use rustls::server::VerifierBuilderError;
use rustls_pki_types::pem;

/// Why TLS material cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be opened or read.
    #[error("{file}: cannot be read", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is far larger than what should be in it.
    #[error(
        "{file}: larger than 1 MiB, or than 32 MiB for a revocation list", file = file.display()
    )]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A certificate file is not PEM.
    #[error("{file}: malformed PEM{fault}", file = file.display(), fault = fault(reason))]
    CertificatePem {
        /// The file.
        file: PathBuf,
        /// Where the reading stopped.
        reason: pem::Error,
    },
    /// A certificate file without a certificate.
    #[error("{file}: no certificate in it", file = file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// One of the certificates is not acceptable.
    #[error("{file}: unusable certificate", file = file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The key file is not PEM; the cause is left out because it could quote the file.
    #[error("{file}: malformed PEM, cut off perhaps", file = file.display())]
    KeyPem {
        /// The file.
        file: PathBuf,
    },
    /// The key file holds an encrypted private key.
    #[error(
        "{file}: the private key is encrypted, which is not supported: \
         (umask 077; openssl pkey -in {file} -out NEW) decrypts it",
        file = file.display()
    )]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// The key file holds no private key.
    #[error("{file}: no private key in it as PKCS#8, PKCS#1 or SEC1", file = file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// The private key cannot be parsed, or is of an algorithm or size that is not supported.
    #[error("{file}: private key malformed or of an unsupported type", file = file.display())]
    UnsupportedKey {
        /// The file.
        file: PathBuf,
    },
    /// Certificate and key do not belong together.
    #[error(
        "{key}: not the private key of the first certificate in {certificate}",
        key = key.display(), certificate = certificate.display()
    )]
    KeyMismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The client CA file cannot be used.
    #[error("{file}: unusable as client CA", file = file.display())]
    ClientCa {
        /// The file.
        file: PathBuf,
        /// What rustls says.
        source: VerifierBuilderError,
    },
    /// A file or directory without a revocation list.
    #[error("{file}: no certificate revocation list in it", file = file.display())]
    NoRevocationList {
        /// The file or directory.
        file: PathBuf,
    },
    /// A revocation list cannot be read.
    #[error("{file}: unusable certificate revocation list", file = file.display())]
    RevocationList {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: selkie_certificate::Malformed,
    },
    /// A revocation list is one, and has something that is not supported.
    #[error("{file}: a certificate revocation list that cannot be used", file = file.display())]
    UnsupportedRevocationList {
        /// The file.
        file: PathBuf,
        /// What webpki says.
        source: webpki::Error,
    },
    /// The oldest version to be spoken is newer than the newest.
    #[error("the minimum TLS version is above the maximum")]
    NoVersion,
    /// The cryptography was built without what the versions need.
    #[error("the TLS versions are not supported by this build")]
    Provider(#[source] rustls::Error),
}

/// Where the reading of PEM stopped, for people; bytes of the file are not repeated.
fn fault(reason: &pem::Error) -> String {
    match reason {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label: String = end_marker.iter().copied().map(char::from).collect();
            let label = label.trim_matches(|one: char| one == '-' || one.is_whitespace());
            let label = label.strip_prefix("END ").unwrap_or(label);
            let is_label = label.chars().all(|one| one.is_ascii_alphanumeric() || one == ' ');
            let label = if is_label { label } else { "..." };
            format!(", cut off: the line -----END {label}----- is missing")
        }
        pem::Error::IllegalSectionStart { .. } => ": a -----BEGIN line is broken".to_owned(),
        pem::Error::Base64Decode(_) => ": what stands there is not base64".to_owned(),
        _ => String::new(),
    }
}

/// What a failed handshake says of the other side, beyond the library's own words.
pub(crate) fn of_handshake(error: &io::Error) -> &'static str {
    use rustls::{AlertDescription, Error, InvalidMessage};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            ": the other side speaks no TLS, but plain HTTP or something else"
        }
        Some(Error::AlertReceived(AlertDescription::UnknownCA)) => {
            ": the other side does not know the authority of our certificate"
        }
        _ => "",
    }
}
