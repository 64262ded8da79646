//! The control API: see CONTROL.md.

mod keys;
mod vaults;

use std::path::Path;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::emulator::Emulator;
use crate::faults::parse_rules;
use crate::reply::{Reply, Request};
use crate::serve::switch::Mode;
use crate::world::Settings;
use crate::world::file::{Misfit, Problem};

/// A control request that is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn bad(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status: StatusCode::BAD_REQUEST, code: "BadRequest", message }
    }

    fn missing(what: &str) -> Self {
        let message = format!("There is no {what}.");
        Self { status: StatusCode::NOT_FOUND, code: "NotFound", message }
    }

    fn conflict(message: &str) -> Self {
        Self { status: StatusCode::CONFLICT, code: "Conflict", message: message.to_owned() }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Duplicate => Self::conflict(&problem.to_string()),
            _ => Self::bad(problem.to_string()),
        }
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        let text = misfit.to_string();
        if misfit.is_duplicate() { Self::conflict(&text) } else { Self::bad(text) }
    }
}

type Answer = Result<Reply, Refusal>;

/// Answers a control request.
pub(crate) async fn answer(emulator: &Emulator, request: &Request) -> Reply {
    let answer = route(emulator, request).await;
    answer.unwrap_or_else(|refusal| {
        let error = json!({ "code": refusal.code, "message": refusal.message });
        Reply::json(refusal.status, json!({ "error": error }))
    })
}

async fn route(emulator: &Emulator, request: &Request) -> Answer {
    let path = request.path.trim_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let method = &request.method;
    match (method.as_str(), segments.as_slice()) {
        ("GET", []) => Ok(about(emulator)),
        ("GET", ["state"]) => Ok(Reply::ok(emulator.state())),
        ("POST", ["save"]) => save(emulator),
        ("POST", ["reset"]) => {
            emulator.reset();
            turn(emulator, Mode::Open).await
        }
        ("POST", ["listen"]) => {
            let wanted: Listen = body(request)?;
            turn(emulator, wanted.https).await
        }
        ("PATCH", ["settings"]) => settings(emulator, request),
        ("GET", ["clock"]) => Ok(clock(emulator)),
        ("POST", ["clock"]) => set_clock(emulator, request),
        ("GET", ["stats"]) => Ok(Reply::ok(emulator.stats.to_json())),
        ("POST", ["stats", "reset"]) => {
            emulator.stats.reset();
            Ok(done())
        }
        ("GET", ["requests"]) => requests(emulator, request),
        (_, ["faults", rest @ ..]) => faults(emulator, request, rest),
        (_, ["tokens", rest @ ..]) => tokens(emulator, request, rest),
        (_, ["identities", rest @ ..]) => vaults::identities(emulator, request, rest),
        (_, ["apps", rest @ ..]) => vaults::apps(emulator, request, rest),
        (_, ["vaults", vault, "keys", rest @ ..]) => keys::answer(emulator, request, vault, rest),
        (_, ["vaults", rest @ ..]) => vaults::answer(emulator, request, rest),
        _ => Err(no_route(request)),
    }
}

/// 404 for a path that there is not, 405 for a method that it has not.
fn no_route(request: &Request) -> Refusal {
    const PATHS: [&str; 9] =
        ["", "state", "save", "reset", "listen", "settings", "clock", "stats", "requests"];
    let path = request.path.trim_matches('/');
    let rest = path.strip_prefix("control").unwrap_or_default().trim_matches('/');
    let exists = PATHS.contains(&rest) || rest.contains("stats/reset");
    if exists { wrong_method(request) } else { Refusal::missing(&format!("path {}", request.path)) }
}

fn wrong_method(request: &Request) -> Refusal {
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "MethodNotAllowed",
        message: format!("{} is not allowed for {}.", request.method, request.path),
    }
}

/// The body; an empty one is an empty object.
fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    let text: &[u8] = if request.body.is_empty() { b"{}" } else { &request.body };
    serde_json::from_slice(text).map_err(|error| Refusal::bad(format!("the body: {error}")))
}

fn done() -> Reply {
    Reply::ok(json!({}))
}

/// Paths in control requests are relative to where the emulator was started.
fn here() -> &'static Path {
    Path::new("")
}

