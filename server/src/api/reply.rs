//! A reply as Vault writes it: its envelope, its order of keys, its headers. A body that carries a
//! secret is built at its exact length in a buffer that wipes itself once it has been sent; the
//! others are not, because the wipe of a ciphertext costs more than all else here.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{self, HeaderName},
};
use http_body_util::Full;
use selkie_crypto::{
    Plaintext,
    base64::{encode_into, encoded_len},
};
use selkie_memory::WipedVec;
use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};

use super::{
    data::{Auth, Encrypted, EncryptedBatch, Token, WrapInfo},
    error::{ApiError, ItemError},
    fields::Warnings,
    json::{NotSerializable, to_go_json, to_secret_go_json_line},
};
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

/// What surrounds the data of a reply.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// A UUID.
    pub request_id: &'a str,
    /// What the client should know.
    pub warnings: &'a Warnings,
}

/// One item of a decrypt batch.
#[derive(Debug)]
pub struct DecryptedItem<'a> {
    /// The plaintext, or why there is none.
    pub result: Result<&'a Plaintext, ItemError>,
    /// The client's name for the item.
    pub reference: &'a str,
}

impl<'a> Envelope<'a> {
    /// 200 with data in which no secret is.
    #[must_use]
    pub fn data(&self, data: &impl Serialize) -> Reply {
        Reply::in_json(StatusCode::OK, &self.around(Some(data), None))
    }

    /// 200 with data in which there is a secret.
    #[must_use]
    pub fn secret_data(&self, data: &impl Serialize) -> Reply {
        Reply::secret_json(&self.around(Some(data), None))
    }

    /// 200 with nothing but warnings.
    #[must_use]
    pub fn nothing(&self) -> Reply {
        Reply::in_json(StatusCode::OK, &self.around(None::<&()>, None))
    }

    /// 202 with nothing but warnings: it will be done.
    #[must_use]
    pub fn accepted(&self) -> Reply {
        Reply::in_json(StatusCode::ACCEPTED, &self.around(None::<&()>, None))
    }

    /// 200 with what is known of the token, the token among it.
    #[must_use]
    pub fn token(&self, token: &Token<'_>) -> Reply {
        Reply::secret_json(&self.around(Some(token), None))
    }

    /// 200 with `auth`, in which the token is, and no data.
    #[must_use]
    pub fn auth(&self, auth: &Auth<'_>) -> Reply {
        Reply::secret_json(&self.around(None::<&()>, Some(auth)))
    }

    /// 200 with the members of the data at the top level as well, as Vault answers on a few paths
    /// of `sys/`. The data's keys must be text.
    #[must_use]
    pub fn data_twice<K: AsRef<str> + Serialize, V: Serialize>(&self, data: &[(K, V)]) -> Reply {
        Reply::in_json(StatusCode::OK, &Twice { envelope: *self, data: Members(data) })
    }

    /// The same for data that is a struct.
    #[must_use]
    pub fn data_twice_of(&self, data: &impl Serialize) -> Reply {
        match serde_json::to_value(data) {
            Ok(serde_json::Value::Object(members)) => {
                self.data_twice(&members.iter().collect::<Vec<_>>())
            }
            Ok(_) | Err(_) => Reply::unserializable(),
        }
    }

    /// A batch of encrypt or rewrap; with a `failure` it has that status and, as in Vault, no
    /// final line end.
    #[must_use]
    pub fn encrypted(&self, batch: &EncryptedBatch<'_>, failure: Option<StatusCode>) -> Reply {
        let envelope = self.around(Some(batch), None);
        match failure {
            None => Reply::in_json(StatusCode::OK, &envelope),
            Some(status) => match to_go_json(&envelope) {
                Ok(body) => Reply::new(status, ReplyBody::Public(body)),
                Err(NotSerializable) => Reply::unserializable(),
            },
        }
    }

    /// A decrypt's answer, its base64 made in constant time and in place.
    #[must_use]
    pub fn plaintext(&self, plaintext: &Plaintext) -> Reply {
        let pieces =
            [Piece::Json(b"{\"plaintext\":\""), Piece::Secret(plaintext), Piece::Json(b"\"}")];
        Reply::secret(StatusCode::OK, self.around_pieces(&pieces, true))
    }

    /// An encrypt's answer; a ciphertext has no character that JSON would escape.
    #[must_use]
    pub fn ciphertext(&self, encrypted: &Encrypted<'_>) -> Reply {
        let version = encrypted.key_version.to_string();
        let pieces = [
            Piece::Json(b"{\"ciphertext\":\""),
            Piece::Json(encrypted.ciphertext.as_bytes()),
            Piece::Json(b"\",\"key_version\":"),
            Piece::Json(version.as_bytes()),
            Piece::Json(b"}"),
        ];
        match self.around_pieces(&pieces, true) {
            Some(body) => Reply::new(StatusCode::OK, ReplyBody::Public(body.into_unwiped())),
            None => Reply::unserializable(),
        }
    }

