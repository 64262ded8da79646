//! What every method's login comes to, on the way to a token.

use std::collections::BTreeMap;
use std::time::Duration;

use selkie_access::{ManyPolicies, Policy, PolicyName};
use selkie_config::TokenParameters;

use serde::{Deserialize, Serialize};

use super::mount::AuthMount;
use super::{AnswerKind, MethodError};
use crate::auth::tokens::{LargeMetadata, NewToken, TokenKind};
use crate::stable_uuid::stable_uuid;

/// The longest name that a claim or a certificate gives a client: that of a display name which is asked
/// for through the API.
const MOST_ALIAS_BYTES: usize = 512;

/// Somebody who has shown a method who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// What stands behind the mount's path in the display name of the token; may be empty.
    pub display_name: String,
    /// What tells this client from all others that log in at the mount.
    pub alias: String,
    /// What the method knows of it: `metadata` of the reply, `meta` of the token.
    pub metadata: BTreeMap<String, String>,
    /// Of the role.
    pub parameters: TokenParameters,
    /// The SHA-256 of the client certificate that must come with the token.
    pub bound_certificate: Option<[u8; 32]>,
    /// What the certificate says that it was got by, for the templates in policies.
    pub certificate: BTreeMap<String, String>,
}

/// Who has logged in, whatever became of it since; for the templates in policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginIdentity {
    /// Follows from the mount and the alias, so that it is the same after every login.
    pub entity_id: String,
    /// Of the mount.
    pub mount_accessor: String,
    /// How the method knows the client.
    pub alias: String,
    /// What the certificate says that it has shown then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificate: BTreeMap<String, String>,
}

/// What is wrong with a login that the method let through. The texts are Vault's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum LoginProblem {
    #[error("auth methods cannot create root tokens")]
    Root,
    #[error("batch tokens cannot be limited in their uses, nor be periodic")]
    Batch,
    #[error("metadata of the login: {0}")]
    LargeMetadata(LargeMetadata),
    #[error("the name of the login: at most {MOST_ALIAS_BYTES} bytes")]
    LongAlias,
}

/// Which of the metadata has most bytes, for the log.
#[derive(Debug, thiserror::Error)]
#[error("{entries} entries, the longest is {name:?} of {bytes} bytes")]
struct Longest {
    entries: usize,
    name: String,
    bytes: usize,
}

impl LoginIdentity {
    /// Who `login` is at `mount`.
    pub(crate) fn of(mount: &AuthMount, login: &Login) -> Self {
        let name = format!("{}\0{}", mount.accessor, login.alias);
        Self {
            entity_id: stable_uuid("entity", &name).to_string(),
            mount_accessor: mount.accessor.clone(),
            alias: login.alias.clone(),
            certificate: login.certificate.clone(),
        }
    }

    /// As Vault calls an entity that nobody has named. A name that the method gives might be that of
    /// another client.
    pub(crate) fn entity_name(&self) -> String {
        format!("entity_{}", self.entity_id)
    }
}

impl Login {
    /// Refuses more than a token made through the API may carry, as whoever signs claims or certificates
    /// may write anything into them.
    pub(crate) fn check(&self) -> Result<(), MethodError> {
        LargeMetadata::check(&self.metadata).map_err(|large| {
            let longest = self.metadata.iter().max_by_key(|(_, text)| text.len());
            let (name, bytes) = longest.map(|(name, text)| (name.clone(), text.len())).unzip();
            let (name, bytes) = (name.unwrap_or_default(), bytes.unwrap_or_default());
            let longest = Longest { entries: self.metadata.len(), name, bytes };
            MethodError::refused_because(LoginProblem::LargeMetadata(large), longest)
        })?;
        match self.alias.len() <= MOST_ALIAS_BYTES {
            true => Ok(()),
            false => Err(MethodError::refused(LoginProblem::LongAlias)),
        }
    }

    /// The token that it is worth at `mount`; `path` is where it was asked for.
    pub(crate) fn into_token(self, mount: &AuthMount, path: &str) -> Result<NewToken, MethodError> {
        let login = Some(Box::new(LoginIdentity::of(mount, &self)));
        let Self { display_name, metadata, parameters, bound_certificate, .. } = self;
        require_possible(&parameters, mount)?;
        let kind = mount.tune.token_type.kind(parameters.token_type);
        let lifetime = Lifetime::of(&parameters, mount);
        Ok(NewToken {
            display_name: shown_name(mount, &display_name),
            policies: policies(&parameters).into(),
            meta: metadata,
            path: path.to_owned(),
            kind,
            parent: None,
            ttl: lifetime.ttl,
            explicit_max_ttl: lifetime.max_ttl,
            period: lifetime.period,
            renewable: kind == TokenKind::Service,
            num_uses: parameters.num_uses,
            bound_cidrs: parameters.bound_cidrs,
            role: None,
            bound_certificate,
            login,
        })
    }
}

/// As Vault: the mount's path with dashes for its slashes, and what the method says.
fn shown_name(mount: &AuthMount, name: &str) -> String {
    let source = mount.path.as_str().replace('/', "-");
    if name.is_empty() { source } else { format!("{source}-{name}") }
}

