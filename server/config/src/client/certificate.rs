//! The `certificate` block of a client: which certificates name it.

use std::error::Error;
use std::str::FromStr;

use selkie_certificate::{Fingerprint, Glob, InvalidFingerprint, InvalidSpiffeId, Rule, SpiffeId};
use selkie_hcl::Section;

use crate::authorities::{AuthorityFields, ClientAuthorities};

/// Which certificates name a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredCertificate {
    /// What such a certificate says.
    pub rule: Rule,
    /// Who has issued it, beside what the listener asks of all.
    pub authorities: Option<ClientAuthorities>,
}

/// What is wrong with a `certificate` block.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error(
        "\"certificate\" names nobody: set one at least of \"sha256\", \"spiffe_id\", \"dns_san\", \
         \"uri_san\", \"email_san\" and \"common_name\""
    )]
    Nobody,
    #[error("no listener asks clients for certificates: set its \"tls_client_ca_file\"")]
    NobodyAsks,
    #[error("field {field:?}: must not be empty")]
    Empty { field: &'static str },
    #[error("field {field:?}: \"*\" alone would be everyone with a certificate")]
    Everyone { field: &'static str },
    #[error("field \"sha256\": {source}, the output of: openssl x509 -noout -fingerprint -sha256")]
    Fingerprint { source: InvalidFingerprint },
    #[error("field \"spiffe_id\": {source}")]
    SpiffeId { source: InvalidSpiffeId },
}

const FIELDS: AuthorityFields =
    AuthorityFields { ca_file: "ca_file", crl_file: "crl_file", crl_strict: "crl_strict" };

impl DeclaredCertificate {
    /// Whether it can be seen that a certificate of this client is one of `other` as well.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let is_issued_alike = other.authorities.is_none() || other.authorities == self.authorities;
        is_issued_alike && self.rule.meets(&other.rule)
    }
}

pub(super) fn decode(mut section: Section<'_>, can_show: bool) -> Option<DeclaredCertificate> {
    if !can_show {
        section.place().report(CertificateError::NobodyAsks);
    }
    let fingerprint = |source| CertificateError::Fingerprint { source };
    let spiffe_id = |source| CertificateError::SpiffeId { source };
    let sha256 = parsed::<Fingerprint, _, _>(&mut section, "sha256", fingerprint);
    let spiffe_id = parsed::<SpiffeId, _, _>(&mut section, "spiffe_id", spiffe_id);
    let dns_san = globs(&mut section, "dns_san");
    let uri_san = globs(&mut section, "uri_san");
    let email_san = globs(&mut section, "email_san");
    let common_name = globs(&mut section, "common_name");
    let authorities = ClientAuthorities::decode(&mut section, &FIELDS);
    let place = section.place();
    section.finish();
    let rule = Rule {
        sha256: sha256?,
        spiffe_id: spiffe_id?,
        dns_san: dns_san?,
        uri_san: uri_san?,
        email_san: email_san?,
        common_name: common_name?,
    };
    if rule.is_empty() {
        place.report(CertificateError::Nobody);
        return None;
    }
    Some(DeclaredCertificate { rule, authorities })
}

/// The entries of a field, one text or a list; none if it is not set, `None` if one is wrong.
fn entries<T, E: Error + Send + Sync + 'static>(
    section: &mut Section<'_>,
    name: &'static str,
    read: impl Fn(String) -> Result<T, E>,
) -> Option<Vec<T>> {
    let field = section.field(name);
    let is_set = field.place().is_some();
    let Some(list) = field.string_or_strings() else { return (!is_set).then(Vec::new) };
    if list.value.is_empty() {
        list.place.report(CertificateError::Empty { field: name });
        return None;
    }
    let read = list.value.into_iter().map(|entry| entry.try_map(&read));
    let read: Vec<_> = read.collect();
    read.into_iter().map(|entry| entry.map(|entry| entry.value)).collect()
}

fn parsed<T: FromStr, W, E: Error + Send + Sync + 'static>(
    section: &mut Section<'_>,
    name: &'static str,
    wrong: W,
) -> Option<Vec<T>>
where
    W: Fn(T::Err) -> E,
{
    entries(section, name, |text| text.parse().map_err(&wrong))
}

fn globs(section: &mut Section<'_>, field: &'static str) -> Option<Vec<Glob>> {
    entries(section, field, |text| match text.as_str() {
        "" => Err(CertificateError::Empty { field }),
        _ if text.bytes().all(|byte| byte == b'*') => Err(CertificateError::Everyone { field }),
        _ => Ok(Glob::new(&text)),
    })
}