    /// A batch of decrypt; with a `failure` it has that status and, as in Vault, no final line
    /// end.
    #[must_use]
    pub fn plaintexts(&self, items: &[DecryptedItem<'_>], failure: Option<StatusCode>) -> Reply {
        let Some(ends) = items.iter().map(DecryptedItem::end).collect::<Option<Vec<_>>>() else {
            return Reply::unserializable();
        };
        let mut pieces = Vec::with_capacity(items.len().saturating_mul(3).saturating_add(2));
        let mut begin: &[u8] = b"{\"batch_results\":[{\"plaintext\":\"";
        for (item, end) in items.iter().zip(&ends) {
            pieces.push(Piece::Json(begin));
            pieces.extend(item.result.ok().map(Piece::Secret));
            pieces.push(Piece::Json(end));
            begin = b",{\"plaintext\":\"";
        }
        pieces.push(Piece::Json(b"]}"));
        let body = self.around_pieces(&pieces, failure.is_none());
        Reply::secret(failure.unwrap_or(StatusCode::OK), body)
    }

    const fn around<'d, D>(&self, data: Option<&'d D>, auth: Option<&'d Auth<'d>>) -> Wire<'d, D>
    where
        'a: 'd,
    {
        Wire {
            request_id: self.request_id,
            lease_id: "",
            renewable: false,
            lease_duration: 0,
            data,
            wrap_info: None,
            warnings: self.warnings,
            auth,
        }
    }

    /// An envelope in the form of [`Wire`], put together without a serialiser: these replies are
    /// the ones that matter for speed, and may hold secrets that are written once.
    fn around_pieces(&self, pieces: &[Piece<'_>], has_line_end: bool) -> Option<WipedVec> {
        let warnings: Cow<'_, [u8]> = match self.warnings.0.is_empty() {
            true => Cow::Borrowed(b"null"),
            false => to_go_json(self.warnings).ok()?.into(),
        };
        let head = [
            Piece::Json(b"{\"request_id\":\""),
            Piece::Json(self.request_id.as_bytes()),
            Piece::Json(b"\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":0,\"data\":"),
        ];
        let tail = [
            Piece::Json(b",\"wrap_info\":null,\"warnings\":"),
            Piece::Json(&warnings),
            Piece::Json(b",\"auth\":null}"),
            Piece::Json(if has_line_end { b"\n" } else { b"" }),
        ];
        let all = || head.iter().chain(pieces).chain(&tail);
        let length = all().map(Piece::length).fold(0, usize::saturating_add);
        let mut body = WipedVec::with_capacity(length);
        all().for_each(|piece| piece.write(&mut body));
        Some(body)
    }
}

/// What a body with plaintext is put together from.
enum Piece<'a> {
    Json(&'a [u8]),
    Secret(&'a Plaintext),
}

impl Piece<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::Secret(plaintext) => encoded_len(plaintext.expose_for_reply().len()),
        }
    }

    fn write(&self, body: &mut Vec<u8>) {
        match self {
            Self::Json(json) => body.extend_from_slice(json),
            Self::Secret(plaintext) => encode_into(plaintext.expose_for_reply(), body),
        }
    }
}

impl DecryptedItem<'_> {
    /// What follows the item's plaintext.
    fn end(&self) -> Option<Vec<u8>> {
        #[derive(Serialize)]
        struct End<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<String>,
            reference: &'a str,
        }
        let end = End {
            error: self.result.err().map(|error| error.to_string()),
            reference: self.reference,
        };
        let members = to_go_json(&end).ok()?;
        Some([b"\",", members.strip_prefix(b"{")?].concat())
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
        let envelope = Envelope { request_id: "", warnings: &warnings };
        let wire = envelope.around(None::<&()>, None);
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

    /// The reply, which gives `taken` back once it has been sent.
    #[must_use]
    pub fn holding(self, taken: Taken) -> Self {
        Self { taken, ..self }
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

/// The envelope, in the order of Vault 1.14's struct.
#[derive(Serialize)]
struct Wire<'a, D> {
    request_id: &'a str,
    lease_id: &'a str,
    renewable: bool,
    lease_duration: u64,
    data: Option<&'a D>,
    wrap_info: Option<&'a WrapInfo<'a>>,
    warnings: &'a Warnings,
    auth: Option<&'a Auth<'a>>,
}

impl Serialize for Warnings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_none() } else { self.0.serialize(serializer) }
    }
}

struct Members<'a, K, V>(&'a [(K, V)]);

impl<K: Serialize, V: Serialize> Serialize for Members<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

struct Twice<'a, K, V> {
    envelope: Envelope<'a>,
    data: Members<'a, K, V>,
}

impl<K: Serialize, V: Serialize> Serialize for Twice<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.data.0 {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("request_id", self.envelope.request_id)?;
        map.serialize_entry("lease_id", "")?;
        map.serialize_entry("renewable", &false)?;
        map.serialize_entry("lease_duration", &0)?;
        map.serialize_entry("data", &self.data)?;
        map.serialize_entry("wrap_info", &None::<()>)?;
        map.serialize_entry("warnings", self.envelope.warnings)?;
        map.serialize_entry("auth", &None::<()>)?;
        map.end()
    }
}

#[cfg(test)]
mod tests;
