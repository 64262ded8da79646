//! What a role of a `cert` method is. The fields and the texts are Vault's.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_certificate::{ClientCertificate, Glob, Role};
use selkie_hcl::Section;
use serde::{Deserialize, Serialize};

use super::parameters::TokenParameters;
use super::role::{text, texts};

/// Whose certificates log in by a role of a `cert` method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertRole {
    /// PEM: the CA that issues, or the certificate itself; one or more.
    pub certificate: String,
    /// What stands in the display name of tokens; empty: the role's name.
    pub display_name: String,
    /// The common name, a DNS name or a mail address; as in all of these lists, `*` stands for any
    /// text, one entry must match, and an empty list asks for nothing.
    pub allowed_names: Vec<String>,
    /// The common name.
    pub allowed_common_names: Vec<String>,
    /// A DNS name.
    pub allowed_dns_sans: Vec<String>,
    /// A mail address.
    pub allowed_email_sans: Vec<String>,
    /// A URI.
    pub allowed_uri_sans: Vec<String>,
    /// An organizational unit.
    pub allowed_organizational_units: Vec<String>,
    /// `OID:VALUE` or `hex:OID:VALUE`: all of them must be there.
    pub required_extensions: Vec<String>,
}

/// What cannot be. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertProblem {
    /// `certificate` holds none, or one that cannot be read.
    #[error("failed to parse certificate")]
    Certificate,
    /// One of `required_extensions` has another form.
    #[error("required_extensions: {text:?} is neither OID:VALUE nor hex:OID:VALUE")]
    Extension {
        /// As it was written.
        text: String,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("no listener asks clients for certificates: set its \"tls_client_ca_file\"")]
struct NobodyAsks;

impl CertRole {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`CertProblem`].
    pub fn check(&self) -> Result<(), CertProblem> {
        let listed = self.certificates().ok_or(CertProblem::Certificate)?;
        let read = |one| matches!(ClientCertificate::read(std::slice::from_ref(one)), Ok(Some(_)));
        if listed.is_empty() || !listed.iter().all(read) {
            return Err(CertProblem::Certificate);
        }
        self.constraints().map(|_sound| ())
    }

    /// The certificates in `certificate`; `None` if it is no PEM.
    #[must_use]
    pub fn certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>().ok()
    }

    /// What is asked of a certificate besides who has issued it.
    ///
    /// # Errors
    ///
    /// [`CertProblem::Extension`].
    pub fn constraints(&self) -> Result<Role, CertProblem> {
        let globs = |texts: &[String]| texts.iter().map(|text| Glob::new(text)).collect();
        let extension = |text: &String| {
            text.parse().map_err(|_wrong| CertProblem::Extension { text: text.clone() })
        };
        let required = self.required_extensions.iter().map(extension);
        Ok(Role {
            allowed_names: globs(&self.allowed_names),
            allowed_common_names: globs(&self.allowed_common_names),
            allowed_dns_sans: globs(&self.allowed_dns_sans),
            allowed_email_sans: globs(&self.allowed_email_sans),
            allowed_uri_sans: globs(&self.allowed_uri_sans),
            allowed_organizational_units: globs(&self.allowed_organizational_units),
            required_extensions: required.collect::<Result<_, _>>()?,
        })
    }

    /// The lists, by the names of their fields.
    pub fn lists_mut(&mut self) -> [(&'static str, &mut Vec<String>); 7] {
        [
            ("allowed_names", &mut self.allowed_names),
            ("allowed_common_names", &mut self.allowed_common_names),
            ("allowed_dns_sans", &mut self.allowed_dns_sans),
            ("allowed_email_sans", &mut self.allowed_email_sans),
            ("allowed_uri_sans", &mut self.allowed_uri_sans),
            ("allowed_organizational_units", &mut self.allowed_organizational_units),
            ("required_extensions", &mut self.required_extensions),
        ]
    }
}

/// Without a listener that asks for certificates nobody could log in.
pub(super) fn decode(section: &Section<'_>, can_show: bool) {
    if !can_show {
        section.place().report(NobodyAsks);
    }
}

pub(super) fn role(
    section: &mut Section<'_>,
    _token: &TokenParameters,
) -> (CertRole, Result<(), CertProblem>) {
    let mut role = CertRole {
        certificate: text(section, "certificate"),
        display_name: text(section, "display_name"),
        ..CertRole::default()
    };
    for (field, list) in role.lists_mut() {
        *list = texts(section, field);
    }
    let checked = role.check();
    (role, checked)
}
