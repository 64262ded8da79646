//! What a `kubernetes` method and its roles are. The fields and the texts are Vault's.

use std::fmt;
use std::sync::Arc;

use selkie_hcl::Section;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::parameters::TokenParameters;
use super::role::{text, texts, truth};
use crate::secret::Reading;

/// Which cluster a `kubernetes` method belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesConfig {
    /// The API server that is asked about every token; empty: tokens are verified by keys alone.
    pub kubernetes_host: String,
    /// Whom TLS with it trusts; empty: the pod's own file, else the system's certificates.
    pub kubernetes_ca_cert: String,
    /// As whom the API server is asked; empty: as the pod, else as whoever logs in.
    pub token_reviewer_jwt: Option<ReviewerToken>,
    /// The cluster's keys in PEM: a token must be signed by one.
    pub pem_keys: Vec<String>,
    /// Where the cluster publishes its keys; Selkie's own field.
    pub jwks_url: String,
    /// What `iss` must be, where that is checked.
    pub issuer: String,
    /// Whether `iss` is not checked, as by default since Vault 1.9. It always is without an API server.
    pub disable_iss_validation: bool,
    /// Whether the pod's own token and CA certificate are left alone.
    pub disable_local_ca_jwt: bool,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            kubernetes_host: String::new(),
            kubernetes_ca_cert: String::new(),
            token_reviewer_jwt: None,
            pem_keys: Vec::new(),
            jwks_url: String::new(),
            issuer: String::new(),
            disable_iss_validation: true,
            disable_local_ca_jwt: false,
        }
    }
}

/// A bearer token for the API server; wiped with its last holder, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ReviewerToken(Arc<Zeroizing<String>>);

impl ReviewerToken {
    /// Of this text.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(Arc::new(text))
    }

    /// For the header of a request.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ReviewerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReviewerToken")
    }
}

/// For records, which are sealed.
impl Serialize for ReviewerToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ReviewerToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(Zeroizing::new(text)))
    }
}

/// Who may log in by a role of a `kubernetes` method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesRole {
    /// Names of service accounts, in which `*` stands for any text.
    pub bound_service_account_names: Vec<String>,
    /// Their namespaces, the same way.
    pub bound_service_account_namespaces: Vec<String>,
    /// What must be in `aud`; empty: anything.
    pub audience: String,
    /// What tells one client from another.
    pub alias_name_source: ServiceAccountAlias,
}

/// `alias_name_source`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceAccountAlias {
    /// The account's UID, which another account of the same name does not have.
    #[default]
    ServiceaccountUid,
    /// `<namespace>/<name>`
    ServiceaccountName,
}

/// What cannot be. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubernetesProblem {
    /// Nobody can verify a token: no API server, no keys.
    #[error(
        "no host provided: set 'kubernetes_host', or 'pem_keys' or 'jwks_url' to verify tokens \
         without the API server"
    )]
    NoHost,
    /// A URL that is not https.
    #[error("'{field}' must be an https URL")]
    NotHttps {
        /// Where it stands.
        field: &'static str,
    },
    /// More than one source of keys.
    #[error("only one of 'pem_keys' and 'jwks_url' may be set")]
    TwoKeySources,
    /// Keys alone, without the issuer of the tokens.
    #[error(
        "without 'kubernetes_host' the 'issuer' of the cluster's tokens must be set: its keys alone \
         do not say which cluster a token is of"
    )]
    NoIssuer,
    /// A role binds no name of a service account.
    #[error("\"bound_service_account_names\" can not be empty")]
    NoNames,
    /// A role binds no namespace.
    #[error("\"bound_service_account_namespaces\" can not be empty")]
    NoNamespaces,
    /// `*` stands beside other values.
    #[error("can not mix \"*\" with values")]
    Mixed,
    /// A role binds any name in any namespace.
    #[error("service account names and namespaces can not both be \"*\"")]
    Anybody,
    /// Namespaces are to be chosen by their labels.
    #[error(
        "'bound_service_account_namespace_selector' needs the labels of namespaces, which Selkie \
         does not ask the API server for: use 'bound_service_account_namespaces'"
    )]
    Selector,
    /// `alias_name_source` is neither of those that there are.
    #[error(
        "invalid 'alias_name_source': there are \"serviceaccount_uid\" and \"serviceaccount_name\""
    )]
    Alias,
}

