use proptest::prelude::*;

use selkie_config::{DeclaredAuth, DeclaredMethod};

use super::*;
use crate::auth::methods::{DeclaredMounts, Methods};
use crate::drill::DrillStep;

fn mounts() -> Mounts {
    let mount = |path: &str| selkie_config::Mount { path: path.parse().unwrap(), aliases: vec![] };
    Mounts::new(vec![mount("transit"), mount("a/b"), mount("a/c")])
}

/// `auth/approle` and `auth/team/approle` are mounted.
fn auth() -> (DeclaredMounts, Methods) {
    let mount = |path: &str| DeclaredAuth {
        path: path.parse().unwrap(),
        description: String::new(),
        default_lease_ttl: None,
        max_lease_ttl: None,
        at: "test.hcl:1:1".into(),
        method: DeclaredMethod::AppRole(Vec::new()),
    };
    let mounts = vec![mount("approle"), mount("team/approle")];
    (DeclaredMounts::new(mounts), Methods::default())
}

fn routed(
    method: &str,
    uri: &str,
) -> Result<(String, Operation, Result<Endpoint, ApiError>), ApiError> {
    let uri: Uri = uri.parse().unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let (declared, methods) = auth();
    let table = AuthTable { declared: &declared, methods: &methods };
    let route = route(&method, &uri, &mounts(), table)?;
    Ok((route.path.into_owned(), route.operation, route.target))
}

fn target(method: &str, uri: &str) -> Result<Endpoint, ApiError> {
    routed(method, uri).and_then(|(_, _, target)| target)
}

fn key(mount: &str, key: &str) -> KeyPath {
    KeyPath { mount: mount.parse().unwrap(), key: key.parse().unwrap() }
}

#[test]
fn every_transit_path_leads_to_its_endpoint() {
    let k = || key("transit", "k");
    for (method, path, endpoint) in [
        ("PUT", "encrypt/k", Endpoint::Encrypt(k())),
        ("POST", "encrypt/k", Endpoint::Encrypt(k())),
        ("PUT", "decrypt/k", Endpoint::Decrypt(k())),
        ("POST", "rewrap/k", Endpoint::Rewrap(k())),
        ("POST", "keys/k", Endpoint::CreateKey(k())),
        ("GET", "keys/k", Endpoint::ReadKey(k())),
        ("DELETE", "keys/k", Endpoint::DeleteKey(k())),
        ("POST", "keys/k/config", Endpoint::ConfigureKey(k())),
        ("PUT", "keys/k/rotate", Endpoint::RotateKey(k())),
        ("POST", "keys/k/trim", Endpoint::TrimKey(k())),
        ("LIST", "keys", Endpoint::ListKeys("transit".parse().unwrap())),
        ("LIST", "keys/", Endpoint::ListKeys("transit".parse().unwrap())),
        ("GET", "keys?list=true", Endpoint::ListKeys("transit".parse().unwrap())),
    ] {
        let uri = format!("/v1/transit/{path}");
        assert_eq!(target(method, &uri), Ok(endpoint), "{method} {path}");
    }
}

#[test]
fn every_path_of_auth_and_sys_leads_to_its_endpoint() {
    for (method, path, endpoint) in [
        ("PUT", "auth/token/renew-self", Endpoint::RenewSelf),
        ("GET", "auth/token/lookup-self", Endpoint::LookupSelf(Operation::Read)),
        ("POST", "auth/token/lookup-self", Endpoint::LookupSelf(Operation::Update)),
        ("POST", "sys/capabilities-self", Endpoint::Capabilities(CapabilitiesOf::Oneself)),
        ("GET", "sys/mounts", Endpoint::Mounts),
        ("GET", "sys/internal/ui/mounts", Endpoint::UiMounts),
        ("GET", "sys/internal/ui/mounts/a/b/", Endpoint::UiMount("a/b/".into())),
        ("GET", "sys/health", Endpoint::Health),
        ("HEAD", "sys/health", Endpoint::Health),
        ("GET", "sys/seal-status", Endpoint::SealStatus),
        ("GET", "sys/leader", Endpoint::Leader),
        ("GET", "sys/ha-status", Endpoint::HaStatus),
        ("LIST", "sys/drill", Endpoint::ListDrill),
        ("GET", "sys/drill?list=true", Endpoint::ListDrill),
        ("POST", "sys/drill/state", Endpoint::Drill(DrillStep::State)),
        ("PUT", "sys/drill/key/a/b/k", Endpoint::Drill("key/a/b/k".parse().unwrap())),
        ("GET", "sys/init", Endpoint::Init),
    ] {
        assert_eq!(target(method, &format!("/v1/{path}")), Ok(endpoint), "{method} {path}");
    }
}

