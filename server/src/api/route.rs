//! From a method and a URL to the endpoint they mean, or to the error that Vault gives.
//!
//! Vault finds some faults before it looks at the token ([`route`] fails) and others only after
//! the policy has let the request through ([`Route::target`] holds the error): without a right to
//! a path, nobody learns whether it exists.

mod auth;
mod endpoint;
mod sys;
mod transit;

use std::borrow::Cow;

use http::{Method, Uri};
use selkie_access::Capability;

pub use self::auth::{MethodPath, TokenEndpoint};
pub use self::endpoint::{Access, Endpoint};
pub use self::sys::{
    AuthMountPath, AuthMountsPath, CapabilitiesOf, MountAction, PolicyPath, WrappingStep,
};
pub use self::transit::KeyPath;
use super::{
    ApiError,
    fields::go_bool,
    query::{Plus, Query, decode},
};
use crate::auth::methods::AuthTable;
use crate::deployment::Mounts;

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
    table: AuthTable<'_>,
) -> Result<Endpoint, ApiError> {
    // Vault's storage refuses such a key, wherever the dots are.
    if path.contains("..") {
        return Err(ApiError::RelativePath);
    }
    if let Some(rest) = strip_mount(path, "auth/token/") {
        return auth::token_target(rest, operation);
    }
    if let Some(below) = path.strip_prefix("auth/") {
        return auth::method_target(path, below, operation, table);
    }
    if let Some(rest) = strip_mount(path, "sys/") {
        return sys::target(rest, operation);
    }
    let Some((mount, rest)) = mounts.split(path) else {
        return Err(ApiError::NoMount { path: path.into() });
    };
    transit::target(mount, rest, operation)
}

fn strip_mount<'p>(path: &'p str, mount: &str) -> Option<&'p str> {
    path.strip_prefix(mount).or_else(|| (mount.strip_suffix('/') == Some(path)).then_some(""))
}

#[cfg(test)]
mod tests;
