//! Answers in place of the service's own: Vault's words, or those of a proxy before it.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use selkie_config::FaultyOperation;
use serde::Serialize;

use crate::api::health::{self, Cluster, HealthBody, NodeState};
use crate::api::json::to_go_json;
use crate::api::query::Query;
use crate::api::quote::Quoted;

#[derive(Serialize)]
struct Errors {
    errors: Vec<String>,
}

/// An error of this status, in the given words or in Vault's.
pub(super) fn error(
    status: u16,
    words: Option<&str>,
    operation: Option<FaultyOperation>,
    path: &str,
) -> Response {
    let words = match words {
        Some(words) => Some(words.to_owned()),
        // Vault never sends these: whatever stands before it does.
        None if matches!(status, 502 | 504) => return page(status),
        None => vaults_words(status, operation, path),
    };
    let errors = Errors { errors: words.into_iter().collect() };
    in_json(status, &errors)
}

/// What Vault 1.14 says with this status, to this operation; 404 has no words.
fn vaults_words(status: u16, operation: Option<FaultyOperation>, path: &str) -> Option<String> {
    Some(match (status, operation) {
        (404, _) => return None,
        (400, Some(FaultyOperation::Decrypt | FaultyOperation::Rewrap)) => {
            "cipher: message authentication failed".to_owned()
        }
        (400, Some(FaultyOperation::Encrypt)) => "encryption key not found".to_owned(),
        (400, Some(FaultyOperation::RenewSelf)) => "lease is not renewable".to_owned(),
        (400, _) => "1 error occurred:\n\t* invalid request\n\n".to_owned(),
        (403, _) => "permission denied".to_owned(),
        (412, _) => "1 error occurred:\n\t* required index state not present\n\n".to_owned(),
        (429, _) => format!("request path {}: rate limit quota exceeded", Quoted(path)),
        (501, _) => "Vault is not initialized".to_owned(),
        (503, _) => "Vault is sealed".to_owned(),
        _ => "1 error occurred:\n\t* internal error\n\n".to_owned(),
    })
}

/// What health says of a sealed Vault.
pub(super) fn sealed_health(unix_seconds: u64, happened: u64, query: &Query<'_>) -> Response {
    let state = NodeState::Sealed;
    let Ok(status) = health::status(state, query) else { return error(400, None, None, "") };
    let time = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    let body = HealthBody::new(state, time, Cluster { name: "", id: "" });
    let body = body.of_bench(Some(happened));
    match health::forbids_body(status) {
        true => with_status(status.as_u16(), Body::empty(), "application/json"),
        false => in_json(status.as_u16(), &body),
    }
}

/// The page of a proxy that does not reach what is behind it.
pub(super) fn page(status: u16) -> Response {
    let title = match StatusCode::from_u16(status) {
        Ok(status) if !status.is_success() => status.canonical_reason().unwrap_or("Error"),
        _ => "Please log in to the network",
    };
    let text = format!("<html><head><title>{title}</title></head><body>{title}</body></html>\n");
    with_status(status, Body::from(text), "text/html")
}

/// 200 and nothing.
pub(super) fn empty() -> Response {
    with_status(200, Body::empty(), "application/json")
}

fn in_json(status: u16, value: &impl Serialize) -> Response {
    // None of these fails to serialise; if one did, an empty body were a fault as well.
    let mut body = to_go_json(value).unwrap_or_default();
    body.push(b'\n');
    with_status(status, Body::from(body), "application/json")
}

fn with_status(status: u16, body: Body, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
