//! Key Vault's errors, with its codes and the wording that is known of them.

use http::{HeaderName, Method, StatusCode, header};
use serde_json::json;

use crate::reply::{Content, Reply, Request};

/// A request that is refused.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: &'static str,
    inner: Option<&'static str>,
    message: String,
    headers: Vec<(HeaderName, String)>,
    has_body: bool,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, code, inner: None, message, headers: Vec::new(), has_body: true }
    }

    pub(crate) fn forbidden(inner: &'static str, message: impl Into<String>) -> Self {
        Self { inner: Some(inner), ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadParameter", message)
    }

    pub(crate) fn internal() -> Self {
        let message = "The emulator cannot make this key.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }

    pub(crate) fn key_not_found(name: &str, version: Option<&str>) -> Self {
        let id = match version.filter(|v| !v.is_empty()) {
            Some(version) => format!("{name}/{version}"),
            None => name.to_owned(),
        };
        let message = format!(
            "A key with (name/id) {id} was not found in this key vault. If you recently deleted this key you \
             may be able to recover it using the correct recovery command. For help resolving this issue, \
             please see https://go.microsoft.com/fwlink/?linkid=2125182"
        );
        Self::new(StatusCode::NOT_FOUND, "KeyNotFound", message)
    }

    pub(crate) fn deleted_key_not_found(name: &str) -> Self {
        let message = format!("Deleted Key not found: {name}");
        Self::new(StatusCode::NOT_FOUND, "KeyNotFound", message)
    }

    pub(crate) fn vault_not_found(name: &str) -> Self {
        let message =
            format!("The emulator has no vault {name:?}. The real service has no DNS name then.");
        Self::new(StatusCode::NOT_FOUND, "VaultNotFound", message)
    }

    pub(crate) fn name_is_deleted(name: &str) -> Self {
        let message = format!(
            "Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; \
             in this state, the key can only be recovered or purged."
        );
        let inner = Some("ObjectIsDeletedButRecoverable");
        Self { inner, ..Self::new(StatusCode::CONFLICT, "Conflict", message) }
    }

    pub(crate) fn name_is_taken(name: &str) -> Self {
        let message = format!("The key {name} exists already.");
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    pub(crate) fn no_such_route(request: &Request) -> Self {
        let message = format!(
            "The emulator has no {} {}. It plays keys alone, not secrets or certificates.",
            request.method, request.path
        );
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(crate) fn wrong_method(request: &Request) -> Self {
        let message = format!("{} is not allowed here.", request.method);
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn throttled(retry_after: Option<u32>) -> Self {
        let message = "Request was not processed because too many requests were received. \
                       Reason: VaultRequestTypeLimitReached";
        let mut failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "Throttled", message);
        if let Some(seconds) = retry_after {
            failure.headers.push((header::RETRY_AFTER, seconds.to_string()));
        }
        failure
    }

    /// 401; without a message the body is empty, as after a request without a token.
    pub(crate) fn unauthorized(challenge: String, message: Option<String>) -> Self {
        Self {
            has_body: message.is_some(),
            headers: vec![(header::WWW_AUTHENTICATE, challenge)],
            ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message.unwrap_or_default())
        }
    }

    /// The answer that says so.
    pub(crate) fn into_reply(self, method: &Method) -> Reply {
        let content = if self.has_body && method != Method::HEAD {
            let mut error = json!({ "code": self.code, "message": self.message });
            if let (Some(inner), Some(error)) = (self.inner, error.as_object_mut()) {
                error.insert("innererror".into(), json!({ "code": inner }));
            }
            Content::Json(json!({ "error": error }))
        } else {
            Content::Empty
        };
        Reply { status: self.status, headers: self.headers, content }
    }
}
