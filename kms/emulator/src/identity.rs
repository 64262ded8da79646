//! Managed identity, by IMDS's protocol and by App Service's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::emulator::Emulator;
use crate::faults::{Effect, How};
use crate::reply::{Reply, Request};
use crate::tokens::Tokens;
use crate::world::World;
use crate::world::principal::Identity;

/// How an identity is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Imds,
    AppService,
}

/// The tokens that were handed out, which are kept as Azure keeps them: whoever asks again is given
/// the same one until half of its life is over, with the `expires_in` of its issue.
#[derive(Debug, Default)]
pub(crate) struct KeptTokens(Mutex<HashMap<Asked, Kept>>);

/// Whose token for what, of which tenant, and how long-lived.
type Asked = (String, String, String, u32);

#[derive(Clone, Debug)]
struct Kept {
    token: String,
    issued: i64,
}

impl KeptTokens {
    fn get(&self, asked: Asked, tokens: &Tokens, now: i64, issue: impl FnOnce() -> String) -> Kept {
        let half = i64::from(asked.3 / 2);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(&asked).filter(|kept| {
            let is_young = (kept.issued..kept.issued.saturating_add(half)).contains(&now);
            is_young && tokens.check(&kept.token, now).is_ok()
        });
        if let Some(kept) = kept {
            return kept.clone();
        }
        let kept = Kept { token: issue(), issued: now };
        all.insert(asked, kept.clone());
        kept
    }
}

/// Why there is no token.
enum Refusal {
    Method,
    Metadata,
    Forwarded,
    Header,
    ApiVersion,
    Resource,
    TwoIds,
    NotFound,
    Several,
}

impl Protocol {
    /// The protocol of a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path.trim_end_matches('/') {
            "/metadata/identity/oauth2/token" => Some(Self::Imds),
            "/msi/token" => Some(Self::AppService),
            _ => None,
        }
    }
}

/// Answers a request for a token.
pub(crate) fn answer(
    emulator: &Emulator,
    request: &Request,
    protocol: Protocol,
    how: Option<&How>,
) -> Reply {
    match token(emulator, request, protocol, how) {
        Ok(reply) => reply,
        Err(refusal) => refusal.into_reply(protocol),
    }
}

/// An error in the protocol's own form.
pub(crate) fn error(protocol: Protocol, status: StatusCode, error: &str, text: &str) -> Reply {
    let value = match protocol {
        Protocol::Imds => json!({ "error": error, "error_description": text }),
        Protocol::AppService => json!({
            "statusCode": status.as_u16(), "message": text,
            "correlationId": uuid::Uuid::new_v4().to_string(),
        }),
    };
    Reply::json(status, value)
}

fn token(
    emulator: &Emulator,
    request: &Request,
    protocol: Protocol,
    how: Option<&How>,
) -> Result<Reply, Refusal> {
    let world = emulator.world();
    check(&world, request, protocol)?;
    let resource = request.query("resource").filter(|text| !text.is_empty());
    let resource = resource.ok_or(Refusal::Resource)?;
    let identity = choose(&world, request)?;
    let now = emulator.clock.now();
    let settings = &world.settings;
    let lifetime = how.and_then(|how| how.token_lifetime_seconds);
    let lifetime = lifetime.unwrap_or(settings.managed_identity_token_seconds);
    let tenant = how.and_then(|how| how.token_tenant.as_deref()).unwrap_or(&settings.tenant);
    let audience = how.and_then(|how| how.token_audience.as_deref()).unwrap_or(resource);
    let holder = identity.principal();
    let issue = || emulator.tokens.issue(&holder, tenant, audience, now, lifetime);
    let asked = (holder.object_id.clone(), audience.to_owned(), tenant.to_owned(), lifetime);
    let Kept { token, issued } = emulator.kept_tokens.get(asked, &emulator.tokens, now, issue);
    let expires_on = issued.saturating_add(i64::from(lifetime));
    let as_number = how.is_some_and(|how| how.effect == Some(Effect::IntegerExpiresOn));
    let expires_on =
        if as_number { Value::from(expires_on) } else { Value::from(expires_on.to_string()) };
    let mut value = json!({
        "access_token": token, "client_id": identity.client_id, "expires_on": expires_on,
        "resource": resource, "token_type": "Bearer", "not_before": issued.to_string(),
    });
    if let (Protocol::Imds, Some(map)) = (protocol, value.as_object_mut()) {
        map.insert("expires_in".into(), lifetime.to_string().into());
        map.insert("ext_expires_in".into(), lifetime.to_string().into());
    }
    Ok(Reply::ok(value))
}

