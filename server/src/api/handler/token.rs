//! `auth/token/`.

pub(super) mod create;
mod others;
mod roles;

use std::sync::Arc;
use std::time::Duration;

use selkie_access::{Capability, PolicyName, TokenText};

use self::create::Manner;
pub(super) use self::others::{FoundToken, find, find_accessor};
use super::methods::told_of_records;
use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::error::{ApiError, TokenFault};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::Reply;
use crate::api::request;
use crate::api::route::{Operation, TokenEndpoint};
use crate::auth::tokens::{Admitted, Token, TokenError};
use crate::auth::{Client, Origin};
use crate::clock::rfc3339;
use crate::state::records::RecordsError;

/// What the tidy of Vault says, whose clients may look for it.
const TIDY: &str = "Tidy operation successfully started. Any information from the operation will \
                    be printed to Vault's server logs.";

/// Answers what is not about the request's own token; see [`renew_self`] and [`lookup_self`].
pub(super) async fn answer(
    call: &Call<'_>,
    endpoint: TokenEndpoint,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    permit(call, &endpoint, &fields)?;
    match endpoint {
        TokenEndpoint::Create => create::create(call, Manner::Child, fields).await,
        TokenEndpoint::CreateOrphan => create::create(call, Manner::Orphan, fields).await,
        TokenEndpoint::CreateFrom(role) => create::create(call, Manner::Role(&role), fields).await,
        TokenEndpoint::Lookup(_) => others::lookup(call, fields).await,
        TokenEndpoint::LookupAccessor => others::lookup_accessor(call, fields).await,
        TokenEndpoint::Renew => others::renew(call, fields).await,
        TokenEndpoint::RenewAccessor => others::renew_accessor(call, fields).await,
        TokenEndpoint::Revoke => others::revoke(call, fields).await,
        TokenEndpoint::RevokeSelf => others::revoke_self(call).await,
        TokenEndpoint::RevokeOrphan => others::revoke_orphan(call, fields).await,
        TokenEndpoint::RevokeAccessor => others::revoke_accessor(call, fields).await,
        TokenEndpoint::Accessors => accessors(call, fields),
        TokenEndpoint::Roles => roles::list(call, fields),
        TokenEndpoint::ReadRole(name) => roles::read(call, &name, fields),
        TokenEndpoint::WriteRole(name) => roles::write(call, &name, fields).await,
        TokenEndpoint::DeleteRole(name) => roles::delete(call, &name).await,
        TokenEndpoint::Tidy => Ok(tidy(call, fields)),
        TokenEndpoint::InUse => Ok(in_use(call, fields)),
    }
}

fn permit(call: &Call<'_>, endpoint: &TokenEndpoint, fields: &Fields<'_>) -> Result<(), Refusal> {
    let path = match endpoint {
        TokenEndpoint::Create => Manner::Child.path(),
        TokenEndpoint::CreateOrphan => Manner::Orphan.path(),
        TokenEndpoint::CreateFrom(role) => Manner::Role(role).path(),
        TokenEndpoint::Lookup(_) => "auth/token/lookup".to_owned(),
        TokenEndpoint::LookupAccessor => "auth/token/lookup-accessor".to_owned(),
        TokenEndpoint::Renew => "auth/token/renew".to_owned(),
        TokenEndpoint::RenewAccessor => "auth/token/renew-accessor".to_owned(),
        TokenEndpoint::Revoke => "auth/token/revoke".to_owned(),
        TokenEndpoint::RevokeSelf => "auth/token/revoke-self".to_owned(),
        TokenEndpoint::RevokeOrphan => "auth/token/revoke-orphan".to_owned(),
        TokenEndpoint::RevokeAccessor => "auth/token/revoke-accessor".to_owned(),
        TokenEndpoint::Accessors => "auth/token/accessors/".to_owned(),
        TokenEndpoint::Roles => "auth/token/roles/".to_owned(),
        TokenEndpoint::ReadRole(name)
        | TokenEndpoint::WriteRole(name)
        | TokenEndpoint::DeleteRole(name) => format!("auth/token/roles/{name}"),
        TokenEndpoint::Tidy => "auth/token/tidy".to_owned(),
        TokenEndpoint::InUse => "sys/tokens/in-use".to_owned(),
    };
    let acl = call.acl(fields);
    let capability = match endpoint {
        TokenEndpoint::Lookup(operation) => operation.capability(),
        TokenEndpoint::Accessors => {
            let _sudo = acl.check(&path, Capability::Sudo).map_err(denied)?;
            Capability::List
        }
        TokenEndpoint::Roles => Capability::List,
        TokenEndpoint::ReadRole(_) | TokenEndpoint::InUse => Capability::Read,
        TokenEndpoint::DeleteRole(_) => Capability::Delete,
        TokenEndpoint::WriteRole(name) => match call.node.auth().tokens().roles().get(name) {
            Ok(None) => Capability::Create,
            Ok(Some(_)) | Err(_) => Capability::Update,
        },
        _ => Capability::Update,
    };
    let _permit = acl.check(&path, capability).map_err(denied)?;
    Ok(())
}

