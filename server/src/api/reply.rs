//! A reply as Vault writes it: its envelope, its order of keys, its headers. A body that carries a
//! secret is built at its exact length in a buffer that wipes itself once it has been sent; the
//! others are not, because the wipe of a ciphertext costs more than all else here.

mod frame;
mod wire;

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use selkie_crypto::Plaintext;
use selkie_memory::WipedVec;
use serde::Serialize;

pub use self::frame::{DecryptedItem, ReplyFrame};
use self::wire::Wire;
use super::data::WrapInfo;
use super::error::ApiError;
use super::fields::Warnings;
use super::json::{NotSerializable, to_go_json, to_secret_go_json_line};
use crate::byte_budget::Taken;

/// hvac compares this for equality, so never with a charset.
const JSON: &str = "application/json";

/// Goes back as it came.
pub(super) const X_VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Those of a reply in JSON. A copy costs less than to put them together.
static EVERY_REPLYS_HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(JSON)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000; includeSubDomains"),
        ),
    ])
});

/// A status and a body, without the headers that every reply has.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: ReplyBody,
    taken: Taken,
}

enum ReplyBody {
    Public(Vec<u8>),
    /// With a plaintext or a token in it.
    Secret(WipedVec),
}

/// A body on its way; what it holds of the budget goes with it.
struct Sending {
    body: ReplyBody,
    _taken: Taken,
}

impl AsRef<[u8]> for ReplyBody {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Public(body) => body,
            Self::Secret(body) => body,
        }
    }
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        self.body.as_ref()
    }
}

impl Reply {
    /// An error, in Vault's form.
    #[must_use]
    pub fn error(error: &ApiError) -> Self {
        #[derive(Serialize)]
        struct Errors<'a> {
            errors: &'a [String],
        }
        let message = error.message();
        let errors = Errors { errors: message.as_slice() };
        Self::in_json(error.status(), &errors)
    }

    fn secret(status: StatusCode, body: Option<WipedVec>) -> Self {
        body.map_or_else(Self::unserializable, |body| Self::new(status, ReplyBody::Secret(body)))
    }

    /// 200 without an envelope, as the open paths of `sys/` answer.
    #[must_use]
    pub fn bare(body: &impl Serialize) -> Self {
        Self::in_json(StatusCode::OK, body)
    }

    /// The same with a status that the client has chosen, for `sys/health`.
    #[must_use]
    pub fn bare_with_status(status: StatusCode, body: &impl Serialize) -> Self {
        Self::in_json(status, body)
    }

    /// 200 with a text that is no JSON.
    #[must_use]
    pub fn text(content_type: &'static str, text: String) -> Self {
        Self { content_type, ..Self::new(StatusCode::OK, ReplyBody::Public(text.into_bytes())) }
    }

    /// 200 with bytes that are no text, and nothing secret as they are.
    #[must_use]
    pub fn octets(bytes: Vec<u8>) -> Self {
        let content_type = "application/octet-stream";
        Self { content_type, ..Self::new(StatusCode::OK, ReplyBody::Public(bytes)) }
    }

    /// 200 with the token for a wrapped response, which has the id of its own request inside.
    #[must_use]
    pub fn wrapped(info: &WrapInfo<'_>) -> Self {
        let warnings = Warnings::default();
        let frame = ReplyFrame { request_id: "", warnings: &warnings };
        let wire = frame.around(None::<&()>, None);
        Self::secret_json(&Wire { wrap_info: Some(info), ..wire })
    }

    /// 200 with a response that had been wrapped, as it was.
    #[must_use]
    pub fn unwrapped(response: &Plaintext) -> Self {
        let mut body = WipedVec::with_capacity(response.expose_for_reply().len());
        body.extend_from_slice(response.expose_for_reply());
        Self::new(StatusCode::OK, ReplyBody::Secret(body))
    }

    /// What is kept of a response that is to be wrapped; `None` if it is none that can be: an error,
    /// nothing at all, or no JSON.
    #[must_use]
    pub fn to_wrap(&self) -> Option<&[u8]> {
        let is_whole = self.status == StatusCode::OK && self.content_type == JSON;
        is_whole.then(|| self.body.as_ref()).filter(|body| !body.is_empty())
    }

    /// 204: done, and nothing to say.
    #[must_use]
    pub fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT, ReplyBody::EMPTY)
    }

    /// The answer to HEAD: the same without a body.
    #[must_use]
    pub fn into_head(self) -> Self {
        Self::new(self.status, ReplyBody::EMPTY)
    }

    /// The status; what the audit log and metrics name.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body if it is JSON.
    pub(super) fn json(&self) -> Option<&[u8]> {
        (self.content_type == JSON).then(|| self.body.as_ref())
    }

    /// The type of a body that is no JSON.
    pub(super) fn other_content_type(&self) -> Option<&'static str> {
        (self.content_type != JSON).then_some(self.content_type)
    }

    /// Length of the body in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.body.as_ref().len()
    }

    /// Of how many bytes nothing is held yet.
    pub(super) fn unheld(&self) -> usize {
        if self.taken.is_nothing() { self.length() } else { 0 }
    }

    /// The reply, which gives `taken` back once it has been sent, or what it holds already.
    #[must_use]
    pub fn holding(self, taken: Taken) -> Self {
        Self { taken: self.taken.or(taken), ..self }
    }

    /// The HTTP response, with the headers that Vault sends on every path. `namespace` is the
    /// request's own `X-Vault-Namespace`, which goes back.
    #[must_use]
    pub fn into_response(self, namespace: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let body = match self.body {
            ReplyBody::Public(body) if body.is_empty() => Bytes::new(),
            body => Bytes::from_owner(Sending { body, _taken: self.taken }),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.clone_from(&EVERY_REPLYS_HEADERS);
        if self.content_type != JSON {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        if let Some(namespace) = namespace {
            headers.insert(X_VAULT_NAMESPACE, namespace.clone());
        }
        response
    }

    fn new(status: StatusCode, body: ReplyBody) -> Self {
        Self { status, content_type: JSON, body, taken: Taken::default() }
    }

    fn in_json(status: StatusCode, value: &impl Serialize) -> Self {
        match to_go_json(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self::new(status, ReplyBody::Public(body))
            }
            Err(NotSerializable) => Self::unserializable(),
        }
    }

    fn secret_json(value: &impl Serialize) -> Self {
        to_secret_go_json_line(value).map_or_else(
            |NotSerializable| Self::unserializable(),
            |body| Self::new(StatusCode::OK, ReplyBody::Secret(body)),
        )
    }

    /// The answer to a bug of ours, which must not itself need serializing.
    fn unserializable() -> Self {
        let body = b"{\"errors\":[\"internal error\"]}\n".to_vec();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ReplyBody::Public(body))
    }
}

impl ReplyBody {
    const EMPTY: Self = Self::Public(Vec::new());
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplyBody")
    }
}

#[cfg(test)]
mod tests;
