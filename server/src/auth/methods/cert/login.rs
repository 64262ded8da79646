//! Logins with the certificate that the handshake has verified.

use std::collections::BTreeMap;

use selkie_certificate::ClientCertificate;

use super::entry::{self, Entry, Fit};
use super::{Cert, LoginProblem};
use crate::auth::address::is_within;
use crate::auth::certificate::told;
use crate::auth::methods::{AnswerKind, Login, MethodError, MethodReply, MethodRequest};

impl Cert {
    /// `login`
    pub(super) fn login(&self, request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError> {
        let MethodRequest { mount, fields, credentials, tools, .. } = request;
        let shown = credentials.certificate;
        let shown = shown.ok_or_else(|| MethodError::refused(LoginProblem::NoCertificate))?;
        let certificate = shown
            .certificate()
            .map_err(|malformed| MethodError::refused_because(LoginProblem::Invalid, malformed))?;
        let wanted = fields.text("name")?.map(|name| name.to_ascii_lowercase());
        let wanted = wanted.filter(|wanted| !wanted.is_empty());
        let roles = self.roles(mount, wanted.as_deref());
        let now = tools.clock.unix_seconds();
        let fit = |entry: &Entry| entry::fit(&entry.role, shown, certificate, now);
        let fits = roles.iter().map(|(name, entry)| (fit(entry), name, entry));
        let fits: Vec<_> = fits.filter(|(fit, ..)| *fit != Fit::Foreign).collect();
        let matching: Vec<_> = fits.iter().filter(|(fit, ..)| *fit == Fit::Matches).collect();
        let (name, entry) = match matching[..] {
            [(_, name, entry)] => (name, entry),
            [] if fits.is_empty() => return Err(MethodError::refused(LoginProblem::Invalid)),
            [] => return Err(MethodError::refused(LoginProblem::NoMatch)),
            _ => return Err(MethodError::refused(LoginProblem::SeveralMatch)),
        };
        if !is_within(&entry.token.bound_cidrs, credentials.address) {
            return Err(MethodError::told(AnswerKind::Forbidden, LoginProblem::PermissionDenied));
        }
        let login = Login {
            display_name: entry.role.display_name.clone(),
            alias: certificate
                .common_name
                .clone()
                .unwrap_or_else(|| certificate.fingerprint.to_string()),
            metadata: metadata(name, certificate),
            parameters: entry.token.clone(),
            bound_certificate: None,
            certificate: told(certificate),
        };
        login.check()?;
        Ok(MethodReply::login(login))
    }
}

/// As Vault names them; what the certificate does not say is empty.
fn metadata(role: &str, certificate: &ClientCertificate) -> BTreeMap<String, String> {
    let mut told = told(certificate);
    let named = ["authority_key_id", "common_name", "serial_number", "subject_key_id"];
    let mut metadata: BTreeMap<_, _> = named
        .into_iter()
        .map(|name| (name.to_owned(), told.remove(name).unwrap_or_default()))
        .collect();
    metadata.insert("cert_name".to_owned(), role.to_owned());
    metadata
}
