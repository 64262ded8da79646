//! From a method and a URL to the endpoint they mean, or to the error that Vault gives.
//!
//! Vault finds some faults before it looks at the token ([`route`] fails) and others only after
//! the policy has let the request through ([`Route::target`] holds the error): without a right to
//! a path, nobody learns whether it exists.

use std::borrow::Cow;
use std::sync::Arc;

use http::{Method, Uri};
use selkie_access::{Capability, KeyName, MountPath};

use super::{
    ApiError,
    fields::go_bool,
    query::{Plus, Query, decode},
};
use crate::auth::methods::{AuthMount, AuthTable, Found};
use crate::auth::tokens::RoleName;
use crate::deployment::Mounts;
use crate::drill::DrillStep;

/// What a request wants of a path, in the words of Vault's policies; [`Operation::Update`] is
/// `create` where the operation finds that the key does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// GET
    Read,
    /// LIST, or GET with `list=true`
    List,
    /// PUT or POST
    Update,
    /// PATCH, which no endpoint here supports
    Patch,
    /// DELETE
    Delete,
    /// HEAD, which only health supports
    Header,
    /// OPTIONS, which no endpoint supports
    Options,
}

impl Operation {
    /// The capability that a policy must grant for it, where nothing more is known of the path.
    #[must_use]
    pub const fn capability(self) -> Capability {
        match self {
            Self::Read | Self::Header | Self::Options => Capability::Read,
            Self::List => Capability::List,
            Self::Update => Capability::Update,
            Self::Patch => Capability::Patch,
            Self::Delete => Capability::Delete,
        }
    }
}

/// A transit key by where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath {
    /// The mount.
    pub mount: MountPath,
    /// The key's name.
    pub key: KeyName,
}

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

/// What is asked of the mount of a method at a path, in `sys/auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthMountPath {
    /// As the request has it, without a final slash.
    pub path: Box<str>,
    /// What.
    pub action: MountAction,
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
    const fn name(&self) -> &'static str {
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

/// What a request means.
#[derive(Debug)]
pub struct Route<'r> {
    /// The path that policies speak of: without `/v1/`, with a final slash for a list.
    pub path: Cow<'r, str>,
    /// What is wanted of it.
    pub operation: Operation,
    /// What to do, or the error to give once token and policy have let the request through.
    pub target: Result<Endpoint, ApiError>,
    /// The parameters of the URL.
    pub query: Query<'r>,
}

/// Finds out what a request means.
///
/// # Errors
///
/// What Vault refuses whoever asks: a URL outside `/v1/` or with bytes that are no text, a method
/// it does not know, `list` that is no truth value, a write to a path that ends in `/`.
pub(crate) fn route<'r>(
    method: &Method,
    uri: &'r Uri,
    mounts: &Mounts,
    auth: AuthTable<'_>,
) -> Result<Route<'r>, ApiError> {
    let url_path = decode(uri.path(), Plus::Plus).or(Err(ApiError::UnreadablePath))?.into_public();
    if url_path.contains(char::is_control) {
        return Err(ApiError::UnreadablePath);
    }
    let mut path = strip_version(url_path)?;
    let query = Query::parse(uri.query());
    if let Some(endpoint) = open_endpoint(&path) {
        let operation = open_operation(method, &endpoint)?;
        return Ok(Route { path, operation, target: Ok(endpoint), query });
    }
    let operation = operation(method, &query)?;
    if operation == Operation::List && !path.ends_with('/') {
        path.to_mut().push('/');
    }
    if operation == Operation::Update && path.ends_with('/') {
        return Err(ApiError::WriteToSlash);
    }
    let target = target(&path, operation, mounts, auth);
    Ok(Route { path, operation, target, query })
}

