//! Lets Azure's SDK speak over this client, so that its requests have our limits, and our wiping.

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, Request};
use bytes::Bytes;
use http::Response;
use selkie_memory::WipedVec;

use super::{HttpClient, HttpError, HttpHop, HttpReason};

/// So that Azure's SDK runs over this client. Its errors hold the [`HttpError`] as their source.
#[async_trait]
impl azure_core::http::HttpClient for HttpClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let request = outgoing(request).map_err(failure)?;
        self.send(request).await.map(incoming).map_err(failure)
    }
}

/// An answer as Azure's SDK takes it.
pub(crate) fn incoming(answer: Response<Bytes>) -> AsyncRawResponse {
    let (head, body) = answer.into_parts();
    let mut headers = Headers::new();
    for (name, value) in &head.headers {
        // What is no text, no part of the SDK reads.
        if let Ok(text) = value.to_str() {
            let value = HeaderValue::from(text.to_owned());
            headers.insert(HeaderName::from(name.as_str().to_owned()), value);
        }
    }
    AsyncRawResponse::from_bytes(head.status.as_u16().into(), headers, body)
}

/// A request of Azure's SDK as this client sends it.
pub(crate) fn outgoing(request: &Request) -> Result<http::Request<Bytes>, HttpError> {
    let host = request.url().host_str().unwrap_or_default();
    let refuse = |reason| HttpError::new(HttpHop::Request, host, reason);
    let Body::Bytes(body) = request.body() else { return Err(refuse(HttpReason::StreamedBody)) };
    let mut outgoing = http::Request::new(body.clone());
    let Ok(method) = request.method().as_ref().parse() else {
        return Err(refuse(HttpReason::UnfitHeader));
    };
    *outgoing.method_mut() = method;
    let Ok(uri) = request.url().as_str().parse() else { return Err(refuse(HttpReason::UnfitUrl)) };
    *outgoing.uri_mut() = uri;
    for (name, value) in request.headers().iter() {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        let (Ok(name), Some(value)) = (name, sensitive(value.as_str().as_bytes())) else {
            return Err(refuse(HttpReason::UnfitHeader));
        };
        outgoing.headers_mut().insert(name, value);
    }
    Ok(outgoing)
}

/// A header's value that is neither printed nor left behind: it may be a token.
pub(crate) fn sensitive(value: &[u8]) -> Option<http::HeaderValue> {
    let owned = Bytes::from_owner(WipedVec::new(value.to_vec()));
    let mut value = http::HeaderValue::from_maybe_shared(owned).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn failure(error: HttpError) -> Error {
    let kind = match error.hop {
        HttpHop::Request => ErrorKind::Other,
        HttpHop::Exchange => ErrorKind::Io,
        HttpHop::Dns | HttpHop::Tcp | HttpHop::Proxy | HttpHop::Tls => ErrorKind::Connection,
    };
    Error::new(kind, error)
}
