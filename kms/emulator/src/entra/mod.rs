//! Entra: the token endpoint and what clients read before they use it.

mod assertion;
mod token;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::emulator::Emulator;
use crate::faults::How;
use crate::operation::Operation;
use crate::reply::{Reply, Request};

/// What of Entra a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Token,
    Instance,
    OpenId,
    /// The same for tokens of version 1.0, which those of managed identities are.
    OpenIdV1,
    Keys,
}

impl Endpoint {
    /// The endpoint, and the tenant of its path.
    pub(crate) fn of(path: &str) -> Option<(Self, &str)> {
        let (tenant, rest) = path.strip_prefix('/')?.split_once('/')?;
        let endpoint = match rest {
            "oauth2/v2.0/token" => Self::Token,
            "discovery/instance" => Self::Instance,
            "v2.0/.well-known/openid-configuration" => Self::OpenId,
            ".well-known/openid-configuration" => Self::OpenIdV1,
            "discovery/v2.0/keys" | "discovery/keys" => Self::Keys,
            _ => return None,
        };
        Some((endpoint, tenant))
    }

    pub(crate) const fn operation(self) -> Operation {
        match self {
            Self::Token => Operation::Token,
            Self::Instance | Self::OpenId | Self::OpenIdV1 | Self::Keys => Operation::Discovery,
        }
    }
}

/// Answers a request to Entra.
pub(crate) fn answer(
    emulator: &Emulator,
    request: &Request,
    endpoint: Option<(Endpoint, &str)>,
    how: Option<&How>,
) -> Reply {
    let Some((endpoint, tenant)) = endpoint else {
        return error(
            StatusCode::NOT_FOUND,
            "invalid_request",
            900_561,
            "There is no such endpoint.",
        );
    };
    let wanted = if endpoint == Endpoint::Token { Method::POST } else { Method::GET };
    if request.method != wanted {
        let text = format!(
            "The endpoint only accepts {wanted} requests. Received a {} request.",
            request.method
        );
        return error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", 900_561, &text);
    }
    match endpoint {
        Endpoint::Token => token::answer(emulator, request, tenant, how),
        Endpoint::Instance => Reply::ok(instance(emulator, request)),
        Endpoint::OpenId => open_id(emulator, request, tenant),
        Endpoint::OpenIdV1 => open_id_v1(emulator, request, tenant),
        Endpoint::Keys => Reply::ok(emulator.tokens.key_set()),
    }
}

/// An error in Entra's form.
pub(crate) fn error(status: StatusCode, error: &str, number: u32, text: &str) -> Reply {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let trace = uuid::Uuid::new_v4().to_string();
    let correlation = uuid::Uuid::new_v4().to_string();
    Reply::json(
        status,
        json!({
            "error": error,
            "error_description": format!(
                "AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"
            ),
            "error_codes": [number], "timestamp": now, "trace_id": trace, "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        }),
    )
}

/// Whether tokens are issued for a tenant.
fn is_tenant(emulator: &Emulator, tenant: &str) -> bool {
    let world = emulator.world();
    let settings = &world.settings;
    settings.other_tenants.iter().chain([&settings.tenant]).any(|t| t.eq_ignore_ascii_case(tenant))
}

fn instance(emulator: &Emulator, request: &Request) -> Value {
    let host = &request.host;
    let tenant = emulator.world().settings.tenant.clone();
    json!({
        "tenant_discovery_endpoint": format!("https://{host}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
    })
}

fn open_id(emulator: &Emulator, request: &Request, tenant: &str) -> Reply {
    let of_any = ["common", "organizations"].contains(&tenant);
    if !of_any && !is_tenant(emulator, tenant) {
        return no_such_tenant(tenant);
    }
    let base = format!("https://{}/{tenant}", request.host);
    Reply::ok(json!({
        "issuer": format!("{base}/v2.0"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "response_types_supported": ["code", "id_token", "token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "emulator.test",
    }))
}

fn open_id_v1(emulator: &Emulator, request: &Request, tenant: &str) -> Reply {
    if !is_tenant(emulator, tenant) {
        return no_such_tenant(tenant);
    }
    let base = format!("https://{}/{tenant}", request.host);
    Reply::ok(json!({
        "issuer": crate::tokens::issuer(tenant),
        "authorization_endpoint": format!("{base}/oauth2/authorize"),
        "token_endpoint": format!("{base}/oauth2/token"),
        "jwks_uri": format!("{base}/discovery/keys"),
        "response_types_supported": ["code", "id_token", "token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

fn no_such_tenant(tenant: &str) -> Reply {
    let text =
        format!("Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.");
    error(StatusCode::BAD_REQUEST, "invalid_request", 90_002, &text)
}
