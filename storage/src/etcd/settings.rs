//! Which cluster, and how to speak to it.

use std::fmt;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use zeroize::Zeroizing;

/// Which cluster an [`EtcdStore`](super::EtcdStore) is kept in, and how to speak to it.
#[derive(Debug)]
pub struct EtcdSettings {
    /// URLs of the members, `http://` or `https://`, without a path.
    pub endpoints: Vec<String>,
    /// What all keys begin with: visible ASCII that ends with `/`, at most 512 bytes.
    pub prefix: String,
    /// PEM of who vouches for the members; the system's roots without it.
    pub ca_pem: Option<Vec<u8>>,
    /// The client certificate.
    pub identity: Option<EtcdIdentity>,
    /// User name and password.
    pub credentials: Option<EtcdLogin>,
    /// The longest that a read or a commit takes, with all attempts at all members.
    pub request_timeout: Duration,
}

/// A client certificate.
pub struct EtcdIdentity {
    /// PEM, the whole chain.
    pub certificate_pem: Vec<u8>,
    /// PEM.
    pub key_pem: Zeroizing<Vec<u8>>,
}

/// Whom etcd knows us as.
pub struct EtcdLogin {
    /// The user.
    pub username: String,
    /// Its password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for EtcdIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdIdentity").finish_non_exhaustive()
    }
}

impl fmt::Debug for EtcdLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtcdLogin({:?})", self.username)
    }
}

/// Why settings are no way to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// There is no endpoint.
    #[error("etcd needs at least one endpoint")]
    NoEndpoints,
    /// An endpoint is no `http://` or `https://` URL of host and port alone.
    #[error("{endpoint:?} is no URL of an etcd member")]
    InvalidEndpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// There are certificates, and an endpoint does without TLS.
    #[error("{endpoint} speaks no TLS, though certificates are configured")]
    PlainEndpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// The prefix is not visible ASCII that ends with `/`, or too long.
    #[error("{prefix:?} is no prefix: visible ASCII that ends with a slash")]
    InvalidPrefix {
        /// The prefix.
        prefix: String,
    },
    /// A certificate or key cannot be used.
    #[error("the certificates for etcd cannot be used")]
    Tls {
        /// What TLS found.
        source: tonic::transport::Error,
    },
}

impl EtcdSettings {
    /// How long one member is waited for when another could answer instead.
    pub(super) fn patience(&self) -> Duration {
        self.request_timeout / u32::try_from(self.endpoints.len().max(1)).unwrap_or(u32::MAX)
    }

    /// A channel to `endpoint`, which connects when it is used.
    pub(super) fn channel(&self, endpoint: &str) -> Result<Channel, EtcdError> {
        // etcd hangs up on who pings more often than each 5 s, or without a call under way.
        const PING_EVERY: Duration = Duration::from_secs(6);
        let uri = member_uri(endpoint)?;
        let is_tls = uri.scheme_str() == Some("https");
        let channel = Endpoint::from(uri)
            .connect_timeout(self.patience())
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(self.patience());
        if is_tls {
            let tls = channel.tls_config(self.tls());
            return Ok(tls.map_err(|source| EtcdError::Tls { source })?.connect_lazy());
        }
        if self.ca_pem.is_some() || self.identity.is_some() {
            return Err(EtcdError::PlainEndpoint { endpoint: endpoint.to_owned() });
        }
        Ok(channel.connect_lazy())
    }

    fn tls(&self) -> ClientTlsConfig {
        let tls = match &self.ca_pem {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.identity {
            Some(own) => tls.identity(Identity::from_pem(&own.certificate_pem, &*own.key_pem)),
            None => tls,
        }
    }
}

fn member_uri(endpoint: &str) -> Result<Uri, EtcdError> {
    let invalid = || EtcdError::InvalidEndpoint { endpoint: endpoint.to_owned() };
    let uri: Uri = endpoint.parse().map_err(|_syntax| invalid())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let has_user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    if is_web && is_bare && !has_user { Ok(uri) } else { Err(invalid()) }
}

#[cfg(test)]
impl EtcdSettings {
    /// A cluster that is not there.
    pub(super) fn of_nobody(request_timeout: Duration) -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:1".to_owned()],
            prefix: "selkie/".to_owned(),
            ca_pem: None,
            identity: None,
            credentials: None,
            request_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_a_url_of_host_and_port() {
        for fine in ["http://127.0.0.1:2379", "https://etcd.example/", "https://[::1]:2379"] {
            assert!(member_uri(fine).is_ok(), "{fine}");
        }
        let refused = [
            "",
            "etcd:2379",
            "/path",
            "ftp://etcd",
            "http://a:b@etcd",
            "http://etcd/path",
            "http://etcd?x",
        ];
        for endpoint in refused {
            assert!(member_uri(endpoint).is_err(), "{endpoint}");
        }
    }

    #[test]
    fn settings_never_print_secrets() {
        let login = EtcdLogin { username: "selkie".into(), password: "SECRET".to_owned().into() };
        let identity = EtcdIdentity { certificate_pem: vec![], key_pem: vec![1].into() };
        assert_eq!(format!("{login:?} {identity:?}"), "EtcdLogin(\"selkie\") EtcdIdentity { .. }");
    }
}
