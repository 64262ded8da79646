//! What has to be known to reach another server's transit engine.

use std::fmt;
use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use selkie_crypto::sha256;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::TransitMountPath;
use crate::http::{ClientCertificateError, HttpSetupError, Roots};

/// Where the engine is, who we are there, and how it is reached.
#[derive(Debug)]
pub struct TransitSettings {
    /// `https://HOST[:PORT]`; `http` is for this machine alone.
    pub address: Url,
    /// Where the engine is mounted.
    pub mount: TransitMountPath,
    /// Sent as `X-Vault-Namespace`: visible ASCII.
    pub namespace: Option<String>,
    /// Where the token is.
    pub token: TokenSource,
    /// Whether the token is left alone instead of renewed.
    pub disable_renewal: bool,
    /// The files of the certificate that is shown and of its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The only authorities that TLS trusts; `None` for the system's.
    pub ca_certificates: Option<Vec<CertificateDer<'static>>>,
    /// Expected in the server's certificate in place of the host.
    pub server_name: Option<String>,
    /// The HTTP proxy on the way, `http://[user:password@]host:port`.
    pub proxy: Option<Url>,
}

/// Where a token comes from.
pub enum TokenSource {
    /// There is none: a client certificate, or an agent on the way, says who we are.
    Nowhere,
    /// The configuration gave it.
    Given(Zeroizing<String>),
    /// A file of one line, read again when it changes: an agent writes it.
    File(PathBuf),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("Nowhere"),
            Self::Given(_) => f.write_str("Given"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl TransitSettings {
    /// Tells these settings from others, the token included: SHA-256 over all of them, and over the
    /// system's authorities as they are now where those count.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut text = Zeroizing::new(Vec::new());
        let mut add = |part: &[u8]| {
            // With its length in front, so that no two lists read alike.
            text.extend_from_slice(&part.len().to_be_bytes());
            text.extend_from_slice(part);
        };
        let optional = [self.namespace.as_deref(), self.server_name.as_deref()];
        add(self.address.as_str().as_bytes());
        add(self.mount.as_str().as_bytes());
        for one in optional.into_iter().chain([self.proxy.as_ref().map(Url::as_str)]) {
            add(if one.is_some() { b"1" } else { b"0" });
            add(one.unwrap_or_default().as_bytes());
        }
        match &self.token {
            TokenSource::Nowhere => add(b"nowhere"),
            TokenSource::Given(token) => {
                [b"given", token.as_bytes()].into_iter().for_each(&mut add)
            }
            TokenSource::File(path) => {
                [b"file", path.as_os_str().as_encoded_bytes()].into_iter().for_each(&mut add);
            }
        }
        add(if self.disable_renewal { b"1" } else { b"0" });
        for path in self.client_certificate.iter().flat_map(|(one, other)| [one, other]) {
            add(path.as_os_str().as_encoded_bytes());
        }
        add(if self.ca_certificates.is_some() { b"own" } else { b"system" });
        // Without TLS nobody reads them.
        if self.address.scheme() == "https" {
            add(&self.roots().digest());
        }
        sha256(&text)
    }

    /// Whom TLS trusts.
    pub(super) fn roots(&self) -> Roots {
        self.ca_certificates.clone().map_or(Roots::System, Roots::Given)
    }
}

/// Why there cannot be such a client. The configuration causes each of them.
#[derive(Debug, thiserror::Error)]
pub enum TransitSetupError {
    /// The address is neither `https://HOST[:PORT]` nor plain HTTP to this machine.
    #[error("the address is not https://HOST[:PORT], or http:// to this machine")]
    UnfitAddress,
    /// The namespace cannot be sent.
    #[error("the namespace does not fit into a header")]
    UnfitNamespace,
    /// The name is none of a host.
    #[error("the TLS server name is not the name of a host")]
    UnfitServerName,
    /// The client certificate cannot be used.
    #[error("the client certificate cannot be used")]
    ClientCertificate(#[source] ClientCertificateError),
    /// There is no HTTP client: its proxy or its certificates are unfit.
    #[error("there is no way to the server")]
    Http(#[source] HttpSetupError),
}

/// Whether `url` leads to no other machine.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