fn check(world: &World, request: &Request, protocol: Protocol) -> Result<(), Refusal> {
    if request.method != Method::GET {
        return Err(Refusal::Method);
    }
    let version = request.query("api-version");
    match protocol {
        Protocol::Imds => {
            let metadata = request.header("metadata");
            if !metadata.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
                return Err(Refusal::Metadata);
            }
            if request.headers.contains_key("x-forwarded-for") {
                return Err(Refusal::Forwarded);
            }
            let known = version.is_some_and(|v| ("2018-02-01"..="2025-04-07").contains(&v));
            if known { Ok(()) } else { Err(Refusal::ApiVersion) }
        }
        Protocol::AppService => {
            let header = request.header("x-identity-header");
            if header != Some(&world.settings.app_service_header) {
                return Err(Refusal::Header);
            }
            if version == Some("2019-08-01") { Ok(()) } else { Err(Refusal::ApiVersion) }
        }
    }
}

fn choose<'a>(world: &'a World, request: &Request) -> Result<&'a Identity, Refusal> {
    let asked = |names: [&str; 2]| names.iter().find_map(|name| request.query(name));
    let client = asked(["client_id", "clientid"]);
    let object = asked(["object_id", "principal_id"]);
    let resource = asked(["msi_res_id", "mi_res_id"]);
    let find = |id: fn(&Identity) -> &String, wanted: &str| {
        let mut all = world.identities.iter();
        all.find(|identity| id(identity).eq_ignore_ascii_case(wanted)).ok_or(Refusal::NotFound)
    };
    match (client, object, resource) {
        (None, None, None) => choose_unnamed(world),
        (Some(wanted), None, None) => find(|identity| &identity.client_id, wanted),
        (None, Some(wanted), None) => find(|identity| &identity.object_id, wanted),
        (None, None, Some(wanted)) => find(|identity| &identity.resource_id, wanted),
        _ => Err(Refusal::TwoIds),
    }
}

/// The machine's own identity, or the only one that is assigned to it.
fn choose_unnamed(world: &World) -> Result<&Identity, Refusal> {
    if let Some(own) = world.identities.iter().find(|identity| identity.system_assigned) {
        return Ok(own);
    }
    match world.identities.as_slice() {
        [] => Err(Refusal::NotFound),
        [only] => Ok(only),
        _ => Err(Refusal::Several),
    }
}

impl Refusal {
    fn into_reply(self, protocol: Protocol) -> Reply {
        let (status, code, text) = match self {
            Self::Method => (405, "method_not_allowed", "Only GET is allowed"),
            Self::Metadata => (400, "invalid_request", "Required metadata header not specified"),
            Self::Forwarded => {
                (400, "invalid_request", "A request with X-Forwarded-For is not answered")
            }
            Self::Header => (401, "unauthorized", "X-IDENTITY-HEADER is missing or wrong"),
            Self::ApiVersion => (400, "invalid_request", "api-version is missing or not supported"),
            Self::Resource => (400, "invalid_request", "Required audience parameter not specified"),
            Self::TwoIds => {
                (400, "invalid_request", "Only one of the identity parameters may be given")
            }
            Self::NotFound => (400, "invalid_request", "Identity not found"),
            Self::Several => (
                400,
                "invalid_request",
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the \
                 identity in the token request",
            ),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        error(protocol, status, code, text)
    }
}
