//! `auth`: declared mounts of the methods by which clients log in, with their roles (I6).

mod approle;
mod azure;
mod cert;
mod jwt;
mod kubernetes;
mod parameters;
mod role;

use std::collections::BTreeSet;
use std::time::Duration;

use selkie_access::{KeyName, MountPath, NameError};
use selkie_hcl::{Located, Section};

pub use self::approle::DeclaredAppRole;
pub use self::azure::{AzureConfig, AzureEnvironment, AzureProblem, AzureRole};
pub use self::cert::{CertProblem, CertRole};
pub use self::jwt::{BoundClaimsType, JWT_ALGORITHMS, JwtConfig, JwtProblem, JwtRole};
pub use self::kubernetes::{
    KubernetesConfig, KubernetesProblem, KubernetesRole, ReviewerToken, ServiceAccountAlias,
};
pub use self::parameters::{ParameterConflict, TokenParameters, TokenType};
pub use self::role::DeclaredRole;
use crate::quantity::duration;
use crate::secret::Reading;

/// A declared mount of a method.
#[derive(Debug)]
pub struct DeclaredAuth {
    /// Where it answers, below `auth/`.
    pub path: MountPath,
    /// `description`.
    pub description: String,
    /// `default_lease_ttl`: how long tokens live whose role does not say it.
    pub default_lease_ttl: Option<Duration>,
    /// `max_lease_ttl`: how long tokens live at most, periodic ones aside.
    pub max_lease_ttl: Option<Duration>,
    /// Where it is declared: `<file>:<line>:<column>`.
    pub at: String,
    /// The method, with what is declared of it.
    pub method: DeclaredMethod,
}

/// A method, with its declared roles.
#[derive(Debug)]
pub enum DeclaredMethod {
    /// `approle`
    AppRole(Vec<DeclaredAppRole>),
    /// `cert`
    Cert(Vec<DeclaredRole<CertRole>>),
    /// `jwt`
    Jwt(JwtConfig, Vec<DeclaredRole<JwtRole>>),
    /// `kubernetes`
    Kubernetes(KubernetesConfig, Vec<DeclaredRole<KubernetesRole>>),
    /// `azure`
    Azure(AzureConfig, Vec<DeclaredRole<AzureRole>>),
}

impl DeclaredMethod {
    /// Vault's name of the method's type, which is the label of the stanza.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::AppRole(_) => "approle",
            Self::Cert(_) => "cert",
            Self::Jwt(..) => "jwt",
            Self::Kubernetes(..) => "kubernetes",
            Self::Azure(..) => "azure",
        }
    }
}

/// What is wrong with an `auth` stanza.
#[derive(Debug, thiserror::Error)]
enum AuthError {
    #[error(
        "there is no method {kind:?}; there are \"approle\", \"cert\", \"jwt\", \"kubernetes\" and \
         \"azure\""
    )]
    UnknownMethod { kind: String },
    #[error("field \"path\": {source}")]
    Path { source: NameError },
    #[error("\"token\" belongs to the server itself")]
    Reserved,
    #[error("a method is mounted at \"{path}\" already; give each a \"path\" of its own")]
    Repeated { path: MountPath },
    #[error("the mount \"{path}\" lies inside the mount \"{outer}\"")]
    Nested { path: MountPath, outer: MountPath },
}

/// A name is not one that a role can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a role's name has 1 to 256 of the characters A-Z a-z 0-9 _ - . and neither begins nor ends \
     with - or ."
)]
pub struct InvalidRoleName;

/// `name`, if a role can have it: Vault's `\w(([\w-.]+)?\w)?`.
///
/// # Errors
///
/// [`InvalidRoleName`].
pub fn role_name(name: &str) -> Result<&str, InvalidRoleName> {
    name.parse::<KeyName>().map(|_same_form| name).map_err(|_problem| InvalidRoleName)
}

/// The longest that a lease may be made.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// All `auth` stanzas, without those that have problems of their own; `can_show` says whether any
/// client can show a certificate.
pub(crate) fn decode(
    root: &mut Section<'_>,
    reading: &Reading<'_>,
    can_show: bool,
) -> Vec<DeclaredAuth> {
    let mut declared: Vec<DeclaredAuth> = Vec::new();
    let mut paths = BTreeSet::new();
    for (label, section) in root.labelled("auth") {
        let place = label.place;
        let Some(auth) = auth(label, section, reading, can_show) else { continue };
        if !paths.insert(auth.path.clone()) {
            place.report(AuthError::Repeated { path: auth.path.clone() });
        }
        let is_outer = |other: &&DeclaredAuth| lies_inside(&auth.path, &other.path);
        let is_inner = |other: &&DeclaredAuth| lies_inside(&other.path, &auth.path);
        if let Some(outer) = declared.iter().find(is_outer) {
            let (path, outer) = (auth.path.clone(), outer.path.clone());
            place.report(AuthError::Nested { path, outer });
        } else if let Some(inner) = declared.iter().find(is_inner) {
            let (path, outer) = (inner.path.clone(), auth.path.clone());
            place.report(AuthError::Nested { path, outer });
        }
        declared.push(auth);
    }
    declared
}

fn lies_inside(path: &MountPath, outer: &MountPath) -> bool {
    path.as_str().strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

fn auth(
    label: Located<'_, String>,
    mut section: Section<'_>,
    reading: &Reading<'_>,
    can_show: bool,
) -> Option<DeclaredAuth> {
    let place = label.place;
    let path = path(&label, &mut section);
    let description = section.field("description").string().map(|text| text.value);
    let default_lease_ttl = duration(&mut section, "default_lease_ttl", LONGEST_LEASE);
    let max_lease_ttl = duration(&mut section, "max_lease_ttl", LONGEST_LEASE);
    let method = method(label, &mut section, reading, can_show)?;
    section.finish();
    Some(DeclaredAuth {
        path: path?,
        description: description.unwrap_or_default(),
        default_lease_ttl,
        max_lease_ttl,
        at: format!("{}:{}", place.file(), place.position()),
        method,
    })
}

/// Without a `path` a method is mounted under its own name, as in Vault.
fn path(label: &Located<'_, String>, section: &mut Section<'_>) -> Option<MountPath> {
    let given = section.field("path").string();
    let text = given.unwrap_or_else(|| label.clone());
    let place = text.place;
    let path = text.try_map(|text| text.parse().map_err(|source| AuthError::Path { source }))?;
    let path: MountPath = path.value;
    if path.as_str().split('/').next() == Some("token") {
        place.report(AuthError::Reserved);
        return None;
    }
    Some(path)
}

fn method(
    label: Located<'_, String>,
    section: &mut Section<'_>,
    reading: &Reading<'_>,
    can_show: bool,
) -> Option<DeclaredMethod> {
    match label.value.as_str() {
        "approle" => Some(DeclaredMethod::AppRole(approle::decode(section))),
        "cert" => {
            cert::decode(section, can_show);
            Some(DeclaredMethod::Cert(role::decode(section, cert::role)))
        }
        "jwt" => {
            let config = jwt::decode(section);
            Some(DeclaredMethod::Jwt(config, role::decode(section, jwt::role)))
        }
        "kubernetes" => {
            let config = kubernetes::decode(section, reading);
            Some(DeclaredMethod::Kubernetes(config, role::decode(section, kubernetes::role)))
        }
        "azure" => {
            let config = azure::decode(section);
            Some(DeclaredMethod::Azure(config, role::decode(section, azure::role)))
        }
        _ => {
            label.place.report(AuthError::UnknownMethod { kind: label.value });
            None
        }
    }
}
