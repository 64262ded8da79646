//! The client that all KMSs far away are asked over. It may do a request twice, so callers send
//! none that must not be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tokio::time::{Instant, timeout};

use super::connect::{Connector, Origin};
use super::pool::{Connection, Pool};
use super::proxy::Proxy;
use super::settings::tls;
use super::{
    HttpClientSettings, HttpError, HttpHop, HttpReason, HttpSetupError, ProbeFact, answer,
};

/// After so long without a byte of the answer an idle connection may have died without a word, as
/// behind a firewall that has forgotten it; then so have the others beside it.
const SILENCE: Duration = Duration::from_secs(1);

/// An HTTP/1.1 client of one scheme, `https` or `http`. It keeps its connections.
///
/// Requests must be such that doing them twice does no harm: one that fails on a connection which
/// was idle before, without a byte of the answer, is sent once more on a new one.
pub struct HttpClient {
    scheme: &'static str,
    default_port: u16,
    connector: Connector,
    pool: Pool,
    answer_limit: usize,
}

impl HttpClient {
    /// A client for `https` alone.
    ///
    /// # Errors
    /// [`HttpSetupError`], each of which the configuration or the system's certificates cause.
    pub fn https(settings: HttpClientSettings) -> Result<Arc<Self>, HttpSetupError> {
        let proxy = settings.proxy.as_ref().map(Proxy::new).transpose()?;
        let certificate = settings.client_certificate;
        let tls = Some(Arc::new(tls(settings.roots, certificate.clone())?));
        let (timeouts, resolver) = (settings.timeouts, settings.resolver);
        let server_name = settings.server_name;
        let connector = Connector { resolver, proxy, tls, certificate, server_name, timeouts };
        let (pool, answer_limit) = (Pool::default(), settings.answer_limit);
        Ok(Arc::new(Self { scheme: "https", default_port: 443, connector, pool, answer_limit }))
    }

    /// A client for `http` alone, without TLS and never through a proxy: for managed identity.
    ///
    /// # Errors
    /// [`HttpSetupError::ProxyForPlain`] if the settings name a proxy.
    pub fn plain(settings: HttpClientSettings) -> Result<Arc<Self>, HttpSetupError> {
        if settings.proxy.is_some() {
            return Err(HttpSetupError::ProxyForPlain);
        }
        let (timeouts, resolver) = (settings.timeouts, settings.resolver);
        let connector = Connector {
            resolver,
            proxy: None,
            tls: None,
            certificate: None,
            server_name: None,
            timeouts,
        };
        let (pool, answer_limit) = (Pool::default(), settings.answer_limit);
        Ok(Arc::new(Self { scheme: "http", default_port: 80, connector, pool, answer_limit }))
    }

