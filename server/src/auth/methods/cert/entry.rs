//! Roles of the `cert` method as they are kept and shown.

use rustls_pki_types::CertificateDer;
use selkie_certificate::{ClientCertificate, Role};
use selkie_config::CertRole;
use selkie_listener::{ClientTrust, ShownCertificate};

use crate::api::fields::Fields;
use crate::auth::configured::{RoleDocument, WithToken, set_list, set_text};
use crate::auth::methods::parameters::{self, Alias};
use crate::auth::methods::{MethodData, MethodError};

/// A role of Vault's `auth/cert/certs/`.
pub(super) type Entry = WithToken<CertRole>;

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

impl RoleDocument for CertRole {
    const ROOT: &'static str = "auth-cert-role";
}

/// Takes what is set of the role `name`; what is absent stays.
pub(super) fn update(
    entry: &mut Entry,
    name: &str,
    fields: &mut Fields<'_>,
) -> Result<(), MethodError> {
    set_text(fields, "certificate", &mut entry.role.certificate)?;
    set_text(fields, "display_name", &mut entry.role.display_name)?;
    if entry.role.display_name.is_empty() {
        name.clone_into(&mut entry.role.display_name);
    }
    for (field, list) in entry.role.lists_mut() {
        set_list(fields, field, list)?;
    }
    let aliases = [Alias::Policies, Alias::Ttl, Alias::MaxTtl, Alias::Period, Alias::BoundCidrs];
    parameters::update(&mut entry.token, fields, &aliases)?;
    entry.role.check().map_err(MethodError::refused)
}

/// What a read answers.
pub(super) fn show(entry: &Entry) -> MethodData {
    let mut data = MethodData::default();
    data.set("certificate", entry.role.certificate.as_str());
    data.set("display_name", entry.role.display_name.as_str());
    for (field, list) in entry.role.clone().lists_mut() {
        data.set(field, std::mem::take(list));
    }
    parameters::show(&entry.token, &mut data);
    data
}

/// Whether the role takes what was shown, at `now`, in seconds since 1970.
pub(super) fn fit(
    role: &CertRole,
    shown: &ShownCertificate,
    certificate: &ClientCertificate,
    now: u64,
) -> Fit {
    let Some(listed) = role.certificates() else { return Fit::Foreign };
    if !is_issued_under(listed, shown, certificate, now) {
        return Fit::Foreign;
    }
    match role.constraints() {
        Ok(constraints) if constraints.matches(certificate) => Fit::Matches,
        _ => Fit::OtherNames,
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
