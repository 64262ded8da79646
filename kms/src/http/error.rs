//! Why there is no whole answer: at which step, and whether another try makes sense. Nothing of
//! request and answer is in it.

use std::path::PathBuf;
use std::{fmt, io};

/// One step of a call over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpHop {
    /// The request, before anything is sent.
    Request,
    /// The name of the host.
    Dns,
    /// The connection.
    Tcp,
    /// The proxy: its name, the connection to it, and its consent.
    Proxy,
    /// The handshake.
    Tls,
    /// The request on its way, and the answer to its end.
    Exchange,
}

/// Why a call over HTTP brought no whole answer. An answer of whatever status is not an error.
///
/// It holds no header, no body, and of the URL only the host.
#[derive(Debug, thiserror::Error)]
#[error("{hop} {host} failed")]
pub struct HttpError {
    /// The step that failed.
    pub hop: HttpHop,
    /// The host of that step: the server's, or the proxy's.
    pub host: String,
    /// What happened there.
    #[source]
    pub reason: HttpReason,
}

impl HttpError {
    pub(super) fn new(hop: HttpHop, host: impl fmt::Display, reason: HttpReason) -> Self {
        Self { hop, host: host.to_string(), reason }
    }

    /// The one behind `error`, if it is one or came from one.
    pub fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| error.source())
            .find_map(|error| error.downcast_ref())
    }
}

/// What happened at one step.
#[derive(Debug, thiserror::Error)]
pub enum HttpReason {
    /// The step took longer than its deadline.
    #[error("no answer in time")]
    TimedOut,
    /// The name server does not know the name, or does not answer.
    #[error("the name is not resolved")]
    NameNotResolved(#[source] io::Error),
    /// The operating system reports a refused, reset or cut connection.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// TLS does not come to terms: an unknown authority, another name, an expired certificate.
    #[error("TLS failed{}", cause_of(.0))]
    Tls(#[source] rustls::Error),
    /// The proxy answers, and does not let us through.
    #[error("the proxy answers {0}")]
    ProxyStatus(u16),
    /// The connection ended before the answer did.
    #[error("the answer is cut off")]
    Cut(#[source] hyper::Error),
    /// The answer is not HTTP/1.
    #[error("the answer is not HTTP")]
    NotHttp(#[source] Option<hyper::Error>),
    /// The answer is larger than any that is expected.
    #[error("the answer is too large")]
    TooLarge,
    /// The URL is not of the scheme that the client was built for.
    #[error("the scheme is not the one that this client speaks")]
    OtherScheme,
    /// The URL names no host, or cannot be written in a request.
    #[error("the URL does not fit into a request")]
    UnfitUrl,
    /// A header cannot be written in a request.
    #[error("a header does not fit into a request")]
    UnfitHeader,
    /// The body is a stream, which could not be sent again.
    #[error("the body is a stream")]
    StreamedBody,
}

impl HttpReason {
    /// What stands behind an exchange that hyper ended.
    pub(super) fn of(error: hyper::Error) -> Self {
        if error.is_parse() {
            return Self::NotHttp(Some(error));
        }
        let mut causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
            // An error inside one of the operating system's is not its source.
            match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            }
        });
        match causes.find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(tls.clone()),
            None => Self::Cut(error),
        }
    }
}

impl fmt::Display for HttpHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "the request to",
            Self::Dns => "the resolution of",
            Self::Tcp => "the connection to",
            Self::Proxy => "the proxy",
            Self::Tls => "TLS with",
            Self::Exchange => "the exchange with",
        })
    }
}

/// What the library's own words hide from people.
fn cause_of(reason: &rustls::Error) -> &'static str {
    match reason {
        _ if is_of_authority(reason) => {
            ": the server shows the certificate of a CA: make it a leaf certificate (CA:FALSE)"
        }
        rustls::Error::InvalidMessage(_) => {
            ": what answers is no TLS: the other side speaks plain HTTP, or something else"
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            ": the authority of the server's certificate is not among those that are trusted"
        }
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => {
            ": the server asks for a client certificate"
        }
        // We have verified the server's own by then, and it has nothing else of ours to refuse.
        rustls::Error::AlertReceived(
            rustls::AlertDescription::UnknownCA
            | rustls::AlertDescription::BadCertificate
            | rustls::AlertDescription::UnsupportedCertificate
            | rustls::AlertDescription::CertificateRevoked
            | rustls::AlertDescription::CertificateExpired
            | rustls::AlertDescription::CertificateUnknown
            | rustls::AlertDescription::AccessDenied,
        ) => ": the server refuses our client certificate",
        _ => "",
    }
}

/// Whether a server shows a certificate that is for signing others, which the library has no word
/// of its own for.
fn is_of_authority(reason: &rustls::Error) -> bool {
    use rustls::{CertificateError, Error};
    let Error::InvalidCertificate(CertificateError::Other(other)) = reason else { return false };
    other.0.to_string().contains("CaUsedAsEndEntity")
}

/// The one word that tells why: `UnknownIssuer`, `NotValidForName`, `Expired`, `HandshakeFailure`.
pub(crate) fn tls_word(reason: &rustls::Error) -> Option<String> {
    let told = match reason {
        _ if is_of_authority(reason) => "CaUsedAsEndEntity".to_owned(),
        rustls::Error::InvalidMessage(_) => "NotTls".to_owned(),
        rustls::Error::InvalidCertificate(reason) => format!("{reason:?}"),
        rustls::Error::AlertReceived(alert) => format!("{alert:?}"),
        other => format!("{other:?}"),
    };
    let word: String = told.chars().take_while(char::is_ascii_alphanumeric).collect();
    // The variants with context tell the same as those without.
    let word = word.strip_suffix("Context").unwrap_or(&word);
    (!word.is_empty()).then(|| word.to_owned())
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// Neither the system nor the configuration brings a certificate that can be used.
    #[error("there is no usable CA certificate")]
    NoRoots,
    /// A given CA certificate cannot be used.
    #[error("CA certificate {number} cannot be used")]
    UnusableRoot {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        reason: rustls::Error,
    },
    /// The TLS library does not offer what we ask for.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The proxy's URL is not `http://[user:password@]host[:port]`.
    #[error("the proxy's URL is not of the form http://[user:password@]host[:port]")]
    UnfitProxy,
    /// Plain HTTP never goes through a proxy.
    #[error("plain HTTP never goes through a proxy")]
    ProxyForPlain,
}

/// Why two files are no client certificate.
#[derive(Debug, thiserror::Error)]
pub enum ClientCertificateError {
    /// One of them cannot be read.
    #[error("file {path:?} cannot be read")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        reason: io::Error,
    },
    /// The first holds no certificate in PEM.
    #[error("file {path:?} holds no certificate in PEM")]
    NoCertificate {
        /// Its path.
        path: PathBuf,
    },
    /// The second holds no private key in PEM that is not encrypted.
    #[error("file {path:?} holds no unencrypted private key in PEM")]
    NoKey {
        /// Its path.
        path: PathBuf,
    },
    /// The key is of no usable kind, or another certificate's.
    #[error("certificate and key do not belong together, or are of no usable kind")]
    Unusable(#[source] rustls::Error),
}
