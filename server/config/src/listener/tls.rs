//! The TLS part of a listener. The files are named here and loaded by whoever serves.

use std::path::PathBuf;

use selkie_hcl::Section;

use crate::authorities::{AuthorityFields, ClientAuthorities};
use crate::secret::Reading;

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `tls_cert_file`: the certificate and its chain, PEM.
    pub cert_file: PathBuf,
    /// `tls_key_file`: its private key, PEM.
    pub key_file: PathBuf,
    /// `tls_min_version`.
    pub min_version: TlsVersion,
    /// `tls_max_version`.
    pub max_version: TlsVersion,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
}

/// A version of TLS; older ones are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Whether clients show certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked to.
    NotRequested,
    /// They may, and what they show must come from one of these authorities.
    Optional(ClientAuthorities),
    /// They must, and it must come from one of these authorities.
    Required(ClientAuthorities),
}

/// What is wrong with the TLS of a listener.
#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error(
        "no TLS: set \"tls_cert_file\" and \"tls_key_file\", or \"tls_disable = true\" where \
         something else protects the connection"
    )]
    NoTls,
    #[error("missing field {missing:?}: \"tls_cert_file\" and \"tls_key_file\" belong together")]
    HalfACertificate { missing: &'static str },
    #[error("field {field:?}: there are \"tls12\" and \"tls13\"")]
    UnknownVersion { field: &'static str },
    #[error("field \"tls_max_version\": is below \"tls_min_version\"")]
    NoVersionLeft,
    #[error(
        "\"tls_require_and_verify_client_cert\" needs \"tls_client_ca_file\": without it nobody's \
         certificate could be verified"
    )]
    NoClientAuthority,
    #[error(
        "\"tls_disable_client_certs\" and \"tls_require_and_verify_client_cert\" exclude each other"
    )]
    RequiredAndDisabled,
}

const LISTENER_FIELDS: AuthorityFields = AuthorityFields {
    ca_file: "tls_client_ca_file",
    crl_file: "tls_client_crl_file",
    crl_strict: "tls_client_crl_strict",
};

impl Tls {
    /// Whether a client can show a certificate here.
    pub(crate) fn asks_clients(&self) -> bool {
        self.client_certificates != ClientCertificates::NotRequested
    }
}

pub(super) fn decode(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Tls> {
    let disable = section.field("tls_disable");
    // A value of the wrong type is a problem of its own, and was hardly meant as "false".
    let is_wrong = disable.place().is_some();
    let is_disabled = disable.boolean().map_or(is_wrong, |flag| flag.value);
    let files = files(section, reading, is_disabled);
    let min_version = version(section, "tls_min_version").unwrap_or(TlsVersion::Tls12);
    let max_version = version(section, "tls_max_version").unwrap_or(TlsVersion::Tls13);
    if max_version < min_version {
        section.place().report(TlsError::NoVersionLeft);
    }
    let client_certificates = client_certificates(section);
    let (cert_file, key_file) = files.filter(|_| !is_disabled)?;
    Some(Tls { cert_file, key_file, min_version, max_version, client_certificates })
}

fn flag(section: &mut Section<'_>, field: &'static str) -> bool {
    section.field(field).boolean().is_some_and(|flag| flag.value)
}

fn files(
    section: &mut Section<'_>,
    reading: &Reading<'_>,
    is_disabled: bool,
) -> Option<(PathBuf, PathBuf)> {
    let cert_field = section.field("tls_cert_file");
    let key_field = section.field("tls_key_file");
    let missing = match (cert_field.place(), key_field.place()) {
        (Some(_), None) => Some("tls_key_file"),
        (None, Some(_)) => Some("tls_cert_file"),
        (None, None) if !is_disabled => {
            section.place().report(TlsError::NoTls);
            None
        }
        _ => None,
    };
    if let Some(missing) = missing {
        section.place().report(TlsError::HalfACertificate { missing });
    }
    let (cert, key) = (cert_field.string(), key_field.string());
    if let Some(key) = &key {
        reading.check_exposure(key.place, key.value.as_ref());
    }
    Some((cert?.value.into(), key?.value.into()))
}

fn version(section: &mut Section<'_>, field: &'static str) -> Option<TlsVersion> {
    let version = section.field(field).string()?.try_map(|text| match text.as_str() {
        "tls12" => Ok(TlsVersion::Tls12),
        "tls13" => Ok(TlsVersion::Tls13),
        _ => Err(TlsError::UnknownVersion { field }),
    });
    version.map(|located| located.value)
}

fn client_certificates(section: &mut Section<'_>) -> ClientCertificates {
    let authorities = ClientAuthorities::decode(section, &LISTENER_FIELDS);
    let are_disabled = flag(section, "tls_disable_client_certs");
    let are_required = flag(section, "tls_require_and_verify_client_cert");
    if are_required && are_disabled {
        section.place().report(TlsError::RequiredAndDisabled);
    }
    if are_required && authorities.is_none() {
        section.place().report(TlsError::NoClientAuthority);
    }
    match authorities {
        Some(authorities) if are_required => ClientCertificates::Required(authorities),
        Some(authorities) if !are_disabled => ClientCertificates::Optional(authorities),
        _ => ClientCertificates::NotRequested,
    }
}
