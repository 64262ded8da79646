//! All endpoints, and what stands before each. A new one must say who may ask.

use selkie_access::MountPath;

use super::{
    AuthMountPath, CapabilitiesOf, KeyPath, MethodPath, Operation, PolicyPath, TokenEndpoint,
    WrappingStep,
};
use crate::drill::DrillStep;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `encrypt/:name`
    Encrypt(KeyPath),
    /// `decrypt/:name`
    Decrypt(KeyPath),
    /// `rewrap/:name`
    Rewrap(KeyPath),
    /// `keys/:name`
    CreateKey(KeyPath),
    /// `keys/:name`
    ReadKey(KeyPath),
    /// `keys/:name`
    DeleteKey(KeyPath),
    /// `keys/:name/config`
    ConfigureKey(KeyPath),
    /// `keys/:name/rotate`
    RotateKey(KeyPath),
    /// `keys/:name/trim`
    TrimKey(KeyPath),
    /// `keys`, of this mount
    ListKeys(MountPath),
    /// `auth/token/renew-self`
    RenewSelf,
    /// `auth/token/lookup-self`, read or, as Vault allows as well, written to
    LookupSelf(Operation),
    /// A path below the mount of a method that asks for no token.
    Login(MethodPath),
    /// Any other path below the mount of a method.
    Method(MethodPath),
    /// `sys/auth`
    AuthMounts,
    /// `sys/auth/:path`
    AuthMount(AuthMountPath),
    /// Another path of `auth/token/`
    Token(TokenEndpoint),
    /// `sys/wrapping/:step`
    Wrapping(WrappingStep),
    /// `sys/capabilities` and its siblings
    Capabilities(CapabilitiesOf),
    /// `sys/policies/acl`
    ListPolicies(PolicyPath, Operation),
    /// `sys/policies/acl/:name`
    Policy(PolicyPath, Box<str>, Operation),
    /// `sys/mounts`
    Mounts,
    /// `sys/audit`
    ListAudit,
    /// `sys/audit/:path`, enable or disable
    ChangeAudit(Box<str>, Operation),
    /// `sys/audit-hash/:path`
    AuditHash(Box<str>),
    /// `sys/seal-backend-status`
    SealBackendStatus,
    /// `sys/ha-status`
    HaStatus,
    /// `sys/drill`, the steps
    ListDrill,
    /// `sys/drill/:step`
    Drill(DrillStep),
    /// `sys/takeover`
    Takeover,
    /// `sys/metrics`
    Metrics,
    /// `sys/storage/selkie/snapshot`
    Snapshot,
    /// `sys/internal/ui/mounts`
    UiMounts,
    /// `sys/internal/ui/mounts/:path`
    UiMount(Box<str>),
    /// `sys/health`
    Health,
    /// `sys/seal-status`
    SealStatus,
    /// `sys/leader`
    Leader,
    /// `sys/init`
    Init,
}

/// What stands between a request and an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: no token is looked at.
    Open,
    /// No token is looked at: whoever asks shows who they are by other means.
    Login,
    /// No policy on the path itself; the answer shows what the token, if there is one, may see.
    ByToken,
    /// A valid token, and a policy that allows the operation on the path.
    ByPolicy,
}

impl Endpoint {
    /// Whether it may have to wait for a KMS for many seconds. An encrypt may for one and a half,
    /// and is a restarting Vault's first act, without which it does not start.
    #[must_use]
    pub const fn asks_a_kms(&self) -> bool {
        matches!(self, Self::Decrypt(_) | Self::Rewrap(_) | Self::Drill(_) | Self::Snapshot)
    }

    /// Whether it may be sent as much as the listener takes: plaintexts, ciphertexts and batches of
    /// them, and policies. What all others are sent is a list or a certificate at most.
    #[must_use]
    pub const fn may_be_sent_much(&self) -> bool {
        matches!(self, Self::Encrypt(_) | Self::Decrypt(_) | Self::Rewrap(_) | Self::Policy(..))
    }

