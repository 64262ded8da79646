//! Before a vault is asked anything: who, from where, how often, with what right.

use std::net::IpAddr;

use http::header;

use super::failure::Failure;
use super::route::{Action, Route};
use super::{Call, objects};
use crate::clock::real_ms;
use crate::emulator::Emulator;
use crate::reply::Request;
use crate::tokens::{Claims, TokenError, issuer};
use crate::world::World;
use crate::world::key::{is_key_name, is_version};
use crate::world::throttle::cost;
use crate::world::vault::{AccessModel, Vault};

const API_VERSIONS: [&str; 10] = [
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
];

/// Lets a request in: token, limiter, network.
pub(super) fn admit(
    emulator: &Emulator,
    world: &mut World,
    call: &Call<'_>,
    name: &str,
) -> Result<Claims, Failure> {
    let has_token = call.request.headers.contains_key(header::AUTHORIZATION);
    let tenant = world.settings.tenant.clone();
    let vault = world.vault_mut(name).ok_or_else(|| Failure::vault_not_found(name))?;
    if !has_token {
        throttle(emulator, vault, call, true)?;
        return Err(Failure::unauthorized(challenge(vault, &tenant, &call.request.host), None));
    }
    let claims = authenticate(emulator, vault, &tenant, call)?;
    throttle(emulator, vault, call, false)?;
    check_network(vault, call.request.peer, &claims)?;
    if call.route.action.is_none() && call.route.path_exists {
        return Err(Failure::wrong_method(call.request));
    }
    Ok(claims)
}

fn authenticate(
    emulator: &Emulator,
    vault: &Vault,
    tenant: &str,
    call: &Call<'_>,
) -> Result<Claims, Failure> {
    let host = &call.request.host;
    let refuse = |message: String| {
        let challenge = challenge(vault, tenant, host);
        let challenge = format!("{challenge}, error=\"invalid_token\"");
        Failure::unauthorized(challenge, Some(message))
    };
    let token = call.request.header("authorization").and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else {
        let message = "AKV10000: Request is missing a Bearer or PoP token.";
        return Err(refuse(message.into()));
    };
    let claims = emulator.tokens.check(token.trim(), call.now).map_err(|error| {
        refuse(match error {
            TokenError::NotAToken => {
                "AKV10001: Error validating token: it was not issued here.".into()
            }
            TokenError::Expired => "[TokenExpired] Error validating token: 'S2S12086'.".into(),
            TokenError::Revoked => "[TokenRevoked] Error validating token: it was revoked.".into(),
        })
    })?;
    let resource = resource(vault, host);
    if !accepts_audience(vault, &resource, &claims.aud) {
        let expected = if vault.settings.resource.is_some() { &resource } else { canonical(vault) };
        let message =
            format!("AKV10022: Invalid audience. Expected {expected}, found: {}.", claims.aud);
        return Err(refuse(message));
    }
    if claims.tid != tenant {
        let message = format!(
            "AKV10032: Invalid issuer. Expected one of {}, found {}.",
            issuer(tenant),
            claims.iss
        );
        return Err(refuse(message));
    }
    Ok(claims)
}

fn throttle(
    emulator: &Emulator,
    vault: &mut Vault,
    call: &Call<'_>,
    before_challenge: bool,
) -> Result<(), Failure> {
    let Some(throttle) = vault.throttle().filter(|_| emulator.throttles) else { return Ok(()) };
    if before_challenge && !throttle.before_challenge {
        return Ok(());
    }
    let makes_a_version = call.route.action.is_some_and(Action::makes_a_version);
    let key = call.route.key.as_ref().and_then(|name| vault.keys.get(&name.to_ascii_lowercase()));
    let cost = match key {
        Some(key) => cost(key.key_type, key.kind, makes_a_version),
        None if makes_a_version => objects::cost_of_new(&call.request.body),
        None => 1,
    };
    if vault.window.take(&throttle, cost, real_ms()) {
        return Ok(());
    }
    emulator.stats.throttled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Err(Failure::throttled(throttle.retry_after))
}