#[test]
fn a_path_below_a_mounted_method_is_a_login_or_asks_for_a_policy() {
    let rest = |method: &str, path: &str| match target(method, &format!("/v1/auth/{path}")) {
        Ok(Endpoint::Login(at)) => format!("login {} {}", at.mount.path, at.rest),
        Ok(Endpoint::Method(at)) => format!("{} {}", at.mount.path, at.rest),
        other => format!("{other:?}"),
    };
    assert_eq!(rest("POST", "approle/login"), "login approle login");
    assert_eq!(rest("GET", "approle/login"), "approle login");
    assert_eq!(rest("POST", "team/approle/login"), "login team/approle login");
    assert_eq!(rest("LIST", "approle/role"), "approle role/");
    assert_eq!(rest("GET", "team/approle"), "team/approle ");
    let path = "auth/team/other/login";
    let missing = Err(ApiError::NoMount { path: path.into() });
    assert_eq!(target("POST", &format!("/v1/{path}")), missing);
}

#[test]
fn mounts_of_methods_are_reached_below_sys_auth() {
    for (method, path, at, action) in [
        ("GET", "sys/auth/a/b", "a/b", MountAction::Read),
        ("GET", "sys/auth/a/", "a", MountAction::Read),
        ("POST", "sys/auth/a", "a", MountAction::Enable),
        ("DELETE", "sys/auth/a", "a", MountAction::Disable),
        ("GET", "sys/auth/a/b/tune", "a/b", MountAction::ReadTune),
        ("POST", "sys/auth/a/tune", "a", MountAction::Tune),
        ("POST", "sys/mounts/auth/a/tune", "a", MountAction::Tune),
        ("GET", "sys/mounts/auth/a/b/tune", "a/b", MountAction::ReadTune),
    ] {
        let below = match path.starts_with("sys/mounts") {
            true => AuthMountsPath::Mounts,
            false => AuthMountsPath::Auth,
        };
        let at = AuthMountPath { below, path: at.into(), action };
        assert_eq!(at.path(), path.trim_end_matches('/'), "what policies speak of");
        let endpoint = Endpoint::AuthMount(at);
        assert_eq!(target(method, &format!("/v1/{path}")), Ok(endpoint), "{method} {path}");
    }
    assert_eq!(target("GET", "/v1/sys/auth"), Ok(Endpoint::AuthMounts));
    assert_eq!(target("LIST", "/v1/sys/auth/a"), Err(ApiError::UnsupportedOperation));
}

#[test]
fn what_vault_has_and_we_have_not_is_an_unsupported_path() {
    for path in [
        "datakey/plaintext/k",
        "random",
        "random/32",
        "hash/sha2-256",
        "hmac/k",
        "sign/k",
        "verify/k",
        "export/encryption-key/k",
        "backup/k",
        "restore",
        "keys/k/import",
        "wrapping_key",
        "cache-config",
        "",
        "encrypt",
        "encrypt/k/x",
        "keys/k/config/x",
    ] {
        let uri = format!("/v1/transit/{path}?x=1").replace("/?", "?");
        assert_eq!(target("GET", &uri), Err(ApiError::UnsupportedPath), "{path}");
    }
    assert_eq!(target("PUT", "/v1/auth/token/magic"), Err(ApiError::UnsupportedPath));
    assert_eq!(target("PUT", "/v1/sys/drill/key/k"), Err(ApiError::UnsupportedPath));
    assert_eq!(target("GET", "/v1/sys/health/"), Err(ApiError::UnsupportedPath));
    assert_eq!(target("LIST", "/v1/transit/keys/k"), Err(ApiError::UnsupportedPath));
    assert_eq!(target("GET", "/v1/sys/internal/ui/mounts/"), Err(ApiError::UnsupportedPath));
}

#[test]
fn an_operation_the_path_does_not_have_is_unsupported() {
    for (method, path) in [
        ("GET", "transit/encrypt/k"),
        ("HEAD", "transit/encrypt/k"),
        ("DELETE", "transit/decrypt/k"),
        ("GET", "transit/keys"),
        ("PUT", "transit/keys"),
        ("PATCH", "transit/keys/k"),
        ("OPTIONS", "transit/keys/k"),
        ("GET", "transit/keys/k/config"),
        ("DELETE", "auth/token/lookup-self"),
        ("GET", "sys/capabilities-self"),
        ("PUT", "sys/mounts"),
        ("PUT", "sys/ha-status"),
        ("GET", "sys/drill"),
        ("POST", "sys/drill"),
        ("GET", "sys/drill/state"),
    ] {
        let outcome = target(method, &format!("/v1/{path}"));
        assert_eq!(outcome, Err(ApiError::UnsupportedOperation), "{method} {path}");
    }
}