fn about(emulator: &Emulator) -> Reply {
    let addresses = emulator.addresses.get();
    Reply::ok(json!({
        "https": addresses.map(|a| a.https.to_string()), "http": addresses.map(|a| a.http.to_string()),
        "ca": emulator.ca, "tenant": emulator.world().settings.tenant, "listen": emulator.switch.mode(),
    }))
}

fn save(emulator: &Emulator) -> Answer {
    match emulator.save() {
        Ok(true) => Ok(done()),
        Ok(false) => Err(Refusal::conflict("The emulator was started without --save.")),
        Err(error) => Err(Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "NotSaved",
            message: error.to_string(),
        }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    https: Mode,
}

async fn turn(emulator: &Emulator, mode: Mode) -> Answer {
    if emulator.switch.turn(mode).await {
        return Ok(Reply::ok(json!({ "https": mode })));
    }
    Err(Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: "NotTurned",
        message: "The port did not follow: another process may have taken it.".into(),
    })
}

fn settings(emulator: &Emulator, request: &Request) -> Answer {
    let patch: Value = body(request)?;
    let mut world = emulator.world();
    let mut all = serde_json::to_value(&world.settings).unwrap_or_default();
    vaults::merge(&mut all, patch)?;
    let changed: Settings =
        serde_json::from_value(all).map_err(|error| Refusal::bad(error.to_string()))?;
    world.settings = changed;
    Ok(Reply::of(&world.settings))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockBody {
    offset_seconds: Option<i64>,
    advance_seconds: Option<i64>,
}

fn clock(emulator: &Emulator) -> Reply {
    let clock = &emulator.clock;
    Reply::ok(json!({ "now": clock.now(), "offset_seconds": clock.offset_seconds() }))
}

fn set_clock(emulator: &Emulator, request: &Request) -> Answer {
    let wanted: ClockBody = body(request)?;
    match (wanted.offset_seconds, wanted.advance_seconds) {
        (Some(offset), None) => emulator.clock.set_offset(offset),
        (None, Some(more)) => {
            emulator.clock.set_offset(emulator.clock.offset_seconds().saturating_add(more));
        }
        _ => return Err(Refusal::bad("give offset_seconds or advance_seconds")),
    }
    Ok(clock(emulator))
}

fn requests(emulator: &Emulator, request: &Request) -> Answer {
    let last = match request.query("last") {
        None => 100,
        Some(text) => text.parse().map_err(|_e| Refusal::bad("last is a number"))?,
    };
    Ok(Reply::of(&emulator.stats.last(last)))
}

fn faults(emulator: &Emulator, request: &Request, rest: &[&str]) -> Answer {
    match (request.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::of(&emulator.faults.list())),
        ("POST", []) => {
            let rules =
                parse_rules(&request.body).map_err(|error| Refusal::bad(error.to_string()))?;
            let ids = emulator.faults.add(rules, emulator.clock.now_ms());
            Ok(Reply::ok(json!({ "ids": ids })))
        }
        ("DELETE", []) => {
            emulator.faults.clear();
            Ok(done())
        }
        ("DELETE", [id]) => {
            let removed = id.parse().is_ok_and(|id| emulator.faults.remove(id));
            if removed { Ok(done()) } else { Err(Refusal::missing("such rule")) }
        }
        (_, [] | [_]) => Err(wrong_method(request)),
        _ => Err(no_route(request)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    principal: String,
    resource: Option<String>,
    lifetime_seconds: Option<u32>,
    tenant: Option<String>,
}

fn tokens(emulator: &Emulator, request: &Request, rest: &[&str]) -> Answer {
    match (&request.method, rest) {
        (&Method::POST, ["revoke"]) => {
            emulator.tokens.revoke_all();
            Ok(done())
        }
        (&Method::POST, []) => {
            let wanted: TokenBody = body(request)?;
            let world = emulator.world();
            let holder = world.principals().find(|p| p.is(&wanted.principal));
            let holder = holder.ok_or_else(|| Refusal::missing("such identity or app"))?;
            let token = emulator.tokens.issue(
                &holder,
                wanted.tenant.as_deref().unwrap_or(&world.settings.tenant),
                wanted.resource.as_deref().unwrap_or("https://vault.azure.net"),
                emulator.clock.now(),
                wanted.lifetime_seconds.unwrap_or(3600),
            );
            Ok(Reply::ok(json!({ "access_token": token })))
        }
        (_, [] | ["revoke"]) => Err(wrong_method(request)),
        _ => Err(no_route(request)),
    }
}