impl KubernetesConfig {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`KubernetesProblem`].
    pub fn check(&self) -> Result<(), KubernetesProblem> {
        let (host, set) = (&self.kubernetes_host, &self.jwks_url);
        if !self.pem_keys.is_empty() && !set.is_empty() {
            return Err(KubernetesProblem::TwoKeySources);
        }
        if host.is_empty() && self.pem_keys.is_empty() && set.is_empty() {
            return Err(KubernetesProblem::NoHost);
        }
        let mut urls = [("kubernetes_host", host), ("jwks_url", set)].into_iter();
        if let Some((field, _)) =
            urls.find(|(_, url)| !url.is_empty() && !url.starts_with("https://"))
        {
            return Err(KubernetesProblem::NotHttps { field });
        }
        if host.is_empty() && self.issuer.is_empty() {
            return Err(KubernetesProblem::NoIssuer);
        }
        Ok(())
    }
}

impl KubernetesRole {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`KubernetesProblem`].
    pub fn check(&self) -> Result<(), KubernetesProblem> {
        let (names, namespaces) =
            (&self.bound_service_account_names, &self.bound_service_account_namespaces);
        if names.is_empty() {
            return Err(KubernetesProblem::NoNames);
        }
        if namespaces.is_empty() {
            return Err(KubernetesProblem::NoNamespaces);
        }
        let any = |list: &[String]| list.iter().any(|one| one == "*");
        if [names, namespaces].into_iter().any(|list| any(list) && list.len() > 1) {
            return Err(KubernetesProblem::Mixed);
        }
        if any(names) && any(namespaces) {
            return Err(KubernetesProblem::Anybody);
        }
        Ok(())
    }
}

impl ServiceAccountAlias {
    /// The source of this name; none at all is the UID.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" | "serviceaccount_uid" => Some(Self::ServiceaccountUid),
            "serviceaccount_name" => Some(Self::ServiceaccountName),
            _ => None,
        }
    }

    /// Vault's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServiceaccountUid => "serviceaccount_uid",
            Self::ServiceaccountName => "serviceaccount_name",
        }
    }
}

pub(super) fn decode(section: &mut Section<'_>, reading: &Reading<'_>) -> KubernetesConfig {
    let reviewer = section.field("token_reviewer_jwt").string();
    let reviewer = reviewer.and_then(|text| reading.secret_line("token_reviewer_jwt", &text));
    let config = KubernetesConfig {
        kubernetes_host: text(section, "kubernetes_host"),
        kubernetes_ca_cert: text(section, "kubernetes_ca_cert"),
        token_reviewer_jwt: reviewer.map(ReviewerToken::new),
        pem_keys: texts(section, "pem_keys"),
        jwks_url: text(section, "jwks_url"),
        issuer: text(section, "issuer"),
        disable_iss_validation: truth(section, "disable_iss_validation", true),
        disable_local_ca_jwt: truth(section, "disable_local_ca_jwt", false),
    };
    if let Err(problem) = config.check() {
        section.place().report(problem);
    }
    config
}

pub(super) fn role(
    section: &mut Section<'_>,
    _token: &TokenParameters,
) -> (KubernetesRole, Result<(), KubernetesProblem>) {
    let source = text(section, "alias_name_source");
    let role = KubernetesRole {
        bound_service_account_names: texts(section, "bound_service_account_names"),
        bound_service_account_namespaces: texts(section, "bound_service_account_namespaces"),
        audience: text(section, "audience"),
        alias_name_source: ServiceAccountAlias::named(&source).unwrap_or_default(),
    };
    let known = ServiceAccountAlias::named(&source).ok_or(KubernetesProblem::Alias);
    let checked = known.and_then(|_source| role.check());
    (role, checked)
}
