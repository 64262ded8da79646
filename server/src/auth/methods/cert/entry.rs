use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_certificate::{ClientCertificate, Glob, Role};
use selkie_config::TokenParameters;
use selkie_listener::{ClientTrust, ShownCertificate};
use serde::{Deserialize, Serialize};

use super::CertProblem;
use crate::api::fields::Fields;
use crate::auth::methods::documents::Document;
use crate::auth::methods::parameters::{self, Alias};
use crate::auth::methods::{MethodData, MethodError};

/// A role of Vault's `auth/cert/certs/`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// PEM: the CA that issues, or the certificate itself; one or more.
    certificate: String,
    /// What stands in the display name of tokens.
    pub(super) display_name: String,
    allowed_names: Vec<String>,
    allowed_common_names: Vec<String>,
    allowed_dns_sans: Vec<String>,
    allowed_email_sans: Vec<String>,
    allowed_uri_sans: Vec<String>,
    allowed_organizational_units: Vec<String>,
    required_extensions: Vec<String>,
    #[serde(with = "parameters::kept")]
    pub(super) token: TokenParameters,
}

/// Whether a role takes what was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It does.
    Matches,
    /// It was issued as the role wants, but says something else.
    OtherNames,
    /// It was issued by somebody else.
    Foreign,
}

impl Document for Entry {
    const ROOT: &'static str = "auth-cert-role";
    type Index = ();
}

impl Entry {
    /// Takes what is set; what is absent stays.
    pub(super) fn update(
        &mut self,
        name: &str,
        fields: &mut Fields<'_>,
    ) -> Result<(), MethodError> {
        if let Some(certificate) = fields.text("certificate")? {
            self.certificate = certificate.into_owned();
        }
        if let Some(display_name) = fields.text("display_name")? {
            self.display_name = display_name.into_owned();
        }
        if self.display_name.is_empty() {
            name.clone_into(&mut self.display_name);
        }
        for (field, list) in self.lists() {
            if let Some(set) = fields.set_list(field)? {
                *list = set;
            }
        }
        let aliases =
            [Alias::Policies, Alias::Ttl, Alias::MaxTtl, Alias::Period, Alias::BoundCidrs];
        parameters::update(&mut self.token, fields, &aliases)?;
        let read = read_all(&self.certificates().unwrap_or_default());
        if read.is_none_or(|read| read.is_empty()) {
            return Err(MethodError::refused(CertProblem::Certificate));
        }
        self.constraints().map(|_sound| ())
    }

    fn lists(&mut self) -> [(&'static str, &mut Vec<String>); 7] {
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

    /// What a read answers.
    pub(super) fn show(&self) -> MethodData {
        let mut data = MethodData::default();
        data.set("certificate", self.certificate.as_str());
        data.set("display_name", self.display_name.as_str());
        for (field, list) in self.clone().lists() {
            data.set(field, std::mem::take(list));
        }
        parameters::show(&self.token, &mut data);
        data
    }

    /// Whether the role takes what was shown, at `now`, in seconds since 1970.
    pub(super) fn fit(
        &self,
        shown: &ShownCertificate,
        certificate: &ClientCertificate,
        now: u64,
    ) -> Fit {
        let Some(listed) = self.certificates() else { return Fit::Foreign };
        if !is_issued_under(listed, shown, certificate, now) {
            return Fit::Foreign;
        }
        match self.constraints() {
            Ok(constraints) if constraints.matches(certificate) => Fit::Matches,
            _ => Fit::OtherNames,
        }
    }

    fn certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>().ok()
    }

    fn constraints(&self) -> Result<Role, MethodError> {
        let globs = |texts: &[String]| texts.iter().map(|text| Glob::new(text)).collect();
        let extension = |text: &String| {
            let problem = |_wrong| CertProblem::Extension { text: text.clone() };
            text.parse().map_err(problem).map_err(MethodError::refused)
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
}

/// Whether the certificate is one of those listed, or was issued under a CA among them.
fn is_issued_under(
    listed: Vec<CertificateDer<'static>>,
    shown: &ShownCertificate,
    certificate: &ClientCertificate,
    now: u64,
) -> bool {
    let Some(read) = read_all(&listed) else { return false };
    if read.iter().any(|one| Role::is_listed(one, certificate)) {
        return true;
    }
    let pairs = listed.into_iter().zip(read);
    let authorities: Vec<_> = pairs.filter(|(_, read)| read.is_ca).map(|(der, _)| der).collect();
    !authorities.is_empty()
        && ClientTrust::of(authorities).is_ok_and(|trust| trust.verify(shown.chain(), now).is_ok())
}

fn read_all(certificates: &[CertificateDer<'static>]) -> Option<Vec<ClientCertificate>> {
    let read = |one| ClientCertificate::read(std::slice::from_ref(one)).ok().flatten();
    certificates.iter().map(read).collect()
}