fn check_network(vault: &Vault, peer: IpAddr, claims: &Claims) -> Result<(), Failure> {
    let caller = caller(claims);
    let place = place(vault);
    if !vault.settings.public_network_access {
        return Err(Failure::forbidden(
            "ForbiddenByConnection",
            format!(
                "Public network access is disabled and request is not from a trusted service nor via an \
                 approved private link.\r\nCaller: {caller}\r\nVault: {place}"
            ),
        ));
    }
    match &vault.settings.firewall {
        Some(firewall) if !firewall.admits(peer) => Err(Failure::forbidden(
            "ForbiddenByFirewall",
            format!(
                "Client address is not authorized and caller is not a trusted service.\r\nClient address: \
                 {peer}\r\nCaller: {caller}\r\nVault: {place}"
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether the caller may do this.
pub(super) fn authorize(
    world: &World,
    call: &Call<'_>,
    name: &str,
    action: Action,
    claims: &Claims,
) -> Result<(), Failure> {
    let vault = world.vault(name).ok_or_else(|| Failure::vault_not_found(name))?;
    let permission = action.permission();
    let key = call.route.key.as_deref();
    if world.permits(vault, &claims.oid, permission, key, call.now_ms) {
        return Ok(());
    }
    if vault.settings.access == AccessModel::Policies && !vault.is_hsm() {
        let message = format!(
            "The user, group or application '{}' does not have keys {} permission on key vault '{}'. For \
             help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
            caller(claims),
            permission.policy_name(),
            place(vault)
        );
        return Err(Failure::forbidden("ForbiddenByPolicy", message));
    }
    Err(by_rbac(vault, permission.data_action(), key, claims))
}

fn by_rbac(vault: &Vault, action: &str, key: Option<&str>, claims: &Claims) -> Failure {
    let key = key.map(|key| format!("/keys/{key}")).unwrap_or_default();
    let message = format!(
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or \
         role definitions were changed recently, please observe propagation time.\r\nCaller: {}\r\nAction: \
         '{action}'\r\nResource: '/subscriptions/{}/resourcegroups/emulator/providers/microsoft.keyvault/\
         vaults/{}{key}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null\r\n\
         Vault: {}\r\n",
        caller(claims),
        crate::SUBSCRIPTION,
        vault.name(),
        place(vault)
    );
    Failure::forbidden("ForbiddenByRbac", message)
}

fn caller(claims: &Claims) -> String {
    format!("appid={};oid={};iss={}", claims.appid, claims.oid, claims.iss)
}

fn place(vault: &Vault) -> String {
    format!("{};location={}", vault.name(), vault.settings.region)
}

/// Every request names a version of the API that we know.
pub(super) fn check_api_version(request: &Request) -> Result<(), Failure> {
    match request.query("api-version") {
        None | Some("") => Err(Failure::bad("api-version must be specified")),
        Some(version) if API_VERSIONS.contains(&version) => Ok(()),
        Some(version) => Err(Failure::bad(format!(
            "The specified version ({version}) is not recognized. Consider using the latest supported \
             version (2025-07-01)."
        ))),
    }
}

/// Names and versions are of Key Vault's alphabet.
pub(super) fn check_names(route: &Route) -> Result<(), Failure> {
    let bad_name = route.key.as_ref().is_some_and(|name| !is_key_name(name));
    let bad_version = route.version.as_ref().is_some_and(|v| !v.is_empty() && !is_version(v));
    if bad_name {
        return Err(Failure::bad("The request URI contains an invalid name."));
    }
    if bad_version {
        return Err(Failure::bad("The request URI contains an invalid version."));
    }
    Ok(())
}

pub(super) fn challenge(vault: &Vault, tenant: &str, host: &str) -> String {
    let port = port(host).map(|port| format!(":{port}")).unwrap_or_default();
    format!(
        "Bearer authorization=\"https://login.emulator.test{port}/{tenant}\", resource=\"{}\"",
        resource(vault, host)
    )
}

/// What the challenge names: Microsoft's clients demand that the host, port included, ends with it.
fn resource(vault: &Vault, host: &str) -> String {
    if let Some(resource) = &vault.settings.resource {
        return resource.clone();
    }
    let is_address = host.starts_with('[') || without_port(host).parse::<IpAddr>().is_ok();
    match host.split_once('.') {
        Some((_, suffix)) if !is_address => format!("https://{suffix}"),
        _ => canonical(vault).to_owned(),
    }
}

fn canonical(vault: &Vault) -> &'static str {
    if vault.is_hsm() { "https://managedhsm.azure.net" } else { "https://vault.azure.net" }
}

fn accepts_audience(vault: &Vault, resource: &str, audience: &str) -> bool {
    let bare = resource.strip_prefix("https://").map(without_port);
    audience == resource
        || audience.strip_prefix("https://").is_some_and(|audience| Some(audience) == bare)
        || (vault.settings.resource.is_none() && audience == canonical(vault))
}

/// A `Host` header without its port.
pub(super) fn without_port(host: &str) -> &str {
    match port(host) {
        Some(port) => host.strip_suffix(port).and_then(|h| h.strip_suffix(':')).unwrap_or(host),
        None => host,
    }
}

fn port(host: &str) -> Option<&str> {
    let (before, port) = host.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let whole_address = !before.contains(':') || before.ends_with(']');
    (digits && whole_address).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::throttle::Window;
    use crate::world::vault::VaultFile;

    fn vault(resource: Option<&str>) -> Vault {
        let resource = resource.map(str::to_owned);
        Vault {
            settings: VaultFile { name: "kv1".into(), resource, ..VaultFile::default() },
            roles_since_ms: 0,
            keys: Default::default(),
            window: Window::default(),
        }
    }

    #[test]
    fn the_challenge_names_what_microsofts_clients_accept_for_the_host() {
        for (host, expected) in [
            ("kv1.vault.emulator.test:8443", "https://vault.emulator.test:8443"),
            ("kv1.vault.emulator.test", "https://vault.emulator.test"),
            ("localhost:8443", "https://vault.azure.net"),
            ("127.0.0.1:8443", "https://vault.azure.net"),
            ("[::1]:8443", "https://vault.azure.net"),
        ] {
            assert_eq!(resource(&vault(None), host), expected, "{host}");
        }
        assert_eq!(resource(&vault(Some("https://x")), "kv1.a.b"), "https://x");
    }

    #[test]
    fn an_audience_is_the_resource_with_or_without_its_port_and_never_with_a_slash() {
        let derived = "https://vault.emulator.test:8443";
        let accepts = |audience| accepts_audience(&vault(None), derived, audience);
        assert!(accepts(derived) && accepts("https://vault.emulator.test"));
        assert!(accepts("https://vault.azure.net") && !accepts("https://vault.azure.net/"));
        assert!(!accepts("https://management.azure.com"));
        let set = vault(Some("https://x"));
        assert!(!accepts_audience(&set, "https://x", "https://vault.azure.net"));
    }
}
