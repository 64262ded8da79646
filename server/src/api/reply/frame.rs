//! What surrounds the data of a reply.

use std::borrow::Cow;

use http::StatusCode;
use selkie_crypto::Plaintext;
use selkie_crypto::base64::{encode_into, encoded_len};
use selkie_memory::WipedVec;
use serde::Serialize;

use super::wire::{Members, Twice, Wire};
use super::{Reply, ReplyBody};
use crate::api::data::{Auth, Encrypted, EncryptedBatch, Token};
use crate::api::error::ItemError;
use crate::api::fields::Warnings;
use crate::api::json::{NotSerializable, to_go_json};

/// What surrounds the data of a reply.
#[derive(Clone, Copy, Debug)]
pub struct ReplyFrame<'a> {
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

impl<'a> ReplyFrame<'a> {
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
        Reply::in_json(StatusCode::OK, &Twice { frame: *self, data: Members(data) })
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
        let frame = self.around(Some(batch), None);
        match failure {
            None => Reply::in_json(StatusCode::OK, &frame),
            Some(status) => match to_go_json(&frame) {
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

    pub(super) const fn around<'d, D>(
        &self,
        data: Option<&'d D>,
        auth: Option<&'d Auth<'d>>,
    ) -> Wire<'d, D>
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

    fn write(&self, body: &mut WipedVec) {
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
