//! What a file leaves out that its author may have meant to write. Nothing of it keeps a server from
//! starting.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use selkie_access::{MountPath, PolicyName, TokenHash};
use selkie_config::{ClientName, Config, DeclaredMethod, SealKind, TokenParameters};
use selkie_crypto::SealName;

/// The one that stands in the examples. Its token was thrown away.
const SAMPLE_TOKEN_SHA256: &str =
    "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8";

/// Something that may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    NoKey,
    NoFile { seal: SealName, field: &'static str, path: PathBuf },
    AppRoleWithoutStorage { path: MountPath },
    UndeclaredKey { policy: PolicyName, path: String },
    UndeclaredPolicy { path: MountPath, role: String, policy: PolicyName },
    SampleToken { client: ClientName },
    NamesNoLogin { policy: PolicyName },
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str(
                "no key is declared, and without \"storage\" none can be created, so nothing can be \
                 encrypted: add key \"autounseal\" {}",
            ),
            Self::NoFile { seal, field, path } => write!(
                f,
                "seal \"{seal}\": {field:?}: file {} does not exist on this machine; a server without it starts, \
                 but this seal cannot decrypt anything",
                path.display()
            ),
            Self::AppRoleWithoutStorage { path } => write!(
                f,
                "auth \"approle\" at {path}: secret IDs are created through the API, which needs \
                 \"storage\" for that"
            ),
            Self::UndeclaredKey { policy, path } => write!(
                f,
                "policy \"{policy}\": path {path:?}: no such key is declared, and without \"storage\" \
                 none can be created"
            ),
            Self::UndeclaredPolicy { path, role, policy } => write!(
                f,
                "role {role:?} of auth/{path}: policy \"{policy}\" is not declared here; unless it is \
                 created through the API, it grants nothing"
            ),
            Self::SampleToken { client } => write!(
                f,
                "client \"{client}\": \"token_sha256\" is the sample of the documents, whose token \
                 nobody has: replace it by what `selkie client add` prints"
            ),
            Self::NamesNoLogin { policy } => write!(
                f,
                "policy \"{policy}\": the path of a rule names {{{{token.display_name}}}} or \
                 {{{{identity.entity.name}}}}; no client that logged in is known by that, so that a more \
                 general rule counts for it, if there is one, even where this one grants less: name \
                 the alias, {{{{identity.entity.aliases.ACCESSOR.name}}}}, or its metadata"
            ),
        }
    }
}

/// All of them.
pub(super) fn hints(config: &Config) -> Vec<Hint> {
    let has_storage = config.storage.is_some();
    let no_key = (config.keys.is_empty() && !has_storage).then_some(Hint::NoKey);
    let mut hints: Vec<_> = no_key.into_iter().chain(missing_files(config)).collect();
    if !has_storage {
        hints.extend(undeclared_keys(config));
    }
    hints.extend(sample_tokens(config));
    let no_login = config.policies.iter().filter(|policy| policy.names_no_login());
    hints.extend(no_login.map(|one| Hint::NamesNoLogin { policy: one.name().clone() }));
    let known: BTreeSet<&PolicyName> = config.policies.iter().map(|one| one.name()).collect();
    for auth in &config.auth {
        let path = &auth.path;
        if matches!(auth.method, DeclaredMethod::AppRole(_)) && !has_storage {
            hints.push(Hint::AppRoleWithoutStorage { path: path.clone() });
        }
        for (role, token) in roles(&auth.method) {
            let is_unknown = |policy: &&PolicyName| {
                !known.contains(policy) && !["root", "default"].contains(&policy.as_str())
            };
            hints.extend(token.policies.iter().filter(is_unknown).map(|policy| {
                let (path, role, policy) = (path.clone(), role.to_owned(), policy.clone());
                Hint::UndeclaredPolicy { path, role, policy }
            }));
        }
    }
    hints
}

/// What the seals in HSMs are to load or start. A file may be checked on another machine than its own.
fn missing_files(config: &Config) -> impl Iterator<Item = Hint> {
    config.seals.iter().flat_map(|seal| {
        let SealKind::Pkcs11(hsm) = &seal.kind else { return Vec::new() };
        let named = [("lib", Some(&hsm.library)), ("program", hsm.program.as_ref())];
        let hint = |(field, path): (&'static str, Option<&PathBuf>)| {
            let path = path.filter(|path| !path.is_file())?.clone();
            Some(Hint::NoFile { seal: seal.name.clone(), field, path })
        };
        named.into_iter().filter_map(hint).collect()
    })
}

/// Clients that were copied out of `docs/examples` as they stand there.
fn sample_tokens(config: &Config) -> impl Iterator<Item = Hint> {
    let is_sample = |hash: &TokenHash| hash.to_string() == SAMPLE_TOKEN_SHA256;
    let clients = config.clients.iter();
    let sampled = clients.filter(move |client| client.token.as_ref().is_some_and(is_sample));
    sampled.map(|client| Hint::SampleToken { client: client.name.clone() })
}

/// What policies allow with keys that there are not. Only paths that name a mount and a key.
fn undeclared_keys(config: &Config) -> impl Iterator<Item = Hint> {
    let is_missing = |path: &str| {
        config.mounts.iter().any(|mount| {
            let rest = path.strip_prefix(mount.path.as_str());
            let mut parts = rest.into_iter().flat_map(|rest| rest.split('/')).skip(1);
            let (operation, name, end) = (parts.next(), parts.next(), parts.next());
            let is_of_key = matches!(operation, Some("encrypt" | "decrypt" | "rewrap" | "keys"));
            let is_declared = config
                .keys
                .iter()
                .any(|key| key.mount == mount.path && Some(key.name.as_str()) == name);
            is_of_key && name.is_some_and(|name| !name.is_empty()) && end.is_none() && !is_declared
        })
    };
    config.policies.iter().flat_map(move |policy| {
        let missing = policy.exact_paths().filter(move |path| is_missing(path));
        missing.map(|path| Hint::UndeclaredKey {
            policy: policy.name().clone(),
            path: path.to_owned(),
        })
    })
}

fn roles(method: &DeclaredMethod) -> Vec<(&str, &TokenParameters)> {
    match method {
        DeclaredMethod::AppRole(roles) => {
            roles.iter().map(|one| (one.name.as_str(), &one.token)).collect()
        }
        DeclaredMethod::Cert(roles) => {
            roles.iter().map(|one| (one.name.as_str(), &one.token)).collect()
        }
        DeclaredMethod::Jwt(_, roles) => {
            roles.iter().map(|one| (one.name.as_str(), &one.token)).collect()
        }
        DeclaredMethod::Kubernetes(_, roles) => {
            roles.iter().map(|one| (one.name.as_str(), &one.token)).collect()
        }
        DeclaredMethod::Azure(_, roles) => {
            roles.iter().map(|one| (one.name.as_str(), &one.token)).collect()
        }
    }
}
