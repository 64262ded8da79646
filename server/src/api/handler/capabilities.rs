//! What a token may do on some paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use selkie_access::{Acl, Capability};

use super::token::{FoundToken, find, find_accessor};
use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::error::{ApiError, TokenFault};
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::api::request;
use crate::api::route::CapabilitiesOf;

/// Answers `sys/capabilities`, `sys/capabilities-self` and `sys/capabilities-accessor`.
pub(super) async fn answer(
    call: &Call<'_>,
    of: CapabilitiesOf,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let permit = call.acl(&fields).check(of.path(), Capability::Update);
    let _permit = permit.map_err(denied)?;
    let acl = match of {
        CapabilitiesOf::Oneself => {
            fields.secret("token").map_err(ApiError::from)?;
            Arc::clone(&call.client.acl)
        }
        CapabilitiesOf::Token => of_token(call, &mut fields).await?,
        CapabilitiesOf::Accessor => of_accessor(call, &mut fields).await?,
    };
    let request = request::Capabilities::decode(&mut fields)?;
    let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in &request.paths {
        by_path.insert(path, acl.capabilities(path.trim_start_matches('/')));
    }
    if let [only] = &request.paths[..] {
        by_path.insert("capabilities", acl.capabilities(only.trim_start_matches('/')));
    }
    let data: Vec<_> = by_path.into_iter().collect();
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data_twice(&data))
}

async fn of_token(call: &Call<'_>, fields: &mut Fields<'_>) -> Result<Arc<Acl>, Refusal> {
    let token = fields.secret("token").map_err(ApiError::from)?;
    let token = token.filter(|token| !token.is_empty());
    let token = token.ok_or(ApiError::from(TokenFault::MissingId))?;
    let found = find(call, token.expose_to_decode()).await?;
    Ok(acl_of(call, found.ok_or(ApiError::CapabilitiesOfNobody)?))
}

async fn of_accessor(call: &Call<'_>, fields: &mut Fields<'_>) -> Result<Arc<Acl>, Refusal> {
    let accessor = fields.text("accessor").map_err(ApiError::from)?.unwrap_or_default();
    if accessor.is_empty() {
        return Err(ApiError::from(TokenFault::MissingAccessor).into());
    }
    let found = find_accessor(call, &accessor).await?;
    Ok(acl_of(call, found.ok_or(ApiError::from(TokenFault::InvalidAccessor))?))
}

fn acl_of(call: &Call<'_>, found: FoundToken) -> Arc<Acl> {
    match found {
        FoundToken::Declared(client) => Arc::clone(&client.acl),
        FoundToken::Kept(admitted) => {
            let client = call.node.auth().client_of(&call.deployment, admitted);
            Arc::clone(&client.acl)
        }
    }
}
