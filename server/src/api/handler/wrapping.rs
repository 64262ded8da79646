//! `sys/wrapping/`, and the wrapping of any other response.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use selkie_access::{Capability, TokenText};
use selkie_crypto::Plaintext;
use selkie_listener::Overloaded;

use super::methods::told_of_records;
use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::duration::parse_seconds;
use crate::api::error::{ApiError, WrapFault};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::{Reply, ReplyFrame};
use crate::api::route::{Endpoint, WrappingStep};
use crate::auth::wrapping::{Room, ShownWrapping, WrapError, WrapInfo, WrapOrder, Wrapped};
use crate::clock::{ZERO_TIME, rfc3339};
use crate::node::Node;

/// For how long a response is to be kept, if it is to be wrapped: what the header says, where it is
/// looked at. A seal would not know what to do with a wrapped answer, whatever stands before it.
pub(in crate::api) fn wrap_ttl(
    headers: &HeaderMap,
    endpoint: &Endpoint,
) -> Result<Option<Duration>, ApiError> {
    const X_VAULT_WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
    let header = headers.get(X_VAULT_WRAP_TTL).filter(|_| endpoint.can_be_wrapped());
    let Some(header) = header else { return Ok(None) };
    let text = header.to_str().map_err(|_other| WrapFault::MalformedTtl)?;
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = parse_seconds(text).map_err(|_malformed| WrapFault::MalformedTtl)?;
    let seconds = u64::try_from(seconds).map_err(|_negative| WrapFault::NegativeTtl)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// Room for what is to be wrapped; who has none is refused before anything is done.
pub(in crate::api) fn room_to_wrap<'n>(node: &'n Node, owner: &str) -> Result<Room<'n>, Refusal> {
    node.auth().room_to_wrap(owner).map_err(refused)
}

/// Has the room be that of whoever it is who logs in.
pub(super) fn claim(room: Option<&Room<'_>>, owner: &str) -> Result<(), Refusal> {
    room.map_or(Ok(()), |room| room.claim(owner)).map_err(refused)
}

/// `reply` wrapped, if it is one that can be.
pub(in crate::api) async fn wrap(
    node: &Node,
    path: &str,
    (ttl, room): (Duration, Room<'_>),
    reply: Reply,
) -> Result<Reply, Refusal> {
    let Some(response) = reply.to_wrap() else { return Ok(reply) };
    let accessor = accessor_in(response);
    let order = WrapOrder { path: path.to_owned(), ttl, accessor };
    let response = Plaintext::new(response.to_vec());
    let info = node.auth().wrap(response, order, room).await.map_err(refused)?;
    Ok(Reply::wrapped(&wire(&info)))
}

/// The accessor of the token that is in a response.
fn accessor_in(response: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Response {
        auth: Option<Auth>,
    }
    #[derive(serde::Deserialize)]
    struct Auth {
        accessor: String,
    }
    let response: Response = serde_json::from_slice(response).ok()?;
    response.auth.map(|auth| auth.accessor).filter(|accessor| !accessor.is_empty())
}

fn wire(info: &WrapInfo) -> data::WrapInfo<'_> {
    data::WrapInfo {
        token: info.token.expose_for_reply(),
        accessor: &info.wrapped.accessor,
        ttl: info.wrapped.ttl,
        creation_time: time(info.wrapped.created),
        creation_path: &info.wrapped.path,
        wrapped_accessor: info.wrapped.wrapped_accessor.as_deref(),
    }
}

fn time(unix_seconds: u64) -> String {
    rfc3339(unix_seconds).unwrap_or_else(|| ZERO_TIME.to_owned())
}

/// Answers for a client that has a token of its own; the wrapping token is a field.
pub(super) async fn answer(
    call: &Call<'_>,
    step: WrappingStep,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let _permit = call.acl(&fields).check(step.path(), Capability::Update).map_err(denied)?;
    if step == WrappingStep::Wrap {
        if call.wrap_ttl.is_none() {
            return Err(refusal(WrapFault::NotRequested));
        }
        return Ok(call.frame(&Warnings::default()).secret_data(&fields.into_members()));
    }
    let token = fields.secret("token").map_err(ApiError::from)?;
    let token = token.filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| match step {
        WrappingStep::Lookup => refusal(WrapFault::MissingToken),
        _ => refusal(WrapFault::Invalid),
    })?;
    let token = TokenText::from_header(token.expose_to_decode().trim().as_bytes());
    let token = token.map_err(|_no_token| refusal(WrapFault::Invalid))?;
    let shown = ShownWrapping { token: &token, from: call.address };
    take(call.node, call.id, step, shown).await
}

/// Answers for whoever has the wrapping token, and needs nothing else.
pub(in crate::api) async fn take(
    node: &Node,
    id: &str,
    step: WrappingStep,
    shown: ShownWrapping<'_>,
) -> Result<Reply, Refusal> {
    let auth = node.auth();
    match step {
        WrappingStep::Lookup => {
            let found = kept(node, shown).await?;
            let warnings = Warnings::default();
            Ok(ReplyFrame { request_id: id, warnings: &warnings }.data(&data::Wrapped {
                creation_path: &found.path,
                creation_time: time(found.created),
                creation_ttl: found.ttl,
            }))
        }
        WrappingStep::Rewrap => {
            let info = auth.rewrap(shown).await.map_err(refused)?;
            Ok(Reply::wrapped(&wire(&info)))
        }
        WrappingStep::Unwrap | WrappingStep::Wrap => {
            // Before it is kept no more: there is no second answer.
            let bytes = kept(node, shown).await?.length();
            let taken = node.bytes().take(bytes).await;
            let taken = taken.map_err(|Overloaded| ApiError::Overloaded)?;
            let response = auth.unwrap(shown).await.map_err(refused)?;
            Ok(Reply::unwrapped(&response).holding(taken))
        }
    }
}

async fn kept(node: &Node, shown: ShownWrapping<'_>) -> Result<Arc<Wrapped>, Refusal> {
    let found = node.auth().look_wrapped(shown).await.map_err(|error| refused(error.into()))?;
    found.ok_or_else(|| refusal(WrapFault::Invalid))
}

fn refusal(fault: WrapFault) -> Refusal {
    ApiError::from(fault).into()
}

fn refused(error: WrapError) -> Refusal {
    match error {
        WrapError::Invalid => refusal(WrapFault::Invalid),
        WrapError::Full => refusal(WrapFault::Full),
        WrapError::Random => ApiError::Internal.into(),
        WrapError::Records(cause) => {
            let own = [WrapFault::NoStorage.into(), WrapFault::TooLarge.into()];
            let told = told_of_records(&cause, own);
            Refusal::of_records(cause, told)
        }
    }
}
