//! TLS as this server speaks it. Its files are read and checked as a whole: a reload takes all of
//! them or none.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

mod error;
mod lists;
mod pem;
mod shown;
mod trust;
mod validity;
mod verifier;

pub use error::TlsError;
pub(crate) use error::of_handshake;
use pem::Identity;
pub use shown::ShownCertificate;
pub use trust::{ClientTrust, Lapsed, TrustFiles};
pub use validity::{Standing, Validity};

/// Only HTTP/1.1 is spoken here; whoever offers `h2` as well (every Go client) gets this answer.
const ALPN: &[u8] = b"http/1.1";

/// A version of TLS; older ones are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246, with ECDHE and AEAD suites only.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Whether clients present certificates.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// They are not asked to.
    #[default]
    NotAsked,
    /// They may; one that does not pass ends the handshake.
    Optional(TrustFiles),
    /// They must.
    Required(TrustFiles),
}

/// What a listener's TLS is made from.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the server's certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// PEM: the private key as PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// Whether clients present certificates.
    pub client_certificates: ClientCertificates,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
}

/// Everything that a handshake needs, read and checked as a whole.
///
/// Its private key lies in aws-lc's memory, not in secret pages.
#[derive(Clone, Debug)]
pub struct TlsMaterial {
    config: Arc<ServerConfig>,
    /// None: clients are not asked for certificates.
    trust: Option<Arc<ClientTrust>>,
    validity: Option<Validity>,
}

impl TlsMaterial {
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Reads the files and checks that they fit together.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and what is wrong with it.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let identity = Identity::load(&files.certificate, &files.key)?;
        let trust = client_trust(&files.client_certificates)?;
        Self::build(identity, trust, files.min_version..=files.max_version, provider)
    }

    /// What client certificates are verified against; none if they are not asked for.
    #[must_use]
    pub fn client_trust(&self) -> Option<&ClientTrust> {
        self.trust.as_deref()
    }

    /// How long the server's certificate is good; `None` if it does not say.
    #[must_use]
    pub const fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Takes a certificate chain and its key from memory: every version, no client certificates.
    ///
    /// # Errors
    /// [`TlsError`] with `(in memory)` as the file.
    pub fn in_memory(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let place = PathBuf::from("(in memory)");
        let identity = Identity::check(&place, chain, &place, key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        Self::build(identity, None, TlsVersion::Tls12..=TlsVersion::Tls13, provider)
    }

    fn build(
        identity: Identity,
        trust: Option<ClientTrust>,
        versions: std::ops::RangeInclusive<TlsVersion>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let spoken: Vec<&'static SupportedProtocolVersion> = [
            (TlsVersion::Tls12, &rustls::version::TLS12),
            (TlsVersion::Tls13, &rustls::version::TLS13),
        ]
        .into_iter()
        .filter_map(|(version, supported)| versions.contains(&version).then_some(supported))
        .collect();
        if spoken.is_empty() {
            return Err(TlsError::NoVersion);
        }
        let certified = identity.into_certified();
        let validity = Validity::of(&certified.cert);
        let verifier = match &trust {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(trust) => trust.verifier(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&spoken)
            .map_err(TlsError::Provider)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // No resumption: no session secrets to keep, and every connection's client certificate is
        // verified. A full handshake costs 0.2 ms, and our clients keep their connections.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), trust: trust.map(Arc::new), validity })
    }
}

fn client_trust(asked: &ClientCertificates) -> Result<Option<ClientTrust>, TlsError> {
    match asked {
        ClientCertificates::NotAsked => Ok(None),
        ClientCertificates::Optional(files) => ClientTrust::build(files, false).map(Some),
        ClientCertificates::Required(files) => ClientTrust::build(files, true).map(Some),
    }
}

/// The TLS material of a listener, replaceable while it serves. Clones share what they hold.
#[derive(Clone, Debug)]
pub struct TlsSource {
    current: Arc<ArcSwap<TlsMaterial>>,
}

impl TlsSource {
    /// Starts with `material`.
    #[must_use]
    pub fn new(material: TlsMaterial) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(material)) }
    }

    /// Every handshake that begins from now on uses `material`; open connections stay as they are,
    /// but what their clients showed is judged by it.
    pub fn replace(&self, material: TlsMaterial) {
        self.current.store(Arc::new(material));
    }

    /// When the first of the revocation lists should be replaced, in seconds since 1970; `None`
    /// without lists.
    #[must_use]
    pub fn lists_until(&self) -> Option<u64> {
        self.current().trust.as_ref()?.next_update()
    }

    /// How long the certificate of the moment is good; `None` if it does not say.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.current().validity
    }

    pub(crate) fn current(&self) -> Arc<TlsMaterial> {
        self.current.load_full()
    }
}
