//! What is asked below the mount of a login method, and what a login answers.

use http::StatusCode;
use selkie_access::{Capability, PolicyName};

use super::token::create::lifetime_warning;
use super::token::token_refused;
use super::transit::require_in_any_case;
use super::wrapping::claim;
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::error::{ApiError, WrapFault};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::{Reply, ReplyFrame};
use crate::api::route::{MethodPath, Operation};
use crate::auth::methods::{
    AnswerKind, LoginIdentity, MethodError, MethodReply, MethodRequest, Outcome,
};
use crate::auth::tokens::Issued;
use crate::auth::wrapping::Room;
use crate::auth::{Auth, Credentials};
use crate::state::records::RecordsError;

/// Answers somebody who may ask it.
pub(super) async fn answer(
    call: &Call<'_>,
    at: MethodPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let auth = call.node.auth();
    let method = auth.methods().of_kind(&at.mount.kind).ok_or(ApiError::UnsupportedPath)?;
    let capability = match at.operation {
        Operation::Update if method.creates(&at.mount, &at.rest) => Capability::Create,
        operation => operation.capability(),
    };
    let path = format!("auth/{}/{}", at.mount.path, at.rest);
    require_in_any_case(call, &fields, &path, &at.rest, capability)?;
    let credentials = Credentials { token: call.token, certificate: None, address: call.address };
    let asked = (credentials, None);
    let reply = ask(auth, &at, asked, &mut fields).await?;
    let warnings = warnings(reply.warnings, fields, reply.captured);
    let frame = call.frame(&warnings);
    match reply.outcome {
        Outcome::Login(_) => Err(ApiError::Internal.into()),
        outcome => shown(frame, outcome),
    }
}

/// Answers somebody who asks to be logged in, where there is room for the answer if it is to be
/// wrapped.
pub(in crate::api) async fn login(
    auth: &Auth,
    (at, credentials): (MethodPath, Credentials<'_>),
    mut fields: Fields<'_>,
    id: &str,
    room: Option<&Room<'_>>,
) -> Result<Reply, Refusal> {
    let reply = ask(auth, &at, (credentials, room), &mut fields).await?;
    let mut warnings = warnings(reply.warnings, fields, reply.captured);
    let login = match reply.outcome {
        Outcome::Login(login) => *login,
        outcome => return shown(ReplyFrame { request_id: id, warnings: &warnings }, outcome),
    };
    let identity = LoginIdentity::of(&at.mount, &login);
    claim(room, &identity.entity_id)?;
    let path = format!("auth/{}/{}", at.mount.path, at.rest);
    let token = login.into_token(&at.mount, &path).map_err(Refusal::from)?;
    let issued = auth.issue(token).await.map_err(token_refused)?;
    issued.warnings.iter().map(lifetime_warning).for_each(|warning| warnings.add(warning));
    Ok(logged_in(id, &issued, &identity, &warnings))
}

async fn ask(
    auth: &Auth,
    at: &MethodPath,
    (credentials, room): (Credentials<'_>, Option<&Room<'_>>),
    fields: &mut Fields<'_>,
) -> Result<MethodReply, Refusal> {
    let method = auth.methods().of_kind(&at.mount.kind).ok_or(ApiError::UnsupportedPath)?;
    let request = MethodRequest {
        mount: &at.mount,
        rest: &at.rest,
        operation: at.operation,
        fields,
        credentials,
        tools: auth.tools(),
        room,
    };
    method.answer(request).await.map_err(Refusal::from)
}

fn warnings(own: Vec<String>, fields: Fields<'_>, captured: &[&str]) -> Warnings {
    let mut warnings = Warnings::default();
    own.into_iter().for_each(|warning| warnings.add(warning));
    warnings.extend(fields.into_warnings(captured));
    warnings
}

fn shown(frame: ReplyFrame<'_>, outcome: Outcome) -> Result<Reply, Refusal> {
    match outcome {
        Outcome::Done if frame.warnings.is_empty() => Ok(Reply::no_content()),
        Outcome::Done => Ok(frame.nothing()),
        Outcome::Data(data) if data.is_secret() => Ok(frame.secret_data(&data)),
        Outcome::Data(data) => Ok(frame.data(&data)),
        Outcome::Keys(keys) if keys.is_empty() => Err(ApiError::NotFound.into()),
        Outcome::Keys(keys) => {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            Ok(frame.data(&data::KeyList { keys: &keys }))
        }
        Outcome::Login(_) => Err(ApiError::Internal.into()),
    }
}

fn logged_in(id: &str, issued: &Issued, identity: &LoginIdentity, warnings: &Warnings) -> Reply {
    let made = &issued.token.made;
    let policies: Vec<&str> = made.policies.iter().map(PolicyName::as_str).collect();
    let ttl = made.ttl.map_or(0, |ttl| ttl.as_secs());
    let auth = data::Auth {
        client_token: issued.text.expose_for_reply(),
        accessor: &issued.token.accessor,
        policies: &policies,
        token_policies: &policies,
        metadata: Some(made.meta.clone()),
        lease_duration: i64::try_from(ttl).unwrap_or(i64::MAX),
        renewable: made.renewable,
        entity_id: &identity.entity_id,
        token_type: made.kind.as_str(),
        orphan: made.parent.is_none(),
        mfa_requirement: None,
        num_uses: i64::from(made.num_uses),
    };
    ReplyFrame { request_id: id, warnings }.auth(&auth)
}

/// What the client is told of a method's error.
pub(in crate::api) fn told(error: &MethodError) -> ApiError {
    let words = |status: StatusCode, error: &dyn std::fmt::Display| ApiError::Method {
        status,
        text: error.to_string().into(),
    };
    match error {
        MethodError::Field(error) => ApiError::Field(error.clone()),
        MethodError::NotFound => ApiError::NotFound,
        MethodError::UnsupportedPath => ApiError::UnsupportedPath,
        MethodError::UnsupportedOperation => ApiError::UnsupportedOperation,
        MethodError::Declared { .. } => words(StatusCode::BAD_REQUEST, error),
        MethodError::Records(error) => {
            let own = [StatusCode::BAD_REQUEST; 2].map(|status| words(status, error));
            told_of_records(error, own)
        }
        MethodError::NoRoom => WrapFault::Full.into(),
        MethodError::Random(_) => ApiError::Internal,
        MethodError::Refused { kind, told, .. } => words(status(*kind), told),
    }
}

const fn status(kind: AnswerKind) -> StatusCode {
    match kind {
        AnswerKind::BadRequest => StatusCode::BAD_REQUEST,
        AnswerKind::Forbidden => StatusCode::FORBIDDEN,
        AnswerKind::NotFound => StatusCode::NOT_FOUND,
        AnswerKind::Failure => StatusCode::INTERNAL_SERVER_ERROR,
        AnswerKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What the client is told when records cannot be read or changed; `own` is what an endpoint says
/// where there is no storage, and where a record would be too large.
pub(super) fn told_of_records(error: &RecordsError, own: [ApiError; 2]) -> ApiError {
    let [no_storage, too_large] = own;
    match error {
        RecordsError::NoStorage => no_storage,
        RecordsError::TooLarge => too_large,
        RecordsError::StateSealed => ApiError::StateSealed,
        RecordsError::Store(error) => ApiError::of_store(error),
        RecordsError::Conflict => ApiError::Contended,
        RecordsError::NotLookedUp => ApiError::StorageUnavailable,
        RecordsError::Unreadable(_) => ApiError::Internal,
    }
}
