//! One request: read, judged by the fault rules, answered, counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::body::{AnswerBody, End};
use super::effects;
use super::listener::Connection;
use super::target::Target;
use crate::emulator::Emulator;
use crate::faults::{Decision, Effect, How, Subject};
use crate::key_vault::{self, Call};
use crate::reply::{Content, Reply, Request};
use crate::stats::{Line, Served};
use crate::{control, entra, identity};

/// No body is larger.
const LARGEST_BODY: usize = 1024 * 1024;

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped by a fault rule")]
pub(crate) struct Dropped;

/// Answers one request.
pub(crate) async fn handle(
    emulator: Arc<Emulator>,
    connection: Arc<Connection>,
    request: hyper::Request<Incoming>,
) -> Result<Response<AnswerBody>, Dropped> {
    let (head, body) = request.into_parts();
    let host = host(&head, &connection);
    let path = head.uri.path().to_owned();
    if !connection.is_tls && (path == "/control" || path.starts_with("/control/")) {
        let reply = match read(head, body, host, &connection).await {
            Ok(request) => control::answer(&emulator, &request).await,
            Err(refusal) => refusal,
        };
        return Ok(response(reply, End::Whole));
    }
    let target = if connection.is_tls {
        Target::of_https(&emulator, &head.method, &host, &path)
    } else {
        Target::of_http(&path)
    };
    let request_id = uuid::Uuid::new_v4().to_string();
    let line = line(&head, &target, &request_id);
    let client_request_id = line.client_request_id.clone();
    let authenticated = line.authenticated;
    let mut served = emulator.stats.begin(line);
    let decision = decide(&emulator, &target, authenticated);
    let how = decision.how.clone();
    let effect = how.as_ref().and_then(|how| how.effect);
    if how.is_some() {
        served.mark_fault();
    }
    let request = read(head, body, host, &connection).await;
    let reply = judge(&emulator, &connection, &target, request, decision, &mut served).await?;
    served.finish(reply.status.as_u16(), reply.is_challenge());
    let reply = with_service_headers(&emulator, &target, reply, request_id, client_request_id);
    Ok(response(reply, effects::end(effect)))
}

fn decide(emulator: &Emulator, target: &Target, authenticated: bool) -> Decision {
    let subject = Subject {
        service: target.service(),
        operation: target.operation(),
        vault: target.vault(),
        key: target.route().and_then(|route| route.key.as_deref()),
        authenticated,
    };
    emulator.faults.decide(subject, emulator.clock.now_ms())
}

/// Does what the rules say, and else answers truly.
async fn judge(
    emulator: &Arc<Emulator>,
    connection: &Connection,
    target: &Target,
    request: Result<Request, Reply>,
    decision: Decision,
    served: &mut Served,
) -> Result<Reply, Dropped> {
    if !decision.latency.is_zero() {
        tokio::time::sleep(decision.latency).await;
    }
    let how = decision.how.as_deref();
    let effect = how.and_then(|how| how.effect);
    match effect {
        Some(Effect::Hang) => {
            served.finish(0, false);
            return std::future::pending().await;
        }
        Some(Effect::Reset | Effect::Close) => {
            served.finish(0, false);
            connection.reset.store(effect == Some(Effect::Reset), Ordering::Relaxed);
            return Err(Dropped);
        }
        _ => {}
    }
    let mut request = match request {
        Ok(request) => request,
        Err(refusal) => return Ok(refusal),
    };
    if effect == Some(Effect::LoseBody) {
        request.body = Bytes::new();
    }
    served.empty_body = request.body.is_empty()
        && request.headers.contains_key(header::AUTHORIZATION)
        && target.operation().needs_body();
    let instead = how.and_then(|how| effects::instead(emulator, &request, target, how));
    if let Some(reply) = instead {
        return Ok(reply);
    }
    let mut reply = dispatch(emulator, target, &request, how).await;
    if let Some(effect) = effect {
        effects::distort(&mut reply, effect);
    }
    Ok(reply)
}