/// Refuses what no token at `mount` can be, whoever logs in: before a login spends anything.
pub(super) fn require_possible(
    parameters: &TokenParameters,
    mount: &AuthMount,
) -> Result<(), MethodError> {
    let kind = mount.tune.token_type.kind(parameters.token_type);
    let is_counted = parameters.num_uses > 0 || !parameters.period.is_zero();
    if kind == TokenKind::Batch && is_counted {
        return Err(MethodError::told(AnswerKind::BadRequest, LoginProblem::Batch));
    }
    if parameters.policies.iter().any(PolicyName::is_root) {
        return Err(MethodError::refused(LoginProblem::Root));
    }
    ManyPolicies::check(&policies(parameters)).map_err(MethodError::refused)
}

/// Those of a token by these parameters, in order.
fn policies(parameters: &TokenParameters) -> Vec<PolicyName> {
    let mut policies = parameters.policies.clone();
    if !parameters.no_default_policy {
        policies.push(Policy::default_policy().name().clone());
    }
    policies.sort();
    policies.dedup();
    policies
}

struct Lifetime {
    ttl: Option<Duration>,
    max_ttl: Option<Duration>,
    period: Option<Duration>,
}

impl Lifetime {
    /// Vault's rule: what the role says, else the mount, else the system; a periodic token lives
    /// for its period, whatever the maxima are, an explicit one aside.
    fn of(parameters: &TokenParameters, mount: &AuthMount) -> Self {
        let set = |time: Duration| (!time.is_zero()).then_some(time);
        let of_mount = |seconds: u64| set(Duration::from_secs(seconds));
        let period = set(parameters.period);
        let explicit = set(parameters.explicit_max_ttl);
        let maxima = match period {
            Some(_) => [explicit, None, None],
            None => [explicit, set(parameters.max_ttl), of_mount(mount.tune.max_lease_ttl)],
        };
        let max_ttl = maxima.into_iter().flatten().min();
        let ttl = period
            .or_else(|| set(parameters.ttl))
            .or_else(|| of_mount(mount.tune.default_lease_ttl));
        let ttl = match (ttl, max_ttl) {
            (Some(ttl), Some(max)) => Some(ttl.min(max)),
            (ttl, _) => ttl,
        };
        Self { ttl, max_ttl, period }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn mount(path: &str) -> AuthMount {
        AuthMount::managed(path.parse().unwrap(), "approle", Uuid::nil())
    }

    fn login(parameters: TokenParameters) -> Login {
        Login { alias: "id".into(), parameters, ..Login::default() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn display_name_is_the_mount_and_what_the_method_says() {
        let mount = mount("team/approle");
        assert_eq!(shown_name(&mount, ""), "team-approle");
        assert_eq!(shown_name(&mount, "web"), "team-approle-web");
    }

    #[test]
    fn a_login_has_default_unless_declined_and_never_root() {
        let names = |parameters: TokenParameters| {
            let token = login(parameters).into_token(&mount("a"), "auth/a/login")?;
            Ok::<_, MethodError>(token.policies.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let with = |policy: &str| TokenParameters {
            policies: vec![policy.parse().unwrap()],
            ..TokenParameters::default()
        };
        assert_eq!(names(with("a")).unwrap(), ["a", "default"]);
        let without = TokenParameters { no_default_policy: true, ..with("a") };
        assert_eq!(names(without).unwrap(), ["a"]);
        let refused = names(with("root")).unwrap_err();
        assert_eq!(refused.to_string(), "auth methods cannot create root tokens");
    }

    #[test]
    fn lifetime_is_the_roles_then_the_mounts_and_capped_unless_periodic() {
        let mut mount = mount("a");
        let lifetime = |parameters: &TokenParameters, mount: &AuthMount| {
            let Lifetime { ttl, max_ttl, period } = Lifetime::of(parameters, mount);
            (ttl, max_ttl, period)
        };
        let none = TokenParameters::default();
        assert_eq!(lifetime(&none, &mount), (None, None, None));
        mount.tune.default_lease_ttl = 100;
        mount.tune.max_lease_ttl = 50;
        assert_eq!(lifetime(&none, &mount), (Some(seconds(50)), Some(seconds(50)), None));
        let short = TokenParameters { ttl: seconds(20), max_ttl: seconds(40), ..none };
        assert_eq!(lifetime(&short, &mount), (Some(seconds(20)), Some(seconds(40)), None));
        let periodic = TokenParameters { period: seconds(90), ..short };
        assert_eq!(lifetime(&periodic, &mount), (Some(seconds(90)), None, Some(seconds(90))));
    }

    #[test]
    fn entity_is_the_same_after_every_login_and_another_at_another_mount() {
        let one = LoginIdentity::of(&mount("a"), &login(TokenParameters::default()));
        assert_eq!(one, LoginIdentity::of(&mount("a"), &login(TokenParameters::default())));
        let elsewhere =
            AuthMount::managed("a".parse().unwrap(), "approle", Uuid::from_u128(1 << 100));
        let other = LoginIdentity::of(&elsewhere, &login(TokenParameters::default()));
        assert_ne!(one.entity_id.get(..13), other.entity_id.get(..13));
    }
}
