//! The token endpoint: client credentials by secret, signed assertion or federated token.

use http::StatusCode;
use serde_json::json;

use super::assertion::{self, AssertionError};
use crate::emulator::Emulator;
use crate::faults::How;
use crate::reply::{Reply, Request};
use crate::world::principal::App;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why there is no token: `error`, AADSTS number, text; the status follows.
struct Refusal(StatusCode, &'static str, u32, String);

type Form = Vec<(String, String)>;

pub(super) fn answer(
    emulator: &Emulator,
    request: &Request,
    tenant: &str,
    how: Option<&How>,
) -> Reply {
    if !super::is_tenant(emulator, tenant) {
        return super::no_such_tenant(tenant);
    }
    match issue(emulator, request, tenant, how) {
        Ok(reply) => reply,
        Err(Refusal(status, error, number, text)) => super::error(status, error, number, &text),
    }
}

fn issue(
    emulator: &Emulator,
    request: &Request,
    tenant: &str,
    how: Option<&How>,
) -> Result<Reply, Refusal> {
    let form: Form = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let grant = field(&form, "grant_type")?;
    if grant != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant}'.");
        return Err(bad("unsupported_grant_type", 70_003, text));
    }
    let client_id = field(&form, "client_id")?;
    let resource = audience(field(&form, "scope")?)?;
    let world = emulator.world();
    let app = world.apps.iter().find(|app| app.client_id.eq_ignore_ascii_case(client_id));
    let app = app.ok_or_else(|| {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
        );
        bad("unauthorized_client", 700_016, text)
    })?;
    let now = emulator.clock.now();
    authenticate(app, &form, tenant, now)?;
    let lifetime = how.and_then(|how| how.token_lifetime_seconds);
    let lifetime = lifetime.unwrap_or(world.settings.app_token_seconds);
    let tenant = how.and_then(|how| how.token_tenant.as_deref()).unwrap_or(tenant);
    let audience = how.and_then(|how| how.token_audience.as_deref()).unwrap_or(resource);
    let token = emulator.tokens.issue(&app.principal(), tenant, audience, now, lifetime);
    Ok(Reply::ok(json!({
        "token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime,
        "access_token": token,
    })))
}

fn field<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
    let value = form.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    value.filter(|v| !v.is_empty()).ok_or_else(|| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        bad("invalid_request", 900_144, text)
    })
}

fn bad(error: &'static str, number: u32, text: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, error, number, text)
}

fn invalid_client(number: u32, text: &str) -> Refusal {
    Refusal(StatusCode::UNAUTHORIZED, "invalid_client", number, text.to_owned())
}

/// The scope's resource. A second slash before `.default` stays: it belongs to the audience.
fn audience(scope: &str) -> Result<&str, Refusal> {
    let mut scopes =
        scope.split(' ').filter(|s| !matches!(*s, "openid" | "profile" | "offline_access"));
    let wanted = scopes.next().and_then(|scope| scope.strip_suffix("/.default"));
    match (wanted, scopes.next()) {
        (Some(resource), None) if !resource.is_empty() => Ok(resource),
        _ => {
            let text = format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a \
                 scope value with /.default suffixed to the resource identifier."
            );
            Err(bad("invalid_scope", 1_002_012, text))
        }
    }
}

fn authenticate(app: &App, form: &Form, tenant: &str, now: i64) -> Result<(), Refusal> {
    let value = |name: &str| form.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    match (value("client_secret"), value("client_assertion")) {
        (Some(secret), None) if app.secrets.iter().any(|s| s == secret) => Ok(()),
        (Some(_), None) => Err(invalid_client(
            7_000_215,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
             value, not the client secret ID.",
        )),
        (None, Some(assertion)) if value("client_assertion_type") == Some(JWT_BEARER) => {
            if app.federated_tokens.iter().any(|token| token == assertion) {
                return Ok(());
            }
            assertion::check(app, assertion, tenant, now).map_err(refuse_assertion)
        }
        (None, Some(_)) => {
            let text = format!("client_assertion_type must be {JWT_BEARER}.");
            Err(bad("invalid_request", 900_144, text))
        }
        _ => Err(invalid_client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )),
    }
}

fn refuse_assertion(error: AssertionError) -> Refusal {
    match error {
        AssertionError::NotAJwt => invalid_client(
            700_213,
            "No matching federated identity record found for presented assertion.",
        ),
        AssertionError::NoCertificate | AssertionError::Signature => invalid_client(
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered on \
             application, or the signature is invalid.",
        ),
        AssertionError::Algorithm => {
            invalid_client(5_002_738, "Invalid JWT token. 'alg' must be RS256 or PS256.")
        }
        AssertionError::Time => {
            invalid_client(700_024, "Client assertion is not within its valid time range.")
        }
        AssertionError::Claims => invalid_client(
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter, or its audience \
             is not this endpoint.",
        ),
    }
}