fn strip_version(path: Cow<'_, str>) -> Result<Cow<'_, str>, ApiError> {
    const VERSION: &str = "/v1/";
    match path {
        Cow::Borrowed(path) => path.strip_prefix(VERSION).map(Cow::Borrowed),
        Cow::Owned(path) => path.strip_prefix(VERSION).map(|path| Cow::Owned(path.to_owned())),
    }
    .ok_or(ApiError::OutsideApi)
}

fn open_endpoint(path: &str) -> Option<Endpoint> {
    Some(match path {
        "sys/health" => Endpoint::Health,
        "sys/seal-status" => Endpoint::SealStatus,
        "sys/leader" => Endpoint::Leader,
        "sys/init" => Endpoint::Init,
        _ => return None,
    })
}

/// These answer outside Vault's request path, and so know methods, not operations.
fn open_operation(method: &Method, endpoint: &Endpoint) -> Result<Operation, ApiError> {
    match (method.as_str(), endpoint) {
        ("GET", _) => Ok(Operation::Read),
        ("HEAD", Endpoint::Health) => Ok(Operation::Header),
        ("PUT" | "POST", Endpoint::Init) => Err(ApiError::AlreadyInitialized),
        _ => Err(ApiError::UnknownMethod),
    }
}

fn operation(method: &Method, query: &Query<'_>) -> Result<Operation, ApiError> {
    match method.as_str() {
        "GET" => match query.first("list").map(go_bool) {
            Some(Some(true)) => Ok(Operation::List),
            Some(None) => Err(ApiError::BadListParameter),
            Some(Some(false)) | None => Ok(Operation::Read),
        },
        "LIST" => Ok(Operation::List),
        "PUT" | "POST" => Ok(Operation::Update),
        "PATCH" => Ok(Operation::Patch),
        "DELETE" => Ok(Operation::Delete),
        "HEAD" => Ok(Operation::Header),
        "OPTIONS" => Ok(Operation::Options),
        _ => Err(ApiError::UnknownMethod),
    }
}

fn target(
    path: &str,
    operation: Operation,
    mounts: &Mounts,
    auth: AuthTable<'_>,
) -> Result<Endpoint, ApiError> {
    // Vault's storage refuses such a key, wherever the dots are.
    if path.contains("..") {
        return Err(ApiError::RelativePath);
    }
    if let Some(rest) = strip_mount(path, "auth/token/") {
        return token_target(rest, operation);
    }
    if let Some(below) = path.strip_prefix("auth/") {
        let found = auth.find(below).ok_or_else(|| ApiError::NoMount { path: path.into() })?;
        let is_login = auth.is_login(&found, operation);
        let Found { mount, rest } = found;
        let path = MethodPath { mount, rest: rest.into(), operation };
        return Ok(if is_login { Endpoint::Login(path) } else { Endpoint::Method(path) });
    }
    if let Some(rest) = strip_mount(path, "sys/") {
        return sys_target(rest, operation);
    }
    let Some((mount, rest)) = mounts.split(path) else {
        return Err(ApiError::NoMount { path: path.into() });
    };
    transit_target(mount, rest, operation)
}

fn strip_mount<'p>(path: &'p str, mount: &str) -> Option<&'p str> {
    path.strip_prefix(mount).or_else(|| (mount.strip_suffix('/') == Some(path)).then_some(""))
}

fn token_target(rest: &str, operation: Operation) -> Result<Endpoint, ApiError> {
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

fn sys_target(rest: &str, operation: Operation) -> Result<Endpoint, ApiError> {
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
        _ => return sys_subpath_target(rest, operation),
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
fn sys_subpath_target(rest: &str, operation: Operation) -> Result<Endpoint, ApiError> {
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
        return auth_mount_target(path, operation);
    }
    // Where the CLI tunes it.
    let tuned = rest.strip_prefix("mounts/auth/").filter(|path| path.ends_with("/tune"));
    if let Some(path) = tuned.filter(|path| *path != "/tune") {
        return auth_mount_target(path, operation);
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

fn auth_mount_target(path: &str, operation: Operation) -> Result<Endpoint, ApiError> {
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
    Ok(Endpoint::AuthMount(AuthMountPath { path, action }))
}

fn drill_step(rest: &str) -> Option<DrillStep> {
    rest.strip_prefix("drill/")?.parse().ok()
}

fn transit_target(
    mount: &MountPath,
    rest: &str,
    operation: Operation,
) -> Result<Endpoint, ApiError> {
    if matches!(rest, "keys" | "keys/") {
        return match operation {
            Operation::List => Ok(Endpoint::ListKeys(mount.clone())),
            _ => Err(ApiError::UnsupportedOperation),
        };
    }
    let mut segments = rest.split('/');
    let (Some(verb), Some(name)) = (segments.next(), segments.next()) else {
        return Err(ApiError::UnsupportedPath);
    };
    let (action, None) = (segments.next(), segments.next()) else {
        return Err(ApiError::UnsupportedPath);
    };
    let Ok(key) = name.parse() else {
        return Err(ApiError::UnsupportedPath);
    };
    let key = KeyPath { mount: mount.clone(), key };
    match (verb, action, operation) {
        ("encrypt", None, Operation::Update) => Ok(Endpoint::Encrypt(key)),
        ("decrypt", None, Operation::Update) => Ok(Endpoint::Decrypt(key)),
        ("rewrap", None, Operation::Update) => Ok(Endpoint::Rewrap(key)),
        ("keys", None, Operation::Update) => Ok(Endpoint::CreateKey(key)),
        ("keys", None, Operation::Read) => Ok(Endpoint::ReadKey(key)),
        ("keys", None, Operation::Delete) => Ok(Endpoint::DeleteKey(key)),
        ("keys", Some("config"), Operation::Update) => Ok(Endpoint::ConfigureKey(key)),
        ("keys", Some("rotate"), Operation::Update) => Ok(Endpoint::RotateKey(key)),
        ("keys", Some("trim"), Operation::Update) => Ok(Endpoint::TrimKey(key)),
        ("encrypt" | "decrypt" | "rewrap" | "keys", None, _)
        | ("keys", Some("config" | "rotate" | "trim"), _) => Err(ApiError::UnsupportedOperation),
        _ => Err(ApiError::UnsupportedPath),
    }
}

#[cfg(test)]
mod tests;
