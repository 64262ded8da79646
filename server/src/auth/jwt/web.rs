//! How providers and API servers are asked: over `https` alone, within bounds of time and size.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_kms::http::{HttpClient, HttpClientSettings, HttpError, HttpSetupError, Roots};

use crate::telemetry::WithCauses;

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
    /// There once the system's certificates could be read.
    system: Mutex<Option<Arc<System>>>,
}

/// Trusts the system's certificates as they were read last. Who has it need not know of new ones.
#[derive(Debug)]
struct System(Mutex<Trusting>);

#[derive(Debug)]
struct Trusting {
    authorities: [u8; 32],
    client: Arc<HttpClient>,
}

impl Internet {
    /// Reads the system's certificates now, and trusts these from now on. Where that fails, those of
    /// before count, or it is tried again when they are needed.
    pub(crate) fn read_certificates(&self) {
        let were_known = lock(&self.system).is_some();
        if let Err(error) = self.trust(Roots::System)
            && were_known
        {
            let cause = WithCauses(&error).to_string();
            tracing::warn!(cause, "the system's authorities cannot be read: those of before count");
        }
    }

    /// Trusts these as the system's.
    pub(crate) fn trust(&self, roots: Roots) -> Result<(), HttpSetupError> {
        Self::renew(&mut lock(&self.system), roots).map(|_system| ())
    }

    fn system(&self) -> Result<Arc<System>, HttpSetupError> {
        let mut known = lock(&self.system);
        if let Some(system) = &*known {
            return Ok(Arc::clone(system));
        }
        Self::renew(&mut known, Roots::System)
    }

    fn renew(known: &mut Option<Arc<System>>, roots: Roots) -> Result<Arc<System>, HttpSetupError> {
        let authorities = roots.digest();
        if let Some(system) = known.as_ref() {
            if lock(&system.0).authorities != authorities {
                let client = HttpClient::https(settings(roots))?;
                *lock(&system.0) = Trusting { authorities, client };
            }
            return Ok(Arc::clone(system));
        }
        let client = HttpClient::https(settings(roots))?;
        let system = Arc::new(System(Mutex::new(Trusting { authorities, client })));
        *known = Some(Arc::clone(&system));
        Ok(system)
    }
}

#[async_trait]
impl Web for System {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&lock(&self.0).client);
        client.send(request).await
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
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
