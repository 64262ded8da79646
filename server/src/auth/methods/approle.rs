//! `approle`: a role's id, and a secret id that was made for it, make a token.

mod login;
mod role;
mod roles;
mod secret_id;
mod secret_ids;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use selkie_config::role_name;
use selkie_crypto::StateKey;
use uuid::Uuid;

use self::role::Role;
use self::roles::RoleField;
use self::secret_id::SecretId;
use self::secret_ids::NamedBy;
use super::documents::forget_mount;
use super::{AuthMount, Method, MethodError, MethodReply, MethodRequest, Renewal, Tools};
use crate::api::route::Operation;
use crate::auth::tokens::LargeMetadata;
use crate::state::records::{Mirror, Mirrors, Records, RecordsError};

/// The method, with what is kept for all its mounts.
#[derive(Debug, Default)]
pub(super) struct AppRole {
    roles: Arc<Mirror<Role>>,
    secret_ids: Arc<Mirror<SecretId>>,
}

/// What is wrong with a request. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum AppRoleProblem {
    #[error("missing role_id")]
    NoRoleId,
    #[error("missing secret_id")]
    NoSecretId,
    #[error("missing secret_id_accessor")]
    NoAccessor,
    #[error("invalid role or secret ID")]
    Invalid,
    #[error("source address \"{address}\" unauthorized by CIDR restrictions on the {of}")]
    Address { of: &'static str, address: IpAddr },
    #[error("permission denied")]
    PermissionDenied,
    #[error("role \"{name}\" does not exist")]
    NoRole { name: String },
    #[error("bind_secret_id is not set on the role")]
    NotBound,
    #[error("at least one constraint should be enabled on the role")]
    NoConstraint,
    #[error("local_secret_ids can only be modified during role creation")]
    LocalIsFixed,
    #[error("invalid role_id supplied, or failed to generate a role_id")]
    RoleId,
    #[error("role_id already in use")]
    RoleIdInUse,
    #[error("secret_id_num_uses cannot be negative")]
    NegativeRoleUses,
    #[error("num_uses cannot be negative")]
    NegativeUses,
    #[error("num_uses cannot be higher than the role's secret_id_num_uses")]
    ManyUses,
    #[error("ttl cannot be longer than the role's secret_id_ttl")]
    LongTtl,
    #[error("the CIDR blocks of a secret ID must lie within those of its role")]
    NoSubset,
    #[error("failed to parse metadata: expected an object whose values are text")]
    Metadata,
    #[error("metadata: {0}")]
    LargeMetadata(LargeMetadata),
    #[error("SecretID is already registered")]
    Registered,
    #[error("secret_id is too long")]
    LongSecretId,
    #[error("failed to find accessor entry for secret_id_accessor: \"{accessor}\"")]
    UnknownAccessor { accessor: String },
}

/// Why a login failed, which only the log may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum LoginFault {
    #[error("no role has this role id")]
    RoleId,
    #[error("the role has no such secret id")]
    SecretId,
    #[error("the secret id has expired")]
    Ended,
    #[error("it comes from outside the networks of the role")]
    Address,
    #[error("the networks of the secret id lie outside those that its role has by now")]
    Widened,
}

/// Where something is kept.
struct Place<'a> {
    mount: &'a AuthMount,
    tools: Tools<'a>,
}

#[async_trait]
impl Method for AppRole {
    fn kind(&self) -> &'static str {
        "approle"
    }

    fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        vec![Arc::clone(&self.roles) as _, Arc::clone(&self.secret_ids) as _]
    }

    fn is_login(&self, rest: &str, operation: Operation) -> bool {
        rest == "login" && operation == Operation::Update
    }

    fn creates(&self, mount: &AuthMount, rest: &str) -> bool {
        let name = rest.strip_prefix("role/").filter(|name| !name.contains('/'));
        let role = name.map(|name| self.role(mount, &name.to_ascii_lowercase()));
        matches!(role, Some(Ok(None)))
    }

    fn may_renew(&self, mount: &AuthMount, renewal: Renewal<'_>) -> bool {
        let name = renewal.metadata.get("role_name");
        name.is_some_and(|name| !matches!(self.role(mount, name), Ok(None)))
    }

    async fn answer(&self, request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError> {
        let segments: Vec<&str> = request.rest.split('/').collect();
        match (&segments[..], request.operation) {
            (["login"], Operation::Update) => self.login(request).await,
            (["tidy", "secret-id"], Operation::Update) => self.tidy(request.tools).await,
            (["role", ""], Operation::List) => Ok(self.list(request.mount)),
            (["role", name, below @ ..], _) => {
                let name = role_name(name).map_err(|_no_name| MethodError::UnsupportedPath)?;
                self.below_role(request, &name.to_ascii_lowercase(), below).await
            }
            (["login"] | ["tidy", "secret-id"] | ["role"], _) => {
                Err(MethodError::UnsupportedOperation)
            }
            _ => Err(MethodError::UnsupportedPath),
        }
    }

    async fn forget(&self, records: &Records, uuid: Uuid) -> Result<(), RecordsError> {
        forget_mount(records, &self.roles, uuid).await?;
        forget_mount(records, &self.secret_ids, uuid).await
    }
}

impl AppRole {
    async fn below_role(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
        below: &[&str],
    ) -> Result<MethodReply, MethodError> {
        use NamedBy::{Accessor, Itself};
        use Operation::{Delete, List, Update};
        match (below, request.operation) {
            ([], _) => self.whole_role(request, name).await,
            (["role-id"], _) => self.role_id(request, name).await,
            (["secret-id"], Update) => self.generate(request, name, false).await,
            (["custom-secret-id"], Update) => self.generate(request, name, true).await,
            (["secret-id", ""], List) => self.list_secret_ids(request, name).await,
            (["secret-id", "lookup"], Update) => self.look_up(request, name, Itself).await,
            (["secret-id", "destroy"], Update | Delete) => {
                self.destroy(request, name, Itself).await
            }
            (["secret-id-accessor", "lookup"], Update) => {
                self.look_up(request, name, Accessor).await
            }
            (["secret-id-accessor", "destroy"], Update | Delete) => {
                self.destroy(request, name, Accessor).await
            }
            (
                ["secret-id" | "custom-secret-id"]
                | ["secret-id" | "secret-id-accessor", "lookup" | "destroy"],
                _,
            ) => Err(MethodError::UnsupportedOperation),
            ([field], _) => match RoleField::at(field) {
                Some(field) => self.one_field(request, name, field).await,
                None => Err(MethodError::UnsupportedPath),
            },
            _ => Err(MethodError::UnsupportedPath),
        }
    }
}

/// Under which secret ids are hashed.
fn state_key(tools: Tools<'_>) -> Result<&StateKey, MethodError> {
    tools.records.store()?;
    Ok(tools.state_key.ok_or(RecordsError::StateSealed)?)
}

#[cfg(test)]
mod tests;