/// What a client is told when records cannot be read or changed.
fn refused(error: RecordsError) -> Refusal {
    let own = [TokenFault::NoStorage.into(), TokenFault::TooLarge.into()];
    let told = told_of_records(&error, own);
    Refusal::of_records(error, told)
}

pub(super) fn token_refused(error: TokenError) -> Refusal {
    match error {
        TokenError::Records(error) => refused(error),
        TokenError::Random(_) => ApiError::Internal.into(),
        TokenError::ParentGone => ApiError::from(TokenFault::NoParent).into(),
        TokenError::TooDeep => ApiError::from(TokenFault::TooDeep).into(),
        TokenError::Lifetime(_) => ApiError::from(TokenFault::PastMax).into(),
        TokenError::Duplicate => ApiError::from(TokenFault::DuplicateId).into(),
        TokenError::ManyPolicies(many) => ApiError::from(TokenFault::ManyPolicies(many)).into(),
        TokenError::TooLong => ApiError::from(TokenFault::TooLarge).into(),
    }
}

/// A declared token never expires: nothing that a client or an outage does can strand a seal. With
/// a period it is renewable all the same, because seal clients look for that.
pub(super) async fn renew_self(call: &Call<'_>, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let permit = call.acl(&fields).check("auth/token/renew-self", Capability::Update);
    let _permit = permit.map_err(denied)?;
    let request = request::RenewSelf::decode(&mut fields)?;
    let period = match &call.client.origin {
        Origin::Declared { period, .. } => *period,
        Origin::Certificate { .. } => return Err(ApiError::InvalidToken.into()),
        Origin::Token(_) => {
            let kept = own(call)?.ok_or(ApiError::from(TokenFault::NotFound))?;
            let text = client_token(call);
            return others::renew_kept(call, &kept, text, request.increment, fields).await;
        }
    };
    let period = period.ok_or(ApiError::InvalidLease)?;
    let policies = names(call.client.policies());
    let auth = data::Auth {
        client_token: client_token(call),
        accessor: call.client.accessor(),
        policies: &policies,
        token_policies: &policies,
        metadata: None,
        lease_duration: seconds(period),
        renewable: true,
        entity_id: "",
        token_type: "service",
        orphan: true,
        mfa_requirement: None,
        num_uses: 0,
    };
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).auth(&auth))
}

pub(super) fn lookup_self(
    call: &Call<'_>,
    operation: Operation,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let _permit = call
        .acl(&fields)
        .check("auth/token/lookup-self", operation.capability())
        .map_err(denied)?;
    request::decode_lookup_self(&mut fields)?;
    let warnings = fields.into_warnings(&[]);
    let text = client_token(call);
    match &call.client.origin {
        Origin::Declared { .. } => Ok(looked_up_declared(call, &call.client, text, &warnings)),
        Origin::Token(token) => Ok(looked_up(call, token, text, &warnings)),
        // As Vault answers who has no token.
        Origin::Certificate { .. } => Err(ApiError::InvalidToken.into()),
    }
}

/// The request's own token, as it is now.
fn own(call: &Call<'_>) -> Result<Option<Admitted>, Refusal> {
    let Some(text) = &call.token else { return Ok(None) };
    call.node.auth().find(&call.deployment, text).map_err(refused)
}

/// What is known of a declared token.
fn looked_up_declared(call: &Call<'_>, client: &Client, id: &str, warnings: &Warnings) -> Reply {
    let period = match &client.origin {
        Origin::Declared { period, .. } => *period,
        Origin::Token(_) | Origin::Certificate { .. } => None,
    };
    let token = data::Token {
        accessor: client.accessor(),
        bound_cidrs: None,
        creation_time: 0,
        creation_ttl: period.map_or(0, seconds),
        display_name: client.name(),
        entity_id: "",
        expire_time: period.and_then(|period| end(call, period)),
        explicit_max_ttl: 0,
        id,
        issue_time: period.and_then(|_| rfc3339(0)),
        last_renewal: None,
        last_renewal_time: None,
        meta: None,
        num_uses: 0,
        orphan: true,
        path: "auth/token/create",
        period: period.map(seconds),
        policies: &names(client.policies()),
        renewable: period.map(|_| true),
        role: None,
        ttl: period.map_or(0, seconds),
        token_type: "service",
    };
    call.frame(warnings).token(&token)
}

