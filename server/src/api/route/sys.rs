//! What is below `sys/`.

use super::{Endpoint, Operation, TokenEndpoint};
use crate::api::ApiError;
use crate::drill::DrillStep;

/// Whose capabilities are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapabilitiesOf {
    /// Of a token whose text is given.
    Token,
    /// Of the request's own token.
    Oneself,
    /// Of a token whose accessor is given.
    Accessor,
}

impl CapabilitiesOf {
    /// The path that policies speak of.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Token => "sys/capabilities",
            Self::Oneself => "sys/capabilities-self",
            Self::Accessor => "sys/capabilities-accessor",
        }
    }
}

/// What is done to a wrapped response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrappingStep {
    /// The request's own fields are wrapped.
    Wrap,
    /// It is given.
    Unwrap,
    /// It is told when and by what it was made.
    Lookup,
    /// It is kept for another token.
    Rewrap,
}

impl WrappingStep {
    /// The path that policies speak of.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Wrap => "sys/wrapping/wrap",
            Self::Unwrap => "sys/wrapping/unwrap",
            Self::Lookup => "sys/wrapping/lookup",
            Self::Rewrap => "sys/wrapping/rewrap",
        }
    }

    fn of(rest: &str) -> Option<Self> {
        Some(match rest.strip_prefix("wrapping/")? {
            "wrap" => Self::Wrap,
            "unwrap" => Self::Unwrap,
            "lookup" => Self::Lookup,
            "rewrap" => Self::Rewrap,
            _ => return None,
        })
    }
}

/// By which of its two paths a policy is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyPath {
    /// `sys/policies/acl`
    Acl,
    /// `sys/policy`
    Legacy,
}

impl PolicyPath {
    /// The path of the policy `name`, as policies speak of it.
    #[must_use]
    pub fn path(self, name: &str) -> String {
        let before = match self {
            Self::Acl => "sys/policies/acl/",
            Self::Legacy => "sys/policy/",
        };
        [before, name].concat()
    }
}

/// What is asked of the mount of a method at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthMountPath {
    /// Below which path it is asked.
    pub below: AuthMountsPath,
    /// As the request has it, without a final slash.
    pub path: Box<str>,
    /// What.
    pub action: MountAction,
}

/// By which of its two paths the mount of a method is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMountsPath {
    /// `sys/auth`
    Auth,
    /// `sys/mounts/auth`, where it can be tuned alone
    Mounts,
}

impl AuthMountPath {
    /// The path that policies speak of.
    #[must_use]
    pub fn path(&self) -> String {
        let below = match self.below {
            AuthMountsPath::Auth => "sys/auth/",
            AuthMountsPath::Mounts => "sys/mounts/auth/",
        };
        let tune = match self.action {
            MountAction::ReadTune | MountAction::Tune => "/tune",
            MountAction::Read | MountAction::Enable | MountAction::Disable => "",
        };
        [below, &self.path, tune].concat()
    }
}

/// What is asked of the mount of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountAction {
    /// `sys/auth/:path`, read
    Read,
    /// `sys/auth/:path`, write
    Enable,
    /// `sys/auth/:path`, delete
    Disable,
    /// `sys/auth/:path/tune`, read
    ReadTune,
    /// `sys/auth/:path/tune`, write
    Tune,
}

pub(super) fn target(rest: &str, operation: Operation) -> Result<Endpoint, ApiError> {
    let endpoint = match rest {
        "capabilities" => return capabilities_target(CapabilitiesOf::Token, operation),
        "capabilities-self" => return capabilities_target(CapabilitiesOf::Oneself, operation),
        "capabilities-accessor" => return capabilities_target(CapabilitiesOf::Accessor, operation),
        "drill/" if operation == Operation::List => return Ok(Endpoint::ListDrill),
        "drill" | "drill/" => return Err(ApiError::UnsupportedOperation),
        "auth" => Endpoint::AuthMounts,
        "mounts" => Endpoint::Mounts,
        "audit" => Endpoint::ListAudit,
        "ha-status" => Endpoint::HaStatus,
        "seal-backend-status" => Endpoint::SealBackendStatus,
        "metrics" => Endpoint::Metrics,
        "takeover" => Endpoint::Takeover,
        "tokens/in-use" => Endpoint::Token(TokenEndpoint::InUse),
        "storage/selkie/snapshot" => Endpoint::Snapshot,
        "internal/ui/mounts" => Endpoint::UiMounts,
        _ => return subpath_target(rest, operation),
    };
    if operation == Operation::Read { Ok(endpoint) } else { Err(ApiError::UnsupportedOperation) }
}

