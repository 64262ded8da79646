//! What fault rules do to answers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::body::End;
use super::target::Target;
use crate::emulator::Emulator;
use crate::entra;
use crate::faults::{Effect, How, RetryAfter};
use crate::identity;
use crate::key_vault;
use crate::reply::{Content, Reply, Request};

const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway\
                    </h1></center>\r\n<hr><center>proxy</center>\r\n</body>\r\n</html>\r\n";

/// The answer that a rule gives instead of the true one.
pub(super) fn instead(
    emulator: &Emulator,
    request: &Request,
    target: &Target,
    how: &How,
) -> Option<Reply> {
    let status = how.status.and_then(|status| StatusCode::from_u16(status).ok());
    let reply = match (how.effect, status) {
        (Some(Effect::Empty), status) => Reply::empty(status.unwrap_or(StatusCode::OK)),
        (Some(Effect::Html), status) => {
            Reply { content: Content::Html(HTML), ..Reply::empty(status.unwrap_or(StatusCode::OK)) }
        }
        (_, Some(status)) => error(emulator, request, target, how, status),
        (_, None) if how.rbac_delay_ms.is_some() => rbac_in_flight(),
        (_, None) => return None,
    };
    Some(match &how.retry_after {
        Some(RetryAfter::Seconds(seconds)) => reply.with(header::RETRY_AFTER, seconds.to_string()),
        Some(RetryAfter::Text(text)) => reply.with(header::RETRY_AFTER, text.as_str()),
        None => reply,
    })
}

fn error(
    emulator: &Emulator,
    request: &Request,
    target: &Target,
    how: &How,
    status: StatusCode,
) -> Reply {
    let default = || format!("{}.", status.canonical_reason().unwrap_or("Failed"));
    let message = how.message.clone().unwrap_or_else(default);
    match target {
        Target::KeyVault { vault, .. } => {
            let code = how.code.clone().unwrap_or_else(|| key_vault_code(status).into());
            let mut error = json!({ "code": code, "message": message });
            if let (Some(inner), Some(map)) = (&how.innererror, error.as_object_mut()) {
                map.insert("innererror".into(), json!({ "code": inner }));
            }
            let reply = Reply::json(status, json!({ "error": error }));
            match key_vault::challenge_of(emulator, vault, &request.host) {
                Some(challenge) if status == StatusCode::UNAUTHORIZED => {
                    reply.with(header::WWW_AUTHENTICATE, challenge)
                }
                _ => reply,
            }
        }
        Target::Identity(protocol) => {
            let code = how.code.as_deref().unwrap_or(match status.as_u16() {
                404 => "not_found",
                410 => "gone",
                429 => "too_many_requests",
                500.. => "server_error",
                _ => "invalid_request",
            });
            identity::error(*protocol, status, code, &message)
        }
        Target::Entra(_) | Target::Nothing => {
            let passing = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            let (code, number) = match status.as_u16() {
                _ if passing => ("temporarily_unavailable", 90_033),
                401 => ("invalid_client", 7_000_215),
                _ => ("invalid_request", 900_144),
            };
            entra::error(status, how.code.as_deref().unwrap_or(code), number, &message)
        }
    }
}

fn key_vault_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "BadParameter",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "KeyNotFound",
        408 => "RequestTimeout",
        409 => "Conflict",
        429 => "Throttled",
        500 => "InternalServerError",
        502 => "BadGateway",
        503 => "ServiceUnavailable",
        504 => "GatewayTimeout",
        _ => "Error",
    }
}

fn rbac_in_flight() -> Reply {
    let message = "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments \
                   or role definitions were changed recently, please observe propagation time.\r\n\
                   Assignment: (not found)\r\nDecisionReason: null\r\n";
    let inner = json!({ "code": "ForbiddenByRbac" });
    let error = json!({ "code": "Forbidden", "message": message, "innererror": inner });
    Reply::json(StatusCode::FORBIDDEN, json!({ "error": error }))
}

/// Makes a true answer wrong.
pub(super) fn distort(reply: &mut Reply, effect: Effect) {
    let Content::Json(value) = &mut reply.content else { return };
    match effect {
        Effect::WrongKey => change_id(value, |id| {
            let mut parts: Vec<&str> = id.split('/').collect();
            if let Some(name) = parts.get_mut(4) {
                *name = "another-key";
            }
            parts.join("/")
        }),
        Effect::WrongVersion => change_id(value, |id| {
            let stem = id.rsplit_once('/').map_or(id, |(stem, _)| stem);
            format!("{stem}/{}", crate::world::key::random_version())
        }),
        Effect::WrongHost => change_id(value, |id| {
            let path = id.splitn(4, '/').nth(3).unwrap_or_default();
            format!("https://another.vault.azure.net/{path}")
        }),
        Effect::ShortResult => change_result(value, |bytes| {
            bytes.pop();
        }),
        Effect::LongResult => change_result(value, |bytes| bytes.push(0)),
        Effect::OtherResult => change_result(value, |bytes| {
            let _kept_as_it_was = getrandom::fill(bytes);
        }),
        Effect::Hang
        | Effect::Reset
        | Effect::Close
        | Effect::Truncate
        | Effect::Stall
        | Effect::Empty
        | Effect::Html
        | Effect::LoseBody
        | Effect::IntegerExpiresOn => {}
    }
}

fn change_id(value: &mut Value, change: impl Fn(&str) -> String) {
    let in_bundle = value.get("key").is_some_and(|key| key.get("kid").is_some());
    let place = if in_bundle { value.pointer_mut("/key/kid") } else { value.get_mut("kid") };
    if let Some(Value::String(id)) = place {
        *id = change(id);
    }
}

fn change_result(value: &mut Value, change: impl Fn(&mut Vec<u8>)) {
    if let Some(Value::String(text)) = value.get_mut("value")
        && let Ok(mut bytes) = URL_SAFE_NO_PAD.decode(text.as_bytes())
    {
        change(&mut bytes);
        *text = URL_SAFE_NO_PAD.encode(bytes);
    }
}

/// How the body of the answer ends.
pub(super) fn end(effect: Option<Effect>) -> End {
    match effect {
        Some(Effect::Truncate) => End::Cut,
        Some(Effect::Stall) => End::Stalled,
        _ => End::Whole,
    }
}