async fn dispatch(
    emulator: &Arc<Emulator>,
    target: &Target,
    request: &Request,
    how: Option<&How>,
) -> Reply {
    match target {
        Target::KeyVault { vault, route } => {
            let (now, now_ms) = (emulator.clock.now(), emulator.clock.now_ms());
            let call = Call { request, route, vault: vault.clone(), now, now_ms };
            key_vault::answer(emulator, &call).await
        }
        Target::Entra(endpoint) => {
            let endpoint = endpoint.as_ref().map(|(endpoint, tenant)| (*endpoint, tenant.as_str()));
            entra::answer(emulator, request, endpoint, how)
        }
        Target::Identity(protocol) => identity::answer(emulator, request, *protocol, how),
        Target::Nothing => {
            let text = "There are /metadata/identity/oauth2/token, /msi/token and /control/ here.";
            identity::error(identity::Protocol::Imds, StatusCode::NOT_FOUND, "not_found", text)
        }
    }
}

/// Host and port as the client sees us, in small letters.
fn host(head: &Parts, connection: &Connection) -> String {
    let header = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = header.or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
    let plain = host.filter(|host| {
        host.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    });
    plain.map_or_else(|| connection.local.to_string(), str::to_ascii_lowercase)
}

async fn read(
    head: Parts,
    body: Incoming,
    host: String,
    connection: &Connection,
) -> Result<Request, Reply> {
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = "The body is larger than 1 MiB.";
            return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", text));
        }
        Err(_) => {
            let text = "The body cannot be read.";
            return Err(refusal(StatusCode::BAD_REQUEST, "BadParameter", text));
        }
    };
    let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    Ok(Request {
        query: query.into_owned().collect(),
        path: head.uri.path().to_owned(),
        method: head.method,
        headers: head.headers,
        host,
        body,
        peer: connection.peer,
    })
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    let reply = Reply::json(status, json!({ "error": { "code": code, "message": message } }));
    // What was not read of the body would be taken for the next request.
    reply.with(header::CONNECTION, "close")
}

fn line(head: &Parts, target: &Target, request_id: &str) -> Line {
    let text = |name: &str| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    Line {
        at_ms: 0,
        service: target.service(),
        operation: target.operation(),
        vault: target.vault().map(str::to_owned),
        key: target.route().and_then(|route| route.key.clone()),
        version: target.route().and_then(|route| route.version.clone()),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        authenticated: head.headers.contains_key(header::AUTHORIZATION),
        status: 0,
        ms: 0.0,
        fault: false,
        request_id: request_id.to_owned(),
        client_request_id: text("x-ms-client-request-id"),
        user_agent: text("user-agent"),
    }
}

/// The headers that the true services send.
fn with_service_headers(
    emulator: &Emulator,
    target: &Target,
    reply: Reply,
    request_id: String,
    client_request_id: Option<String>,
) -> Reply {
    let mut reply = reply
        .with(HeaderName::from_static("x-ms-request-id"), request_id)
        .with(header::CACHE_CONTROL, "no-cache");
    if let Some(id) = client_request_id {
        reply = reply.with(HeaderName::from_static("x-ms-client-request-id"), id);
    }
    if let Some(name) = target.vault() {
        let region = emulator.world().vault(name).map(|vault| vault.settings.region.clone());
        let region = region.unwrap_or_default();
        reply = reply
            .with(HeaderName::from_static("x-ms-keyvault-region"), region)
            .with(HeaderName::from_static("x-ms-keyvault-service-version"), "1.9.0.0-emulator");
    }
    reply
}

fn response(reply: Reply, end: End) -> Response<AnswerBody> {
    let (kind, bytes) = match reply.content {
        Content::Empty => (None, Bytes::new()),
        Content::Html(page) => (Some("text/html"), Bytes::from_static(page.as_bytes())),
        Content::Json(value) => {
            (Some("application/json; charset=utf-8"), value.to_string().into_bytes().into())
        }
    };
    let mut response = Response::new(AnswerBody::new(bytes, end));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