    /// Sends a request and reads the whole answer, of whatever status. The body of the answer is
    /// one buffer that is wiped with its last holder.
    ///
    /// # Errors
    /// [`HttpError`] names the step that failed.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (origin, outgoing) = self.outgoing(request)?;
        let waiting = self.pool.take(&origin);
        if let Some(connection) = waiting
            && let Some(outcome) = self.exchange_again(connection, &origin, &outgoing).await
        {
            return outcome;
        }
        self.exchange_anew(&origin, &outgoing, &mut |_, _| {}).await
    }

    /// Walks to the host of `url` on a new connection and asks for `url` with HEAD, and tells of
    /// each step; the first that fails is the last.
    pub async fn probe(
        &self,
        url: &Uri,
        observe: &mut (dyn FnMut(HttpHop, Result<ProbeFact, HttpError>) + Send),
    ) {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = url.clone();
        let walked = async {
            let (origin, outgoing) = self.outgoing(request)?;
            self.exchange_anew(&origin, &outgoing, &mut |hop, fact| observe(hop, Ok(fact))).await
        };
        match walked.await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                observe(HttpHop::Exchange, Ok(ProbeFact::Answered(status)));
            }
            Err(error) => observe(error.hop, Err(error)),
        }
    }

    fn outgoing(&self, request: Request<Bytes>) -> Result<(Origin, Outgoing), HttpError> {
        let (parts, body) = request.into_parts();
        let origin = Origin::new(&parts.uri, self.scheme, self.default_port)?;
        let refuse = |reason| HttpError::new(HttpHop::Request, &origin.host, reason);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(target) = path.parse() else { return Err(refuse(HttpReason::UnfitUrl)) };
        let host = match parts.uri.port_u16() {
            Some(_) => origin.to_string(),
            None => origin.host.to_string(),
        };
        let Ok(host) = HeaderValue::try_from(host) else {
            return Err(refuse(HttpReason::UnfitUrl));
        };
        let mut headers = parts.headers;
        headers.insert(HOST, host);
        Ok((origin, Outgoing { method: parts.method, target, headers, body }))
    }

    async fn exchange_anew(
        &self,
        origin: &Origin,
        outgoing: &Outgoing,
        observe: super::connect::Observer<'_>,
    ) -> Result<Response<Bytes>, HttpError> {
        let stream = self.connector.connect(origin, observe).await?;
        let spoken = Connection::new(stream, self.pool.next_life()).await;
        let connection = spoken.map_err(|error| failure(origin, HttpReason::of(error)))?;
        match self.exchange(connection, origin, outgoing).await {
            Ok(answer) => Ok(answer),
            Err(Unanswered { reason, .. }) => Err(failure(origin, reason)),
        }
    }

    /// An exchange on a connection that was idle; `None` if the other side had closed it.
    async fn exchange_again(
        &self,
        connection: Connection,
        origin: &Origin,
        outgoing: &Outgoing,
    ) -> Option<Result<Response<Bytes>, HttpError>> {
        let mut suspicion = Suspicion { pool: &self.pool, origin, since: Some(Instant::now()) };
        let outcome = self.exchange(connection, origin, outgoing).await;
        suspicion.since = None;
        match outcome {
            Ok(answer) => Some(Ok(answer)),
            Err(Unanswered { began: false, reason: HttpReason::Cut(_) | HttpReason::Tls(_) }) => {
                None
            }
            Err(Unanswered { began, reason }) => {
                if !began && matches!(reason, HttpReason::TimedOut) {
                    self.pool.forget(origin);
                }
                Some(Err(failure(origin, reason)))
            }
        }
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        origin: &Origin,
        outgoing: &Outgoing,
    ) -> Result<Response<Bytes>, Unanswered> {
        let mut began = false;
        let work = async {
            connection.sender.ready().await.map_err(HttpReason::of)?;
            let sent = connection.sender.send_request(outgoing.request()).await;
            let (head, body) = sent.map_err(HttpReason::of)?.into_parts();
            began = true;
            Ok(Response::from_parts(head, answer::read(body, self.answer_limit).await?))
        };
        let outcome = timeout(self.connector.timeouts.answer, work).await;
        match outcome.unwrap_or(Err(HttpReason::TimedOut)) {
            Ok(answer) => {
                if !may_be_elsewhere(answer.status()) {
                    self.pool.put(origin, connection);
                }
                Ok(answer)
            }
            Err(reason) => Err(Unanswered { began, reason }),
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// A request as it goes out, perhaps twice.
struct Outgoing {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Outgoing {
    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Gives up the idle connections to an origin where the caller gives up a call in silence: callers
/// may have less time than the client.
struct Suspicion<'c> {
    pool: &'c Pool,
    origin: &'c Origin,
    /// Since when there is silence, while the call is under way.
    since: Option<Instant>,
}

impl Drop for Suspicion<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= SILENCE) {
            self.pool.forget(self.origin);
        }
    }
}

struct Unanswered {
    /// Whether the head of the answer was there.
    began: bool,
    reason: HttpReason,
}

/// Whether another server of the same name might answer otherwise, so that the next call has to ask
/// for the name's address anew: this one does not work, is not meant, or is behind another door (a
/// vault refuses by 403 whoever does not come by its private endpoint).
fn may_be_elsewhere(status: StatusCode) -> bool {
    let is_other = matches!(status, StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST);
    is_other || status.is_server_error()
}

fn failure(origin: &Origin, reason: HttpReason) -> HttpError {
    // By TLS 1.3 a server refuses a client certificate after the handshake.
    let is_of_tls = matches!(reason, HttpReason::Tls(_));
    let hop = if is_of_tls { HttpHop::Tls } else { HttpHop::Exchange };
    HttpError::new(hop, &origin.host, reason)
}
