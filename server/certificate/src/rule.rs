//! Which certificates name a declared client. A rule that asks for nothing matches nothing: an
//! empty stanza lets nobody in.

use crate::certificate::ClientCertificate;
use crate::fingerprint::Fingerprint;
use crate::glob::Glob;
use crate::spiffe::SpiffeId;

/// Which certificates name a declared client. Of each list that is not empty one entry must match;
/// a rule of empty lists alone matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The certificate itself.
    pub sha256: Vec<Fingerprint>,
    /// Its only URI, as the SPIFFE standard has it.
    pub spiffe_id: Vec<SpiffeId>,
    /// One of its DNS names.
    pub dns_san: Vec<Glob>,
    /// One of its URIs.
    pub uri_san: Vec<Glob>,
    /// One of its mail addresses.
    pub email_san: Vec<Glob>,
    /// Its common name.
    pub common_name: Vec<Glob>,
}

impl Rule {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `certificate` names this client.
    #[must_use]
    pub fn matches(&self, certificate: &ClientCertificate) -> bool {
        let spiffe = |id: &SpiffeId| *certificate.uri_sans == [id.as_str()];
        !self.is_empty()
            && (self.sha256.is_empty() || self.sha256.contains(&certificate.fingerprint))
            && (self.spiffe_id.is_empty() || self.spiffe_id.iter().any(spiffe))
            && any_matches(&self.dns_san, &certificate.dns_sans)
            && any_matches(&self.uri_san, &certificate.uri_sans)
            && any_matches(&self.email_san, &certificate.email_sans)
            && any_matches(&self.common_name, certificate.common_name.as_slice())
    }

    /// Whether it can be seen from the rules alone that some certificate of this client is one of
    /// `other` as well: of every list of `other`, an entry covers one of ours. Two rules that only a
    /// certificate with the names of both meets do not count: the names may never come together.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let spiffe: Vec<_> = self.spiffe_id.iter().map(|id| Glob::new(id.as_str())).collect();
        !self.is_empty()
            && !other.is_empty()
            && (other.sha256.is_empty() || other.sha256.iter().any(|one| self.sha256.contains(one)))
            && (other.spiffe_id.is_empty()
                || other.spiffe_id.iter().any(|one| self.spiffe_id.contains(one)))
            && some_covered(&other.dns_san, &self.dns_san)
            && (some_covered(&other.uri_san, &self.uri_san)
                || some_covered(&other.uri_san, &spiffe))
            && some_covered(&other.email_san, &self.email_san)
            && some_covered(&other.common_name, &self.common_name)
    }
}

/// Vault's rule for the names of a certificate: an empty list asks for nothing.
pub(crate) fn any_matches(globs: &[Glob], names: &[String]) -> bool {
    globs.is_empty() || globs.iter().any(|glob| names.iter().any(|name| glob.matches(name)))
}

fn some_covered(wide: &[Glob], narrow: &[Glob]) -> bool {
    wide.is_empty() || wide.iter().any(|wide| narrow.iter().any(|narrow| wide.covers(narrow)))
}

#[cfg(test)]
mod tests;