    /// Whether its answer can be wrapped. A seal asks for none of that and could not go on with it;
    /// what unwraps is not wrapped again.
    #[must_use]
    pub const fn can_be_wrapped(&self) -> bool {
        !matches!(
            self,
            Self::Encrypt(_)
                | Self::Decrypt(_)
                | Self::Rewrap(_)
                | Self::RenewSelf
                | Self::Wrapping(
                    WrappingStep::Unwrap | WrappingStep::Lookup | WrappingStep::Rewrap
                )
        )
    }

    /// The key that it is about; `None` if it is about none.
    #[must_use]
    pub const fn key(&self) -> Option<&KeyPath> {
        match self {
            Self::Encrypt(at)
            | Self::Decrypt(at)
            | Self::Rewrap(at)
            | Self::CreateKey(at)
            | Self::ReadKey(at)
            | Self::DeleteKey(at)
            | Self::ConfigureKey(at)
            | Self::RotateKey(at)
            | Self::TrimKey(at) => Some(at),
            _ => None,
        }
    }

    /// Its name, for metrics and traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Encrypt(_) => "encrypt",
            Self::Decrypt(_) => "decrypt",
            Self::Rewrap(_) => "rewrap",
            Self::CreateKey(_) => "create_key",
            Self::ReadKey(_) => "read_key",
            Self::DeleteKey(_) => "delete_key",
            Self::ConfigureKey(_) => "configure_key",
            Self::RotateKey(_) => "rotate_key",
            Self::TrimKey(_) => "trim_key",
            Self::ListKeys(_) => "list_keys",
            Self::RenewSelf => "renew_self",
            Self::LookupSelf(_) => "lookup_self",
            Self::Login(_) => "login",
            Self::Method(_) => "auth_method",
            Self::AuthMounts | Self::AuthMount(_) => "auth_mounts",
            Self::Token(endpoint) => endpoint.name(),
            Self::Wrapping(_) => "wrapping",
            Self::Capabilities(CapabilitiesOf::Oneself) => "capabilities_self",
            Self::Capabilities(_) => "capabilities",
            Self::ListPolicies(..) => "list_policies",
            Self::Policy(..) => "policy",
            Self::Mounts => "mounts",
            Self::ListAudit => "list_audit",
            Self::ChangeAudit(..) => "change_audit",
            Self::AuditHash(_) => "audit_hash",
            Self::SealBackendStatus => "seal_backend_status",
            Self::HaStatus => "ha_status",
            Self::ListDrill => "list_drill",
            Self::Drill(_) => "drill",
            Self::Snapshot => "snapshot",
            Self::Metrics => "metrics",
            Self::Takeover => "takeover",
            Self::UiMounts | Self::UiMount(_) => "ui_mounts",
            Self::Health => "health",
            Self::SealStatus => "seal_status",
            Self::Leader => "leader",
            Self::Init => "init",
        }
    }

    /// What must be checked before it is asked.
    #[must_use]
    pub const fn access(&self) -> Access {
        match self {
            Self::Health | Self::SealStatus | Self::Leader | Self::Init => Access::Open,
            Self::UiMounts | Self::UiMount(_) => Access::ByToken,
            Self::Login(_) => Access::Login,
            Self::Encrypt(_)
            | Self::Decrypt(_)
            | Self::Rewrap(_)
            | Self::CreateKey(_)
            | Self::ReadKey(_)
            | Self::DeleteKey(_)
            | Self::ConfigureKey(_)
            | Self::RotateKey(_)
            | Self::TrimKey(_)
            | Self::ListKeys(_)
            | Self::RenewSelf
            | Self::LookupSelf(_)
            | Self::Method(_)
            | Self::AuthMounts
            | Self::AuthMount(_)
            | Self::Token(_)
            | Self::Capabilities(_)
            | Self::Wrapping(_)
            | Self::ListPolicies(..)
            | Self::Policy(..)
            | Self::SealBackendStatus
            | Self::HaStatus
            | Self::ListDrill
            | Self::Drill(_)
            | Self::Metrics
            | Self::Takeover
            | Self::Snapshot
            | Self::ListAudit
            | Self::ChangeAudit(..)
            | Self::AuditHash(_)
            | Self::Mounts => Access::ByPolicy,
        }
    }
}
