//! Tokens that are not the request's own: looked up, renewed, revoked.

use std::sync::Arc;
use std::time::Duration;

use selkie_access::{Capability, TokenHash, TokenText};
use selkie_crypto::sha256;

use super::super::auth_mounts;
use super::create::lifetime_warning;
use super::{AuthOf, looked_up, looked_up_declared, refused};
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::error::{ApiError, TokenFault};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::Reply;
use crate::api::request::token::{OfAccessor, OfToken};
use crate::auth::methods::Renewal;
use crate::auth::tokens::{Admitted, RenewError, Token, TokenKind};
use crate::auth::{Client, Origin};

/// A token that somebody asks about.
pub(in crate::api::handler) enum FoundToken {
    Kept(Admitted),
    Declared(Arc<Client>),
}

pub(in crate::api::handler) async fn find(
    call: &Call<'_>,
    text: &str,
) -> Result<Option<FoundToken>, Refusal> {
    let Ok(text) = TokenText::from_header(text.as_bytes()) else { return Ok(None) };
    let clients = &call.deployment.clients;
    let hash = TokenHash::new(sha256(text.expose_for_hash()));
    if let Some(client) = clients.find(&hash) {
        return Ok(Some(FoundToken::Declared(Arc::clone(client))));
    }
    let found = call.node.auth().find_in_store(&call.deployment, &text).await;
    Ok(found.map_err(refused)?.map(FoundToken::Kept))
}

pub(in crate::api::handler) async fn find_accessor(
    call: &Call<'_>,
    accessor: &str,
) -> Result<Option<FoundToken>, Refusal> {
    let clients = &call.deployment.clients;
    if let Some(client) = clients.find_accessor(accessor) {
        return Ok(Some(FoundToken::Declared(Arc::clone(client))));
    }
    let found = call.node.auth().find_accessor(&call.deployment, accessor).await;
    Ok(found.map_err(refused)?.map(FoundToken::Kept))
}

fn declared(client: &Client) -> Refusal {
    ApiError::from(TokenFault::Declared(client.name().into())).into()
}

fn fault(fault: TokenFault) -> Refusal {
    ApiError::from(fault).into()
}

pub(super) async fn lookup(call: &Call<'_>, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let request = OfToken::decode(&mut fields, false)?;
    let own = call.token.map(TokenText::expose_for_reply);
    let text = request.token.as_ref().map(|token| token.expose_to_decode()).or(own);
    let text = text.ok_or_else(|| fault(TokenFault::MissingId))?;
    let found = find(call, text).await?.ok_or_else(|| fault(TokenFault::BadToken))?;
    let warnings = fields.into_warnings(&[]);
    Ok(told(call, &found, text, &warnings))
}

pub(super) async fn lookup_accessor(
    call: &Call<'_>,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let request = OfAccessor::decode(&mut fields, false)?;
    let found = find_accessor(call, &request.accessor).await?;
    let found = found.ok_or_else(|| fault(TokenFault::InvalidAccessor))?;
    let warnings = fields.into_warnings(&[]);
    Ok(told(call, &found, "", &warnings))
}

fn told(call: &Call<'_>, found: &FoundToken, id: &str, warnings: &Warnings) -> Reply {
    match found {
        FoundToken::Kept(kept) => looked_up(call, &kept.token, id, warnings),
        FoundToken::Declared(client) => looked_up_declared(call, client, id, warnings),
    }
}

pub(super) async fn renew(call: &Call<'_>, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let request = OfToken::decode(&mut fields, true)?;
    let text = request.token.as_ref().map(|token| token.expose_to_decode());
    let text = text.ok_or_else(|| fault(TokenFault::MissingId))?;
    let found = find(call, text).await?.ok_or_else(|| fault(TokenFault::NotFound))?;
    renewed(call, found, text, request.increment, fields).await
}

pub(super) async fn renew_accessor(
    call: &Call<'_>,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let request = OfAccessor::decode(&mut fields, true)?;
    let found = find_accessor(call, &request.accessor).await?;
    let found = found.ok_or_else(|| fault(TokenFault::InvalidAccessor))?;
    renewed(call, found, "", request.increment, fields).await
}

async fn renewed(
    call: &Call<'_>,
    found: FoundToken,
    text: &str,
    increment: i64,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    match found {
        FoundToken::Kept(kept) => renew_kept(call, &kept, text, increment, fields).await,
        FoundToken::Declared(client) => Err(declared(&client)),
    }
}

