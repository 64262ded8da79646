//! What client certificates are verified against. The files are named here and loaded by whoever
//! verifies.

use std::path::PathBuf;

use selkie_hcl::Section;

/// Authorities whose certificates clients show, and what they have revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// PEM, one authority or more.
    pub ca_file: PathBuf,
    /// Revocation lists: PEM or DER, or directories of such files.
    pub crl_files: Vec<PathBuf>,
    /// Whether a certificate is refused when no current list speaks for its issuer.
    pub crl_strict: bool,
}

/// What the fields are called where they stand.
#[derive(Debug)]
pub(crate) struct AuthorityFields {
    pub(crate) ca_file: &'static str,
    pub(crate) crl_file: &'static str,
    pub(crate) crl_strict: &'static str,
}

/// What is wrong with the authorities of clients.
#[derive(Debug, thiserror::Error)]
enum AuthoritiesError {
    #[error("field {field:?} needs {ca_file:?}: whose lists would they be?")]
    WithoutAuthority { field: &'static str, ca_file: &'static str },
    #[error("field {field:?} needs {crl_file:?}: without a list nobody could come in")]
    WithoutList { field: &'static str, crl_file: &'static str },
    #[error("field {field:?}: must not be empty")]
    Empty { field: &'static str },
}

impl ClientAuthorities {
    pub(crate) fn decode(section: &mut Section<'_>, fields: &AuthorityFields) -> Option<Self> {
        let AuthorityFields { ca_file, crl_file, crl_strict } = *fields;
        let authorities = section.field(ca_file).string();
        let lists = section.field(crl_file);
        let lists_place = lists.place();
        let lists = lists.string_or_strings();
        let strict = section.field(crl_strict).boolean();
        if let (None, Some(place)) = (&authorities, lists_place) {
            place.report(AuthoritiesError::WithoutAuthority { field: crl_file, ca_file });
        }
        if let (None, Some(strict)) = (lists_place, strict.as_ref().filter(|flag| flag.value)) {
            strict.place.report(AuthoritiesError::WithoutList { field: crl_strict, crl_file });
        }
        if let Some(list) = lists.as_ref().filter(|list| list.value.is_empty()) {
            list.place.report(AuthoritiesError::Empty { field: crl_file });
        }
        let lists = lists.map(|list| list.value).unwrap_or_default().into_iter();
        Some(Self {
            ca_file: authorities?.value.into(),
            crl_files: lists.map(|file| file.value.into()).collect(),
            crl_strict: strict.is_some_and(|flag| flag.value),
        })
    }
}
