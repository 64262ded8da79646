//! Clients that a certificate names: alone, or together with their token.

mod watch;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use selkie_access::CERTIFICATE_FIELDS;
use selkie_certificate::{ClientCertificate, Rule};
use selkie_config::{ClientAuthorities, DeclaredCertificate};
use selkie_listener::{ClientTrust, ShownCertificate, TlsError, TrustFiles};

pub use self::watch::{CertificateWatch, End, LastSeen, OF_CLIENT};
use super::client::Declaration;
use super::declared::Declared;
use super::{Client, NotAuthenticated, Origin};

/// How many chains are remembered. When there are more, all are forgotten: finding one anew costs
/// less than keeping order among them.
const MOST_CHAINS: usize = 4096;

/// The declared clients that have no token.
#[derive(Debug, Default)]
pub(super) struct CertificateClients {
    clients: Vec<Declared>,
    /// What was found of what was shown, by its digest.
    found: Mutex<HashMap<[u8; 32], ChainOwner>>,
    /// Until when that is so at most, in seconds since 1970.
    good_until: u64,
}

/// Whose a chain is.
#[derive(Clone, Debug)]
struct ChainOwner {
    /// With its place among the clients.
    client: Result<(usize, Arc<Client>), NotAuthenticated>,
    /// In seconds since 1970.
    until: u64,
}

/// Which certificates are a client's.
#[derive(Debug)]
pub(super) struct CertificateRule {
    rule: Rule,
    /// Beside that of the listener.
    trust: Option<ClientTrust>,
}

impl CertificateRule {
    /// `declared` of `client`, with what its files say.
    pub(super) fn load(client: &str, declared: DeclaredCertificate) -> Result<Self, TlsError> {
        let DeclaredCertificate { rule, authorities } = declared;
        let trust = authorities.map(|one| ClientTrust::load(&trust_files(&one))).transpose()?;
        if let Some(trust) = trust.as_ref().filter(|trust| trust.has_uncovered_authority()) {
            let outcome = if trust.is_strict() { "are refused" } else { "cannot be revoked" };
            tracing::warn!(
                client,
                "no list of crl_file speaks for one of the authorities in ca_file: its certificates \
                 {outcome}"
            );
        }
        Ok(Self { rule, trust })
    }

    /// When the first of its lists should have been replaced, in seconds since 1970; `None` without
    /// lists of its own.
    pub(super) fn lists_until(&self) -> Option<u64> {
        self.trust.as_ref()?.next_update()
    }

    /// Whether what was shown is the client's, at `now`, in seconds since 1970.
    pub(super) fn matches(&self, shown: &ShownCertificate, now: u64) -> bool {
        shown.certificate().is_ok_and(|certificate| self.rule.matches(certificate))
            && self.trust.as_ref().is_none_or(|trust| trust.verify(shown.chain(), now).is_ok())
    }
}

/// What is declared of authorities, in the words of the listener.
pub(crate) fn trust_files(declared: &ClientAuthorities) -> TrustFiles {
    TrustFiles {
        authorities: declared.ca_file.clone(),
        revocation_lists: declared.crl_files.clone(),
        is_strict: declared.crl_strict,
    }
}

impl CertificateClients {
    pub(super) fn new(clients: Vec<Declared>) -> Self {
        let trusts = clients.iter().filter_map(|one| one.certificate.as_ref()?.trust.as_ref());
        let good_until = trusts.map(ClientTrust::good_until).min().unwrap_or(u64::MAX);
        Self { clients, found: Mutex::default(), good_until }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients.iter().map(|declared| &declared.client)
    }

    /// The one client whose certificate was shown.
    pub(super) fn find(
        &self,
        shown: &ShownCertificate,
        from: IpAddr,
        now: u64,
    ) -> Result<Arc<Client>, NotAuthenticated> {
        let certificate = shown.certificate().map_err(NotAuthenticated::UnreadCertificate)?;
        let digest = &certificate.chain_digest;
        let known = self.lock().get(digest).filter(|found| now < found.until).cloned();
        let found = known.unwrap_or_else(|| {
            let client = self.look(shown, certificate, now);
            let found =
                ChainOwner { client, until: certificate.chain_not_after.min(self.good_until) };
            let mut all = self.lock();
            if all.len() >= MOST_CHAINS {
                all.clear();
            }
            all.insert(*digest, found.clone());
            found
        });
        let (at, client) = found.client?;
        let declared = self.clients.get(at).ok_or(NotAuthenticated::NoToken)?;
        declared.require_address(from)?;
        Ok(client)
    }

    /// Never the first that fits: who is two clients is none.
    fn look(
        &self,
        shown: &ShownCertificate,
        certificate: &ClientCertificate,
        now: u64,
    ) -> Result<(usize, Arc<Client>), NotAuthenticated> {
        let is_its = |declared: &Declared| {
            declared.certificate.as_ref().is_some_and(|rule| rule.matches(shown, now))
        };
        let all = self.clients.iter().enumerate();
        let fitting: Vec<_> = all.filter(|(_, declared)| is_its(declared)).collect();
        match fitting[..] {
            [(at, declared)] => Ok((at, Arc::new(named(declared, certificate)))),
            [] => Err(NotAuthenticated::UnknownCertificate(certificate.fingerprint)),
            _ => {
                let names = fitting.iter().map(|(_, declared)| declared.client.name().to_owned());
                Err(NotAuthenticated::AmbiguousCertificate(names.collect()))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], ChainOwner>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What policies may ask of a certificate: `selkie_access::CERTIFICATE_FIELDS`, as Vault's `cert`
/// method writes them.
pub(super) fn told(certificate: &ClientCertificate) -> BTreeMap<String, String> {
    let hex =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let id = |id: &Option<Vec<u8>>| id.as_deref().map(hex);
    let only = |names: &[String]| match names {
        [one] => Some(one.clone()),
        _ => None,
    };
    let values = [
        id(&certificate.authority_key_id),
        certificate.common_name.clone(),
        only(&certificate.dns_sans),
        only(&certificate.email_sans),
        only(&certificate.organizational_units),
        Some(certificate.serial_digits()),
        Some(certificate.fingerprint.to_string()),
        id(&certificate.subject_key_id),
        only(&certificate.uri_sans),
    ];
    let named = CERTIFICATE_FIELDS.into_iter().zip(values);
    named.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The declared client, as this certificate names it.
fn named(declared: &Declared, certificate: &ClientCertificate) -> Client {
    let client = &declared.client;
    let mut metadata = BTreeMap::from([
        ("certificate_sha256".to_owned(), certificate.fingerprint.to_string()),
        ("serial_number".to_owned(), base16ct::lower::encode_string(&certificate.serial)),
    ]);
    metadata.extend(certificate.common_name.clone().map(|name| ("common_name".to_owned(), name)));
    let who = Arc::new(Declaration {
        name: client.name().to_owned(),
        accessor: String::new(),
        policies: client.policies().clone(),
        metadata,
        certificate: told(certificate),
    });
    Client {
        acl: declared.acl_with(&who.certificate),
        tag: client.tag,
        origin: Origin::Certificate {
            who,
            fingerprint: certificate.fingerprint,
            warn_from: certificate.warn_from(),
            not_after: certificate.not_after,
        },
    }
}

#[cfg(test)]
mod tests;