/// What is known of a token of ours.
fn looked_up(call: &Call<'_>, token: &Token, id: &str, warnings: &Warnings) -> Reply {
    let made = &token.made;
    let left = call.node.auth().tokens().remaining(token);
    let networks: Vec<_> = made.bound_cidrs.iter().map(ToString::to_string).collect();
    let told = data::Token {
        accessor: &token.accessor,
        bound_cidrs: (!networks.is_empty()).then_some(&networks[..]),
        creation_time: signed(token.created),
        creation_ttl: made.ttl.map_or(0, seconds),
        display_name: &made.display_name,
        entity_id: made.entity_id(),
        expire_time: left.and_then(|left| end(call, left)),
        explicit_max_ttl: made.explicit_max_ttl.map_or(0, seconds),
        id,
        issue_time: left.and_then(|_| rfc3339(token.created)),
        last_renewal: token.renewed.and_then(rfc3339),
        last_renewal_time: token.renewed.map(signed),
        meta: (!made.meta.is_empty()).then(|| made.meta.clone()),
        num_uses: i64::from(token.uses_left),
        orphan: made.parent.is_none(),
        path: &made.path,
        period: made.period.map(seconds),
        policies: &names(&made.policies),
        renewable: left.map(|_| made.renewable),
        role: made.role.as_deref(),
        ttl: left.map_or(0, seconds),
        token_type: made.kind.as_str(),
    };
    call.frame(warnings).token(&told)
}

/// The member `auth` of a reply about a token of ours.
struct AuthOf<'a> {
    token: &'a Token,
    text: &'a str,
    policies: Vec<&'a str>,
}

impl<'a> AuthOf<'a> {
    /// The reply carries `text`; it is empty where the token is known by its accessor.
    fn new(token: &'a Arc<Token>, text: &'a str) -> Self {
        Self { token, text, policies: names(&token.made.policies) }
    }

    fn wire(&self, lease: Duration) -> data::Auth<'_> {
        let made = &self.token.made;
        data::Auth {
            client_token: self.text,
            accessor: &self.token.accessor,
            policies: &self.policies,
            token_policies: &self.policies,
            metadata: (!made.meta.is_empty()).then(|| made.meta.clone()),
            lease_duration: seconds(lease),
            renewable: made.renewable,
            entity_id: made.entity_id(),
            token_type: made.kind.as_str(),
            orphan: made.parent.is_none(),
            mfa_requirement: None,
            num_uses: i64::from(made.num_uses),
        }
    }
}

fn accessors(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let mut all = call.node.auth().accessors(&call.deployment);
    all.extend(call.deployment.clients.accessors().map(ToOwned::to_owned));
    all.sort();
    if all.is_empty() {
        return Err(ApiError::NotFound.into());
    }
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data(&data::KeyList { keys: &all }))
}

/// What has ended is removed all the time; this makes it happen now.
fn tidy(call: &Call<'_>, fields: Fields<'_>) -> Reply {
    call.node.auth().tokens().sweep_soon();
    let mut warnings = fields.into_warnings(&[]);
    warnings.add(TIDY.to_owned());
    call.frame(&warnings).accepted()
}

fn in_use(call: &Call<'_>, fields: Fields<'_>) -> Reply {
    let warnings = fields.into_warnings(&[]);
    call.frame(&warnings).data(&serde_json::json!({ "tokens": told_in_use(call) }))
}

/// The tokens that keys were used with, as this replica has seen it; soonest to end first.
pub(super) fn told_in_use(call: &Call<'_>) -> serde_json::Value {
    let all = call.node.auth().tokens().in_use();
    let told = all.iter().map(|one| {
        serde_json::json!({
            "accessor": one.accessor,
            "display_name": one.display_name,
            "expiring": one.is_expiring(),
            "last_renewal_time": one.renewed,
            "last_used_time": one.used,
            "ttl": one.seconds_left,
        })
    });
    told.collect()
}

fn names(policies: &[PolicyName]) -> Vec<&str> {
    policies.iter().map(PolicyName::as_str).collect()
}

/// The token itself: a seal client's watcher renews with what the reply says.
fn client_token<'a>(call: &'a Call<'_>) -> &'a str {
    call.token.map_or("", TokenText::expose_for_reply)
}

/// When `period` from now is.
fn end(call: &Call<'_>, period: Duration) -> Option<String> {
    rfc3339(call.node.clock().unix_seconds().saturating_add(period.as_secs()))
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn seconds(period: Duration) -> i64 {
    signed(period.as_secs())
}
