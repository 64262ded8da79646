//! What is below `auth/`: the tokens, and the mounts of methods.

use std::sync::Arc;

use super::{Endpoint, Operation};
use crate::api::ApiError;
use crate::auth::methods::{AuthMount, AuthTable, PathInMount};
use crate::auth::tokens::RoleName;

/// What is asked of a mounted method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodPath {
    /// The mount.
    pub mount: Arc<AuthMount>,
    /// The path below it; ends in a slash for a list.
    pub rest: Box<str>,
    /// What is wanted of it.
    pub operation: Operation,
}

/// What can be asked for below `auth/token/`, beside what a client asks about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEndpoint {
    /// `create`
    Create,
    /// `create-orphan`
    CreateOrphan,
    /// `create/:role`
    CreateFrom(RoleName),
    /// `lookup`, read or written to
    Lookup(Operation),
    /// `lookup-accessor`
    LookupAccessor,
    /// `renew`
    Renew,
    /// `renew-accessor`
    RenewAccessor,
    /// `revoke`
    Revoke,
    /// `revoke-self`
    RevokeSelf,
    /// `revoke-orphan`
    RevokeOrphan,
    /// `revoke-accessor`
    RevokeAccessor,
    /// `accessors`
    Accessors,
    /// `roles`
    Roles,
    /// `roles/:name`, read
    ReadRole(RoleName),
    /// `roles/:name`, written to
    WriteRole(RoleName),
    /// `roles/:name`, deleted
    DeleteRole(RoleName),
    /// `tidy`
    Tidy,
    /// `sys/tokens/in-use`
    InUse,
}

impl TokenEndpoint {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Create | Self::CreateOrphan | Self::CreateFrom(_) => "token_create",
            Self::Lookup(_) | Self::LookupAccessor => "token_lookup",
            Self::Renew | Self::RenewAccessor => "token_renew",
            Self::Revoke | Self::RevokeSelf | Self::RevokeOrphan | Self::RevokeAccessor => {
                "token_revoke"
            }
            Self::Accessors => "token_accessors",
            Self::Roles | Self::ReadRole(_) | Self::WriteRole(_) | Self::DeleteRole(_) => {
                "token_roles"
            }
            Self::Tidy => "token_tidy",
            Self::InUse => "tokens_in_use",
        }
    }
}

pub(super) fn token_target(rest: &str, operation: Operation) -> Result<Endpoint, ApiError> {
    use Operation::{Delete, List, Read, Update};
    let endpoint = match (rest, operation) {
        ("renew-self", Update) => return Ok(Endpoint::RenewSelf),
        ("lookup-self", Read | Update) => return Ok(Endpoint::LookupSelf(operation)),
        ("create", Update) => TokenEndpoint::Create,
        ("create-orphan", Update) => TokenEndpoint::CreateOrphan,
        ("lookup", Read | Update) => TokenEndpoint::Lookup(operation),
        ("lookup-accessor", Update) => TokenEndpoint::LookupAccessor,
        ("renew", Update) => TokenEndpoint::Renew,
        ("renew-accessor", Update) => TokenEndpoint::RenewAccessor,
        ("revoke", Update) => TokenEndpoint::Revoke,
        ("revoke-self", Update) => TokenEndpoint::RevokeSelf,
        ("revoke-orphan", Update) => TokenEndpoint::RevokeOrphan,
        ("revoke-accessor", Update) => TokenEndpoint::RevokeAccessor,
        ("accessors/", List) => TokenEndpoint::Accessors,
        ("roles/", List) => TokenEndpoint::Roles,
        ("tidy", Update) => TokenEndpoint::Tidy,
        (
            "renew-self" | "lookup-self" | "create" | "create-orphan" | "lookup"
            | "lookup-accessor" | "renew" | "renew-accessor" | "revoke" | "revoke-self"
            | "revoke-orphan" | "revoke-accessor" | "accessors" | "accessors/" | "roles" | "roles/"
            | "tidy",
            _,
        ) => return Err(ApiError::UnsupportedOperation),
        _ => match (rest.split_once('/'), operation) {
            (Some(("create", role)), Update) => TokenEndpoint::CreateFrom(role_name(role)?),
            (Some(("roles", role)), Read) => TokenEndpoint::ReadRole(role_name(role)?),
            (Some(("roles", role)), Update) => TokenEndpoint::WriteRole(role_name(role)?),
            (Some(("roles", role)), Delete) => TokenEndpoint::DeleteRole(role_name(role)?),
            (Some(("create" | "roles", _)), _) => return Err(ApiError::UnsupportedOperation),
            _ => return Err(ApiError::UnsupportedPath),
        },
    };
    Ok(Endpoint::Token(endpoint))
}

fn role_name(text: &str) -> Result<RoleName, ApiError> {
    text.parse().or(Err(ApiError::UnsupportedPath))
}

/// `below` is the path without `auth/`, of which `path` is the whole.
pub(super) fn method_target(
    path: &str,
    below: &str,
    operation: Operation,
    auth: AuthTable<'_>,
) -> Result<Endpoint, ApiError> {
    let found = auth.find(below).ok_or_else(|| ApiError::NoMount { path: path.into() })?;
    let is_login = auth.is_login(&found, operation);
    let PathInMount { mount, rest } = found;
    let path = MethodPath { mount, rest: rest.into(), operation };
    Ok(if is_login { Endpoint::Login(path) } else { Endpoint::Method(path) })
}
