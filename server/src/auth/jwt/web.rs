//! How providers and API servers are asked: over `https` alone, within bounds of time and size.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_kms::http::{HttpClient, HttpClientSettings, HttpError, HttpSetupError, Roots};

/// The longest that one question may take with all its steps.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer: a key set with the certificates of its keys has some 20 KiB.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Asks a server.
#[async_trait]
pub(crate) trait Web: fmt::Debug + Send + Sync {
    /// The whole answer, of whatever status.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>;
}

/// Makes clients by whom they trust.
pub(crate) trait Outside: fmt::Debug + Send + Sync {
    /// A client that trusts the certificates in `ca_pem`, or the system's where that is empty.
    fn trusting(&self, ca_pem: &str) -> Result<Arc<dyn Web>, OutsideError>;
}

/// Why nobody outside can be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutsideError {
    /// What should be certificates is none.
    #[error("no CA certificates in PEM")]
    NotPem,
    /// The certificates are of no use.
    #[error(transparent)]
    Setup(#[from] HttpSetupError),
}

/// What is asked did not bring what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    /// There is no client.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// No whole answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No answer within [`PATIENCE`].
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// Not the answer of somebody who does what was asked.
    #[error("{host} answers {status}")]
    Status { host: String, status: u16 },
    /// Not what was asked for.
    #[error("{host} answers something else than {wanted}")]
    Unexpected { host: String, wanted: &'static str },
    /// It is not an `https` URL.
    #[error("not an https URL")]
    NotHttps,
}

/// Everything there is, by the one HTTP client.
#[derive(Debug, Default)]
pub(crate) struct Internet {
    /// The system's certificates are read once.
    system: OnceLock<Arc<HttpClient>>,
}

impl Internet {
    /// Reads the system's certificates now; where that fails it is tried again when they are needed.
    pub(crate) fn read_certificates(&self) {
        let _later = self.system();
    }

    fn system(&self) -> Result<Arc<HttpClient>, HttpSetupError> {
        if let Some(client) = self.system.get() {
            return Ok(Arc::clone(client));
        }
        let client = HttpClient::https(settings(Roots::System))?;
        Ok(Arc::clone(self.system.get_or_init(|| client)))
    }
}

impl Outside for Internet {
    fn trusting(&self, ca_pem: &str) -> Result<Arc<dyn Web>, OutsideError> {
        if ca_pem.trim().is_empty() {
            return Ok(self.system()?);
        }
        let certificates = certificates(ca_pem)?;
        Ok(HttpClient::https(settings(Roots::Given(certificates)))?)
    }
}

/// The certificates in `pem`, at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, OutsideError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(OutsideError::NotPem),
    }
}

fn settings(roots: Roots) -> HttpClientSettings {
    HttpClientSettings { roots, answer_limit: ANSWER_LIMIT, ..HttpClientSettings::default() }
}

#[async_trait]
impl Web for HttpClient {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        Self::send(self, request).await
    }
}

/// The URL of a text, if it is of `https` and names a host and nobody's password.
pub(crate) fn https(text: &str) -> Result<Uri, WebError> {
    let uri: Uri = text.parse().or(Err(WebError::NotHttps))?;
    let anonymous = uri.authority().is_some_and(|it| !it.as_str().contains('@'));
    let fits = uri.scheme_str() == Some("https") && anonymous;
    if fits { Ok(uri) } else { Err(WebError::NotHttps) }
}

/// What `url` answers with 200, which should be `wanted`.
pub(crate) async fn get(web: &dyn Web, url: Uri) -> Result<Bytes, WebError> {
    let host = url.host().unwrap_or_default().to_owned();
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url;
    let accept = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(http::header::ACCEPT, accept);
    let answer = web.send(request).await?;
    match answer.status().as_u16() {
        200 => Ok(answer.into_body()),
        status => Err(WebError::Status { host, status }),
    }
}

/// A lock whose holder never panics half way.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