#[test]
fn faults_of_the_request_come_before_the_token() {
    for (method, uri, error) in [
        ("GET", "/", ApiError::OutsideApi),
        ("GET", "/v1", ApiError::OutsideApi),
        ("GET", "/v2/sys/health", ApiError::OutsideApi),
        ("GET", "/v1/%zz", ApiError::UnreadablePath),
        ("GET", "/v1/a%00b", ApiError::UnreadablePath),
        ("GET", "/v1/a%ffb", ApiError::UnreadablePath),
        ("FOO", "/v1/transit/keys", ApiError::UnknownMethod),
        ("POST", "/v1/sys/health", ApiError::UnknownMethod),
        ("HEAD", "/v1/sys/leader", ApiError::UnknownMethod),
        ("PUT", "/v1/sys/init", ApiError::AlreadyInitialized),
        ("GET", "/v1/transit/keys?list=maybe", ApiError::BadListParameter),
        ("PUT", "/v1/transit/keys/k/", ApiError::WriteToSlash),
        ("PUT", "/v1/nowhere/", ApiError::WriteToSlash),
    ] {
        assert_eq!(routed(method, uri).err(), Some(error), "{method} {uri}");
    }
}

#[test]
fn faults_of_the_path_wait_for_the_policy() {
    let (path, operation, target) = routed("GET", "/v1/foo/bar?list=1").unwrap();
    assert_eq!((path.as_str(), operation), ("foo/bar/", Operation::List));
    assert_eq!(target, Err(ApiError::NoMount { path: "foo/bar/".into() }));
    let (_, _, target) = routed("GET", "/v1/transit/keys/a..b").unwrap();
    assert_eq!(target, Err(ApiError::RelativePath));
}

#[test]
fn a_mount_may_have_several_segments() {
    assert_eq!(target("GET", "/v1/a/b/keys/k"), Ok(Endpoint::ReadKey(key("a/b", "k"))));
    assert_eq!(target("GET", "/v1/a/c/keys/k"), Ok(Endpoint::ReadKey(key("a/c", "k"))));
    assert_eq!(target("GET", "/v1/a/b"), Err(ApiError::UnsupportedPath));
    for outside in ["/v1/a/bb/keys/k", "/v1/a/keys/k", "/v1/transit2/keys/k"] {
        assert!(matches!(target("GET", outside), Err(ApiError::NoMount { .. })), "{outside}");
    }
}

#[test]
fn paths_are_decoded_once_as_go_does() {
    assert_eq!(target("GET", "/v1/a%2Fb/k%65ys/k"), Ok(Endpoint::ReadKey(key("a/b", "k"))));
    assert_eq!(target("GET", "/v1/a/b/keys/k+1"), Err(ApiError::UnsupportedPath));
    assert_eq!(target("GET", "/v1/a/b/keys/k%2565"), Err(ApiError::UnsupportedPath));
}

#[test]
fn list_false_is_a_read() {
    let (path, operation, _) = routed("GET", "/v1/transit/keys/k?list=false").unwrap();
    assert_eq!((path.as_str(), operation), ("transit/keys/k", Operation::Read));
    let (_, operation, _) = routed("GET", "/v1/transit/keys/k?list=").unwrap();
    assert_eq!(operation, Operation::Read);
}

proptest! {
    #[test]
    fn any_url_is_routed_or_refused(
        path in "/v1/[a-c/%0-9.~é ]{0,20}",
        query in proptest::option::of("[a-c&=;%+list0-9]{0,20}"),
    ) {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        if let Ok(uri) = format!("{path}{query}").parse() {
            let (declared, methods) = auth();
            let table = AuthTable { declared: &declared, methods: &methods };
            let _ = route(&Method::GET, &uri, &mounts(), table);
        }
    }
}

#[test]
fn the_paths_of_tokens_are_found_by_method_and_name() {
    let found = |method: &str, path: &str| target(method, &format!("/v1/{path}"));
    let role = || "seals".parse().unwrap();
    for (method, path, endpoint) in [
        ("POST", "auth/token/create", TokenEndpoint::Create),
        ("PUT", "auth/token/create/seals", TokenEndpoint::CreateFrom(role())),
        ("GET", "auth/token/roles/seals", TokenEndpoint::ReadRole(role())),
        ("DELETE", "auth/token/roles/seals", TokenEndpoint::DeleteRole(role())),
        ("LIST", "auth/token/roles", TokenEndpoint::Roles),
        ("LIST", "auth/token/accessors", TokenEndpoint::Accessors),
    ] {
        assert_eq!(found(method, path), Ok(Endpoint::Token(endpoint)), "{method} {path}");
    }
    for (method, path) in [("GET", "auth/token/create"), ("POST", "auth/token/accessors")] {
        assert_eq!(found(method, path), Err(ApiError::UnsupportedOperation), "{method} {path}");
    }
    assert_eq!(found("POST", "auth/token/renew/s.old"), Err(ApiError::UnsupportedPath));
}
