//! `auth/token/roles`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::json;

use super::create::policy_names;
use super::refused;
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::error::{ApiError, TokenFault};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::Reply;
use crate::api::request::token::WriteTokenRole;
use crate::auth::tokens::{GivenTokenType, RoleName, TokenRole};
use crate::state::records::{Batch, Current};

fn current(call: &Call<'_>, name: &RoleName) -> Result<Option<Current<TokenRole>>, Refusal> {
    let records = call.node.auth().records();
    records.store().map_err(refused)?;
    let found = call.node.auth().tokens().roles().get(name);
    found.map_err(|unreadable| refused(unreadable.into()))
}

pub(super) fn list(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    call.node.auth().records().store().map_err(refused)?;
    let mut names = call.node.auth().tokens().roles().names();
    names.sort();
    if names.is_empty() {
        return Err(ApiError::NotFound.into());
    }
    let names: Vec<_> = names.iter().map(RoleName::as_str).collect();
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data(&data::KeyList { keys: &names }))
}

pub(super) fn read(call: &Call<'_>, name: &RoleName, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let role = current(call, name)?.ok_or(ApiError::NotFound)?.value;
    let mut told = json!({
        "allowed_entity_aliases": role.allowed_entity_aliases,
        "allowed_policies": role.allowed_policies,
        "allowed_policies_glob": role.allowed_policies_glob,
        "disallowed_policies": role.disallowed_policies,
        "disallowed_policies_glob": role.disallowed_policies_glob,
        "explicit_max_ttl": 0,
        "name": name.as_str(),
        "orphan": role.orphan,
        "path_suffix": role.path_suffix,
        "period": 0,
        "renewable": role.renewable,
        "token_explicit_max_ttl": role.explicit_max_ttl,
        "token_no_default_policy": role.no_default_policy,
        "token_period": role.period,
        "token_type": role.token_type.name(),
    });
    if let Some(told) = told.as_object_mut() {
        let networks: Vec<_> = role.bound_cidrs.iter().map(ToString::to_string).collect();
        if !networks.is_empty() {
            told.insert("token_bound_cidrs".to_owned(), json!(networks));
        }
        if role.num_uses > 0 {
            told.insert("token_num_uses".to_owned(), json!(role.num_uses));
        }
    }
    let warnings = fields.into_warnings(&["role_name"]);
    Ok(call.frame(&warnings).data(&told))
}

pub(super) async fn write(
    call: &Call<'_>,
    name: &RoleName,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let before = current(call, name)?;
    let request = WriteTokenRole::decode(&mut fields)?;
    let role = before.as_ref().map(|before| Arc::clone(&before.value)).unwrap_or_default();
    let role = changed(TokenRole::clone(&role), &request)?;
    check_batch(&role)?;
    let mut batch = Batch::default();
    let at = before.map(|before| before.revision);
    batch.put(name, &role, at).map_err(|large| refused(large.into()))?;
    call.node.auth().records().commit(&batch).await.map_err(refused)?;
    let mut warnings = fields.into_warnings(&["role_name"]);
    warn_of_max(call, &role, &mut warnings);
    Ok(match warnings == Warnings::default() {
        true => Reply::no_content(),
        false => call.frame(&warnings).data(&None::<()>),
    })
}

pub(super) async fn delete(call: &Call<'_>, name: &RoleName) -> Result<Reply, Refusal> {
    let auth = call.node.auth();
    let found = auth.records().find(auth.tokens().roles(), name, None).await.map_err(refused)?;
    let Some(current) = found else { return Ok(Reply::no_content()) };
    let mut batch = Batch::default();
    batch.delete::<TokenRole>(name, current.revision).map_err(|large| refused(large.into()))?;
    auth.records().commit(&batch).await.map_err(refused)?;
    Ok(Reply::no_content())
}

fn changed(mut role: TokenRole, request: &WriteTokenRole<'_>) -> Result<TokenRole, ApiError> {
    let names = |list: &Option<Vec<String>>, place: &mut Vec<String>| {
        let Some(list) = list else { return Ok(()) };
        let mut names: Vec<_> = policy_names(list)?.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        *place = names;
        Ok::<(), ApiError>(())
    };
    names(&request.allowed_policies, &mut role.allowed_policies)?;
    names(&request.allowed_policies_glob, &mut role.allowed_policies_glob)?;
    names(&request.disallowed_policies, &mut role.disallowed_policies)?;
    names(&request.disallowed_policies_glob, &mut role.disallowed_policies_glob)?;
    if let Some(aliases) = &request.allowed_entity_aliases {
        role.allowed_entity_aliases = aliases.iter().map(|one| one.to_lowercase()).collect();
    }
    role.orphan = request.orphan.unwrap_or(role.orphan);
    role.renewable = request.renewable.unwrap_or(role.renewable);
    role.no_default_policy = request.no_default_policy.unwrap_or(role.no_default_policy);
    if let Some(suffix) = &request.path_suffix {
        role.path_suffix = path_suffix(suffix)?;
    }
    if let Some(networks) = &request.bound_cidrs {
        role.bound_cidrs = networks.iter().map(|one| network(one)).collect::<Result<_, _>>()?;
    }
    let seconds = |field, asked: Option<i64>, was: u64| match asked {
        None => Ok(was),
        Some(asked) => u64::try_from(asked).map_err(|_negative| TokenFault::NotPositive(field)),
    };
    role.period = seconds("token_period", request.period, role.period)?;
    role.explicit_max_ttl =
        seconds("token_explicit_max_ttl", request.explicit_max_ttl, role.explicit_max_ttl)?;
    if let Some(uses) = request.num_uses {
        role.num_uses = u32::try_from(uses).map_err(|_negative| TokenFault::NegativeUses)?;
    }
    if let Some(text) = &request.token_type {
        let unknown = || TokenFault::InvalidRoleType((&**text).into());
        role.token_type = GivenTokenType::named(text).ok_or_else(unknown)?;
    }
    Ok(role)
}

fn check_batch(role: &TokenRole) -> Result<(), ApiError> {
    if role.token_type != GivenTokenType::Batch {
        return Ok(());
    }
    let unfit = [
        (!role.orphan, "non-orphan tokens"),
        (role.period > 0, "periodic tokens"),
        (role.renewable, "renewable tokens"),
        (role.explicit_max_ttl > 0, "tokens with an explicit max TTL"),
    ];
    match unfit.into_iter().find(|(is_unfit, _)| *is_unfit) {
        Some((_, what)) => Err(TokenFault::BatchRole(what).into()),
        None => Ok(()),
    }
}

fn path_suffix(text: &str) -> Result<String, ApiError> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_short = !text.is_empty() && text.len() < 3;
    match text.contains("..") || is_short || !text.chars().all(is_fit) {
        true => Err(TokenFault::BadPathSuffix.into()),
        false => Ok(text.to_owned()),
    }
}

/// A network, or a single address.
fn network(text: &str) -> Result<IpNet, ApiError> {
    let text = text.trim();
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).or(Err(TokenFault::BadNetwork("token_bound_cidrs").into()))
}

fn warn_of_max(call: &Call<'_>, role: &TokenRole, warnings: &mut Warnings) {
    let most = call.node.auth().tokens().limits().max.as_secs();
    if role.explicit_max_ttl > most {
        warnings.add(format!(
            "Given explicit max TTL of {} is greater than system/mount allowed value of {most} \
             seconds; until this is fixed attempting to create tokens against this role will \
             result in an error",
            role.explicit_max_ttl
        ));
    }
}