fn capabilities_target(of: CapabilitiesOf, operation: Operation) -> Result<Endpoint, ApiError> {
    match operation {
        Operation::Update => Ok(Endpoint::Capabilities(of)),
        _ => Err(ApiError::UnsupportedOperation),
    }
}

/// `None` if it is not about policies.
fn policy_target(rest: &str, operation: Operation) -> Option<Result<Endpoint, ApiError>> {
    let (path, name) = match (rest.strip_prefix("policies/acl"), rest.strip_prefix("policy")) {
        (Some(name), _) => (PolicyPath::Acl, name),
        (None, Some(name)) => (PolicyPath::Legacy, name),
        (None, None) => return None,
    };
    if matches!(name, "" | "/") {
        return Some(match (operation, path) {
            (Operation::List, _) | (Operation::Read, PolicyPath::Legacy) => {
                Ok(Endpoint::ListPolicies(path, operation))
            }
            _ => Err(ApiError::UnsupportedOperation),
        });
    }
    let name = name.strip_prefix('/')?;
    Some(match operation {
        Operation::Read | Operation::Update | Operation::Delete => {
            Ok(Endpoint::Policy(path, name.into(), operation))
        }
        _ => Err(ApiError::UnsupportedOperation),
    })
}

/// The paths of `sys/` that end in something of the client's.
fn subpath_target(rest: &str, operation: Operation) -> Result<Endpoint, ApiError> {
    if let Some(step) = WrappingStep::of(rest) {
        // Vault reads what it looks up as well.
        let is_read = operation == Operation::Read && step == WrappingStep::Lookup;
        return match operation == Operation::Update || is_read {
            true => Ok(Endpoint::Wrapping(step)),
            false => Err(ApiError::UnsupportedOperation),
        };
    }
    if let Some(target) = policy_target(rest, operation) {
        return target;
    }
    if let Some(endpoint) = audit_target(rest, operation) {
        return endpoint;
    }
    if let Some(path) = rest.strip_prefix("auth/").filter(|path| !path.is_empty()) {
        return auth_mount_target(AuthMountsPath::Auth, path, operation);
    }
    // Where the CLI, Go's client and Terraform tune it.
    let tuned = rest.strip_prefix("mounts/auth/").filter(|path| path.ends_with("/tune"));
    if let Some(path) = tuned.filter(|path| *path != "/tune") {
        return auth_mount_target(AuthMountsPath::Mounts, path, operation);
    }
    let (endpoint, its) = match (rest.strip_prefix("internal/ui/mounts/"), drill_step(rest)) {
        (Some(path), _) if !path.is_empty() => (Endpoint::UiMount(path.into()), Operation::Read),
        (_, Some(step)) => (Endpoint::Drill(step), Operation::Update),
        _ => return Err(ApiError::UnsupportedPath),
    };
    if operation == its { Ok(endpoint) } else { Err(ApiError::UnsupportedOperation) }
}

fn audit_target(rest: &str, operation: Operation) -> Option<Result<Endpoint, ApiError>> {
    let name = |prefix: &str| rest.strip_prefix(prefix).filter(|name| !name.is_empty());
    Some(match (name("audit/"), name("audit-hash/"), operation) {
        (Some(path), _, Operation::Update | Operation::Delete) => {
            Ok(Endpoint::ChangeAudit(path.into(), operation))
        }
        (_, Some(path), Operation::Update) => Ok(Endpoint::AuditHash(path.into())),
        (Some(_), ..) | (_, Some(_), _) => Err(ApiError::UnsupportedOperation),
        (None, None, _) => return None,
    })
}

fn auth_mount_target(
    below: AuthMountsPath,
    path: &str,
    operation: Operation,
) -> Result<Endpoint, ApiError> {
    let (path, is_tune) = match path.strip_suffix("/tune") {
        Some(mount) if !mount.is_empty() => (mount, true),
        _ => (path, false),
    };
    let action = match (operation, is_tune) {
        (Operation::Read, false) => MountAction::Read,
        (Operation::Update, false) => MountAction::Enable,
        (Operation::Delete, false) => MountAction::Disable,
        (Operation::Read, true) => MountAction::ReadTune,
        (Operation::Update, true) => MountAction::Tune,
        _ => return Err(ApiError::UnsupportedOperation),
    };
    let path = path.trim_end_matches('/').into();
    Ok(Endpoint::AuthMount(AuthMountPath { below, path, action }))
}

fn drill_step(rest: &str) -> Option<DrillStep> {
    rest.strip_prefix("drill/")?.parse().ok()
}