/// Renews a token; the reply carries `text`.
pub(super) async fn renew_kept(
    call: &Call<'_>,
    kept: &Admitted,
    text: &str,
    increment: i64,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    if kept.token.made.kind == TokenKind::Batch {
        return Err(fault(TokenFault::BatchCannotBeRenewed));
    }
    require_login(call, &kept.token)?;
    let increment = u64::try_from(increment).ok().filter(|seconds| *seconds > 0);
    let increment = increment.map(Duration::from_secs);
    let renewed = call.node.auth().renew(&call.deployment, &kept.id, increment).await;
    let renewed = renewed.map_err(|error| match error {
        RenewError::NotFound => fault(TokenFault::NotFound),
        RenewError::NeverEnds => ApiError::InvalidLease.into(),
        RenewError::NotRenewable => ApiError::NotRenewable.into(),
        RenewError::Lifetime(_) => fault(TokenFault::PastMax),
        RenewError::Records(error) => refused(error),
    })?;
    let mut warnings = fields.into_warnings(&[]);
    renewed.warnings.iter().map(lifetime_warning).for_each(|one| warnings.add(one));
    let auth = AuthOf::new(&renewed.token, text);
    let wire: data::Auth<'_> = auth.wire(renewed.lease);
    Ok(call.frame(&warnings).auth(&wire))
}

/// A token that was got by a login lives on for as long as that would be let in.
fn require_login(call: &Call<'_>, token: &Token) -> Result<(), Refusal> {
    let Some(login) = &token.made.login else { return Ok(()) };
    let table = auth_mounts::table(call);
    let now = call.node.clock().unix_seconds();
    let (metadata, certificate) = (&token.made.meta, call.certificate);
    let renewal = Renewal { metadata, certificate, now };
    let mut mounts = table.all().into_iter();
    let mount = mounts.find(|mount| mount.accessor == login.mount_accessor);
    let may_renew = mount.is_some_and(|mount| {
        let method = table.methods.of_kind(&mount.kind);
        method.is_some_and(|method| method.may_renew(&mount, renewal))
    });
    if may_renew { Ok(()) } else { Err(ApiError::NotRenewable.into()) }
}

pub(super) async fn revoke(call: &Call<'_>, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let request = OfToken::decode(&mut fields, false)?;
    let text = request.token.as_ref().map(|token| token.expose_to_decode());
    let text = text.ok_or_else(|| fault(TokenFault::MissingId))?;
    match find(call, text).await? {
        Some(found) => revoke_found(call, found).await,
        None => Ok(Reply::no_content()),
    }
}

pub(super) async fn revoke_accessor(
    call: &Call<'_>,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let request = OfAccessor::decode(&mut fields, false)?;
    if let Some(found) = find_accessor(call, &request.accessor).await? {
        return revoke_found(call, found).await;
    }
    let mut warnings = fields.into_warnings(&[]);
    warnings.add("No token found with this accessor".to_owned());
    Ok(call.frame(&warnings).data(&None::<()>))
}

pub(super) async fn revoke_self(call: &Call<'_>) -> Result<Reply, Refusal> {
    let client = &call.client;
    let Origin::Token(token) = &client.origin else { return Err(declared(client)) };
    if token.made.kind == TokenKind::Batch {
        return Err(fault(TokenFault::BatchCannotBeRevoked));
    }
    let text = call.token.map(TokenText::expose_for_reply);
    let found = match text {
        Some(text) => find(call, text).await?,
        None => None,
    };
    match found {
        Some(found) => revoke_found(call, found).await,
        // The last use of a token with num_uses has ended it already.
        None => Ok(Reply::no_content()),
    }
}

async fn revoke_found(call: &Call<'_>, found: FoundToken) -> Result<Reply, Refusal> {
    let kept = revocable(found)?;
    call.node.auth().revoke(&kept.id).await.map_err(refused)?;
    Ok(Reply::no_content())
}

pub(super) async fn revoke_orphan(
    call: &Call<'_>,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let request = OfToken::decode(&mut fields, false)?;
    let text = request.token.as_ref().map(|token| token.expose_to_decode());
    let text = text.ok_or_else(|| fault(TokenFault::MissingId))?;
    if !call.client.acl.reaches("auth/token/revoke-orphan", Capability::Sudo) {
        return Err(fault(TokenFault::NeedsSudo("revoke and orphan")));
    }
    let found = find(call, text).await?.ok_or_else(|| fault(TokenFault::NothingToRevoke))?;
    let kept = revocable(found)?;
    call.node.auth().revoke_orphan(&kept.id).await.map_err(refused)?;
    Ok(Reply::no_content())
}

fn revocable(found: FoundToken) -> Result<Admitted, Refusal> {
    match found {
        FoundToken::Declared(client) => Err(declared(&client)),
        FoundToken::Kept(kept) if kept.token.made.kind == TokenKind::Batch => {
            Err(fault(TokenFault::BatchCannotBeRevoked))
        }
        FoundToken::Kept(kept) => Ok(kept),
    }
}
