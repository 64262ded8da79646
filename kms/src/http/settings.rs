//! What a client is made of: times, proxy, trusted authorities, and the one TLS stack.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName};
use selkie_crypto::sha256;
use url::Url;

use super::{ClientCertificate, HttpSetupError, Resolve, SystemResolver};

/// How a client reaches the other side.
pub struct HttpClientSettings {
    /// Whom TLS trusts.
    pub roots: Roots,
    /// Shown to servers that ask for one.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// Expected in a server's certificate in place of the host of the URL.
    pub server_name: Option<ServerName<'static>>,
    /// The proxy on the way: `http://[user:password@]host[:port]`.
    pub proxy: Option<Url>,
    /// How long each step may take.
    pub timeouts: HttpTimeouts,
    /// The most bytes of an answer's body; by default more than any of a KMS has.
    pub answer_limit: usize,
    /// Who knows the addresses of names.
    pub resolver: Arc<dyn Resolve>,
}

impl Default for HttpClientSettings {
    fn default() -> Self {
        Self {
            roots: Roots::System,
            client_certificate: None,
            server_name: None,
            proxy: None,
            timeouts: HttpTimeouts::default(),
            answer_limit: super::answer::LIMIT,
            resolver: Arc::new(SystemResolver),
        }
    }
}

impl fmt::Debug for HttpClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The proxy's URL may hold a password.
        f.debug_struct("HttpClientSettings").field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// The authorities that TLS trusts.
#[derive(Clone)]
pub enum Roots {
    /// The system's, read once when the client is built (`SSL_CERT_FILE` and `SSL_CERT_DIR` apply).
    System,
    /// These and no others.
    Given(Vec<CertificateDer<'static>>),
}

impl Roots {
    /// Tells these authorities from others: SHA-256 over them. The system's are read as they are now.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        match self {
            Self::System => digest_of(system_certificates()),
            Self::Given(certificates) => digest_of(certificates.clone()),
        }
    }
}

fn system_certificates() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// In whichever order a directory lists them, and however often.
fn digest_of(mut certificates: Vec<CertificateDer<'_>>) -> [u8; 32] {
    certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    certificates.dedup();
    let mut text = Vec::new();
    for certificate in certificates {
        text.extend_from_slice(&certificate.len().to_be_bytes());
        text.extend_from_slice(&certificate);
    }
    sha256(&text)
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::Given(certificates) => write!(f, "Given({})", certificates.len()),
        }
    }
}

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpTimeouts {
    /// To resolve a name.
    pub dns: Duration,
    /// To connect, over all addresses of the name.
    pub connect: Duration,
    /// The proxy, to consent.
    pub proxy: Duration,
    /// The handshake.
    pub tls: Duration,
    /// From the first byte of the request to the last of the answer.
    pub answer: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(2),
            connect: Duration::from_secs(2),
            proxy: Duration::from_secs(3),
            tls: Duration::from_secs(3),
            answer: Duration::from_secs(5),
        }
    }
}

/// The one TLS stack, for `http/1.1` alone.
pub(super) fn tls(
    roots: Roots,
    certificate: Option<Arc<ClientCertificate>>,
) -> Result<ClientConfig, HttpSetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpSetupError::Tls)?
        .with_root_certificates(root_store(roots)?);
    let mut config = match certificate {
        Some(certificate) => config.with_client_cert_resolver(certificate),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn root_store(roots: Roots) -> Result<RootCertStore, HttpSetupError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            // Stores of real systems hold some that no library accepts.
            store.add_parsable_certificates(system_certificates());
        }
        Roots::Given(certificates) => {
            for (number, certificate) in (1..).zip(certificates) {
                store
                    .add(certificate)
                    .map_err(|reason| HttpSetupError::UnusableRoot { number, reason })?;
            }
        }
    }
    if store.is_empty() { Err(HttpSetupError::NoRoots) } else { Ok(store) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_told_apart_by_what_they_are_and_not_by_their_order() {
        let of = |all: &[&[u8]]| {
            Roots::Given(all.iter().map(|one| one.to_vec().into()).collect()).digest()
        };
        let both = of(&[b"a", b"b"]);
        assert_eq!(of(&[b"b", b"a", b"b"]), both);
        for other in [of(&[]), of(&[b"a"]), of(&[b"ab"]), of(&[b"a", b"c"])] {
            assert_ne!(other, both);
        }
    }
}
